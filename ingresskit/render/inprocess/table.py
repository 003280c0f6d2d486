"""The artifact of the in-process renderer: a routing table made for speed, and for swapping whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ingresskit.filters import UNCHANGED, AddressRanges, Filter, HeaderEdit, PathChange, ResponseFilter
from ingresskit.graph import (
    ANY_HOST,
    DEFAULT_PATHS,
    Backend,
    BackendKey,
    Certificate,
    PathOptions,
    Route,
    StreamRoute,
    host_candidates,
)
from ingresskit.policies import AccessLog, Compression, ConnectionUse, Judged, Mirror, PolicySet, Stage

__all__ = ["HostTable", "ResponseEdits", "RetryRule", "RoutingTable", "StreamTarget", "Target"]

NO_RANGES: Final = AddressRanges()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseEdits:
    """What a route does to an endpoint's responses.

    Attributes:
        plain: Header fields for clients without TLS.
        secure: Those for clients with TLS.
        rewrites: Asked for each response; their edits come before those.
        filters: Asked for each response; their edits come after those.
    """

    plain: HeaderEdit = UNCHANGED
    secure: HeaderEdit = UNCHANGED
    rewrites: tuple[ResponseFilter, ...] = ()
    filters: tuple[ResponseFilter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """What causes another try, where it is something else than a connection without a response.

    Attributes:
        error: Connections that are not made, or end before a response.
        timeout: Endpoints that are silent for too long before it.
        malformed: What is no response.
        statuses: Responses with these.
        any_method: Requests that may not be repeated are repeated all the same.
        within: Seconds after the request in which a try may begin; ``None``: without an end.
        budget: As `ingresskit.policies.Retries.budget`.
    """

    error: bool = True
    timeout: bool = False
    malformed: bool = False
    statuses: frozenset[int] = frozenset()
    any_method: bool = False
    within: float | None = None
    budget: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A route, its policies worked out to what a proxy does per request. It can be pickled.

    The fields that are empty for a route without policies are those that cost a request one test each.

    Attributes:
        route: What it was made of; its ``action`` says what happens.
        host: The rule host it stands under.
        matched: The path of the match without a trailing slash: what a rewrite replaces.
        plain: The filters that a request without TLS must pass, in order.
        secure: Those for a request over TLS.
        path: What happens to the path; ``None``: nothing.
        upstream_host: What endpoints get as ``Host`` in place of the client's; empty: that one.
        request: What happens to the header fields of the request; ``None``: nothing.
        response: What happens to an endpoint's response; ``None``: nothing.
        local: What it adds to responses of the proxy itself; ``None``: nothing.
        connect_timeout: Seconds; ``None`` is the proxy's default; so the next two.
        http_1_0: Endpoints are spoken to in HTTP/1.0; then *connection* is `ConnectionUse.CLOSE`.
        retries: Tries after the first.
        retry: What causes them; ``None``: a connection that is not made, or ends before a response.
        request_timeout: Seconds for all of a request; ``None``: there is no end.
        max_body_bytes: The limit of a body whose length is not declared; 0 is no limit.
        gathered_bytes: So much of a body is gathered before an endpoint gets it; 0: none.
        response_rate: Bytes of a response that are sent in a second; 0: as many as the client takes.
        response_rate_after: Bytes that are sent before that rate holds.
        shadow: The stages at which the replies of filters are only counted.
        connection: What becomes of the connection to an endpoint; ``None``: the proxy decides.
        errors: The statuses that get a page.
        mirror: Where copies of requests go; ``None``: there are none.
        compression: How responses are compressed; ``None``: not at all.
        access_log: Which requests the access log has; ``None``: all.
        extended: There are errors, a mirror, a compression or a rate of responses.
        is_variant: It takes some of the requests for its path only; `RoutingTable.choose` says which.
    """

    route: Route
    host: str
    matched: str
    is_variant: bool = False
    plain: tuple[Filter, ...] = ()
    secure: tuple[Filter, ...] = ()
    path: PathChange | None = None
    upstream_host: str = ""
    request: HeaderEdit | None = None
    response: ResponseEdits | None = None
    local: ResponseEdits | None = None
    connect_timeout: float | None = None
    read_timeout: float | None = None
    send_timeout: float | None = None
    http_1_0: bool = False
    retries: int = 1
    retry: RetryRule | None = None
    request_timeout: float | None = None
    max_body_bytes: int = 0
    gathered_bytes: int = 0
    response_rate: int = 0
    response_rate_after: int = 0
    shadow: frozenset[Stage] = frozenset()
    errors: frozenset[int] = frozenset()
    connection: ConnectionUse | None = None
    mirror: Mirror | None = None
    compression: Compression | None = None
    access_log: AccessLog | None = None
    extended: bool = False

    def logs(self, target: bytes) -> bool:
        """Whether the access log has a request with *target*, as the client sent it."""
        return self.access_log is None or self.access_log.has(target)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTarget:
    """A stream route, its policies worked out to what a proxy does per connection. It can be pickled.

    Attributes:
        route: What it was made of; its ``action`` says what happens.
        host: The rule host it stands under.
        allowed: The clients that are let in; empty: all.
        denied: Those that are kept out.
        connect_timeout: Seconds; ``None`` is the proxy's default; so the next one.
        idle_timeout: Seconds of silence in both directions that end a connection.
    """

    route: StreamRoute
    host: str
    allowed: AddressRanges = NO_RANGES
    denied: AddressRanges = NO_RANGES
    connect_timeout: float | None = None
    idle_timeout: float | None = None

    def admits(self, client: IPv4Address | IPv6Address) -> bool:
        """Whether a client may connect."""
        return client not in self.denied and (not self.allowed or client in self.allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTable:
    """The targets of one virtual host; `MixedHostTable` holds variants and regular expressions too.

    Attributes:
        exact: By path.
        prefixes: By prefix without trailing slash; the prefix of everything is the empty text.
    """

    host: str
    exact: Mapping[str, Target] = field(default_factory=dict[str, Target])
    prefixes: Mapping[str, Target] = field(default_factory=dict[str, Target])
    _longest: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_longest", max(map(len, self.prefixes), default=0))

    def find(self, path: str) -> Target | None:
        """The target for a path in normal form: one look-up per element of the longest prefix at most."""
        if target := self.exact.get(path):
            return target
        prefixes = self.prefixes
        if not prefixes:
            return None
        cut = len(path)
        if cut > self._longest:
            # A path of four thousand elements is a client's to send; few prefixes have more than three.
            cut = path.rfind("/", 0, self._longest + 1)
        while True:
            if target := prefixes.get(path[:cut]):
                return target
            if cut <= 0:
                return None
            cut = path.rfind("/", 0, cut)

    def found(self, path: str) -> Iterator[Target]:
        """All targets that may take a request for *path*, in the order in which they are asked."""
        if (target := self.find(path)) is not None:
            yield target


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingTable:
    """Everything the in-process proxy needs to serve a graph. Immutable; swapped whole.

    Attributes:
        hosts: By rule host.
        backends: By key; exactly those the targets forward to.
        certificates: By TLS server name (a name, or ``*.`` and a name); ``None``: the default one.
        default_certificate: For all other server names; ``None``: the proxy's own.
        handshakes: By rule host, the policies that act in the TLS handshake; hosts without any are left out.
        streams: By rule host, what is done with TLS connections that do not end here; of all others they do.
        ports: What is done with connections to further ports, by number.
        paths: As `RouteGraph.paths`.
        whole_hosts: In the table of a delegate, the rule hosts all of whose routes it has: of the others it
            has those only that the program in front cannot serve.
        affinity_key: What the values of affinity cookies are made with; empty: each proxy has a key of its
            own, and does not know the cookies of others, or of its past.
    """

    hosts: Mapping[str, HostTable] = field(default_factory=dict[str, HostTable])
    backends: Mapping[BackendKey, Backend] = field(default_factory=dict[BackendKey, Backend])
    certificates: Mapping[str, Certificate | None] = field(default_factory=dict[str, "Certificate | None"])
    default_certificate: Certificate | None = None
    handshakes: Mapping[str, PolicySet] = field(default_factory=dict[str, PolicySet])
    streams: Mapping[str, StreamTarget] = field(default_factory=dict[str, StreamTarget])
    ports: Mapping[int, StreamTarget] = field(default_factory=dict[int, StreamTarget])
    host_fallthrough: bool = False
    paths: PathOptions = DEFAULT_PATHS
    whole_hosts: frozenset[str] = frozenset()
    affinity_key: bytes = field(default=b"", repr=False)

    def find(self, host: str, path: str) -> Target | None:
        """The target for a request; agrees with `RouteGraph.resolve`, unless it is a variant.

        Args:
            host: In normal form.
            path: In normal form.

        Returns:
            The target, or ``None`` when no rule takes the request. Where it is a variant, ask `choose`.
        """
        for table in self._candidates(host):
            target = table.find(path)
            if target is not None or not self.host_fallthrough:
                return target
        return None

    def choose(self, host: str, path: str, request: Judged, point: float) -> Target | None:
        """The target for a request that a variant may take; agrees with `RouteGraph.outcomes`.

        Args:
            host: In normal form.
            path: In normal form.
            request: What conditions are asked about.
            point: Drawn for the request: from 0 to less than 1. Each share takes a part of that range.
        """
        for table in self._candidates(host):
            for target in table.found(path):
                selection = target.route.selection
                if not all(condition.holds(request) for condition in selection.conditions):
                    continue
                if selection.share is None:
                    return target
                point -= selection.share.probability
                if point < 0:
                    return target
            if not self.host_fallthrough:
                return None
        return None

    def targets(self, host: str, path: str) -> Iterator[Target]:
        """All targets that may take a request, in the order in which they are asked.

        Args:
            host: In normal form.
            path: In normal form.
        """
        for table in self._candidates(host):
            yield from table.found(path)
            if not self.host_fallthrough:
                return

    def knows(self, host: str) -> bool:
        """Whether any rule is for *host* (in normal form), a wildcard or host-less rule included."""
        return next(self._candidates(host), None) is not None

    def certificate_for(self, server_name: str | None) -> Certificate | None:
        """The certificate for a TLS server name, as `RouteGraph.certificate_for`."""
        if server_name:
            for candidate in host_candidates(server_name.lower().removesuffix(".")):
                if candidate != ANY_HOST and candidate in self.certificates:
                    return self.certificates[candidate] or self.default_certificate
        return self.default_certificate

    def rule_host_of(self, server_name: str | None) -> str | None:
        """The rule host that a TLS server name belongs to, as the requests do that name it in ``Host``."""
        name = server_name.lower().removesuffix(".") if server_name else ""
        try:
            # Without a name, only rules for any host are meant.
            candidates = host_candidates(name) if name else (ANY_HOST,)
            return next((candidate for candidate in candidates if candidate in self.hosts), None)
        except ValueError:
            return ANY_HOST if ANY_HOST in self.hosts else None

    def stream_for(self, server_name: str | None) -> StreamTarget | None:
        """What is done with a TLS connection for a server name, as `RouteGraph.stream_for`."""
        name = server_name.lower().removesuffix(".") if server_name else ""
        if not name or not self.streams:
            return None
        found = next((candidate for candidate in host_candidates(name) if candidate in self.hosts), None)
        return None if found is None else self.streams.get(found)

    def _candidates(self, host: str) -> Iterator[HostTable]:
        hosts = self.hosts
        for candidate in host_candidates(host):
            if table := hosts.get(candidate):
                yield table
