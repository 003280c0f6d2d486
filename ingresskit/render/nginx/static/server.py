"""A server under construction: what its locations share, and what stands beside it."""

from __future__ import annotations

from collections.abc import Callable

from ingresskit.graph import ANY_HOST, Backend, BackendKey, Forward, Protocol, VirtualHost
from ingresskit.policies import Order, PolicySet, UpstreamTls
from ingresskit.render.delegate import DELEGATE_FIELD, Handover
from ingresskit.render.nginx.names import host_id
from ingresskit.render.nginx.policies import STATIC_HANDLERS, ClientIn, StaticDraft, StaticGuard, local_response
from ingresskit.render.nginx.settings import NginxSettings
from ingresskit.render.nginx.static.handover import said_to_delegate
from ingresskit.render.nginx.static.locations import Served
from ingresskit.render.nginx.static.normal_form import FORWARDED_URI
from ingresskit.render.nginx.static.upstream_tls import tls_directives
from ingresskit.render.nginx.static.upstreams import Upstream
from ingresskit.render.nginx.tree import Block, Condition, Directive, Node, Value, Variable

__all__ = ["Server"]

_Shares = tuple[tuple[Upstream, str, int], ...]


class Server:
    """Makes the parts of a server that several locations share, each once.

    Args:
        host: The virtual host.
        settings: As of the whole nginx.
        available: The backend of a key, ``None`` when it has no endpoint.
    """

    def __init__(
        self,
        host: VirtualHost,
        settings: NginxSettings,
        available: Callable[[BackendKey], Backend | None],
    ) -> None:
        self.host = host
        self.settings = settings
        self.hsts: str = ""
        """What browsers are told by responses that nginx makes itself; empty: nothing."""
        self.beside: list[Node] = []
        """What stands beside the server, in the ``http`` block."""
        self.upstreams: dict[Upstream, None] = {}
        """The upstreams that its locations send requests to, in the order of the locations."""
        self.tls: dict[UpstreamTls, None] = {}
        """How endpoints are spoken to in TLS where a policy says it, in the order of the locations."""
        self._available = available
        self._drafts: dict[tuple[PolicySet, Order], StaticDraft] = {}
        self._closed: dict[ClientIn, Variable] = {}
        self._splits: dict[_Shares, Variable] = {}
        self._over_tls: dict[str, Variable] = {}
        self._maps: dict[tuple[Value, tuple[tuple[str, str | Value], ...]], Variable] = {}
        self._too_large: dict[tuple[StaticGuard, ...], Block] = {}

    def draft(self, taker: Served) -> StaticDraft:
        """What the policies of a route amount to, which may be written for another host than the server's."""
        host, route = taker
        policies = host.policies_of(route)
        key = policies, route.order
        made = self._drafts.get(key)
        if made is None:
            made = self._drafts[key] = StaticDraft()
            STATIC_HANDLERS.contribute(policies, made, route.order)
            if (handover := policies.get(Handover)) is not None:
                made.request[DELEGATE_FIELD] = (DELEGATE_FIELD, said_to_delegate(handover))
        return made

    def guard(self, guard: StaticGuard) -> Block:
        """*guard* as a block of a location."""
        test = guard.test if isinstance(guard.test, Variable) else self._clients(guard.test)
        return Block("if", (Condition(test),), (guard.response,))

    @property
    def too_large(self) -> tuple[Block, ...]:
        """The locations that `too_large_after` names."""
        return tuple(self._too_large.values())

    def too_large_after(self, guards: tuple[StaticGuard, ...]) -> str:
        """The name of a location that responds 413, once none of *guards* responds."""
        known = self._too_large.get(guards)
        if known is None:
            name = f"@ik_too_large_{len(self._too_large)}"
            body: tuple[Node, ...] = (*(self.guard(guard) for guard in guards), local_response(413))
            known = self._too_large[guards] = Block("location", (name,), body)
        return str(known.args[0])

    def mapped(self, source: Value, rows: tuple[tuple[str, str | Value], ...]) -> Variable:
        """A variable that a ``map`` makes of *source*; the same for the same rows."""
        key = (source, rows)
        variable = self._maps.get(key)
        if variable is None:
            variable = Variable(f"ik_map_{host_id(self.host.host)}_{len(self._maps)}")
            body = tuple(Directive(match, (value,)) for match, value in rows)
            self.beside.append(Block("map", (source, variable), body))
            self._maps[key] = variable
        return variable

    def over_tls(self, value: str) -> Variable:
        """A variable that is *value* for clients that use TLS, and empty for others."""
        variable = self._over_tls.get(value)
        if variable is None:
            variable = Variable(f"ik_over_tls_{host_id(self.host.host)}_{len(self._over_tls)}")
            rows = (Directive("https", (Value(value),)), Directive("default", ("",)))
            self.beside.append(Block("map", (Value(Variable("ik_proto")), variable), rows))
            self._over_tls[value] = variable
        return variable

    def target(self, action: Forward) -> Value | None:
        """Where requests go, for ``proxy_pass``; ``None`` when no backend has an endpoint."""
        shares = [
            self._share(backend, weight)
            for key, weight in action.backends
            if (backend := self._available(key)) is not None
        ]
        if not shares:
            return None
        self.upstreams.update(dict.fromkeys(upstream for upstream, _, _ in shares))
        if len(shares) == 1:
            upstream, scheme, _ = shares[0]
            return Value(f"{scheme}://{upstream.name}", FORWARDED_URI)
        return Value(self._split(tuple(shares)), FORWARDED_URI)

    def tls_of(self, action: Forward) -> tuple[tuple[Directive, ...], bool]:
        """What a location says of TLS with the endpoints of *action*, and whether it can say it.

        It cannot where some of them are verified in another way than others.
        """
        policies: dict[UpstreamTls | None, None] = {}
        names: list[tuple[str, str | Value]] = []
        shares: list[tuple[Upstream, str, int]] = []
        for key, weight in action.backends:
            backend = self._available(key)
            if backend is None:
                continue
            shares.append(self._share(backend, weight))
            if backend.protocol is Protocol.HTTPS:
                policy = backend.policies.get(UpstreamTls)
                policies[policy] = None
                name = "" if policy is None else policy.name_for(key.service, key.namespace)
                names.append((f"https://{shares[-1][0].name}", name))
        if len(policies) > 1:
            return (), False
        said = next(iter(policies), None)
        if said is None:
            return (), True
        self.tls[said] = None
        first = names[0][1]
        asked = Value(first) if isinstance(first, str) and first else None
        if len({name for _, name in names}) > 1:
            asked = Value(self.mapped(Value(self._split(tuple(shares))), (*names, ("default", ""))))
        return tuple(tls_directives(said, asked, self.settings)), True

    def _share(self, backend: Backend, weight: int) -> tuple[Upstream, str, int]:
        host = self.host.host
        secure = backend.protocol is Protocol.HTTPS
        kept = "" if not secure else ANY_HOST if host.startswith("*") else host
        return Upstream(backend.key, kept), "https" if secure else "http", weight

    def _split(self, shares: _Shares) -> Variable:
        """A variable that is one of *shares* for each request, by weight, to one part in ten thousand."""
        if known := self._splits.get(shares):
            return known
        variable = Variable(f"ik_split_{host_id(self.host.host)}_{len(self._splits)}")
        self._splits[shares] = variable
        total = sum(weight for _, _, weight in shares)
        # The largest share is the rest, so that rounding takes nothing from a small one.
        *others, (rest, rest_scheme, _) = sorted(shares, key=lambda item: (item[2], item[0]))
        rows: list[Directive] = []
        for upstream, scheme, weight in others:
            parts = max(1, 10_000 * weight // total)
            rows.append(Directive(f"{parts // 100}.{parts % 100:02}%", (f"{scheme}://{upstream.name}",)))
        rows.append(Directive("*", (f"{rest_scheme}://{rest.name}",)))
        self.beside.append(Block("split_clients", (Value(Variable("request_id")), variable), tuple(rows)))
        return variable

    def _clients(self, test: ClientIn) -> Variable:
        """A variable that is set for the clients of *test*."""
        if known := self._closed.get(test):
            return known
        variable = Variable(f"ik_closed_{host_id(self.host.host)}_{len(self._closed)}")
        inside, outside = ("1", "0") if test.inside else ("0", "1")
        named = tuple(Directive(str(network), (inside,)) for network in test.networks)
        self.beside.append(Block("geo", (variable,), (Directive("default", (outside,)), *named)))
        self._closed[test] = variable
        return variable
