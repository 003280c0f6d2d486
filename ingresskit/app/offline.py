"""A folder carried through the pipeline once, and its report, line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice

from ingresskit.app.reading import Assumptions, read_manifests
from ingresskit.app.renderers import GraphLimits
from ingresskit.diagnostics import Diagnostic, Reason, Severity, sorted_diagnostics
from ingresskit.filters import Explanation, PolicyEffects
from ingresskit.graph import (
    BackendKey,
    Forward,
    Redirect,
    Respond,
    Route,
    RouteGraph,
    redirects_to_tls,
)
from ingresskit.models import (
    Endpoints,
    EndpointSlice,
    HostClaims,
    Ingress,
    ObjectKey,
    ObjectRef,
    Service,
)
from ingresskit.translate import TranslateOptions, translate

__all__ = ["Offline", "diagnostic_lines", "explanation_lines", "graph_lines"]

_MOST_ENDPOINTS = 10
_MOST_STRANGERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """A folder of manifests, carried through the pipeline once.

    Attributes:
        graph: What would be served.
        diagnostics: All of them, those of the renderer included; sorted.
        ingresses: How many Ingresses the folder holds.
        claims: Which namespace would hold which host.
        ours: How many of them are of this controller.
        notes: What there is to know about the folder as a whole, a sentence each.
        files: For each object, the path of its file.
        places: For each object, where it was read: ``"web.yaml, document 2"``.
        effects: What the policies do in the renderer.
    """

    graph: RouteGraph
    diagnostics: tuple[Diagnostic, ...]
    ingresses: int
    ours: int
    notes: tuple[str, ...]
    files: Mapping[ObjectRef, str]
    places: Mapping[ObjectRef, str]
    claims: HostClaims
    effects: PolicyEffects

    @classmethod
    def load(
        cls, paths: Sequence[str], options: TranslateOptions, renderer: GraphLimits, assume: Assumptions
    ) -> Offline:
        """Read *paths*, and translate what they hold and restrict it to what a renderer can do.

        Args:
            paths: As of `read_manifests`.
            options: What decides how the objects are translated.
            renderer: Whose limits count.
            assume: What is assumed beside the manifests.

        Raises:
            SourceError: One of them cannot be read, or there is nothing in any of them.
        """
        manifests = read_manifests(paths, options, assume)
        snapshot = manifests.snapshot
        translation = translate(snapshot, options, now=datetime.now(UTC))
        restricted = renderer.restrict(translation.graph)
        ingresses, strangers = len(snapshot.by_key(Ingress)), translation.not_ours
        diagnostics = sorted_diagnostics((*translation.diagnostics, *restricted.diagnostics))
        notes = [*manifests.notes]
        notes += [f"{ref} is not of this controller: {why}" for ref, why in _some(strangers)]
        if len(strangers) > _MOST_STRANGERS:
            notes.append(f"{len(strangers) - _MOST_STRANGERS} more Ingresses are not of this controller")
        if strangers and len(strangers) == ingresses:
            notes.append(
                "no Ingress is of this controller: one is when its IngressClass is in the folder and has"
                f" spec.controller {options.controller_name}, or when its annotation"
                f" kubernetes.io/ingress.class is {options.ingress_class};"
                " --assume-class NAME takes a class to be ours"
            )
        if not snapshot.by_key(EndpointSlice) and not snapshot.by_key(Endpoints):
            kept = tuple(item for item in diagnostics if item.reason is not Reason.NO_ENDPOINTS)
            if len(kept) < len(diagnostics):
                notes.append(
                    "the folder has no EndpointSlices, which a cluster makes: no backend has endpoints here,"
                    " and none is reported for that; --assume-endpoints gives each Service one"
                )
            diagnostics = kept
        return cls(
            graph=restricted.graph,
            diagnostics=diagnostics,
            ingresses=ingresses,
            ours=ingresses - len(strangers),
            notes=tuple(notes),
            files=manifests.files,
            places=manifests.places,
            claims=_without_times(translation.claims),
            effects=renderer.effects,
        )

    def count(self, severity: Severity) -> int:
        """How many diagnostics have that severity."""
        return sum(item.severity is severity for item in self.diagnostics)


def _without_times(claims: HostClaims) -> HostClaims:
    """Nothing was held before this moment, and a dry run holds nothing."""
    return HostClaims(by_host={host: replace(claim, since=None) for host, claim in claims.by_host.items()})


def _some(strangers: Mapping[ObjectRef, str]) -> Iterable[tuple[ObjectRef, str]]:
    return islice(strangers.items(), _MOST_STRANGERS)


def diagnostic_lines(offline: Offline) -> Iterator[str]:
    """A line for each diagnostic: file and document, severity, reason, object, field, message."""
    for item in offline.diagnostics:
        place = offline.places.get(item.subject)
        yield f"{place}: {item}" if place else str(item)


def graph_lines(graph: RouteGraph) -> Iterator[str]:
    """The graph for people: each host with its rules, in the order in which they are tried."""
    for host in graph.virtual_hosts:
        marks = [f"owned by {host.owner}"] if host.owner else []
        marks += ["TLS"] if host.tls else []
        yield f"{host.host}{' (' + ', '.join(marks) + ')' if marks else ''}"
        width = max((len(route.shown) for route in host.routes), default=0)
        for route in host.routes:
            tls = "308 to HTTPS, then " if redirects_to_tls(host, route) else ""
            yield f"  {route.shown:{width}}  {tls}{_action(graph, route)}  [{route.origin}]"
    for name, key in graph.server_names.items():
        if key is None:
            yield f"certificate for {name}: the default one"
            continue
        certificate = graph.certificates[key]
        yield f"certificate for {name}: Secret {key}, until {certificate.not_after:%Y-%m-%d}"


def _action(graph: RouteGraph, route: Route) -> str:
    match route.action:
        case Forward(backends=backends):
            weighted = len(backends) > 1
            return ", ".join(
                f"{_backend(graph, key)}{f', weight {weight}' if weighted else ''}" for key, weight in backends
            )
        case Redirect(status=status, location=location):
            return f"{status} to {location}"
        case Respond(status=status, message=message):
            return f"{status}: {message}" if message else str(status)


def _backend(graph: RouteGraph, key: BackendKey) -> str:
    backend = graph.backends[key]
    places = [f"{item.address}:{item.port}" for item in backend.endpoints]
    shown = [*places[:_MOST_ENDPOINTS], *(["…"] if len(places) > _MOST_ENDPOINTS else [])]
    return f"{key} ({', '.join(shown) or backend.note or 'no endpoints'})"


def _concerned(route: Route) -> frozenset[ObjectRef]:
    """The objects that decide what becomes of the requests of a route: its Ingress and its Services."""
    services: tuple[ObjectKey, ...] = ()
    if isinstance(route.action, Forward):
        services = tuple(ObjectKey(key.namespace, key.service) for key in route.action.keys)
    return frozenset((route.origin.subject, *(ObjectRef(Service.kind, key) for key in services)))


def _about_another_path(item: Diagnostic, route: Route) -> bool:
    """Whether a Diagnostic of the same Ingress is about another rule of it, or another path."""
    rule = "spec.rules["
    return item.field.startswith(rule) and not f"{item.field}.".startswith(f"{route.origin.field}.")


def explanation_lines(offline: Offline, explanation: Explanation) -> Iterator[str]:
    """An explanation for people: what happens, the rule that decides it, what is wrong there, near misses."""
    graph = offline.graph
    request, route = explanation.request, explanation.route
    yield f"{request.method} {request.scheme}://{explanation.host}{explanation.path}"
    yield f"  {explanation.verdict}"
    if route is not None:
        yield f"  rule: {route.shown} of {explanation.virtual_host}, from {route.origin}"
        yield f"  action: {_action(graph, route)}"
    if explanation.holder is not None:
        yield f"  host: {explanation.holder}"
    if route is not None:
        for policy in route.policies:
            yield f"  policy: {policy}"
        if explanation.order:
            yield f"  order: {', '.join(explanation.order)}"
        concerned = _concerned(route)
        for item in offline.diagnostics:
            if item.subject in concerned and not _about_another_path(item, route):
                yield f"  {item.severity}: {item.reason} {item.subject}, {item.field}: {item.message}"
    if shown := len(explanation.near_misses):
        total = explanation.near_miss_count
        yield f"near misses ({shown} of {total} shown):" if total > shown else "near misses:"
    for miss in explanation.near_misses:
        winner = f" (served instead: {miss.winner})" if miss.winner else ""
        yield f"  {miss.path or 'every path'} of {miss.host or 'any host'}, from {miss.origin}"
        yield f"    {miss.reason}: {miss.message}{winner}"
