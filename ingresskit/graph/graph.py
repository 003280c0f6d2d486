"""The route graph: what should be served, and the oracle that says which rule takes a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple, overload

from ingresskit.graph.hosts import ANY_HOST, HostRefused, host_candidates, normalise_host
from ingresskit.graph.nodes import Backend, BackendKey, Certificate, Route, Unserved, VirtualHost
from ingresskit.graph.paths import DEFAULT_PATHS, PathOptions, PathRefused, normalise_path
from ingresskit.graph.request import JudgedRequest, Request
from ingresskit.models import ObjectKey

__all__ = ["Outcome", "RouteGraph"]


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
        host_fallthrough: Whether a request whose path nothing takes under the most specific host may
            be taken by the wildcard host, and then by ``*``. Off unless asked for: the most specific
            host owns the request.
        paths: How the paths of requests are brought into normal form.
        unserved: Rules that were seen and are not served, sorted by origin.
    """

    virtual_hosts: tuple[VirtualHost, ...] = ()
    backends: Mapping[BackendKey, Backend] = field(default_factory=dict[BackendKey, Backend])
    certificates: Mapping[ObjectKey, Certificate] = field(default_factory=dict[ObjectKey, Certificate])
    server_names: Mapping[str, ObjectKey | None] = field(default_factory=dict[str, "ObjectKey | None"])
    default_certificate: ObjectKey | None = None
    host_fallthrough: bool = False
    paths: PathOptions = DEFAULT_PATHS
    unserved: tuple[Unserved, ...] = ()
    _hosts: Mapping[str, VirtualHost] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hosts", {host.host: host for host in self.virtual_hosts})

    def virtual_host(self, host: str) -> VirtualHost | None:
        """The virtual host of exactly that rule host: ``"shop.test"``, ``"*.test"`` or ``"*"``."""
        return self._hosts.get(host)

    def candidates(self, host: str) -> tuple[VirtualHost, ...]:
        """The virtual hosts that may take a request for *host*, most specific first.

        Args:
            host: As the client sent it, with or without port.

        Returns:
            One at most, unless `host_fallthrough` is on; empty when nobody claims the host.

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
