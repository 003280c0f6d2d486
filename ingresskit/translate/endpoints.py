"""Which addresses the endpoints of a Service have now: from EndpointSlices, Endpoints or an external name."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import Endpoint
from ingresskit.models import (
    EndpointHints,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    ObjectKey,
    ObjectRef,
    Service,
    ServicePort,
    SliceEndpoint,
    Snapshot,
    SnapshotChanges,
)
from ingresskit.policies import NearBy
from ingresskit.translate.destinations import DestinationPolicy
from ingresskit.translate.places import NOWHERE, Place, near

__all__ = ["EndpointTable"]


# RFC 6761, section 6.3, and what Linux distributions put into /etc/hosts.
_THIS_MACHINE = ("localhost", "localdomain", "localhost6", "localdomain6")

# Ports times addresses is what a backend costs, and both are a tenant's to write.
_MOST_CANDIDATES = 50_000
_MOST_NAMES_SHOWN = 8
_MOST_ADDRESSES_KNOWN = 100_000

_SlicePorts = dict[str, list[tuple[int, EndpointPort]]]


class EndpointTable:
    """Finds the endpoints of Services in one snapshot after another.

    Give it each snapshot with `advance`, in order; ask then.

    Args:
        destinations: Which addresses are let through.
        place: Where the proxy runs.
    """

    def __init__(self, destinations: DestinationPolicy, place: Place = NOWHERE) -> None:
        self._destinations = destinations
        self._near = place
        self._slice_objects: Mapping[ObjectKey, EndpointSlice] = {}
        self._endpoints_objects: Mapping[ObjectKey, Endpoints] = {}
        self._slices: dict[ObjectKey, dict[ObjectKey, EndpointSlice]] = {}
        self._slice_ports: dict[ObjectKey, tuple[EndpointSlice, _SlicePorts]] = {}
        self._addresses: dict[str, _Address] = {}

    def advance(self, snapshot: Snapshot, changes: SnapshotChanges) -> set[ObjectKey]:
        """Look at *snapshot* from now on.

        Returns:
            The Services whose endpoints may be others than before.
        """
        slices, endpoints = snapshot.by_key(EndpointSlice), snapshot.by_key(Endpoints)
        touched = set(changes.of(Endpoints))
        for key in changes.of(EndpointSlice):
            old, new = self._slice_objects.get(key), slices.get(key)
            if new is None:
                self._slice_ports.pop(key, None)
            if old is not None and old.service is not None:
                touched.add(old.service)
                held = self._slices[old.service]
                del held[key]
                if not held:
                    del self._slices[old.service]
            if new is not None and new.service is not None:
                touched.add(new.service)
                self._slices.setdefault(new.service, {})[key] = new
        self._slice_objects, self._endpoints_objects = slices, endpoints
        return touched

    def collect(
        self,
        service: Service,
        port: ServicePort,
        diagnostics: list[Diagnostic],
        wanted: NearBy = NearBy.HINTS,
    ) -> tuple[tuple[Endpoint, ...], str]:
        """The endpoints of a port that are near enough.

        Without any, why, as a clause. Adds what is wrong to *diagnostics*.
        """
        ready: dict[tuple[bytes, int], _Candidate] = {}
        draining: dict[tuple[bytes, int], _Candidate] = {}
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
            chosen.setdefault(place, candidate)
        used = [(ready or draining)[key] for key in sorted(ready or draining)]
        if ready and self._near != NOWHERE:
            # As kube-proxy has it: where none is ready, whatever still serves is near enough.
            used = list(near(used, self._near, wanted, service.spec.traffic_distribution))
        if used:
            return tuple(map(_endpoint, used)), ""
        if total:
            return (), f"none of the {total} endpoints of Service {service.key} is ready"
        return (), self._why_none(service, port)

    def of_service(
        self, service: Service, port: ServicePort, diagnostics: list[Diagnostic]
    ) -> tuple[tuple[Endpoint, ...], str] | None:
        """The address of a Service itself, as `collect` gives endpoints; ``None`` where it has none."""
        address = service.spec.cluster_ip
        if not address or address == "None":
            return None
        judged = self._judged(address)
        if judged.fault:
            diagnostics.append(_refused(service.ref, "spec.clusterIP", f"{address!r} {judged.fault}"))
            return (), f"the address of Service {service.key} is not allowed"
        return (Endpoint(address=judged.text, port=port.port),), ""

    def _why_none(self, service: Service, port: ServicePort) -> str:
        """Why a port of a Service has no endpoint at all, as a clause. The ports are matched by name."""
        names = sorted({name for name, addresses in self._port_names(service.key) if addresses})
        if not names or (port.name or "") in names:
            return f"Service {service.key} has no endpoints"
        shown = [ascii(name) if name else "one without a name" for name in names[:_MOST_NAMES_SHOWN]]
        more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
        what = f"named {port.name!r}" if port.name else "without a name"
        return (
            f"the endpoints of Service {service.key} have no port {what}, as its port {port.port} is;"
            f" they have {', '.join(shown)}{more}"
        )

    def _port_names(self, key: ObjectKey) -> Iterator[tuple[str, bool]]:
        """The names of the TCP ports of a Service's endpoints, and whether any address has them."""
        if slices := self._slices.get(key):
            for item in slices.values():
                for port in item.ports:
                    if (port.protocol or "TCP") == "TCP" and port.port:
                        yield port.name or "", bool(item.endpoints)
        elif (legacy := self._endpoints_objects.get(key)) is not None:
            for subset in legacy.subsets:
                for port in subset.ports:
                    if (port.protocol or "TCP") == "TCP":
                        yield port.name or "", bool(subset.addresses or subset.not_ready_addresses)

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
            message = f"addresses of type {item.address_type!r} are not allowed, only IPv4 and IPv6"
            diagnostics.append(_refused(item.ref, "addressType", message))
            return
        for index, port in self._named_ports(item, port_name):
            if port.port is None:
                diagnostics.append(_undeclared(item.ref, f"ports[{index}].port"))
                continue
            if not 0 < port.port < 65536:
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

    def external(
        self, service: Service, port: ServicePort, diagnostics: list[Diagnostic]
    ) -> tuple[tuple[Endpoint, ...], str]:
        """The one endpoint of an ExternalName Service, as `collect` gives its own."""
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
            return (), f"the external name of Service {service.key} is not allowed"
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
    node: str | None = None
    hints: EndpointHints | None = None


def _endpoint(candidate: _Candidate) -> Endpoint:
    return Endpoint(
        address=candidate.address.text,
        port=candidate.port,
        zone=candidate.zone,
        draining=not candidate.ready,
    )


def _candidate(endpoint: SliceEndpoint, address: _Address, port: int) -> _Candidate:
    """Source: EndpointConditions: unknown ``ready`` is ready, unknown ``serving`` is what ``ready`` is."""
    conditions = endpoint.conditions
    if conditions is None:
        return _Candidate(
            address=address,
            port=port,
            ready=True,
            zone=endpoint.zone,
            node=endpoint.node_name,
            hints=endpoint.hints,
        )
    ready = conditions.ready is not False
    serving = ready if conditions.serving is None else conditions.serving
    return _Candidate(
        address=address,
        port=port,
        ready=ready,
        draining=serving and conditions.terminating is True,
        zone=endpoint.zone,
        node=endpoint.node_name,
        hints=endpoint.hints,
    )


def _refused(subject: ObjectRef, field: str, message: str) -> Diagnostic:
    return Diagnostic(subject=subject, field=field, reason=Reason.ADDRESS_REFUSED, message=message)


def _undeclared(subject: ObjectRef, field: str) -> Diagnostic:
    """Source: the endpoint slice controller writes no number for a target port that the pods do not declare."""
    return Diagnostic(
        subject=subject,
        field=field,
        reason=Reason.NO_ENDPOINTS,
        message=(
            "it has no number: the pods of this slice declare no container port with the name that the"
            " targetPort of the Service has; they get no requests"
        ),
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
