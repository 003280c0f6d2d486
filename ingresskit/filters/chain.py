"""From the policies of a route to its filters, in the order in which they act, and its edits, merged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, assert_never

from ingresskit.filters import (
    access,
    compression,
    cors,
    credentials,
    digest,
    external_auth,
    headers,
    jwt,
    limits,
    requests,
    response_rewrites,
    rewrites,
    tracing,
    traffic,
)
from ingresskit.filters.access import PlainHttpFilter
from ingresskit.filters.any_of import combined
from ingresskit.filters.base import Filter, Reply, ResponseFilter
from ingresskit.filters.certificates import CertificateFilter
from ingresskit.filters.edits import UNCHANGED, HeaderEdit, PathChange, PathChanges
from ingresskit.filters.effects import Effect, PolicyEffects
from ingresskit.filters.external_auth import CLOSED, ExternalAuthFilter
from ingresskit.filters.redirects import ActionFilter, RedirectFilter, TlsRedirectFilter
from ingresskit.graph import (
    ANY_HOST,
    DEFAULT_PATHS,
    Forward,
    PathOptions,
    Redirect,
    Respond,
    Route,
    Termination,
    VirtualHost,
    is_open,
    redirects_to_tls,
    refuses_plain_http,
    solves_http01,
)
from ingresskit.policies import (
    AccessLog,
    ClientCertificates,
    Compression,
    KeptTarget,
    Mirror,
    Order,
    Satisfaction,
    Satisfy,
    Shadow,
    Stage,
    TlsRedirect,
)

__all__ = ["BUILTIN_EFFECTS", "Chain", "chain_of"]

BUILTIN_EFFECTS: Final = PolicyEffects(
    (
        *access.COMPILERS,
        *requests.COMPILERS,
        *cors.COMPILERS,
        *credentials.COMPILERS,
        *digest.COMPILERS,
        *jwt.COMPILERS,
        *external_auth.COMPILERS,
        *limits.COMPILERS,
        *rewrites.COMPILERS,
        *response_rewrites.COMPILERS,
        *headers.COMPILERS,
        *traffic.COMPILERS,
        *tracing.COMPILERS,
        *compression.COMPILERS,
    )
)
"""The effects of the built-in policies. `ClientCertificates`, `PlainHttp` and `TlsRedirect`, which depend
on the host too, and what only concerns the choice of an endpoint and the time it gets, are not among them."""

# These act on requests without TLS only.
_PLAIN_ONLY: Final = frozenset({Stage.PLAIN_HTTP, Stage.TLS_REDIRECT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The filters and edits of a route. A frozen value that can be pickled.

    Attributes:
        plain: The filters for requests without TLS, in order; empty for most routes of hosts without TLS.
        secure: Those for requests over TLS.
        path: What happens to the path; ``None``: nothing.
        host: What endpoints get as ``Host`` in place of the client's; empty: that one.
        request: What happens to the header fields of the request.
        response: What happens to those of an endpoint's response to a client without TLS.
        secure_response: The same for a client with TLS.
        rewrites: The filters for an endpoint's response whose edits come before those, in order.
        responses: The filters for an endpoint's response, whose edits come after those, in order.
        local_secure: The header fields of local replies to clients with TLS.
        local: The filters for local replies, whose fields come after those, in order.
        max_body_bytes: The limit of a body whose length is not declared; 0 is no limit.
        shadow: The stages at which the replies of filters are only counted.
        errors: The statuses that get a page.
        mirror: Where copies of requests go; ``None``: there are none.
        compression: How responses are compressed; ``None``: not at all.
        access_log: Which requests the access log has; ``None``: all.
    """

    plain: tuple[Filter, ...] = ()
    secure: tuple[Filter, ...] = ()
    path: PathChange | None = None
    host: str = ""
    request: HeaderEdit = UNCHANGED
    response: HeaderEdit = UNCHANGED
    secure_response: HeaderEdit = UNCHANGED
    rewrites: tuple[ResponseFilter, ...] = ()
    responses: tuple[ResponseFilter, ...] = ()
    local_secure: HeaderEdit = UNCHANGED
    local: tuple[ResponseFilter, ...] = ()
    max_body_bytes: int = 0
    shadow: frozenset[Stage] = frozenset()
    errors: frozenset[int] = frozenset()
    mirror: Mirror | None = None
    compression: Compression | None = None
    access_log: AccessLog | None = None

    def stages(self, order: Order, *, https: bool) -> tuple[Stage, ...]:
        """The stages at which something acts on a request of that scheme, in the order in which they act."""
        found = {item.stage for item in (self.secure if https else self.plain)}
        if self.path is not None or self.host:
            found.add(Stage.REWRITE)
        if self.request:
            found.add(Stage.HEADERS)
        return tuple(stage for stage in order.stages if stage in found)

    def forwarded(
        self, path: str, route: Route, query: bytes = b"", options: PathOptions = DEFAULT_PATHS
    ) -> tuple[str, bytes]:
        """The path and the query that an endpoint gets.

        Args:
            path: Of the request, in normal form.
            route: The one that takes it.
            query: With its question mark; empty without one.
            options: Those of the graph.

        Raises:
            PathRefused: The path was rewritten to one that has no normal form.
        """
        return (path, query) if self.path is None else self.path.rewritten(path, query, route.match, options)


def chain_of(
    host: VirtualHost,
    route: Route,
    order: Order | None = None,
    *,
    effects: PolicyEffects = BUILTIN_EFFECTS,
) -> Chain:
    """The filters of *route*, which stands under *host*.

    Nothing of it depends on the path of the route, but for whether the route is for ACME's challenge.

    Args:
        host: Its policies, and the TLS settings that count where no policy says otherwise.
        route: Its policies, which go before those of the host, and its action.
        order: The order in which they act; ``None``: the one that the route carries.
        effects: What the policies do.
    """
    order = order or route.order
    policies = host.policies_of(route)
    found = effects.of(policies)
    shadow = policies.get(Shadow)
    on_trial = frozenset[Stage]() if shadow is None else shadow.stages
    largest = min((size for effect in found if (size := effect.max_body_bytes)), default=0)
    filters = sorted(_filters(host, route, found), key=lambda item: order.place(item.stage))
    if (satisfy := policies.get(Satisfy)) is not None and satisfy.mode is Satisfaction.ANY:
        filters = list(combined(filters))
    request = response = secure_response = local_secure = UNCHANGED
    for effect in found:
        request = request.then(effect.request)
        response = response.then(effect.response)
        secure_response = secure_response.then(effect.response).then(effect.secure_response)
        local_secure = local_secure.then(effect.local_secure)
    return Chain(
        plain=tuple(filters),
        secure=tuple(item for item in filters if item.stage not in _PLAIN_ONLY),
        path=_path(tuple(effect.path for effect in found if effect.path is not None)),
        host=next((effect.host for effect in found if effect.host), ""),
        request=request,
        response=response,
        secure_response=secure_response,
        local_secure=local_secure,
        local=tuple(item for effect in found for item in effect.local),
        rewrites=tuple(item for effect in found for item in effect.rewrites),
        responses=tuple(item for effect in found for item in effect.responses),
        max_body_bytes=0 if Stage.BODY in on_trial else largest,
        shadow=on_trial,
        errors=frozenset[int]().union(*(effect.errors for effect in found)),
        mirror=next((effect.mirror for effect in found if effect.mirror is not None), None),
        access_log=next((effect.access_log for effect in found if effect.access_log is not None), None),
        compression=next((effect.compression for effect in found if effect.compression is not None), None),
    )


def _path(changes: tuple[PathChange, ...]) -> PathChange | None:
    if len(changes) > 1:
        return PathChanges(changes)
    return changes[0] if changes else None


def _filters(host: VirtualHost, route: Route, effects: tuple[Effect, ...]) -> Iterator[Filter]:
    # The validation of ACME's challenge carries no credentials (RFC 8555, 8.3).
    http01 = solves_http01(route)
    # Of a route that is closed to everybody, no client need say who it is.
    closed_to_strangers = not is_open(route) and not isinstance(route.action, Respond)
    for effect in effects:
        for item in effect.guards:
            if item.stage is not Stage.AUTHENTICATION:
                yield item
            elif closed_to_strangers:
                # Where a client may ask for any host, it would choose the service that decides about it.
                chosen = isinstance(item, ExternalAuthFilter) and item.asks_requested_host
                yield CLOSED if chosen and host.host == ANY_HOST else item
    policy = host.policies_of(route).get(ClientCertificates)
    if policy is not None and not http01:
        yield CertificateFilter(host.host, policy, redirects_to_tls(host, route))
    if refuses_plain_http(route):
        yield PlainHttpFilter()
    if redirects_to_tls(host, route):
        how = route.policies.get(TlsRedirect) or TlsRedirect()
        yield TlsRedirectFilter(int(how.status), how.keeps_slash, how.shows_port)
    match route.action:
        case Forward():
            return
        case Redirect(location=location, status=status, keeps=keeps):
            if keeps is not KeptTarget.NOTHING or location.startswith("//"):
                yield RedirectFilter(location, status, keeps)
                return
            yield ActionFilter(Reply(status=status, location=location, termination=None))
        case Respond(status=status):
            yield ActionFilter(Reply(status=status, termination=Termination.UNAVAILABLE))
        case _:
            assert_never(route.action)
