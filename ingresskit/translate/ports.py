"""Further ports: the ConfigMaps with plain TCP and UDP services, in the form of ingress-nginx.

    "9000": "NAMESPACE/SERVICE:PORT[:PROXY[:PROXY]]"

The first ``PROXY`` lets clients open with a PROXY protocol header, the second sends one to endpoints. The
operator names these ConfigMaps, so they may name Services of every namespace.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from ingresskit._ledger import Ledger
from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import Backend, BackendKey, Close, Forward, Protocol, StreamRoute, WeightedBackend
from ingresskit.models import ConfigMap, ObjectKey, ObjectRef, Service, Snapshot
from ingresskit.policies import Origin, PolicySet
from ingresskit.translate.backend_plane import HostChange
from ingresskit.translate.backends import BackendTable, Resolution
from ingresskit.translate.claims import ServiceRef
from ingresskit.translate.options import TranslateOptions

__all__ = ["PortTable"]

_NAME: Final = r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?"
_TARGET: Final = re.compile(rf"({_NAME})/({_NAME}):([A-Za-z0-9-]{{1,63}})(?::(PROXY)?)?(?::(PROXY)?)?")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_FORM: Final = (
    "NAMESPACE/SERVICE:PORT, maybe with :PROXY behind it to read, and a second one to send PROXY headers"
)
_NOTHING: Final[Mapping[BackendKey, PolicySet]] = {}
_UDP: Final = (
    "UDP is not served: datagrams need a table of flows and a bound for it, which no renderer has here;"
    " a Service of type LoadBalancer takes UDP without a proxy"
)


class PortTable:
    """The further ports of one snapshot after another.

    Args:
        options: Names the ConfigMaps.
        table: Finds backends.
        notes: Gets what is wrong with entries, one Diagnostic for each.

    Attributes:
        ports: By number, what is done with connections; the same object for as long as nothing changes.
    """

    def __init__(
        self, options: TranslateOptions, table: BackendTable, notes: Ledger[ObjectRef, Diagnostic]
    ) -> None:
        self._options = options
        self._table = table
        self._notes = notes
        self._read: tuple[ConfigMap | None, dict[ServiceRef, Resolution]] | None = None
        self._udp: ConfigMap | None = None
        self._needs: Mapping[str, Mapping[BackendKey, PolicySet]] = {}
        self._empty: tuple[Diagnostic, ...] = ()
        self.ports: Mapping[int, StreamRoute] = {}

    def advance(self, snapshot: Snapshot) -> Mapping[str, HostChange]:
        """Read the ConfigMaps again where they changed; the changes of what needs backends."""
        options = self._options
        if options.udp_services is not None:
            udp = snapshot.get(ConfigMap, options.udp_services)
            if udp is not self._udp:
                self._udp = udp
                self._notes.put("udp services", () if udp is None else _refused_udp(udp))
        if options.tcp_services is None:
            return {}
        config = snapshot.get(ConfigMap, options.tcp_services)
        if self._read is not None and self._read[0] is config and self._still_resolved(self._read[1]):
            return {}
        diagnostics: list[Diagnostic] = []
        resolutions: dict[ServiceRef, Resolution] = {}
        ports: dict[int, StreamRoute] = {}
        if config is None:
            diagnostics.append(_missing(options.tcp_services))
        else:
            ports = dict(self._entries(config, resolutions, diagnostics))
        self._read = (config, resolutions)
        self._notes.put("tcp services", diagnostics)
        before = self._needs
        self._needs = {f"tcp:{port}": _needs(stream) for port, stream in ports.items()}
        if ports != self.ports:
            self.ports = dict(sorted(ports.items()))
        return {
            name: HostChange(before.get(name, _NOTHING), self._needs.get(name, _NOTHING), None)
            for name in {*before, *self._needs}
            if before.get(name, _NOTHING) != self._needs.get(name, _NOTHING)
        }

    def report(self, backends: Mapping[BackendKey, Backend]) -> None:
        """Warn of each port that no endpoint stands behind."""
        if not self.ports and not self._empty:
            return
        empty = tuple(_without_endpoints(self.ports, backends))
        if empty != self._empty:
            self._empty = empty
            self._notes.put("tcp services without endpoints", empty)

    def _still_resolved(self, resolutions: Mapping[ServiceRef, Resolution]) -> bool:
        return all(self._table.resolve(ref) == before for ref, before in resolutions.items())

    def _entries(
        self, config: ConfigMap, resolutions: dict[ServiceRef, Resolution], diagnostics: list[Diagnostic]
    ) -> Iterator[tuple[int, StreamRoute]]:
        for key, text in sorted(config.data.items()):
            origin = Origin(config.ref, f"data[{key}]")
            if not _PORT.fullmatch(key) or int(key) > 65535:
                diagnostics.append(
                    _fault(origin, Reason.OBJECT_INVALID, f"{key[:80]!a} is not a port, 1 to 65535")
                )
                continue
            port = int(key)
            if port in self._options.own_ports:
                message = f"port {port} is one that the proxy takes requests at; the entry is not served"
                diagnostics.append(_fault(origin, Reason.ROUTE_CONFLICT, message))
                continue
            found = _TARGET.fullmatch(text.strip())
            if found is None:
                diagnostics.append(_fault(origin, Reason.OBJECT_INVALID, f"{text[:200]!a} must be {_FORM}"))
                continue
            number = found[3]
            ref = ServiceRef(
                service=ObjectKey(found[1], found[2]),
                port=int(number) if number.isdigit() else number,
                protocol=str(Protocol.TCP),
            )
            resolution = resolutions[ref] = self._table.resolve(ref)
            action: Forward | Close
            if resolution.key is None or resolution.fault is not None:
                reason = Reason.SERVICE_NOT_FOUND if resolution.fault is None else resolution.fault.reason
                message = "" if resolution.fault is None else resolution.fault.message
                diagnostics.append(_fault(origin, reason, f"{message}; connections to port {port} are closed"))
                action = Close(reason=reason, message=message)
            else:
                action = Forward(backends=(WeightedBackend(resolution.key),))
            yield (
                port,
                StreamRoute(
                    action=action, origin=origin, accepts_proxy=bool(found[4]), sends_proxy=bool(found[5])
                ),
            )


def _needs(stream: StreamRoute) -> Mapping[BackendKey, PolicySet]:
    return {key: PolicySet() for key in stream.action.keys} if isinstance(stream.action, Forward) else _NOTHING


def _without_endpoints(
    ports: Mapping[int, StreamRoute], backends: Mapping[BackendKey, Backend]
) -> Iterator[Diagnostic]:
    for port, stream in ports.items():
        if not isinstance(stream.action, Forward):
            continue
        found = [backends[key] for key in stream.action.keys if key in backends]
        if found and not any(item.endpoints for item in found):
            yield Diagnostic(
                subject=stream.origin.subject,
                field=stream.origin.field,
                reason=Reason.NO_ENDPOINTS,
                message=f"{found[0].note}; connections to port {port} are closed",
                severity=Severity.WARNING,
                related=(ObjectRef(Service.kind, ObjectKey(found[0].key.namespace, found[0].key.service)),),
            )


def _refused_udp(config: ConfigMap) -> Iterator[Diagnostic]:
    for key in sorted(config.data):
        yield _fault(Origin(config.ref, f"data[{key}]"), Reason.PROTOCOL_UNSUPPORTED, _UDP)


def _missing(key: ObjectKey) -> Diagnostic:
    origin = Origin(ObjectRef(ConfigMap.kind, key), "")
    message = "it is not there; no connection to a further port is taken"
    return _fault(origin, Reason.CONFIG_MAP_NOT_FOUND, message, Severity.WARNING)


def _fault(origin: Origin, reason: Reason, message: str, severity: Severity = Severity.ERROR) -> Diagnostic:
    return Diagnostic(
        subject=origin.subject, field=origin.field, reason=reason, message=message, severity=severity
    )
