"""Which objects the dialects look up for Ingresses, for sources that fetch objects one by one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from ingresskit.models import ConfigMap, Ingress, IngressClass, KubeObject, Namespace, ObjectKey, Snapshot
from ingresskit.policies.key_urls import is_fetched_name
from ingresskit.translate.ingress.classes import ClassTable
from ingresskit.translate.ingress.rules import rule_paths
from ingresskit.translate.lookups import LookedUp, Lookups, still_so
from ingresskit.translate.options import TranslateOptions

__all__ = ["ReferencedObjects"]


class _Read(NamedTuple):
    ingress: Ingress
    looked_up: tuple[LookedUp, ...]


class ReferencedObjects:
    """Finds what the dialects look up, in one snapshot after another; remembers what each Ingress named.

    Args:
        options: Which Ingresses are ours, and the dialects.
    """

    def __init__(self, options: TranslateOptions) -> None:
        self._options = options
        self._known: dict[ObjectKey, _Read] = {}

    def find(self, snapshot: Snapshot) -> Mapping[type[KubeObject], frozenset[ObjectKey]]:
        """The objects that our Ingresses name, by kind; they need not exist. The operator's ConfigMaps too.

        An object may name others, so a snapshot in which it is there may lead to more.
        """
        registry = self._options.policies
        found: dict[type[KubeObject], set[ObjectKey]] = {ConfigMap: set(registry.settings)}
        if not registry.kinds:
            return {}
        table = ClassTable.of(snapshot.by_key(IngressClass), self._options)
        namespaces = snapshot.by_key(Namespace)
        before, after = self._known, dict[ObjectKey, _Read]()
        for key, ingress in snapshot.by_key(Ingress).items():
            known = before.get(key)
            if known is None or known.ingress is not ingress or not still_so(snapshot, known.looked_up):
                known = _Read(ingress, self._read(ingress, snapshot))
            after[key] = known
            if not known.looked_up:
                continue
            namespace = namespaces.get(ObjectKey("", key.namespace))
            labels: Mapping[str, str] = namespace.metadata.labels if namespace is not None else {}
            if table.judge(ingress, labels, self._options).ours:
                for kind, name, _ in known.looked_up:
                    if not is_fetched_name(name.name):
                        found.setdefault(kind, set()).add(name)
        self._known = after
        return {kind: frozenset(keys) for kind, keys in found.items() if keys}

    def _read(self, ingress: Ingress, snapshot: Snapshot) -> tuple[LookedUp, ...]:
        lookups = Lookups(snapshot)
        # What a dialect raises is reported where it costs something: by the translator.
        with suppress(Exception):
            self._options.policies.read(
                ingress.metadata.annotations, ingress.ref, lookups, paths=rule_paths(ingress)
            )
        return lookups.found
