"""Whether requests are answered here as ingress-nginx answers them: a model of it is asked, and a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain

from ingresskit.filters import PolicyEffects
from ingresskit.filters.chain import BUILTIN_EFFECTS
from ingresskit.graph import PathRefused, Request, RouteGraph, normalise_path
from ingresskit.migrate.analyse import options_for, served_by_ingress_nginx
from ingresskit.migrate.difference import STAND_IN
from ingresskit.migrate.flags import ControllerFlags
from ingresskit.migrate.model import IngressNginxModel, Prediction
from ingresskit.migrate.probes import Probes, probes_of, request_key
from ingresskit.migrate.verdicts import Verdict, verdicts_of
from ingresskit.models import (
    ConfigMap,
    Ingress,
    KubeObject,
    ObjectKey,
    ObjectMeta,
    ObjectRef,
    Service,
    ServicePort,
    ServiceSpec,
)
from ingresskit.render import Restricted
from ingresskit.translate import translate

__all__ = ["Agreement", "Comparison", "Proof", "prove"]


class Agreement(StrEnum):
    """How two answers to one request compare. Values are stable."""

    SAME = "same"
    """The client and the endpoint see the same, as far as the request decides."""
    DIFFERENT = "different"
    """Another response, another Service, another path."""
    LOST = "lost"
    """ingress-nginx sends it to an endpoint, and here it is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A request that is answered differently.

    Attributes:
        request: The request.
        agreement: `Agreement.DIFFERENT` or `Agreement.LOST`.
        there: What ingress-nginx does with it.
        here: What may be done with it here.
        why: How they differ, a clause.
        reason: What is reported of the Ingress that may explain it; empty: nothing is.
    """

    request: Request
    agreement: Agreement
    there: Prediction
    here: tuple[Verdict, ...]
    why: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What came of all requests.

    Attributes:
        asked: How many there were.
        same: How many are answered alike.
        differences: The others, of each host and kind of difference the first.
        by_ingress: For each Ingress that took a request there, how many are the same, and not.
    """

    asked: int = 0
    same: int = 0
    differences: tuple[Comparison, ...] = ()
    by_ingress: dict[ObjectRef, tuple[int, int]] = field(default_factory=dict[ObjectRef, tuple[int, int]])

    @property
    def unexplained(self) -> tuple[Comparison, ...]:
        """The differences that nothing reported explains."""
        return tuple(item for item in self.differences if not item.reason)


def prove(
    objects: Iterable[KubeObject],
    flags: ControllerFlags | None = None,
    *,
    served: Iterable[KubeObject] | None = None,
    requests: Iterable[Request] = (),
    probes: Probes | None = None,
    restrict: Callable[[RouteGraph], Restricted] | None = None,
    effects: PolicyEffects = BUILTIN_EFFECTS,
) -> Proof:
    """Compare what ingress-nginx does with requests, by a model, with what is done here.

    Args:
        objects: As for `ingresskit.migrate.analyse`. A Service that is not among them is taken to be there.
        flags: Those that ingress-nginx is run with; ``None``: its defaults.
        served: What is served here; ``None``: the same objects.
        requests: Requests beside those that are made, such as those of an access log.
        probes: Which requests are made for each host; by default 50 of each.
        restrict: That of the renderer whose limits count; ``None``: nothing limits.
        effects: What policies do.
    """
    flags = flags or ControllerFlags()
    snapshot, settings = served_by_ingress_nginx(_with_services(objects), flags)
    given = translate(snapshot, options_for(flags, settings), now=datetime.now(UTC))
    ours = [item for item in snapshot.by_key(Ingress).values() if item.ref not in given.not_ours]
    config = None if settings is None else snapshot.get(ConfigMap, settings)
    model = IngressNginxModel(ours, {} if config is None else config.data, flags)
    translation = given
    if served is not None:
        snapshot, settings = served_by_ingress_nginx(_with_services(served), flags)
        translation = translate(snapshot, options_for(flags, settings), now=datetime.now(UTC))
    graph = translation.graph if restrict is None else restrict(translation.graph).graph
    graph = _with_endpoints(graph)
    reported: dict[ObjectRef, str] = {}
    for item in translation.diagnostics:
        reported.setdefault(item.subject, f"{item.reason}: {item.message}")
    asked = same = 0
    found: dict[tuple[str, str], Comparison] = {}
    counts: dict[ObjectRef, tuple[int, int]] = {}
    # What is no longer asked for here is shown by requests for what is asked for there.
    graphs = (graph,) if served is None else (given.graph, graph)
    for request in _all(graphs, requests, probes or Probes(most_per_host=50)):
        asked += 1
        there, here = model.predict(request), verdicts_of(graph, request, effects=effects)
        difference = _difference(graph, there, here)
        if there.ingress is not None:
            alike, other = counts.get(there.ingress, (0, 0))
            counts[there.ingress] = (alike + (not difference), other + bool(difference))
        if not difference:
            same += 1
            continue
        refused = here[0].status is not None and here[0].status >= 400
        lost = there.status is None and refused
        key = (request.host, difference)
        if key not in found:
            reason = _quirk(request, there, here[0])
            if not reason and there.ingress is not None:
                reason = reported.get(there.ingress, "")
            found[key] = Comparison(
                request=request,
                agreement=Agreement.LOST if lost else Agreement.DIFFERENT,
                there=there,
                here=here,
                why=difference,
                reason=reason,
            )
    return Proof(asked=asked, same=same, differences=tuple(found.values()), by_ingress=counts)


def _with_services(objects: Iterable[KubeObject]) -> list[KubeObject]:
    """*objects* and a stand-in for each Service that an Ingress names and that is not among them."""
    given = list(objects)
    there = {item.key for item in given if isinstance(item, Service)}
    ports: dict[ObjectKey, dict[ServicePort, None]] = {}
    for ingress in given:
        if not isinstance(ingress, Ingress):
            continue
        paths = [path for rule in ingress.spec.rules if rule.http is not None for path in rule.http.paths]
        default = ingress.spec.default_backend
        for backend in (*(path.backend for path in paths), *([] if default is None else [default])):
            if backend.service is None:
                continue
            key = ObjectKey(ingress.metadata.namespace, backend.service.name)
            asked = backend.service.port
            number = asked.number or 80 + len(ports.get(key, {}))
            ports.setdefault(key, {})[ServicePort(port=number, name=asked.name or "")] = None
    given += (
        Service(
            metadata=ObjectMeta(namespace=key.namespace, name=key.name),
            spec=ServiceSpec(ports=tuple(found)),
        )
        for key, found in ports.items()
        if key not in there
    )
    return given


def _all(graphs: Iterable[RouteGraph], requests: Iterable[Request], probes: Probes) -> Iterator[Request]:
    """The requests for all hosts of *graphs*, and *requests*, each once."""
    made = (request for graph in graphs for host in graph.by_host for request in probes_of(graph, host, probes))
    seen: set[object] = set()
    for request in chain(made, requests):
        key = request_key(request)
        if key not in seen:
            seen.add(key)
            yield request


def _with_endpoints(graph: RouteGraph) -> RouteGraph:
    """*graph* with an endpoint behind every backend: which Services have some is another question."""
    backends = {key: replace(item, endpoints=STAND_IN, note="") for key, item in graph.backends.items()}
    return replace(graph, backends=backends)


def _difference(graph: RouteGraph, there: Prediction, here: tuple[Verdict, ...]) -> str:
    """How the two differ, a clause; empty when they do not."""
    first, *others = here
    if there.open and others:
        services = {name.rpartition(":")[0] for item in here for name, _ in item.backends}
        return "" if there.service in services else f"{there.service} gets none of such requests"
    if there.open and first.status in (401, 403):
        return ""
    if there.status != first.status:
        return f"{_shown(there.status)} there, {_shown(first.status)} here"
    if there.status is not None:
        return (
            ""
            if _same_target(there.location, first.location)
            else f"to {there.location} there, to {first.location} here"
        )
    services = {name.rpartition(":")[0] for name, _ in first.backends}
    if services != {there.service}:
        return f"{there.service} there, {', '.join(sorted(services))} here"
    path = first.path.partition("?")[0]
    if _normal(there.path, graph) != _normal(path, graph):
        return f"the path {there.path} there, {path} here"
    if there.host != first.upstream_host:
        return f"the host {there.host or 'of the client'} there, {first.upstream_host or 'of the client'} here"
    return ""


def _quirk(request: Request, there: Prediction, here: Verdict) -> str:
    """What ingress-nginx does by accident and is not done here; empty where it is no such thing."""
    if there.status == 301 and there.location.partition("?")[0].endswith(f"{request.path}/"):
        return "nginx adds the slash at the end of a path by a redirect; here the path is served as it is"
    if there.status == 413 and here.status == 302:
        return "nginx judges the length of a body before app-root redirects it"
    return ""


def _shown(status: int | None) -> str:
    return "an endpoint's response" if status is None else str(status)


def _same_target(there: str, here: str) -> bool:
    """Whether two locations lead to the same place: one may be a path only, and 443 need not be named."""
    plain = [text.replace(":443/", "/") for text in (there, here)]
    return (
        plain[0] == plain[1]
        or (here.startswith("/") and there.endswith(here))
        or _trimmed(plain[0]) == _trimmed(plain[1])
    )


def _trimmed(text: str) -> str:
    return text.rstrip("/?")


def _normal(path: str, graph: RouteGraph) -> str:
    try:
        return normalise_path(path, graph.paths)
    except PathRefused:
        return path
