"""Which certificate is shown for which server name, as lines of HAProxy's list of certificates."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Final

from ingresskit.graph import Certificate
from ingresskit.models import ObjectKey
from ingresskit.render.haproxy.artifact import Bundle, ServerNames
from ingresskit.render.haproxy.tables import digest

__all__ = ["bundle_id", "make_bundle", "server_name_lines"]

# Each line costs HAProxy a TLS context of its own, and a change of one name the lines it moves between.
_NAMES_A_LINE: Final = 32
_PEM: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]+-----\s[^-]*-----END [A-Z0-9 ]+-----")


def bundle_id(secret: ObjectKey) -> str:
    """The id of the bundle of a Secret."""
    return digest("c", *secret)


def make_bundle(certificate: Certificate) -> Bundle:
    """The bundle of a certificate."""
    # The blocks and nothing around them, which may be any text: an empty line ends a payload of the
    # runtime API.
    blocks = _PEM.findall(certificate.private_key) + _PEM.findall(certificate.chain)
    lines = (line.strip() for block in blocks for line in block.splitlines())
    return Bundle(
        id=bundle_id(certificate.secret),
        secret=certificate.secret,
        digest=certificate.digest,
        pem=b"".join(line + b"\n" for line in lines if line),
    )


def server_name_lines(server_names: Mapping[str, ObjectKey | None]) -> tuple[ServerNames, ...]:
    """The lines for *server_names*, which say what those of `RouteGraph` say; sorted.

    A name is left out where its wildcard leads to the same certificate: a certificate for ``*.shop.test``
    that thousands of hosts use is one line. Each name is there with a dot at its end too, which some clients
    send (RFC 6066, section 3, forbids it).
    """
    by_bundle: dict[str, list[str]] = {}
    for name, secret in server_names.items():
        _, dot, parent = name.partition(".")
        wildcard = f"*.{parent}"
        if dot and name != wildcard and server_names.get(wildcard, _NO_SECRET) == secret:
            continue
        by_bundle.setdefault("" if secret is None else bundle_id(secret), []).append(name)
        if name == wildcard:
            # HAProxy looks for what follows the first dot: to it, ".shop.test" is a name below the wildcard.
            by_bundle.setdefault("", []).append(f".{parent}")
    lines = (line for bundle, names in by_bundle.items() for line in _lines(bundle, names))
    return tuple(sorted(lines))


_NO_SECRET: Final = ObjectKey("", "")


def _lines(bundle: str, names: list[str]) -> Iterator[ServerNames]:
    # By digest, so that one name more does not push all those behind it into other lines.
    buckets = 1
    while len(names) > buckets * _NAMES_A_LINE // 2 and len(names) > _NAMES_A_LINE:
        buckets *= 2
    held: dict[int, list[str]] = {}
    for name in names:
        held.setdefault(_bucket(name) % buckets, []).append(name)
    for items in held.values():
        yield ServerNames(bundle, tuple(sorted(name for item in items for name in (item, f"{item}."))))


def _bucket(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
