"""Secrets that are followed by name: those our Ingresses name whose type is not ``kubernetes.io/tls``.

A certificate is one by its keys, ``tls.crt`` and ``tls.key``, whatever the type of its Secret, but reading
every Secret of a cluster to find them is out of the question. So those of type ``kubernetes.io/tls`` are
followed by that type, and others one by one. Each is a watch of its own, also one that names no Secret at
all, hence the bounds: nobody's Ingresses may cost a cluster thousands of watches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace

from ingresskit.models import ObjectKey, Secret

__all__ = ["MOST_NAMED", "MOST_NAMED_OF_ONE_NAMESPACE", "choose", "only_certificate"]

MOST_NAMED = 200
MOST_NAMED_OF_ONE_NAMESPACE = 20

_KEYS = ("tls.crt", "tls.key")


def choose(named: Collection[ObjectKey], found: Collection[ObjectKey]) -> frozenset[ObjectKey]:
    """Which of the Secrets in *named* to follow.

    Every namespace has the same share of them, 20 at the most, and 200 are followed at the most. Those that
    are in *found* come first, then the lower names: one that exists is not given up for one that may not.
    """
    by_namespace: dict[str, list[ObjectKey]] = defaultdict(list)
    for key in sorted(named, key=lambda key: (key not in found, key)):
        by_namespace[key.namespace].append(key)
    share = max(1, min(MOST_NAMED_OF_ONE_NAMESPACE, MOST_NAMED // max(1, len(by_namespace))))
    chosen = [key for keys in by_namespace.values() for key in keys[:share]]
    return frozenset(chosen[:MOST_NAMED])


def only_certificate(secret: Secret) -> Secret:
    """*secret* without the data that is no certificate: it is none of our business."""
    return replace(secret, data={key: secret.data[key] for key in _KEYS if key in secret.data})
