"""One virtual host as one file: a server, a location for each path, and what they need beside them.

A Prefix rule is two locations, ``= /foo`` and ``^~ /foo/``, so that ``/foobar`` is neither. nginx sends
requests for ``/foo`` to ``/foo/`` by itself where only the latter is proxied; so an Exact ``/foo/`` brings
a location for ``/foo`` with it, which does what is done there without the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, assert_never

from ingresskit.graph import (
    ANY_HOST,
    Backend,
    BackendKey,
    Forward,
    PathKind,
    Protocol,
    Redirect,
    Respond,
    Route,
    VirtualHost,
    redirects_to_tls,
    refuses_plain_http,
)
from ingresskit.policies import Algorithm, PolicySet
from ingresskit.policies.values import Network
from ingresskit.render.answers import sentence
from ingresskit.render.nginx.names import host_id, server_name, upstream_name
from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.nginx.static.forwarding import INSECURE, INSECURE_REQUEST, SECURE_PORT, request_fields
from ingresskit.render.nginx.static.long_paths import Location, is_long, pattern, split_long
from ingresskit.render.nginx.static.main import hidden_fields
from ingresskit.render.nginx.static.normal_form import FORWARDED_URI, TARGET, decoded_twin
from ingresskit.render.nginx.static.policies import Draft, draft
from ingresskit.render.nginx.tree import LINE_END, Block, Condition, Directive, Node, Value, Variable

__all__ = ["Served", "Upstream", "host_nodes", "served"]


class Served(NamedTuple):
    """A route, and the virtual host it was written for."""

    host: VirtualHost
    route: Route


def served(hosts: Iterable[VirtualHost]) -> tuple[Served, ...]:
    """The routes that may take a request whose host has these candidates, by precedence.

    Args:
        hosts: Most specific first; more than one only where requests may fall through. A route that
            nothing can reach, because a more specific host takes all of it, is left out.
    """
    first, *others = hosts
    routes = [Served(first, route) for route in first.routes]
    for host in others:
        taken = [(item.route.match.kind, item.route.match.value) for item in routes]
        known, prefixes = set(taken), {value for kind, value in taken if kind is PathKind.PREFIX}
        routes += [
            Served(host, route)
            for route in host.routes
            if (route.match.kind, route.match.value) not in known and not _below(prefixes, route.match.value)
        ]
    return tuple(sorted(routes, key=lambda item: item.route.match.precedence))


def _below(prefixes: Container[str], path: str) -> bool:
    if "/" in prefixes:
        return True
    while path:
        if path in prefixes:
            return True
        path = path[: path.rfind("/")]
    return False


class Upstream(NamedTuple):
    """What one upstream of nginx is for.

    Attributes:
        key: The backend.
        algorithm: How an endpoint is chosen; nginx sets that for a whole upstream.
        host: To endpoints that speak TLS, the one host whose connections it keeps; ``ANY_HOST`` when
            there is no one host, and then connections are not kept. Empty without TLS.
    """

    key: BackendKey
    algorithm: Algorithm
    host: str = ""

    @property
    def name(self) -> str:
        """As `upstream_name`."""
        return upstream_name(self.key, self.algorithm, self.host)


@dataclass(slots=True)
class _Server:
    """A server under construction."""

    host: VirtualHost
    settings: NginxSettings
    available: Callable[[BackendKey], Backend | None]
    long_locations: bool = True
    beside: list[Node] = field(default_factory=list[Node])
    upstreams: dict[Upstream, None] = field(default_factory=dict[Upstream, None])
    drafts: dict[PolicySet, Draft] = field(default_factory=dict[PolicySet, Draft])
    guards: dict[tuple[Network, ...], Block] = field(default_factory=dict["tuple[Network, ...]", Block])
    splits: dict[tuple[tuple[Upstream, str, int], ...], Variable] = field(
        default_factory=dict["tuple[tuple[Upstream, str, int], ...]", Variable]
    )


def host_nodes(
    host: VirtualHost,
    routes: tuple[Served, ...],
    settings: NginxSettings,
    available: Callable[[BackendKey], Backend | None],
    *,
    long_locations: bool,
) -> tuple[tuple[Node, ...], tuple[Upstream, ...]]:
    """The file of a virtual host, and the upstreams it sends requests to.

    Args:
        host: It.
        routes: As `served` gives them.
        settings: As of the whole nginx.
        available: The backend of a key, ``None`` when it has no endpoint.
        long_locations: As `Capabilities.long_locations`.

    Raises:
        TextRefused: A value in a route cannot be written.
    """
    server = _Server(host, settings, available, long_locations)
    hoisted = _all_redirect(server, routes)
    locations = tuple(_locations(server, routes, hoisted=hoisted))
    body: tuple[Node, ...] = (
        *_listen(host, settings),
        Directive("server_name", (server_name(host.host),)),
        Directive("include", ("server.conf",)),
        *([_redirect_to_tls(INSECURE_REQUEST)] if hoisted else []),
        *locations,
    )
    return (*server.beside, Block("server", (), body)), tuple(server.upstreams)


def _listen(host: VirtualHost, settings: NginxSettings) -> Iterable[Directive]:
    more = (
        *(("default_server",) if host.host == ANY_HOST else ()),
        *(("proxy_protocol",) if settings.proxy_protocol else ()),
    )
    for address in settings.http:
        yield Directive("listen", (address, *more))
    for address in settings.https:
        yield Directive("listen", (address, "ssl", *more))


def _all_redirect(server: _Server, routes: tuple[Served, ...]) -> bool:
    """Whether every request is sent to HTTPS, and nobody has to be kept out before: then once for all."""
    return (
        server.settings.tls_port is not None
        and any(route.match.kind is PathKind.PREFIX and route.match.value == "/" for _, route in routes)
        and all(redirects_to_tls(host, route) and not _draft(server, route).networks for host, route in routes)
    )


def _locations(server: _Server, routes: tuple[Served, ...], *, hoisted: bool) -> Iterable[Block]:
    exact: dict[str, Served | None] = {}
    below: dict[str, Served | None] = {}
    for item in routes:
        path = item.route.match.value
        if item.route.match.kind is PathKind.EXACT:
            exact[path] = item
        elif path == "/":
            below["/"] = item
        else:
            exact.setdefault(path, item)
            below[f"{path}/"] = item
    for path in [path for path in exact if path.endswith("/") and path != "/"]:
        if path[:-1] not in exact:
            exact[path[:-1]] = _inherited(below, path[:-1])
    if "/" not in below:
        below["/"] = None
    locations = [
        *(location for path, taker in exact.items() for location in _written("=", path, taker)),
        *(location for path, taker in below.items() for location in _written("^~", path, taker)),
    ]
    if server.long_locations or not any(is_long(location.written) for location in locations):
        yield from (_location(server, location, hoisted=hoisted) for location in locations)
        return
    short, groups = split_long(locations)
    yield from (_location(server, location, hoisted=hoisted) for location in short)
    for group in groups:
        # Nothing but locations inside: what stood beside them would be handed down to them.
        inside = [
            *(
                _location(server, location, "~", pattern(location), hoisted=hoisted)
                for location in group.inside
            ),
            _location(server, group.other, "~", "^", hoisted=hoisted),
        ]
        yield Block("location", ("^~", group.start), tuple(inside))


def _inherited(below: Mapping[str, Served | None], path: str) -> Served | None:
    """The Prefix rule that takes *path* when no rule is for it alone."""
    while path:
        path = path[: path.rfind("/")]
        if item := below.get(f"{path}/"):
            return item
    return None


def _written(modifier: str, path: str, taker: Served | None) -> Iterable[Location[Served]]:
    yield Location(modifier, path, path, taker)
    twin = decoded_twin(path)
    if twin is not None:
        yield Location(modifier, twin, path, taker)


def _location(server: _Server, location: Location[Served], *head: str, hoisted: bool) -> Block:
    """The block of *location*; *head* is what stands in its first line instead of modifier and path."""
    args = head or (location.modifier, location.written)
    taker = location.taker
    if taker is None:
        return Block("location", args, (_answer(404),))
    body = _body(server, taker, location.written, location.path, hoisted=hoisted)
    return Block("location", args, tuple(body), taker.route.origin)


def _body(server: _Server, taker: Served, written: str, path: str, *, hoisted: bool) -> Iterable[Node]:
    """What happens at a location. Who is not let in learns nothing else, neither a redirect nor a limit.

    Args:
        server: Where it stands.
        taker: What takes the requests.
        written: The path of the location, as nginx matches it.
        path: The same in normal form.
        hoisted: The server sends plain requests to HTTPS already.
    """
    host, route = taker
    made = _draft(server, route)
    if made.networks:
        yield _own(_guard(server, made.networks), made)
    if refuses_plain_http(route):
        yield _own(Block("if", (Condition(INSECURE),), (_answer(403),)), made)
    if not hoisted and server.settings.tls_port is not None and redirects_to_tls(host, route):
        yield _own(_redirect_to_tls(INSECURE), made)
    action = route.action
    match action:
        case Forward():
            target = _target(server, action, made)
            if target is None:
                yield from (item for item in made.settings if item.name == "client_max_body_size")
                yield _answer(503)
                return
            if made.prefix is not None:
                yield _rewrite(made.prefix, route, written, path)
            yield from made.settings
            if made.request:
                yield from request_fields(made.request)
            if made.hidden:
                yield from hidden_fields(tuple(made.hidden))
            yield from made.added
            yield Directive("proxy_pass", (target,))
        case Redirect(location=location, status=status):
            yield Directive("return", (str(status), Value(location)))
        case Respond(status=status):
            yield _answer(status)
        case _:
            assert_never(action)


def _target(server: _Server, action: Forward, made: Draft) -> Value | None:
    """Where requests go, for ``proxy_pass``; ``None`` when no backend has an endpoint."""
    shares: list[tuple[Upstream, str, int]] = []
    for key, weight in action.backends:
        backend = server.available(key)
        if backend is None:
            continue
        secure = backend.protocol is Protocol.HTTPS
        host = server.host.host
        kept = "" if not secure else ANY_HOST if host.startswith("*") else host
        shares.append((Upstream(key, made.algorithm, kept), "https" if secure else "http", weight))
    if not shares:
        return None
    server.upstreams.update(dict.fromkeys(upstream for upstream, _, _ in shares))
    if len(shares) == 1:
        upstream, scheme, _ = shares[0]
        return Value(f"{scheme}://{upstream.name}", FORWARDED_URI)
    return Value(_split(server, tuple(shares)), FORWARDED_URI)


def _split(server: _Server, shares: tuple[tuple[Upstream, str, int], ...]) -> Variable:
    """A variable that is one of *shares* for each request, by weight, to one part in ten thousand."""
    if known := server.splits.get(shares):
        return known
    variable = Variable(f"ik_split_{host_id(server.host.host)}_{len(server.splits)}")
    server.splits[shares] = variable
    total = sum(weight for _, _, weight in shares)
    # The largest share is the rest, so that rounding takes nothing from a small one.
    *others, (rest, rest_scheme, _) = sorted(shares, key=lambda item: (item[2], item[0]))
    rows: list[Directive] = []
    for upstream, scheme, weight in others:
        parts = max(1, 10_000 * weight // total)
        rows.append(Directive(f"{parts // 100}.{parts % 100:02}%", (f"{scheme}://{upstream.name}",)))
    rows.append(Directive("*", (f"{rest_scheme}://{rest.name}",)))
    server.beside.append(Block("split_clients", (Value(Variable("request_id")), variable), tuple(rows)))
    return variable


def _guard(server: _Server, networks: tuple[Network, ...]) -> Block:
    """Turns away every client that is not in *networks*."""
    if known := server.guards.get(networks):
        return known
    variable = Variable(f"ik_closed_{host_id(server.host.host)}_{len(server.guards)}")
    allowed = tuple(Directive(str(network), ("0",)) for network in networks)
    server.beside.append(Block("geo", (variable,), (Directive("default", ("1",)), *allowed)))
    guard = Block("if", (Condition(variable),), (_answer(403),))
    server.guards[networks] = guard
    return guard


def _redirect_to_tls(insecure: Variable) -> Block:
    location = Value("https://", Variable("host"), SECURE_PORT, TARGET)
    return Block("if", (Condition(insecure),), (Directive("return", ("308", location)),))


def _rewrite(prefix: str, route: Route, written: str, path: str) -> Directive:
    """Puts *prefix* in place of the matched part: so many bytes of the path as nginx has it."""
    matched = route.match.value.rstrip("/")
    if path == matched:
        return Directive("rewrite", ("^", Value(prefix or "/"), "break"))
    twin = decoded_twin(matched) if written != path else None
    skipped = len((matched if twin is None else twin).encode("utf-8", "surrogateescape"))
    rest = Variable("ik_rest")
    return Directive("rewrite", (f"^.{{{skipped}}}(?<{rest.name}>/.*)$", Value(prefix, rest), "break"))


def _own(block: Block, made: Draft) -> Block:
    """*block*, which makes a response of our own, without the fields that the route sets on those of endpoints.

    nginx hands ``add_header`` down to a block that has none of its own, and writes none that is empty.
    """
    if not made.added:
        return block
    return block._replace(body=(*block.body, Directive("add_header", ("X-None", ""))))


def _answer(status: int) -> Directive:
    return Directive("return", (str(status), Value(sentence(status), LINE_END)))


def _draft(server: _Server, route: Route) -> Draft:
    made = server.drafts.get(route.policies)
    if made is None:
        made = server.drafts[route.policies] = draft(route.policies)
    return made
