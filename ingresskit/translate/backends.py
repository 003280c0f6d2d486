"""From a Service to where requests go.

Two questions are kept apart, because their answers change at different times: whether a backend
*exists* depends on the Service alone and shapes the routes; which *endpoints* it has depends on the
slices and never touches a route.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import Backend, BackendKey, Protocol
from ingresskit.models import (
    ObjectKey,
    ObjectRef,
    Service,
    ServicePort,
    Snapshot,
    SnapshotChanges,
)
from ingresskit.policies import ForeignAnnotations, NearBy, Reading
from ingresskit.translate.claims import BackendFault, ServiceRef
from ingresskit.translate.destinations import DestinationPolicy
from ingresskit.translate.endpoints import EndpointTable
from ingresskit.translate.places import NOWHERE, Place

__all__ = ["FIRST_PORT", "BackendTable", "Resolution", "ResolvedBackend"]

_EXTERNAL_NAME = "ExternalName"

_MOST_PORTS_TOLD = 8
# Ports times addresses is what a backend costs, and both are a tenant's to write. Slices made by
# Kubernetes have 100 ports at most.
_MOST_SERVICE_PORTS = 256

_NOTHING_LOST = Reading()

FIRST_PORT = 0
"""Stands for the number of the first port of a Service, where its name alone is given."""

_Ports = dict["str | int", ServicePort]

_PROTOCOLS: Mapping[str, Protocol] = {
    "": Protocol.HTTP,
    "http": Protocol.HTTP,
    "ws": Protocol.HTTP,
    "kubernetes.io/ws": Protocol.HTTP,
    "https": Protocol.HTTPS,
    "wss": Protocol.HTTPS,
    "kubernetes.io/wss": Protocol.HTTPS,
    "h2c": Protocol.H2C,
    "kubernetes.io/h2c": Protocol.H2C,
    "grpc": Protocol.GRPC,
    "grpcs": Protocol.GRPCS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Whether the backend that a rule names exists: a key, or why not."""

    key: BackendKey | None = None
    fault: BackendFault | None = None
    service: ObjectRef


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedBackend:
    """A backend with its endpoints, and what was wrong with some of them."""

    backend: Backend
    diagnostics: tuple[Diagnostic, ...] = ()


class BackendTable:
    """Decides both for one snapshot after another, working out only what changed.

    Give it each snapshot with `advance`, in order; ask then.

    Args:
        destinations: Which addresses are let through.
        foreign: Judges the annotations of Services, of which none is read; ``None``: nothing is said of them.
        place: Where the proxy runs.

    Attributes:
        changed_services: The Services that the last `advance` found new, gone or changed.
        forgotten: The Services whose backends it forgot: those, and others whose endpoints changed.
    """

    def __init__(
        self,
        destinations: DestinationPolicy,
        foreign: ForeignAnnotations | None = None,
        place: Place = NOWHERE,
    ) -> None:
        self._destinations = destinations
        self._foreign = foreign
        self._services: Mapping[ObjectKey, Service] = {}
        self._endpoints = EndpointTable(destinations, place)
        self._ports: dict[ObjectKey, _Ports] = {}
        self._resolutions: dict[ObjectKey, dict[tuple[str | int, str], Resolution]] = {}
        self._backends: dict[ObjectKey, dict[BackendKey, ResolvedBackend]] = {}
        self.changed_services: frozenset[ObjectKey] = frozenset()
        self.forgotten: frozenset[ObjectKey] = frozenset()

    def advance(self, snapshot: Snapshot, changes: SnapshotChanges) -> None:
        """Look at *snapshot* from now on; forget what was worked out for Services that changed."""
        services = snapshot.by_key(Service)
        self.changed_services = changes.of(Service)
        for key in self.changed_services:
            self._ports.pop(key, None)
            self._resolutions.pop(key, None)
            self._backends.pop(key, None)
        moved = frozenset(self._endpoints.advance(snapshot, changes))
        for key in moved:
            self._backends.pop(key, None)
        self.forgotten = self.changed_services | moved
        self._services = services

    def service(self, key: ObjectKey) -> Service | None:
        """The Service with that key, or ``None``."""
        return self._services.get(key)

    def resolve(self, ref: ServiceRef) -> Resolution:
        """Whether the backend exists; the same object for as long as its Service does not change."""
        known = self._resolutions.setdefault(ref.service, {})
        place = (ref.port, ref.protocol)
        if (found := known.get(place)) is None:
            found = known[place] = self._resolve(ref)
        return found

    def backend(self, key: BackendKey) -> ResolvedBackend:
        """The endpoints of a backend that exists; the same object for as long as they do not change."""
        known = self._backends.setdefault(ObjectKey(key.namespace, key.service), {})
        if (found := known.get(key)) is None:
            found = known[key] = self._backend(key)
        return found

    def of_service(self, backend: Backend) -> tuple[Backend, tuple[Diagnostic, ...]]:
        """*backend* with the address of its Service as the only endpoint, and what is wrong with that address.

        Itself where the Service has none, as a headless one.
        """
        key = backend.key
        service = self._services.get(ObjectKey(key.namespace, key.service))
        if service is None or service.spec.type == _EXTERNAL_NAME:
            return backend, ()
        port = self._port(service, key.port) or ServicePort(port=key.port)
        diagnostics: list[Diagnostic] = []
        found = self._endpoints.of_service(service, port, diagnostics)
        if found is None:
            return backend, ()
        endpoints, note = found
        return replace(backend, endpoints=endpoints, note=note), tuple(diagnostics)

    def near(self, backend: Backend, wanted: NearBy) -> Backend:
        """*backend* with the endpoints that *wanted* prefers; itself where it has names instead."""
        key = backend.key
        service = self._services.get(ObjectKey(key.namespace, key.service))
        if service is None or service.spec.type == _EXTERNAL_NAME:
            return backend
        port = self._port(service, key.port) or ServicePort(port=key.port)
        # What is wrong with some of them was said of all of them.
        endpoints, note = self._endpoints.collect(service, port, [], wanted)
        return replace(backend, endpoints=endpoints, note=note)

    def _resolve(self, ref: ServiceRef) -> Resolution:
        about = ObjectRef(Service.kind, ref.service)
        service = self._services.get(ref.service)
        if service is None:
            return _fault(about, Reason.SERVICE_NOT_FOUND, f"Service {ref.service} does not exist")
        if (closed := self._judged(service).protection_fault) is not None:
            message = f"{closed.field} of Service {ref.service} would protect it and is not read"
            return _fault(about, closed.reason, message)
        external = service.spec.type == _EXTERNAL_NAME
        if external and not self._destinations.external_names:
            message = f"Service {ref.service} is of type ExternalName, which is not allowed"
            message += " (see destinations.external_names)"
            return _fault(about, Reason.EXTERNAL_NAME_REFUSED, message)
        port = self._port(service, ref.port)
        if port is None and external and isinstance(ref.port, int) and not service.spec.ports:
            port = ServicePort(port=ref.port)  # such a Service needs no ports: the number is meant as it is
        if port is None or not 0 < port.port < 65536:
            ports = service.spec.ports
            has = ", ".join(map(_port_text, ports[:_MOST_PORTS_TOLD])) or "none"
            if len(ports) > _MOST_PORTS_TOLD:
                has += f" and {len(ports) - _MOST_PORTS_TOLD} more"
            what = f" named {ref.port!r}" if isinstance(ref.port, str) else f" {ref.port}" if ref.port else ""
            message = f"Service {ref.service} has no port{what}; it has {has}"
            message += _port_advice(ports, ref.port)
            if len(ports) > _MOST_SERVICE_PORTS:
                message += f"; no more than {_MOST_SERVICE_PORTS} of them are looked at"
            return _fault(about, Reason.SERVICE_PORT_NOT_FOUND, message)
        if (port.protocol or "TCP") != "TCP":
            message = f"port {port.port} of Service {ref.service} is {port.protocol}, not TCP"
            return _fault(about, Reason.SERVICE_PORT_NOT_FOUND, message)
        return Resolution(key=BackendKey(*ref.service, port.port, ref.protocol), service=about)

    def _judged(self, service: Service) -> Reading:
        """What is lost of the annotations of a Service: some controllers read them there, this one does not."""
        if self._foreign is None or not service.metadata.annotations:
            return _NOTHING_LOST
        return self._foreign.judge(service.metadata.annotations, service.ref)

    def _port(self, service: Service, wanted: str | int) -> ServicePort | None:
        if (ports := self._ports.get(service.key)) is None:
            ports = self._ports[service.key] = _ports_of(service)
        return ports.get(wanted)

    def _backend(self, key: BackendKey) -> ResolvedBackend:
        service = self._services[ObjectKey(key.namespace, key.service)]
        port = self._port(service, key.port) or ServicePort(port=key.port)
        protocol = _PROTOCOLS.get((port.app_protocol or "").lower())
        diagnostics: list[Diagnostic] = [*self._judged(service).diagnostics]
        if key.protocol:
            protocol = Protocol(key.protocol)
        elif protocol is None:
            protocol = Protocol.HTTP
            diagnostics.append(_unknown_protocol(service, port))
        elif _seems_tls(port):
            diagnostics.append(_plain_to_tls(service, port))
        if service.spec.type == _EXTERNAL_NAME:
            endpoints, note = self._endpoints.external(service, port, diagnostics)
        else:
            endpoints, note = self._endpoints.collect(service, port, diagnostics)
        return ResolvedBackend(
            backend=Backend(
                key=key, endpoints=endpoints, protocol=protocol, note=note, place=_place(service, port)
            ),
            diagnostics=tuple(diagnostics),
        )


def _ports_of(service: Service) -> _Ports:
    """The ports by name and by number. One number may be there for TCP and for UDP; only TCP can be served."""
    found: _Ports = {}
    looked_at = service.spec.ports[:_MOST_SERVICE_PORTS]
    for port in sorted(looked_at, key=lambda port: (port.protocol or "TCP") != "TCP"):
        found.setdefault(FIRST_PORT, port)
        found.setdefault(port.port, port)
        if port.name is not None:
            found.setdefault(port.name, port)
    return found


def _port_advice(ports: Sequence[ServicePort], wanted: str | int) -> str:
    """A hint at the port that was meant, for a name or number that does not exist."""
    if isinstance(wanted, str) and any(str(port.port) == wanted for port in ports):
        return f"; write it as port.number: {wanted}"
    for port in ports:
        if wanted == port.target_port:
            return f"; that is the targetPort of {_port_text(port)}, which is to be named"
    return ""


def _port_text(port: ServicePort) -> str:
    return f"{port.port} ({port.name})" if port.name else str(port.port)


def _fault(service: ObjectRef, reason: Reason, message: str) -> Resolution:
    return Resolution(fault=BackendFault(reason=reason, message=message), service=service)


def _place(service: Service, port: ServicePort) -> str:
    """Where a port stands in its Service; empty when it is none of its own."""
    return f"spec.ports[{service.spec.ports.index(port)}]" if port in service.spec.ports else ""


def _seems_tls(port: ServicePort) -> bool:
    """Whether a port that says nothing of its protocol is called like one that speaks TLS."""
    names = (port.name, port.target_port)
    return not port.app_protocol and (
        443 in (port.port, port.target_port)
        or any(isinstance(name, str) and name.lower().startswith("https") for name in names)
    )


def _plain_to_tls(service: Service, port: ServicePort) -> Diagnostic:
    return Diagnostic(
        subject=service.ref,
        field=_place(service, port),
        reason=Reason.PLAIN_HTTP_TO_TLS_PORT,
        message=(
            f"port {_port_text(port)} looks like one that speaks TLS, but has no appProtocol, so plain HTTP is"
            " spoken; an endpoint that expects TLS responds 400 or closes the connection (502): set appProtocol"
            " to https, or to http if that is meant"
        ),
        severity=Severity.WARNING,
    )


def _unknown_protocol(service: Service, port: ServicePort) -> Diagnostic:
    return Diagnostic(
        subject=service.ref,
        field=f"spec.ports[{service.spec.ports.index(port)}].appProtocol",
        reason=Reason.PROTOCOL_UNSUPPORTED,
        message=f"the protocol {port.app_protocol!r} is not known; HTTP is spoken",
        severity=Severity.WARNING,
    )
