"""What nginx cannot read, found before it is written: it costs the part it stands in, and is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import Redirect, Respond, Route, RouteGraph, VirtualHost
from ingresskit.policies import Origin, Policy, PolicySet, RequestHeaders, ResponseHeaders
from ingresskit.render.nginx.tree import TextRefused, Value, token

__all__ = ["Limits"]


_OWN_FIELDS: Final = frozenset(("date", "server"))


class Limits:
    """Takes out of graphs what nginx cannot read in its files. Remembers hosts that it has looked at."""

    def __init__(self) -> None:
        self._hosts: dict[str, tuple[VirtualHost, VirtualHost, tuple[Diagnostic, ...]]] = {}

    def restrict(self, graph: RouteGraph, diagnostics: list[Diagnostic]) -> RouteGraph:
        """*graph* without what nginx cannot read, itself when that is nothing; *diagnostics* gets each loss."""
        hosts = {host.host: self._host(host) for host in graph.virtual_hosts}
        self._hosts = hosts
        changed = False
        for before, after, lost in hosts.values():
            changed = changed or before is not after
            diagnostics += lost
        if not changed:
            return graph
        return replace(graph, virtual_hosts=tuple([after for _, after, _ in hosts.values()]))

    def _host(self, host: VirtualHost) -> tuple[VirtualHost, VirtualHost, tuple[Diagnostic, ...]]:
        known = self._hosts.get(host.host)
        if known is not None and known[0] is host:
            return known
        lost: list[Diagnostic] = []
        looked_at: dict[PolicySet, PolicySet] = {}
        routes = tuple(_route(route, looked_at, lost) for route in host.routes)
        unchanged = all(new is old for new, old in zip(routes, host.routes, strict=True))
        return host, host if unchanged else replace(host, routes=routes), tuple(lost)


def _route(route: Route, looked_at: dict[PolicySet, PolicySet], lost: list[Diagnostic]) -> Route:
    policies = looked_at.get(route.policies)
    if policies is None:
        policies = looked_at[route.policies] = _own_fields(route, _policies(route, lost), lost)
    if policies is not route.policies:
        route = replace(route, policies=policies)
    action = route.action
    if isinstance(action, Redirect) and (fault := _fault(action.location)):
        message = f"the place to redirect to {fault}"
        _tell(lost, route, "", f"{message}; the route responds 503", Severity.ERROR)
        action = Respond(status=503, reason=Reason.POLICY_UNSUPPORTED, message=message)
        return replace(route, action=action)
    return route


def _policies(route: Route, lost: list[Diagnostic]) -> PolicySet:
    policies = route.policies
    kinds: tuple[type[RequestHeaders | ResponseHeaders], ...] = (RequestHeaders, ResponseHeaders)
    for kind in kinds:
        policy = policies.get(kind)
        faults = [(name, fault) for name, value in policy.set if (fault := _fault(value))] if policy else []
        if faults:
            name, fault = faults[0]
            message = f"the value of the field {name} {fault}; no field is set or removed"
            _tell(lost, route, _field(policies, kind), message, Severity.WARNING)
            policies = policies.without(kind)
    return policies


def _own_fields(route: Route, policies: PolicySet, lost: list[Diagnostic]) -> PolicySet:
    """*policies* without the fields of answers that nginx writes itself, whatever it is told."""
    policy = policies.get(ResponseHeaders)
    if policy is None:
        return policies
    kept = replace(
        policy,
        set=tuple(item for item in policy.set if item[0].lower() not in _OWN_FIELDS),
        remove=tuple(name for name in policy.remove if name.lower() not in _OWN_FIELDS),
    )
    if kept == policy:
        return policies
    for name, before, after in (("set", policy.set, kept.set), ("remove", policy.remove, kept.remove)):
        if before != after:
            origin = policies.origin(ResponseHeaders, name)
            message = "the fields Server and Date of an answer are nginx's own in files; they are left alone"
            _tell(lost, route, origin.field if origin is not None else "", message, Severity.WARNING)
    origins: dict[type[Policy], Mapping[str, Origin]] = {ResponseHeaders: policies.origins(ResponseHeaders)}
    return policies.merged(PolicySet([kept], origins))


def _field(policies: PolicySet, kind: type[Policy]) -> str:
    origin = policies.origin(kind, "set")
    return origin.field if origin is not None else ""


def _tell(lost: list[Diagnostic], route: Route, field: str, message: str, severity: Severity) -> None:
    lost.append(
        Diagnostic(
            subject=route.origin.subject,
            field=field or route.origin.field,
            reason=Reason.POLICY_UNSUPPORTED,
            message=message,
            severity=severity,
        )
    )


def _fault(text: str) -> str:
    """Why *text* cannot be written where variables are expanded, as a clause; empty when it can."""
    if len(text) < 500 and text.isalnum():
        return ""
    try:
        token(Value(text))
    except TextRefused as exc:
        return str(exc)
    return ""
