"""From a Service and its EndpointSlices to where requests go.

Two questions are kept apart, because their answers change at different times: whether a backend
*exists* depends on the Service alone and shapes the routes; which *endpoints* it has depends on the
slices and never touches a route.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import Backend, BackendKey, Endpoint, Protocol
from ingresskit.models import (
    EndpointPort,
    Endpoints,
    EndpointSlice,
    ObjectKey,
    ObjectRef,
    Service,
    ServicePort,
    SliceEndpoint,
    Snapshot,
)
from ingresskit.translate.destinations import DestinationPolicy
from ingresskit.translate.rules import BackendFault, ServiceRef

__all__ = ["BackendTable", "Resolution", "ResolvedBackend"]

K = TypeVar("K")
V = TypeVar("V")

_EXTERNAL_NAME = "ExternalName"

# RFC 6761, section 6.3, and what Linux distributions put into /etc/hosts.
_THIS_MACHINE = ("localhost", "localdomain", "localhost6", "localdomain6")

_MOST_PORTS_TOLD = 8
# Ports times addresses is what a backend costs, and both are a tenant's to write. Slices made by
# Kubernetes have 100 ports at most.
_MOST_SERVICE_PORTS = 256
_MOST_CANDIDATES = 50_000
_MOST_ADDRESSES_KNOWN = 100_000

_Ports = dict["str | int", ServicePort]
_SlicePorts = dict[str, list[tuple[int, EndpointPort]]]

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
    "grpc": Protocol.H2C,
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
    """Answers both questions for one snapshot after another, working out only what changed.

    Give it each snapshot with `advance`, in order; ask then.

    Attributes:
        changed_services: The Services that the last `advance` found new, gone or changed.
    """

    def __init__(self, destinations: DestinationPolicy) -> None:
        self._destinations = destinations
        self._services: Mapping[ObjectKey, Service] = {}
        self._slice_objects: Mapping[ObjectKey, EndpointSlice] = {}
        self._endpoints_objects: Mapping[ObjectKey, Endpoints] = {}
        self._slices: dict[ObjectKey, dict[ObjectKey, EndpointSlice]] = {}
        self._ports: dict[ObjectKey, _Ports] = {}
        self._slice_ports: dict[ObjectKey, tuple[EndpointSlice, _SlicePorts]] = {}
        self._addresses: dict[str, _Address] = {}
        self._resolutions: dict[ObjectKey, dict[str | int, Resolution]] = {}
        self._backends: dict[ObjectKey, dict[int, ResolvedBackend]] = {}
        self.changed_services: frozenset[ObjectKey] = frozenset()

    def advance(self, snapshot: Snapshot) -> None:
        """Look at *snapshot* from now on; forget what was worked out for Services that changed."""
        services = snapshot.by_key(Service)
        slices = snapshot.by_key(EndpointSlice)
        endpoints = snapshot.by_key(Endpoints)
        self.changed_services = frozenset(key for key, _, _ in _changes(self._services, services))
        for key in self.changed_services:
            self._ports.pop(key, None)
            self._resolutions.pop(key, None)
            self._backends.pop(key, None)
        for key, old, new in _changes(self._slice_objects, slices):
            for item in (old, new):
                if item is not None and item.service is not None:
                    self._backends.pop(item.service, None)
            if new is None:
                self._slice_ports.pop(key, None)
            if old is not None and old.service is not None:
                self._slices.get(old.service, {}).pop(key, None)
            if new is not None and new.service is not None:
                self._slices.setdefault(new.service, {})[key] = new
        for key, _, _ in _changes(self._endpoints_objects, endpoints):
            self._backends.pop(key, None)
        self._services, self._slice_objects, self._endpoints_objects = services, slices, endpoints

    def service(self, key: ObjectKey) -> Service | None:
        """The Service with that key, or ``None``."""
        return self._services.get(key)

    def resolve(self, ref: ServiceRef) -> Resolution:
        """Whether the backend exists; the same object for as long as its Service does not change."""
        known = self._resolutions.setdefault(ref.service, {})
        if (found := known.get(ref.port)) is None:
            found = known[ref.port] = self._resolve(ref)
        return found

    def backend(self, key: BackendKey) -> ResolvedBackend:
        """The endpoints of a backend that exists; the same object for as long as they do not change."""
        known = self._backends.setdefault(ObjectKey(key.namespace, key.service), {})
        if (found := known.get(key.port)) is None:
            found = known[key.port] = self._backend(key)
        return found

    def _resolve(self, ref: ServiceRef) -> Resolution:
        about = ObjectRef(Service.kind, ref.service)
        service = self._services.get(ref.service)
        if service is None:
            return _fault(about, Reason.SERVICE_NOT_FOUND, f"there is no Service {ref.service}")
        external = service.spec.type == _EXTERNAL_NAME
        if external and not self._destinations.external_names:
            message = f"the Service {ref.service} is of type ExternalName, which is not let through"
            return _fault(about, Reason.EXTERNAL_NAME_REFUSED, message)
        port = self._port(service, ref.port)
        if port is None and external and isinstance(ref.port, int) and not service.spec.ports:
            port = ServicePort(port=ref.port)  # such a Service needs no ports: the number is meant as it is
        if port is None or not 0 < port.port < 65536:
            ports = service.spec.ports
            has = ", ".join(map(_port_text, ports[:_MOST_PORTS_TOLD])) or "none"
            if len(ports) > _MOST_PORTS_TOLD:
                has += f" and {len(ports) - _MOST_PORTS_TOLD} more"
            what = f"named {ref.port!r}" if isinstance(ref.port, str) else str(ref.port)
            message = f"the Service {ref.service} has no port {what}; it has {has}"
            if len(ports) > _MOST_SERVICE_PORTS:
                message += f"; no more than {_MOST_SERVICE_PORTS} of them are looked at"
            return _fault(about, Reason.SERVICE_PORT_NOT_FOUND, message)
        if (port.protocol or "TCP") != "TCP":
            message = f"port {port.port} of the Service {ref.service} is {port.protocol}, not TCP"
            return _fault(about, Reason.SERVICE_PORT_NOT_FOUND, message)
        return Resolution(key=BackendKey(*ref.service, port.port), service=about)

    def _port(self, service: Service, wanted: str | int) -> ServicePort | None:
        if (ports := self._ports.get(service.key)) is None:
            ports = self._ports[service.key] = _ports_of(service)
        return ports.get(wanted)

    def _backend(self, key: BackendKey) -> ResolvedBackend:
        service = self._services[ObjectKey(key.namespace, key.service)]
        port = self._port(service, key.port) or ServicePort(port=key.port)
        protocol = _PROTOCOLS.get((port.app_protocol or "").lower())
        diagnostics: list[Diagnostic] = []
        if protocol is None:
            protocol = Protocol.HTTP
            diagnostics.append(_unknown_protocol(service, port))
        if service.spec.type == _EXTERNAL_NAME:
            endpoints, note = self._external(service, port, diagnostics)
        else:
            endpoints, note = self._collect(service, port, diagnostics)
        return ResolvedBackend(
            backend=Backend(key=key, endpoints=endpoints, protocol=protocol, note=note),
            diagnostics=tuple(diagnostics),
        )

    def _collect(
        self, service: Service, port: ServicePort, diagnostics: list[Diagnostic]
    ) -> tuple[tuple[Endpoint, ...], str]:
        ready: dict[tuple[bytes, int], Endpoint] = {}
        draining: dict[tuple[bytes, int], Endpoint] = {}
        total = 0
        for candidate in self._candidates(service.key, port.name or "", diagnostics):
            if total == _MOST_CANDIDATES:
                message = f"it has more than {_MOST_CANDIDATES} endpoints; the others get no requests"
                diagnostics.append(_refused(service.ref, "", message))
                break
            total += 1
            chosen = ready if candidate.ready else draining if candidate.draining else None
            if chosen is None:
                continue
            place = (candidate.address.packed, candidate.port)
            if place not in chosen:
                chosen[place] = Endpoint(
                    address=candidate.address.text,
                    port=candidate.port,
                    zone=candidate.zone,
                    draining=not candidate.ready,
                )
        used = ready or draining
        if used:
            return tuple(used[key] for key in sorted(used)), ""
        if total:
            return (), f"none of the {total} endpoints of the Service {service.key} is ready"
        return (), f"the Service {service.key} has no endpoints"

    def _candidates(
        self, key: ObjectKey, port_name: str, diagnostics: list[Diagnostic]
    ) -> Iterator[_Candidate]:
        slices = self._slices.get(key)
        if slices:
            for _, item in sorted(slices.items()):
                yield from self._slice_candidates(item, port_name, diagnostics)
        elif (legacy := self._endpoints_objects.get(key)) is not None:
            yield from self._legacy_candidates(legacy, port_name, diagnostics)

    def _slice_candidates(
        self, item: EndpointSlice, port_name: str, diagnostics: list[Diagnostic]
    ) -> Iterator[_Candidate]:
        if item.address_type not in ("IPv4", "IPv6"):
            message = f"addresses of type {item.address_type!r} are not let through, only IPv4 and IPv6"
            diagnostics.append(_refused(item.ref, "addressType", message))
            return
        for index, port in self._named_ports(item, port_name):
            if port.port is None or not 0 < port.port < 65536:
                message = f"the port {port.port} is not from 1 to 65535"
                diagnostics.append(_refused(item.ref, f"ports[{index}].port", message))
                continue
            for number, endpoint in enumerate(item.endpoints):
                if not endpoint.addresses:
                    continue
                address = self._judged(endpoint.addresses[0])
                if address.fault:
                    message = f"{endpoint.addresses[0]!r} {address.fault}"
                    diagnostics.append(_refused(item.ref, f"endpoints[{number}].addresses[0]", message))
                    continue
                yield _candidate(endpoint, address, port.port)

    def _named_ports(self, item: EndpointSlice, name: str) -> Iterable[tuple[int, EndpointPort]]:
        """The TCP ports of a slice with that name, and where they stand."""
        known = self._slice_ports.get(item.key)
        if known is None or known[0] is not item:
            ports: dict[str, list[tuple[int, EndpointPort]]] = {}
            for index, port in enumerate(item.ports):
                if (port.protocol or "TCP") == "TCP":
                    ports.setdefault(port.name or "", []).append((index, port))
            known = self._slice_ports[item.key] = (item, ports)
        return known[1].get(name, ())

    def _judged(self, text: str) -> _Address:
        """An address, judged once: a slice is read for each port, and addresses come back."""
        if (known := self._addresses.get(text)) is not None:
            return known
        if len(self._addresses) >= _MOST_ADDRESSES_KNOWN:
            self._addresses.clear()
        if fault := self._destinations.fault(text):
            known = _Address(fault=fault)
        else:
            parsed = ipaddress.ip_address(text)
            known = _Address(packed=parsed.packed, text=str(parsed))
        self._addresses[text] = known
        return known

    def _legacy_candidates(
        self, item: Endpoints, port_name: str, diagnostics: list[Diagnostic]
    ) -> Iterator[_Candidate]:
        for number, subset in enumerate(item.subsets):
            for port in subset.ports:
                wrong = port.port is None or not 0 < port.port < 65536
                if (port.name or "") != port_name or (port.protocol or "TCP") != "TCP" or wrong:
                    continue
                both = [(address, True) for address in subset.addresses]
                both += [(address, False) for address in subset.not_ready_addresses]
                for address, ready in both:
                    judged = self._judged(address.ip)
                    if judged.fault:
                        message = f"{address.ip!r} {judged.fault}"
                        diagnostics.append(_refused(item.ref, f"subsets[{number}].addresses", message))
                        continue
                    yield _Candidate(address=judged, port=port.port or 0, ready=ready)

    def _external(
        self, service: Service, port: ServicePort, diagnostics: list[Diagnostic]
    ) -> tuple[tuple[Endpoint, ...], str]:
        name = (service.spec.external_name or "").rstrip(".").lower()
        fault = self._destinations.fault(name)
        if fault == "is not an IP address":
            # A name: the proxy judges the addresses it gets for it. Spellings of addresses that only
            # resolvers understand ("127.1", "2130706433", "0x7f.1") are no names.
            labels = name.split(".")
            if len(name) > 253 or not all(map(_is_label, labels)) or _is_number(labels[-1]):
                fault = "is not a DNS name"
            elif labels[-1] in _THIS_MACHINE:
                fault = "is this machine, which no endpoint may be"
            else:
                fault = None
        if fault is not None:
            diagnostics.append(_refused(service.ref, "spec.externalName", f"{name!r} {fault}"))
            return (), f"the external name of the Service {service.key} is not let through"
        return (Endpoint(address=_shortest(name), port=port.port),), ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Address:
    """Why an address may not be a destination; else it in its shortest form."""

    fault: str = ""
    packed: bytes = b""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    address: _Address
    port: int
    ready: bool
    draining: bool = False
    zone: str | None = None


def _candidate(endpoint: SliceEndpoint, address: _Address, port: int) -> _Candidate:
    """Source: EndpointConditions: unknown ``ready`` is ready, unknown ``serving`` is what ``ready`` is."""
    conditions = endpoint.conditions
    if conditions is None:
        return _Candidate(address=address, port=port, ready=True, zone=endpoint.zone)
    ready = conditions.ready is not False
    serving = ready if conditions.serving is None else conditions.serving
    return _Candidate(
        address=address,
        port=port,
        ready=ready,
        draining=serving and conditions.terminating is True,
        zone=endpoint.zone,
    )


def _ports_of(service: Service) -> _Ports:
    """The ports by name and by number. One number may be there for TCP and for UDP; only TCP can be served."""
    found: _Ports = {}
    looked_at = service.spec.ports[:_MOST_SERVICE_PORTS]
    for port in sorted(looked_at, key=lambda port: (port.protocol or "TCP") != "TCP"):
        found.setdefault(port.port, port)
        if port.name is not None:
            found.setdefault(port.name, port)
    return found


def _port_text(port: ServicePort) -> str:
    return f"{port.port} ({port.name})" if port.name else str(port.port)


def _fault(service: ObjectRef, reason: Reason, message: str) -> Resolution:
    return Resolution(fault=BackendFault(reason=reason, message=message), service=service)


def _refused(subject: ObjectRef, field: str, message: str) -> Diagnostic:
    return Diagnostic(subject=subject, field=field, reason=Reason.ADDRESS_REFUSED, message=message)


def _unknown_protocol(service: Service, port: ServicePort) -> Diagnostic:
    return Diagnostic(
        subject=service.ref,
        field=f"spec.ports[{service.spec.ports.index(port)}].appProtocol",
        reason=Reason.PROTOCOL_UNSUPPORTED,
        message=f"the protocol {port.app_protocol!r} is not known; HTTP is spoken",
        severity=Severity.WARNING,
    )


def _shortest(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _is_label(label: str) -> bool:
    """A label of a DNS name; not exactly RFC 1123, but with no character that could mean something else."""
    return 0 < len(label) < 64 and label.isascii() and label.replace("-", "").isalnum()


def _is_number(label: str) -> bool:
    return label.isdigit() or label.startswith("0x")


def _changes(old: Mapping[K, V], new: Mapping[K, V]) -> Iterable[tuple[K, V | None, V | None]]:
    """Each key whose value is another object now, with both values."""
    if old is new:
        return
    for key, item in new.items():
        before = old.get(key)
        if before is not item:
            yield key, before, item
    for key, item in old.items():
        if key not in new:
            yield key, item, None
