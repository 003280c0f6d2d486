"""The TCP and UDP services of ingress-nginx, entry by entry: a port, and the Service that its clients get.

Source: ingress-nginx documentation, "Exposing TCP and UDP services":
``"9000": "default/example-go:8080:PROXY:PROXY"``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ingresskit.migrate.flags import FLAGS, ControllerFlags
from ingresskit.models import ConfigMap, ObjectKey, ObjectRef, Service, Snapshot

__all__ = ["StreamEntry", "stream_entries"]

_KINDS: Final = {"tcp-services-configmap": "TCP", "udp-services-configmap": "UDP"}
_INSTEAD: Final = "give {} port {} a Service of type LoadBalancer or NodePort of its own"
_ENTRY: Final = re.compile(
    r"(?P<namespace>[^/:\s]+)/(?P<name>[^/:\s]+):(?P<port>[^/:\s]+)(?P<more>(:(PROXY)?){0,2})", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEntry:
    """An entry of such a ConfigMap.

    Attributes:
        flag: The flag that names the ConfigMap.
        subject: The ConfigMap.
        port: As written.
        value: As written.
        fault: Why the entry itself has no effect at ingress-nginx either; empty: it has.
        unread: Whether the ConfigMap was not given; there is no port and no value then.
        missing: Whether it names a Service that was not given, where others were.
        lost: Why it has no effect here, and what there is instead; empty: it has.
    """

    flag: str
    subject: ObjectRef
    port: str = ""
    value: str = ""
    unread: bool = False
    fault: str = ""
    missing: bool = False
    lost: str = ""


def stream_entries(flags: ControllerFlags, snapshot: Snapshot) -> Iterator[StreamEntry]:
    """The entries of the ConfigMaps that *flags* name, as far as they were given; TCP first, by port."""
    services = snapshot.by_key(Service)
    for flag, kind in _KINDS.items():
        namespace, _, name = flags.values.get(flag, "").partition("/")
        if not namespace or not name:
            continue
        subject = ObjectRef(ConfigMap.kind, ObjectKey(namespace, name))
        config = snapshot.get(ConfigMap, subject.key)
        if config is None:
            yield StreamEntry(flag=flag, subject=subject, unread=True)
            continue
        doc = FLAGS[flag]
        for port, value in sorted(config.data.items(), key=lambda entry: (len(entry[0]), entry[0])):
            found = _ENTRY.fullmatch(value.strip())
            fault = "" if found else f"{value[:80]!r} is not NAMESPACE/SERVICE:PORT"
            if not port.isdecimal() or not 0 < int(port) < 65536:
                fault = f"{port[:80]!r} is not a port"
            key = ObjectKey(found["namespace"], found["name"]) if found else None
            yield StreamEntry(
                flag=flag,
                subject=subject,
                port=port,
                value=value,
                fault=fault,
                missing=key is not None and bool(services) and key not in services,
                lost=f"{doc.note}; {_INSTEAD.format(kind, port)}" if doc.lost else "",
            )
