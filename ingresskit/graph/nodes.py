"""What should be served, in words that no proxy owns.

Three planes hang together by keys, so that a change in one never rewrites another: routes
(`VirtualHost`, `Route`), endpoints (`Backend`) and certificates (`Certificate`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from ingresskit.diagnostics import Reason, printable
from ingresskit.graph.match import PathMatch
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import EVERY_REQUEST, NATIVE_ORDER, KeptTarget, Order, Origin, PolicySet, Selection

__all__ = [
    "Action",
    "Backend",
    "BackendKey",
    "Certificate",
    "Close",
    "Endpoint",
    "Forward",
    "Protocol",
    "Redirect",
    "Respond",
    "Route",
    "RouteKey",
    "StreamRoute",
    "Unserved",
    "VirtualHost",
    "WeightedBackend",
]


class Protocol(StrEnum):
    """What the endpoints of a backend speak.

    Attributes:
        HTTP: HTTP/1.1 without TLS.
        HTTPS: HTTP with TLS.
        H2C: HTTP/2 without TLS, by prior knowledge.
        GRPC: gRPC, and so HTTP/2, without TLS.
        GRPCS: gRPC with TLS.
        TCP: Whatever the clients of a stream speak.
    """

    HTTP = "http"
    HTTPS = "https"
    H2C = "h2c"
    GRPC = "grpc"
    GRPCS = "grpcs"
    TCP = "tcp"

    @property
    def is_secure(self) -> bool:
        """Whether it is inside TLS."""
        return self in (Protocol.HTTPS, Protocol.GRPCS)

    @property
    def is_http2(self) -> bool:
        """Whether it is HTTP/2 in any case."""
        return self in (Protocol.H2C, Protocol.GRPC, Protocol.GRPCS)

    @property
    def is_grpc(self) -> bool:
        """Whether it is gRPC."""
        return self in (Protocol.GRPC, Protocol.GRPCS)


class BackendKey(NamedTuple):
    """Which backend: a port of a Service, by its number, as routes use it.

    Routes that ask for different policies of a backend have different backends of one Service port. So the
    key determines `Backend.policies`, up to where they were asked for.

    Attributes:
        protocol: The `Protocol` that its routes ask for; empty: the one that the Service names.
        policies: The digest of the policies of `PolicyScope.BACKEND` that its routes ask for, as
            `ingresskit.policies.identity_of` has it; empty: none.
    """

    namespace: str
    service: str
    port: int
    protocol: str = ""
    policies: str = ""

    def __str__(self) -> str:
        asked = f"+{self.protocol}" if self.protocol else ""
        held = f"@{self.policies}" if self.policies else ""
        return f"{self.namespace}/{self.service}:{self.port}{asked}{held}"

    @property
    def parts(self) -> tuple[str, ...]:
        """What a name for the backend is made of; what is empty at the end is left out."""
        found = (self.namespace, self.service, str(self.port), self.protocol, self.policies)
        return found if self.policies else found[:4] if self.protocol else found[:3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a pod (or what stands for one) takes connections.

    Attributes:
        address: An IPv4 or IPv6 address in its shortest form; a DNS name only for an ExternalName
            Service that the destination policy allows.
        port: 1 to 65535.
        zone: The zone it runs in, where known.
        draining: It is terminating but still serves; it is listed only while nothing else is ready.
    """

    address: str
    port: int
    zone: str | None = None
    draining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """The endpoints of a port of a Service, and how they are used.

    Attributes:
        endpoints: Sorted by address, then port; each once; empty when nothing can take requests, and
            then its routes respond 503.
        protocol: What they speak.
        note: Why *endpoints* is empty, for people; empty otherwise.
        place: Where the port stands in its Service: ``"spec.ports[0]"``; empty when it stands nowhere.
        policies: Those of `PolicyScope.BACKEND`: they apply to every request that is forwarded here.
    """

    key: BackendKey
    endpoints: tuple[Endpoint, ...] = ()
    protocol: Protocol = Protocol.HTTP
    note: str = ""
    place: str = ""
    policies: PolicySet = PolicySet()


class WeightedBackend(NamedTuple):
    """A backend and its share of the requests: more than 0, at most 1,000,000."""

    key: BackendKey
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Send the request to an endpoint of one of the backends, chosen by weight.

    Attributes:
        backends: At least one; each key once; sorted by key.
        fallback: Gets the requests while none of *backends* has an endpoint; ``None``: they get 503.
        pages: Makes the pages of errors; ``None``: they are sent as they are. See
            `ingresskit.policies.FallbackService`.
        mirror: Gets copies of the requests; ``None``: no Service does. See `ingresskit.policies.Mirror`.
    """

    backends: tuple[WeightedBackend, ...]
    fallback: BackendKey | None = None
    pages: BackendKey | None = None
    mirror: BackendKey | None = None

    @property
    def keys(self) -> tuple[BackendKey, ...]:
        """Every backend that may get a request, some of them twice."""
        found = tuple(share.key for share in self.backends)
        beside = (self.fallback, self.pages, self.mirror)
        return found if beside == (None, None, None) else (*found, *(key for key in beside if key is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Respond with a redirect.

    Attributes:
        location: An absolute URL, a path, or ``//`` and a host, which stands for a URL with the scheme that the
            client used. ``///`` begins a path of a URL with its scheme and its ``Host``.
        status: 300, 301, 302, 303, 307 or 308.
        keeps: What of the request's target follows the location. Anything but nothing only where that has
            neither ``?`` nor ``#``.
    """

    location: str
    status: int = 308
    keeps: KeptTarget = KeptTarget.NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Respond:
    """Respond without an endpoint.

    Attributes:
        status: 400 to 599.
        reason: Why, when it stands for a backend or a protection that could not be built.
        message: That reason in words, for people; it names objects and never goes to clients.
    """

    status: int
    reason: Reason | None = None
    message: str = ""


Action = Forward | Redirect | Respond
"""What happens to a request. Closed: a renderer handles the three and ends with ``assert_never``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What is done with the requests that one path of one rule takes.

    Attributes:
        match: The path of the requests.
        selection: Which of the requests for the path it takes. By default all; a route that takes some is
            a *variant*, such as a canary. Requests that it leaves go on to the next route.
        origin: The Ingress and the field that asked for it.
        policies: Those of `PolicyScope.ROUTE`.
        fallback: It stands in for a default backend: no Ingress has this path.
        written: Path type and path as the Ingress has them, printable; empty: as *match* has them.
        order: In which order the policies act on a request: that of the dialect which read them.
    """

    match: PathMatch
    action: Action
    origin: Origin
    policies: PolicySet = PolicySet()
    fallback: bool = False
    written: str = ""
    # Routes that differ in nothing else are rare, and an order has many stages to hash.
    order: Order = field(default=NATIVE_ORDER, hash=False)
    selection: Selection = EVERY_REQUEST

    @property
    def shown(self) -> str:
        """The path for people, as its author wrote it, and which of its requests a variant takes."""
        path = self.written or str(self.match)
        return f"{path} ({self.selection})" if self.selection else path

    @property
    def precedence(self) -> tuple[tuple[int, int, int, int, str], tuple[int, ...]]:
        """A sort key: the order in which the routes of a host are asked whether they take a request."""
        return self.match.precedence, self.selection.precedence

    @property
    def key(self) -> RouteKey:
        """What makes it the same route in another graph: its match, and of a variant what it takes for whom."""
        return RouteKey(self.match, self.selection, self.origin if self.selection else None)


class RouteKey(NamedTuple):
    """What identifies a route among those of its host, see `Route.key`."""

    match: PathMatch
    selection: Selection
    origin: Origin | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Close the connection, and send nothing.

    Attributes:
        reason: Why, as a stable word.
        message: That reason in words, for people.
    """

    reason: Reason | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRoute:
    """What is done with connections that are passed on as they are: those for a TLS server name, or to a port.

    Attributes:
        action: Pass the connection on to an endpoint of one of the backends, which speak `Protocol.TCP`, or
            close it.
        origin: The object and the field that asked for it.
        policies: Those that hold for connections: `AllowedSources`, `DeniedSources` and `Timeouts`, whose
            ``read`` is how long a connection may be silent in both directions.
        accepts_proxy: Clients open with a PROXY protocol header, version 1 or 2; those without one are closed.
        sends_proxy: Endpoints get a PROXY protocol header of version 1 first.
    """

    action: Forward | Close
    origin: Origin
    policies: PolicySet = PolicySet()
    accepts_proxy: bool = False
    sends_proxy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualHost:
    """A host and all that is served there.

    Attributes:
        host: A lower-case name, ``*.`` and a name (takes exactly one label more), or ``*`` (any).
        routes: Sorted by `Route.precedence`, variants of one path as a dialect or their age orders them:
            the first that takes the request is the one. One at most of each match is no variant; there
            may be none. May be empty: then the host is known and every path is 404.
        tls: Whether the host has TLS settings of its own, and so whether plain HTTP is redirected
            where no policy says otherwise.
        owner: The namespace that holds the host; ``None`` when hosts are shared, or nobody's.
        policies: Those of `PolicyScope.HOST`: they apply to every route of the host. Where a route carries
            a policy of the same type, that one counts.
        stream: What is done with TLS connections for the host, which are not ended here then: *routes* take
            requests over plain HTTP; ``None``: TLS ends here. Never of ``*``.
    """

    host: str
    routes: tuple[Route, ...] = ()
    tls: bool = False
    owner: str | None = None
    policies: PolicySet = PolicySet()
    stream: StreamRoute | None = None

    def policies_of(self, route: Route) -> PolicySet:
        """All policies that apply to requests which *route* of this host takes."""
        return self.policies.merged(route.policies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate chain and its key. Neither appears in a ``repr``, a dump or a log.

    Attributes:
        secret: The Secret it comes from.
        chain: PEM, leaf first.
        private_key: PEM, not encrypted, fits the leaf.
        digest: SHA-256 over chain and key, lower-case hexadecimal: changes when either does.
        names: The DNS names the leaf is for, lower case, sorted.
        not_after: When it expires.
    """

    secret: ObjectKey
    chain: bytes = field(repr=False)
    private_key: bytes = field(repr=False)
    digest: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Unserved:
    """A rule that was seen and is not served; kept so that `explain` can say why.

    Its texts are made printable: they are what a user wrote, and end up on terminals.

    Attributes:
        host: The host as it would be served, or as written when it cannot be.
        path: The match it asks for in words, ``"Prefix /foo"``; empty when the whole host or object is meant.
        match: That match when it is a valid one.
        winner: Who is served instead, where there is one.
    """

    origin: Origin
    host: str
    path: str = ""
    match: PathMatch | None = None
    reason: str
    message: str
    winner: ObjectRef | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", printable(self.host))
        object.__setattr__(self, "path", printable(self.path))
        object.__setattr__(self, "message", printable(self.message))
