"""The route graph: what should be served, and the oracle that decides which rule takes a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from fractions import Fraction
from operator import is_
from typing import NamedTuple, Never, cast, overload

from ingresskit.graph.hosts import ANY_HOST, HostRefused, host_candidates, normalise_host
from ingresskit.graph.nodes import Backend, BackendKey, Certificate, Route, StreamRoute, Unserved, VirtualHost
from ingresskit.graph.paths import DEFAULT_PATHS, PathOptions, PathRefused, normalise_path
from ingresskit.graph.request import JudgedRequest, Request
from ingresskit.models import ObjectKey
from ingresskit.models.history import History

__all__ = ["GraphKeys", "Outcome", "RouteGraph"]


_PARTS = ("hosts", "backends", "certificates", "server_names")


class Outcome(NamedTuple):
    """A way a request may go.

    Attributes:
        host: The virtual host of the route; without a route, the most specific one that the request
            belongs to, ``None`` when no Ingress claims the host.
        route: The route that takes the request; ``None``: none does.
        probability: Which part of such requests goes this way: more than 0, at most 1.
    """

    host: VirtualHost | None
    route: Route | None
    probability: Fraction


class GraphKeys(NamedTuple):
    """Which parts of two graphs may differ; all others are the same objects in both."""

    hosts: frozenset[str] = frozenset()
    backends: frozenset[BackendKey] = frozenset()
    certificates: frozenset[ObjectKey] = frozenset()
    server_names: frozenset[str] = frozenset()


class _Line(NamedTuple):
    """The history of a graph, and the parts that it is the history of: a copy with others has none."""

    history: History
    parts: tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteGraph:
    """Everything that should be served, independent of any proxy. Immutable.

    Successive graphs share structure: a part that did not change is the same object in both.

    Attributes:
        virtual_hosts: Each host once: names, then wildcards, then ``*``, each sorted by name.
        backends: By key, sorted; exactly those that a route forwards to.
        certificates: By Secret, sorted; exactly those that `server_names` or the default refer to.
        server_names: Which certificate serves which TLS server name (a name, or ``*.`` and a name);
            ``None``: the default one, although a wildcard would fit.
        default_certificate: The one for all other server names; ``None`` leaves it to the proxy, which
            then serves one that it signed itself.
        ports: By number, what is done with connections to further ports; sorted.
        host_fallthrough: Whether a request whose path nothing takes under the most specific host may
            be taken by the wildcard host, and then by ``*``. Off unless asked for: the most specific
            host owns the request.
        paths: How the paths of requests are brought into normal form.
        unserved: Rules that were seen and are not served, sorted by origin.

    Args:
        hosts: The virtual hosts by host, where the maker of the graph has them.
        after: The graph before, and what may differ from it: `changed_since` then knows without a look at
            every part.
    """

    virtual_hosts: tuple[VirtualHost, ...] = ()
    backends: Mapping[BackendKey, Backend] = field(default_factory=dict[BackendKey, Backend])
    certificates: Mapping[ObjectKey, Certificate] = field(default_factory=dict[ObjectKey, Certificate])
    server_names: Mapping[str, ObjectKey | None] = field(default_factory=dict[str, "ObjectKey | None"])
    default_certificate: ObjectKey | None = None
    ports: Mapping[int, StreamRoute] = field(default_factory=dict[int, StreamRoute])
    host_fallthrough: bool = False
    paths: PathOptions = DEFAULT_PATHS
    unserved: tuple[Unserved, ...] = ()
    hosts: InitVar[Mapping[str, VirtualHost] | None] = None
    after: InitVar[tuple[RouteGraph | None, GraphKeys] | None] = None
    _hosts: Mapping[str, VirtualHost] = field(init=False, repr=False, compare=False)
    _line: _Line | None = field(init=False, repr=False, compare=False)

    def __post_init__(
        self, hosts: Mapping[str, VirtualHost] | None, after: tuple[RouteGraph | None, GraphKeys] | None
    ) -> None:
        by_host = {host.host: host for host in self.virtual_hosts} if hosts is None else hosts
        object.__setattr__(self, "_hosts", by_host)
        line: _Line | None = None
        if after is not None:
            before, keys = after
            known = None if before is None else before.history
            step: dict[object, frozenset[object]] = dict(zip(_PARTS, keys, strict=True))
            line = _Line(History.begin() if known is None else known.next(step), self._parts())
        object.__setattr__(self, "_line", line)

    def changed_since(self, other: RouteGraph) -> GraphKeys | None:
        """What may differ between this graph and *other*, an earlier or later one of the same maker.

        Returns:
            At least the keys of what differs; ``None`` when nothing is known, so that all may.
        """
        if self is other:
            return GraphKeys()
        ours, theirs = self.history, other.history
        found = ours.between(theirs) if ours is not None and theirs is not None else None
        if found is None:
            return None
        return GraphKeys(*(cast("frozenset[Never]", found.get(part, frozenset())) for part in _PARTS))

    @property
    def history(self) -> History | None:
        """The steps that led to this graph, as far as its maker told; ``None``: nothing is known of them."""
        line = self._line
        return line.history if line is not None and all(map(is_, line.parts, self._parts())) else None

    def _parts(self) -> tuple[object, ...]:
        return (self.virtual_hosts, self.backends, self.certificates, self.server_names)

    @property
    def by_host(self) -> Mapping[str, VirtualHost]:
        """The virtual hosts by host, in the same order."""
        return self._hosts

    def virtual_host(self, host: str) -> VirtualHost | None:
        """The virtual host of exactly that rule host: ``"shop.test"``, ``"*.test"`` or ``"*"``."""
        return self._hosts.get(host)

    def candidates(self, host: str) -> tuple[VirtualHost, ...]:
        """The virtual hosts that may take a request for *host*, most specific first.

        Args:
            host: As the client sent it, with or without port.

        Returns:
            One at most, unless `host_fallthrough` is on; empty when no Ingress claims the host.

        Raises:
            HostRefused: *host* is not a host.
        """
        found = [self._hosts[name] for name in host_candidates(normalise_host(host)) if name in self._hosts]
        return tuple(found if self.host_fallthrough else found[:1])

    @overload
    def resolve(self, request: Request, /) -> Route | None: ...

    @overload
    def resolve(self, host: str, path: str, /) -> Route | None: ...

    def resolve(self, request: Request | str, path: str = "/", /) -> Route | None:
        """The route that takes a request: what every renderer is held to.

        Args:
            request: The request; in short its host and path, for a GET without header fields.
            path: As the client sent it, without the query.

        Returns:
            The route, or ``None`` when no rule takes the request (404), or when host or path are
            such that no proxy should serve them (400). Where shares of the requests go to several
            routes, that with the largest part; `outcomes` has them all.
        """
        if isinstance(request, str):
            request = Request(host=request, path=path)
        try:
            found = self.outcomes(request)
        except (HostRefused, PathRefused):
            return None
        return max(reversed(found), key=lambda item: item.probability).route

    def outcomes(self, request: Request) -> tuple[Outcome, ...]:
        """All routes that may take a request, with the part of such requests that each takes.

        Returns:
            In the order in which the routes are asked; one, unless variants take shares. The parts add up
            to 1, since what no rule takes stands last, without a route.

        Raises:
            HostRefused: The host of the request is not one (400).
            PathRefused: Its path has no normal form (400).
        """
        hosts, path = self.candidates(request.host), normalise_path(request.path, self.paths)
        judged = JudgedRequest(request)
        found: list[Outcome] = []
        left = Fraction(1)
        for host in hosts:
            for route in host.routes:
                if not route.match.matches(path):
                    continue
                selection = route.selection
                if not all(condition.holds(judged) for condition in selection.conditions):
                    continue
                share = selection.share
                part = left if share is None else min(left, Fraction(share.weight, share.total))
                if part:
                    found.append(Outcome(host, route, part))
                    left -= part
                if not left:
                    return tuple(found)
        return (*found, Outcome(hosts[0] if hosts else None, None, left))

    def certificate_for(self, server_name: str | None) -> Certificate | None:
        """The certificate for a TLS server name; ``None`` when only the proxy's own one is left.

        Args:
            server_name: As the client sent it; ``None`` when it sent none.
        """
        key = self.default_certificate
        if server_name:
            name = server_name.lower().removesuffix(".")
            for candidate in host_candidates(name):
                if candidate != ANY_HOST and candidate in self.server_names:
                    key = self.server_names[candidate] or key
                    break
        return None if key is None else self.certificates.get(key)

    def stream_for(self, server_name: str | None) -> StreamRoute | None:
        """What is done with a TLS connection for a server name; ``None``: TLS ends here.

        The most specific host that the name belongs to decides.

        Args:
            server_name: As the client sent it; ``None`` when it sent none.
        """
        name = (server_name or "").lower().removesuffix(".")
        if not name:
            return None
        found = next((self._hosts[host] for host in host_candidates(name) if host in self._hosts), None)
        return None if found is None else found.stream
