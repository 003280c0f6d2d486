"""Which Secrets the Ingresses of a snapshot name, for sources that fetch Secrets one by one."""

from __future__ import annotations

from collections.abc import Mapping

from ingresskit.models import Ingress, IngressClass, Namespace, ObjectKey, Snapshot
from ingresskit.translate.ingress.classes import ClassTable
from ingresskit.translate.options import TranslateOptions

__all__ = ["named_secrets"]


def named_secrets(snapshot: Snapshot, options: TranslateOptions | None = None) -> frozenset[ObjectKey]:
    """The Secrets that our Ingresses name in ``spec.tls``, and the default certificate. They need not exist."""
    options = options or TranslateOptions()
    table = ClassTable.of(snapshot.by_key(IngressClass), options)
    namespaces = snapshot.by_key(Namespace)
    named: set[ObjectKey] = set()
    if options.default_certificate is not None:
        named.add(options.default_certificate)
    for key, ingress in snapshot.by_key(Ingress).items():
        wanted = {entry.secret_name for entry in ingress.spec.tls if entry.secret_name}
        if not wanted:
            continue
        namespace = namespaces.get(ObjectKey("", key.namespace))
        labels: Mapping[str, str] = namespace.metadata.labels if namespace is not None else {}
        if table.judge(ingress, labels, options).ours:
            named |= {ObjectKey(key.namespace, name) for name in wanted}
    return frozenset(named)
