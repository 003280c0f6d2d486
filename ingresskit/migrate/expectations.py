"""What is expected of each request: of ingress-nginx by the model, and of a graph; and how the two differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from itertools import chain
from typing import Final

from ingresskit.diagnostics import Reason
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
    Secret,
    Service,
    ServicePort,
    ServiceSpec,
)
from ingresskit.render import Restricted
from ingresskit.translate import translate

__all__ = ["Discrepancy", "Expectation", "Expectations"]

# Fields that are compared wherever one side sets them.
_WATCHED: Final = frozenset({"strict-transport-security", "x-forwarded-prefix"})
# It holds at ingress-nginx too, and here every Service has endpoints.
_NO_REASON: Final = frozenset(
    {
        *(Reason.NO_ENDPOINTS, Reason.SERVICE_NOT_FOUND, Reason.SERVICE_PORT_NOT_FOUND),
    }
)


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """How the two differ. False: they do not.

    Attributes:
        kind: ``"status"``, ``"location"``, ``"service"``, ``"share"``, ``"path"``, ``"host"``, ``"header"``,
            ``"limit"``, ``"question"`` or ``"passthrough"``; empty: they do not.
        why: A clause.
    """

    kind: str = ""
    why: str = ""

    def __bool__(self) -> bool:
        return bool(self.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What is expected of a request.

    Attributes:
        request: The request.
        there: What ingress-nginx does with it.
        here: What may be done with it here.
        discrepancy: How they differ.
        reason: What is reported that may explain it; empty: nothing is, or they do not differ.
    """

    request: Request
    there: Prediction
    here: tuple[Verdict, ...]
    discrepancy: Discrepancy
    reason: str = ""


class Expectations:
    """What is expected of requests.

    Args:
        objects: As for `ingresskit.migrate.analyse`. A Service that is not among them is taken to be there,
            and of ingress-nginx Secrets too.
        flags: Those that ingress-nginx is run with; ``None``: its defaults.
        served: What is served here; ``None``: the same objects.
        restrict: That of the renderer whose limits count; ``None``: nothing limits.
        effects: What policies do.
    """

    def __init__(
        self,
        objects: Iterable[KubeObject],
        flags: ControllerFlags | None = None,
        *,
        served: Iterable[KubeObject] | None = None,
        restrict: Callable[[RouteGraph], Restricted] | None = None,
        effects: PolicyEffects = BUILTIN_EFFECTS,
    ) -> None:
        flags = flags or ControllerFlags()
        snapshot, settings = served_by_ingress_nginx(_with_services(objects), flags)
        given = translate(snapshot, options_for(flags, settings), now=datetime.now(UTC))
        ours = [item for item in snapshot.by_key(Ingress).values() if item.ref not in given.not_ours]
        config = None if settings is None else snapshot.get(ConfigMap, settings)
        self._model = IngressNginxModel(
            ours,
            {} if config is None else config.data,
            flags,
            configs=snapshot.by_key(ConfigMap),
            secrets=snapshot.by_key(Secret),
            certificates={key: item.names for key, item in given.graph.certificates.items()},
        )
        translation = given
        if served is not None:
            snapshot, settings = served_by_ingress_nginx(_with_services(served), flags)
            translation = translate(snapshot, options_for(flags, settings), now=datetime.now(UTC))
        # Before the renderer takes endpoints away that it cannot speak with.
        graph = _with_endpoints(translation.graph)
        restricted = Restricted(graph=graph) if restrict is None else restrict(graph)
        self._graph = restricted.graph
        self._effects = effects
        canary = f"{flags.prefix}/canary"
        self._canary_tls: frozenset[str] = frozenset(
            host
            for item in ours
            if item.metadata.annotations.get(canary, "").strip().lower() == "true"
            for entry in item.spec.tls
            for host in (entry.hosts or [rule.host for rule in item.spec.rules])
            if host
        )
        self._reported: dict[ObjectRef, str] = {}
        for item in (*translation.diagnostics, *restricted.diagnostics):
            if item.reason in _NO_REASON or item.field.startswith("spec.tls"):
                continue
            self._reported.setdefault(item.subject, f"{item.reason}: {item.message}")
        # What is no longer asked for here is shown by requests for what is asked for there.
        self._graphs = (self._graph,) if served is None else (given.graph, self._graph)

    def requests(self, more: Iterable[Request], probes: Probes) -> Iterator[Request]:
        """The requests that are made for all hosts, and *more*, each once."""
        made = (
            request
            for graph in self._graphs
            for host in graph.by_host
            for request in probes_of(graph, host, probes)
        )
        seen: set[object] = set()
        for request in chain(made, more):
            key = request_key(request)
            if key not in seen:
                seen.add(key)
                yield request

    def of(self, request: Request) -> Expectation:
        """What is expected of *request*."""
        there = self._model.predict(request)
        here = verdicts_of(self._graph, request, effects=self._effects)
        found = _discrepancy(self._graph, there, here)
        reason = ""
        if found:
            reason = _quirk(request, there, here[0])
            secured = request.scheme == "http" and here[0].location.startswith("https://")
            if secured and request.host.lower().partition(":")[0] in self._canary_tls:
                reason = "ingress-nginx leaves out the TLS section of a canary; here it counts for the host"
            if not reason and there.ingress is not None:
                namespace, _, name = there.service.partition("/")
                of_service = self._reported.get(ObjectRef(Service.kind, ObjectKey(namespace, name)), "")
                reason = self._reported.get(there.ingress, "") or of_service
        return Expectation(request=request, there=there, here=here, discrepancy=found, reason=reason)

    def smallest(self, expectation: Expectation) -> Expectation:
        """The same discrepancy of the smallest request that still shows it."""
        smallest, found = expectation, True
        while found:
            found = False
            for smaller in _smaller(smallest.request):
                tried = self.of(smaller)
                if _alike(tried, expectation):
                    smallest, found = tried, True
                    break
        return smallest


def _alike(one: Expectation, other: Expectation) -> bool:
    return (
        one.discrepancy.kind == other.discrepancy.kind
        and (one.there.ingress, one.there.status, one.there.service)
        == (other.there.ingress, other.there.status, other.there.service)
        and [item.status for item in one.here] == [item.status for item in other.here]
        and [item.backends for item in one.here] == [item.backends for item in other.here]
    )


def _smaller(request: Request) -> Iterator[Request]:
    """Requests with one thing less."""
    for name in request.headers:
        yield replace(request, headers={key: text for key, text in request.headers.items() if key != name})
    if request.query:
        yield replace(request, query="")
    if request.client is not None:
        yield replace(request, client=None)
    if request.method != "GET":
        yield replace(request, method="GET")
    above = request.path.rstrip("/").rpartition("/")[0] or "/"
    if len(above) < len(request.path):
        yield replace(request, path=above)


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


def _with_endpoints(graph: RouteGraph) -> RouteGraph:
    """*graph* with an endpoint behind every backend: which Services have some is another question."""
    backends = {key: replace(item, endpoints=STAND_IN, note="") for key, item in graph.backends.items()}
    return replace(graph, backends=backends)


def _discrepancy(graph: RouteGraph, there: Prediction, here: tuple[Verdict, ...]) -> Discrepancy:
    first = here[0]
    if there.open and first.status in (400, 401, 403):
        return Discrepancy()
    if there.status is not None:
        return _of_replies(there, here)
    refusals = [item for item in here if item.status is not None]
    if refusals:
        return Discrepancy("status", f"an endpoint's response there, {refusals[0].status} here")
    if there.passed_on != first.passed_on:
        sides = ("passed on" if passed else "ended" for passed in (there.passed_on, first.passed_on))
        return Discrepancy("passthrough", "TLS is {} there, {} here".format(*sides))
    if bool(there.asks) != bool(first.asks):
        shown = ", ".join(first.asks) or "nobody"
        return Discrepancy("question", f"{there.asks or 'nobody'} is asked there, {shown} here")
    wanted, found = dict(there.shares) or {there.service: Fraction(1)}, _services(here)
    if wanted.keys() != found.keys():
        return Discrepancy("service", f"{', '.join(wanted)} there, {', '.join(sorted(found))} here")
    if wanted != found:
        sides = (", ".join(f"{name} {float(held[name]):.4g}" for name in wanted) for held in (wanted, found))
        return Discrepancy("share", "{} there, {} here".format(*sides))
    if there.passed_on:
        return Discrepancy()
    path = first.path.partition("?")[0]
    if _normal(there.path, graph) != _normal(path, graph):
        return Discrepancy("path", f"the path {there.path} there, {path} here")
    if there.host != first.upstream_host:
        sides = (text or "of the client" for text in (there.host, first.upstream_host))
        return Discrepancy("host", "the host {} there, {} here".format(*sides))
    return _of_fields(there, first) or _of_limits(there, first)


def _of_replies(there: Prediction, here: tuple[Verdict, ...]) -> Discrepancy:
    for item in here:
        if there.status != item.status:
            shown = "an endpoint's response" if item.status is None else item.status
            return Discrepancy("status", f"{there.status} there, {shown} here")
        if not _same_target(there.location, item.location):
            return Discrepancy("location", f"to {there.location} there, to {item.location} here")
    return Discrepancy()


def _services(here: tuple[Verdict, ...]) -> dict[str, Fraction]:
    """Each Service with its share of the requests."""
    found: dict[str, Fraction] = {}
    for item in here:
        for name, share in item.backends:
            service = name.rpartition(":")[0]
            found[service] = found.get(service, Fraction(0)) + share * item.probability
    return {name: share for name, share in found.items() if share}


def _of_fields(there: Prediction, here: Verdict) -> Discrepancy:
    for what, wanted, found in (
        ("request", there.request_fields, here.request_fields),
        ("response", there.response_fields, here.response_fields),
    ):
        sides = [{name.lower(): value for name, value in held if value} for held in (wanted, found)]
        for name in sorted(sides[0].keys() | (sides[1].keys() & _WATCHED)):
            one, other = (side.get(name) for side in sides)
            if one != other:
                shown = (repr(text) if text is not None else "not set" for text in (one, other))
                return Discrepancy("header", "the {} header {} {} there, {} here".format(what, name, *shown))
    return Discrepancy()


def _of_limits(there: Prediction, here: Verdict) -> Discrepancy:
    if there.limits == here.limits:
        return Discrepancy()
    sides = (", ".join(map(str, held)) or "no limit" for held in (there.limits, here.limits))
    return Discrepancy("limit", "{} there, {} here".format(*sides))


def _quirk(request: Request, there: Prediction, here: Verdict) -> str:
    """What ingress-nginx does by accident and is not done here; empty where it is no such thing."""
    if there.status == 404 and "%" in request.path and here.status != 404:
        return "nginx takes the path of a rule as it is written, so one with an escape takes no request"
    if there.status in (301, 302, 307, 308) and there.ingress is None and here.status == 413:
        return "nginx redirects to the other name, with or without www., before it judges the length of a body"
    if here.status == 400 and ".." in there.path.split("/"):
        return "a rewrite that leads above the path is refused here; nginx passes it on"
    if there.status == 413 and here.status == 302:
        return "nginx judges the length of a body before app-root redirects it"
    return ""


def _same_target(there: str, here: str) -> bool:
    """Whether two locations lead to the same place: one may be a path only, and 443 need not be named."""
    plain = [text.replace(":443/", "/") for text in (there, here)]
    return plain[0] == plain[1] or (here.startswith("/") and there.endswith(here))


def _normal(path: str, graph: RouteGraph) -> str:
    try:
        return normalise_path(path, graph.paths)
    except PathRefused:
        return path
