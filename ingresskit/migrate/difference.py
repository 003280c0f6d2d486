"""What differs between two graphs: their parts, and the requests that they answer differently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Final, assert_never

from ingresskit.filters import PolicyEffects
from ingresskit.filters.chain import BUILTIN_EFFECTS
from ingresskit.graph import (
    Action,
    Backend,
    Certificate,
    Endpoint,
    Forward,
    Redirect,
    Request,
    Respond,
    Route,
    RouteGraph,
    StreamRoute,
    VirtualHost,
    diff,
)
from ingresskit.migrate.probes import Probes, probes_of, request_key
from ingresskit.migrate.verdicts import Verdict, verdicts_of
from ingresskit.policies import Policy, PolicySet

__all__ = ["STAND_IN", "ChangeKind", "Difference", "NodeChange", "RequestChange", "compare"]

STAND_IN: Final = (Endpoint(address="192.0.2.1", port=80),)  # RFC 5737: nobody's


class ChangeKind(StrEnum):
    """What became of a part. Values are stable."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeChange:
    """A part of a graph that the other one does not have, or has otherwise.

    Attributes:
        part: ``"host"``, ``"route"``, ``"backend"``, ``"certificate"``, ``"server name"`` or ``"setting"``.
        name: Which one: ``"shop.test"``, ``"shop.test Prefix /cart"``, ``"shop/web:80"``.
        kind: What became of it.
        details: What is different, a clause each; may be empty for what came or went whole.
    """

    part: str
    name: str
    kind: ChangeKind
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        details = f": {'; '.join(self.details)}" if self.details else ""
        return f"{self.kind} {self.part} {self.name}{details}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestChange:
    """A request that the two graphs answer differently.

    Attributes:
        request: The request.
        before: What the old graph may do with it.
        after: What the new one may.
    """

    request: Request
    before: tuple[Verdict, ...]
    after: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What differs between two graphs. False: nothing.

    Attributes:
        nodes: The parts, hosts first; each kind sorted by name.
        requests: The requests, by host in the order of the graphs, the plainest first.
        asked: How many requests were tried.
    """

    nodes: tuple[NodeChange, ...] = ()
    requests: tuple[RequestChange, ...] = ()
    asked: int = 0

    def __bool__(self) -> bool:
        return bool(self.nodes or self.requests)


def compare(
    old: RouteGraph,
    new: RouteGraph,
    *,
    effects: PolicyEffects = BUILTIN_EFFECTS,
    probes: Probes | None = None,
    most_requests: int = 5,
) -> Difference:
    """What is different in *new*, and requests that show it.

    Which endpoint gets a request is no difference. A backend that has none in either graph is taken to have
    one: what routes do shows all the same.

    Args:
        old: What is served.
        new: What would be.
        effects: What policies do.
        probes: Which requests are tried, those of both graphs for every host that differs.
        most_requests: Of each host, how many that are answered differently are in the result.
    """
    nodes = tuple(_nodes(old, new))
    hosts = _touched_hosts(old, new)
    found: list[RequestChange] = []
    asked = 0
    served = _with_endpoints(old, new)
    for host in hosts:
        shown = 0
        for request in _both(old, new, host, probes):
            asked += 1
            before, after = (verdicts_of(graph, request, effects=effects) for graph in served)
            if before != after:
                shown += 1
                if shown <= most_requests:
                    found.append(RequestChange(request=request, before=before, after=after))
    return Difference(nodes=nodes, requests=tuple(found), asked=asked)


def _with_endpoints(old: RouteGraph, new: RouteGraph) -> tuple[RouteGraph, RouteGraph]:
    """Both, with a stand-in where a backend has no endpoint in either."""
    graphs = (old, new)
    idle = {
        key
        for graph in graphs
        for key in graph.backends
        if not any(other.backends[key].endpoints for other in graphs if key in other.backends)
    }
    first, second = (
        replace(
            graph,
            backends={
                key: replace(item, endpoints=STAND_IN, note="") if key in idle else item
                for key, item in graph.backends.items()
            },
        )
        for graph in graphs
    )
    return first, second


def _both(old: RouteGraph, new: RouteGraph, host: str, probes: Probes | None) -> Iterator[Request]:
    seen: set[object] = set()
    for graph in (old, new):
        for request in probes_of(graph, host, probes):
            key = request_key(request)
            if key not in seen:
                seen.add(key)
                yield request


def _touched_hosts(old: RouteGraph, new: RouteGraph) -> list[str]:
    """Hosts that differ, or one of whose backends has or lost endpoints; wider hosts than those that came."""
    found = diff(old, new)
    touched = {*found.hosts.added, *found.hosts.removed, *found.hosts.changed}
    moved = {*found.backends.added, *found.backends.removed, *found.backends.changed}
    whole = found.settings
    order = dict.fromkeys((*old.by_host, *new.by_host))
    return [
        host
        for host in order
        if whole
        or host in touched
        or any(
            not moved.isdisjoint(route.action.keys)
            for graph in (old, new)
            if (known := graph.virtual_host(host)) is not None
            for route in known.routes
            if isinstance(route.action, Forward)
        )
    ]


def _nodes(old: RouteGraph, new: RouteGraph) -> Iterator[NodeChange]:
    found = diff(old, new)
    for name in found.hosts.added:
        yield NodeChange(part="host", name=name, kind=ChangeKind.ADDED)
    for name in found.hosts.removed:
        yield NodeChange(part="host", name=name, kind=ChangeKind.REMOVED)
    for name in sorted((*found.hosts.added, *found.hosts.removed, *found.hosts.changed)):
        before, after = old.virtual_host(name), new.virtual_host(name)
        if before is not None and after is not None and (details := tuple(_host_details(before, after))):
            yield NodeChange(part="host", name=name, kind=ChangeKind.CHANGED, details=details)
        yield from _routes(name, before, after)
    for key in found.backends.added:
        yield NodeChange(part="backend", name=str(key), kind=ChangeKind.ADDED)
    for key in found.backends.removed:
        yield NodeChange(part="backend", name=str(key), kind=ChangeKind.REMOVED)
    for key in found.backends.changed:
        details = tuple(_backend_details(old.backends[key], new.backends[key]))
        if details:
            yield NodeChange(part="backend", name=str(key), kind=ChangeKind.CHANGED, details=details)
    for kind, keys in (
        (ChangeKind.ADDED, found.certificates.added),
        (ChangeKind.REMOVED, found.certificates.removed),
        (ChangeKind.CHANGED, found.certificates.changed),
    ):
        for secret in keys:
            details = tuple(_certificate_details(old.certificates.get(secret), new.certificates.get(secret)))
            yield NodeChange(part="certificate", name=str(secret), kind=kind, details=details)
    for kind, names in (
        (ChangeKind.ADDED, found.server_names.added),
        (ChangeKind.REMOVED, found.server_names.removed),
        (ChangeKind.CHANGED, found.server_names.changed),
    ):
        for name in names:
            was, now = (_certificate(graph, name) for graph in (old, new))
            details = () if kind is not ChangeKind.CHANGED else (f"from {was} to {now}",)
            yield NodeChange(part="server name", name=name, kind=kind, details=details)
    settings: tuple[tuple[str, object, object], ...] = (
        ("default certificate", old.default_certificate, new.default_certificate),
        ("host fall-through", old.host_fallthrough, new.host_fallthrough),
        ("normal form of paths", old.paths, new.paths),
    )
    for setting, value, other in settings:
        if value != other:
            changed = (f"{value} to {other}",)
            yield NodeChange(part="setting", name=setting, kind=ChangeKind.CHANGED, details=changed)


def _certificate_details(before: Certificate | None, after: Certificate | None) -> Iterator[str]:
    if before is None or after is None:
        known = after or before
        if known is not None:
            yield f"for {', '.join(known.names)}"
            yield f"valid until {known.not_after:%Y-%m-%d}"
        return
    yield from _counted("also for", [name for name in after.names if name not in before.names])
    yield from _counted("no longer for", [name for name in before.names if name not in after.names])
    if before.not_after != after.not_after:
        yield f"valid until {after.not_after:%Y-%m-%d}, not {before.not_after:%Y-%m-%d}"


def _certificate(graph: RouteGraph, name: str) -> str:
    key = graph.server_names.get(name)
    return "the default certificate" if key is None else f"Secret {key}"


def _host_details(before: VirtualHost, after: VirtualHost) -> Iterator[str]:
    if before.tls != after.tls:
        yield "has TLS settings now" if after.tls else "has no TLS settings any longer"
    if before.stream != after.stream:
        ways = ("end here" if host.stream is None else _stream(host.stream) for host in (before, after))
        yield "TLS connections {} before, now {}".format(*ways)
    if before.owner != after.owner:
        yield f"owner from {before.owner or 'nobody'} to {after.owner or 'nobody'}"
    yield from _policy_details(before.policies, after.policies)


def _routes(host: str, before: VirtualHost | None, after: VirtualHost | None) -> Iterator[NodeChange]:
    old, new = (
        {route.key: route for route in known.routes} if known is not None else {} for known in (before, after)
    )
    for key in dict.fromkeys((*old, *new)):
        was, now = old.get(key), new.get(key)
        if was is None and now is not None:
            yield NodeChange(
                part="route",
                name=f"{host} {now.shown}",
                kind=ChangeKind.ADDED,
                details=(_action(now.action), f"from {now.origin}"),
            )
        elif now is None and was is not None:
            yield NodeChange(
                part="route",
                name=f"{host} {was.shown}",
                kind=ChangeKind.REMOVED,
                details=(_action(was.action), f"from {was.origin}"),
            )
        elif was is not None and now is not None and (details := tuple(_route_details(was, now))):
            yield NodeChange(part="route", name=f"{host} {now.shown}", kind=ChangeKind.CHANGED, details=details)


def _route_details(before: Route, after: Route) -> Iterator[str]:
    if before.action != after.action:
        yield f"{_action(before.action)} before, now {_action(after.action)}"
    if before.origin.subject != after.origin.subject:
        yield f"from {before.origin.subject} before, now from {after.origin.subject}"
    if before.order != after.order:
        yield "another order of policies"
    yield from _policy_details(before.policies, after.policies)


def _stream(stream: StreamRoute) -> str:
    action = stream.action
    return f"go on {_action(action)}" if isinstance(action, Forward) else "are closed"


def _action(action: Action) -> str:
    match action:
        case Forward(backends=shares):
            names = (f"{key}, weight {weight}" if len(shares) > 1 else str(key) for key, weight in shares)
            return f"to {'; '.join(names)}"
        case Redirect(location=location, status=status):
            return f"{status} to {location}"
        case Respond(status=status, message=message):
            return f"{status} ({message})" if message else str(status)
        case _:
            assert_never(action)


def _policy_details(before: PolicySet, after: PolicySet) -> Iterator[str]:
    for kind in sorted({type(item) for item in (*before, *after)}, key=lambda kind: kind.__name__):
        was, now = before.get(kind), after.get(kind)
        if was is None and now is not None:
            yield f"+ {now}"
        elif now is None and was is not None:
            yield f"- {was}"
        elif was is not None and now is not None and was != now:
            yield f"{kind.__name__}: {', '.join(_field_details(was, now))}"


def _field_details(before: Policy, after: Policy) -> Iterator[str]:
    secret = {name for name, annotation in type(before).annotations().items() if annotation.secret}
    for item in fields(before):
        was: object = getattr(before, item.name)
        now: object = getattr(after, item.name)
        if was != now:
            # Values may be credentials where the field is not in the policy's own repr.
            hidden = item.name in secret or not item.repr
            yield f"{item.name} is another one" if hidden else f"{item.name} from {was!r} to {now!r}"


def _backend_details(before: Backend, after: Backend) -> Iterator[str]:
    if before.protocol is not after.protocol:
        yield f"speaks {after.protocol}, not {before.protocol}"
    old, new = (
        {f"{item.address}:{item.port}": item for item in backend.endpoints} for backend in (before, after)
    )
    yield from _counted("endpoint added", [name for name in new if name not in old])
    yield from _counted("endpoint removed", [name for name in old if name not in new])
    yield from _counted("endpoint changed", [name for name in new if name in old and old[name] != new[name]])
    if not after.endpoints and before.endpoints:
        yield f"has no endpoint any longer{f': {after.note}' if after.note else ''}"
    yield from _policy_details(before.policies, after.policies)


def _counted(what: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        yield f"{what}: {', '.join(names[:5])}{more}"
