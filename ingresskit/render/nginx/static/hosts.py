"""One virtual host as one file: a server, its locations, and the variables that they need beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, assert_never

from ingresskit.graph import (
    ANY_HOST,
    Backend,
    BackendKey,
    Forward,
    PathKind,
    Redirect,
    Respond,
    Route,
    VirtualHost,
    redirects_to_tls,
)
from ingresskit.policies import Hsts, Stage, TlsRedirect, UpstreamTls
from ingresskit.render.delegate import Handover
from ingresskit.render.nginx.names import server_name
from ingresskit.render.nginx.policies import (
    StaticDraft,
    StaticGuard,
    local_response,
    static_plain_http,
    static_redirect,
    static_tls_redirect,
)
from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.nginx.static.certificates import certificate_guards, server_directives
from ingresskit.render.nginx.static.forwarding import INSECURE, INSECURE_REQUEST, request_fields
from ingresskit.render.nginx.static.handover import UNREACHED, unreached_pages
from ingresskit.render.nginx.static.locations import Served, locations_of
from ingresskit.render.nginx.static.long_paths import Location, is_long, pattern, split_long
from ingresskit.render.nginx.static.main import error_pages, hidden_fields
from ingresskit.render.nginx.static.normal_form import decoded_twin
from ingresskit.render.nginx.static.server import Server
from ingresskit.render.nginx.static.upstreams import Upstream
from ingresskit.render.nginx.tree import Block, Directive, Node, Value, Variable

__all__ = ["host_nodes"]

_HSTS: Final = "Strict-Transport-Security"
_NOTHING_ADDED: Final = Directive("add_header", ("X-None", ""))


def host_nodes(
    host: VirtualHost,
    routes: tuple[Served, ...],
    settings: NginxSettings,
    available: Callable[[BackendKey], Backend | None],
    *,
    long_locations: bool,
    strict: bool = False,
) -> tuple[tuple[Node, ...], tuple[Upstream, ...], tuple[UpstreamTls, ...]]:
    """The file of a virtual host, the upstreams it sends requests to, and what it says of TLS with these.

    Args:
        host: It.
        routes: As `ingresskit.render.nginx.static.locations.served` gives them.
        settings: As of the whole nginx.
        available: The backend of a key, ``None`` when it has no endpoint.
        long_locations: As `Capabilities.long_locations`.
        strict: A host of the graph asks clients for certificates.

    Raises:
        TextRefused: A value in a route cannot be written.
    """
    server = Server(host, settings, available)
    server.hsts = _hsts(host, routes)
    hoisted = _all_redirect(server, routes)
    locations = tuple(_locations(server, routes, hoisted=hoisted, long_locations=long_locations))
    body: tuple[Node, ...] = (
        *_listen(host, settings),
        Directive("server_name", (server_name(host.host),)),
        # A session is resumed before the server name counts, with the certificate that its client showed to
        # another host: so none is, where any host asks. What counts is what the default server has.
        *([Directive("ssl_session_cache", ("off",))] if strict and settings.https else []),
        *(server_directives(host.policies.of_handshake()) if settings.https else ()),
        Directive("include", ("server.conf",)),
        *_promise(server),
        *([server.guard(static_tls_redirect(INSECURE_REQUEST, _tls_policy(routes)))] if hoisted else []),
        *locations,
        *server.too_large,
        *([UNREACHED] if any(Handover in route.policies for _, route in routes) else []),
    )
    return (*server.beside, Block("server", (), body)), tuple(server.upstreams), tuple(server.tls)


def _listen(host: VirtualHost, settings: NginxSettings) -> Iterable[Directive]:
    more = (
        *(("default_server",) if host.host == ANY_HOST else ()),
        *(("proxy_protocol",) if settings.proxy_protocol else ()),
    )
    for address in settings.http:
        yield Directive("listen", (address, *more))
    default = ("default_server",) if host.host == ANY_HOST else ()
    for address, ssl, *words in settings.tls_listeners:
        yield Directive("listen", (address, ssl, *default, *words))


def _all_redirect(server: Server, routes: tuple[Served, ...]) -> bool:
    """Whether every request is sent to HTTPS, and nothing is judged before: then once for all."""
    return (
        server.settings.tls_port is not None
        and any(route.match.kind is PathKind.PREFIX and route.match.value == "/" for _, route in routes)
        and all(redirects_to_tls(*item) and _redirects_first(server, item) for item in routes)
        and len({route.policies.get(TlsRedirect) for _, route in routes}) == 1
    )


def _tls_policy(routes: tuple[Served, ...]) -> TlsRedirect | None:
    """How the routes of a server, all of which redirect in the same way, redirect to HTTPS."""
    return next((route.policies.get(TlsRedirect) for _, route in routes), None)


def _redirects_first(server: Server, taker: Served) -> bool:
    made = server.draft(taker)
    judged = [*(guard.stage for guard in made.guards), *([Stage.BODY] if made.max_body else [])]
    place = taker.route.order.place
    return all(place(stage) > place(Stage.TLS_REDIRECT) for stage in judged)


def _locations(
    server: Server, routes: tuple[Served, ...], *, hoisted: bool, long_locations: bool
) -> Iterable[Block]:
    locations = locations_of(routes)
    if long_locations or not any(is_long(location.written) for location in locations):
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


def _location(server: Server, location: Location[Served], *head: str, hoisted: bool) -> Block:
    """The block of *location*; *head* is what stands in its first line instead of modifier and path."""
    args = head or (location.modifier, location.written)
    taker = location.taker
    if taker is None:
        return Block("location", args, (local_response(404),))
    body = _body(server, taker, location.written, location.path, hoisted=hoisted)
    return Block("location", args, tuple(body), taker.route.origin)


def _body(server: Server, taker: Served, written: str, path: str, *, hoisted: bool) -> Iterable[Node]:
    """What happens at a location, in the order that its route carries.

    Args:
        server: Where it stands.
        taker: What takes the requests.
        written: The path of the location, as nginx matches it.
        path: The same in normal form.
        hoisted: The server sends plain requests to HTTPS already.
    """
    route = taker.route
    made = server.draft(taker)
    guards = _guards(server, taker, made, hoisted=hoisted)
    yield from (_without_added(server, server.guard(guard), made) for guard in guards)
    action = route.action
    match action:
        case Forward():
            yield from _body_limit(server, route, made, guards)
            target = server.target(action)
            tls, sayable = server.tls_of(action)
            if target is None or not sayable:
                yield local_response(503)
                return
            if Handover in route.policies:
                yield from unreached_pages()
            yield from _forward(server, made, route, written, path, target, tls)
        case Redirect():
            yield from _early_body_limit(server, route, made, guards)
            yield static_redirect(action)
        case Respond(status=status):
            yield from _early_body_limit(server, route, made, guards)
            yield local_response(status)
        case _:
            assert_never(action)


def _guards(server: Server, taker: Served, made: StaticDraft, *, hoisted: bool) -> list[StaticGuard]:
    """What is judged before the action, in order."""
    host, route = taker
    place = route.order.place
    guards = [*certificate_guards(server, taker), *made.guards]
    if (refusal := static_plain_http(route)) is not None:
        guards.append(refusal)
    if not hoisted and server.settings.tls_port is not None and redirects_to_tls(host, route):
        guards.append(static_tls_redirect(INSECURE, route.policies.get(TlsRedirect)))
    if not isinstance(route.action, Forward):
        guards = [guard for guard in guards if place(guard.stage) < place(Stage.ACTION)]
    return sorted(guards, key=lambda guard: place(guard.stage))


def _body_limit(server: Server, route: Route, made: StaticDraft, guards: list[StaticGuard]) -> Iterable[Node]:
    """The largest body, and what is judged before it once more.

    nginx judges an announced length as soon as it has found the location, before any guard in it.
    """
    if made.max_body is None:
        return
    yield made.max_body
    place = route.order.place
    if before := tuple(guard for guard in guards if place(guard.stage) < place(Stage.BODY)):
        yield Directive("error_page", ("413", "=", server.too_large_after(before)))
        # A location with one of its own is not handed down the others.
        yield from error_pages()


def _early_body_limit(
    server: Server, route: Route, made: StaticDraft, guards: list[StaticGuard]
) -> Iterable[Node]:
    if route.order.place(Stage.BODY) < route.order.place(Stage.ACTION):
        yield from _body_limit(server, route, made, guards)


def _forward(
    server: Server,
    made: StaticDraft,
    route: Route,
    written: str,
    path: str,
    target: Value,
    tls: tuple[Directive, ...],
) -> Iterable[Node]:
    if made.whole is not None:
        yield Directive("rewrite", ("^", Value(made.whole), "break"))
    elif made.prefix is not None:
        yield _rewrite(made.prefix, route, written, path)
    elif made.front is not None:
        rest = Variable("ik_rest")
        yield Directive("rewrite", (f"^(?<{rest.name}>/.*)$", Value(made.front, rest), "break"))
    said = {item.name for item in tls}
    yield from (item for item in made.settings if item.name not in said)
    yield from tls
    if made.request:
        yield from request_fields(made.request)
    if made.hidden:
        yield from hidden_fields(tuple(made.hidden))
    yield from made.added
    yield from _over_tls(server, made)
    if not made.added and not made.over_tls and server.hsts:
        yield _NOTHING_ADDED
    yield Directive("proxy_pass", (target,))


def _rewrite(prefix: str, route: Route, written: str, path: str) -> Directive:
    """Puts *prefix* in place of the matched part: so many bytes of the path as nginx has it."""
    matched = route.match.value.rstrip("/")
    if path == matched:
        return Directive("rewrite", ("^", Value(prefix or "/"), "break"))
    twin = decoded_twin(matched) if written != path else None
    skipped = len((matched if twin is None else twin).encode("utf-8", "surrogateescape"))
    rest = Variable("ik_rest")
    return Directive("rewrite", (f"^.{{{skipped}}}(?<{rest.name}>/.*)$", Value(prefix, rest), "break"))


def _hsts(host: VirtualHost, routes: tuple[Served, ...]) -> str:
    """What browsers are told for *host*, the same by all routes that have the policy; empty: nothing."""
    for item in routes:
        policy = item.host.policies_of(item.route).get(Hsts) if item.host.host == host.host else None
        if policy is not None:
            return policy.value
    return ""


def _promise(server: Server) -> Iterable[Directive]:
    """HSTS for responses that nginx makes itself: it stands in the server, where all locations inherit it."""
    if server.hsts:
        yield Directive("add_header", (_HSTS, Value(server.over_tls(server.hsts)), "always"))


def _over_tls(server: Server, made: StaticDraft) -> Iterable[Directive]:
    for name, value in made.over_tls:
        yield Directive("add_header", (name, Value(server.over_tls(value)), "always"))


def _without_added(server: Server, block: Block, made: StaticDraft) -> Block:
    """*block*, which makes a local response, without the fields that the route sets on those of endpoints.

    nginx hands ``add_header`` down to a block that has none of its own, and writes none that is empty.
    """
    if not made.added and not made.over_tls:
        return block
    own = tuple(_promise(server)) or (_NOTHING_ADDED,)
    return block._replace(body=(*block.body, *own))
