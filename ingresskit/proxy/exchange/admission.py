"""From a request head to what happens with it: the one place where rules are asked.

Order matters: an address that is not allowed learns nothing else, neither a redirect nor a limit.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ingresskit.filters import Question
from ingresskit.graph import Forward, PathRefused, Termination, normalise_path
from ingresskit.proxy.exchange.exchange import Exchange
from ingresskit.proxy.exchange.extended import ExtendedExchange
from ingresskit.proxy.exchange.gathering import Gathering
from ingresskit.proxy.exchange.guards import GuardedRequest
from ingresskit.proxy.exchange.inquiry import Inquiry
from ingresskit.proxy.exchange.local_fields import local_fields
from ingresskit.proxy.exchange.observed import ObservedExchange
from ingresskit.proxy.exchange.replies import LocalReply
from ingresskit.proxy.message.head import BadRequest, RequestHead
from ingresskit.proxy.message.hosts import RequestedHost
from ingresskit.proxy.message.request import ForwardedRequest
from ingresskit.proxy.message.views import JudgedHead

if TYPE_CHECKING:
    from ingresskit.graph import BackendKey
    from ingresskit.proxy.exchange.filter_context import FilterContext
    from ingresskit.proxy.exchange.runtime import Runtime
    from ingresskit.proxy.message.forwarded import Peer
    from ingresskit.proxy.ports.streams import Downstream
    from ingresskit.proxy.upstreams.balance import BackendState, Balancer
    from ingresskit.render.inprocess import RoutingTable, Target

__all__ = ["Admission"]

_HOST_END: Final = (b"/", b"?")


class Admission:
    """Decides what happens with each request, by the table that is served now.

    Attributes:
        runtime: For the exchanges it begins.
        filters: What the filters it asks share.
        table: What is served now; each request reads it once.
        fading: Where routes are looked for that a proxy in front chose and *table* no longer has.
    """

    def __init__(
        self, runtime: Runtime, filters: FilterContext, balancer: Balancer, table: RoutingTable
    ) -> None:
        self.runtime = runtime
        self.filters = filters
        self.table: RoutingTable = table
        self.fading: tuple[RoutingTable, ...] = ()
        self._balancer = balancer

    def swap(self, table: RoutingTable, fading: tuple[RoutingTable, ...] = ()) -> None:
        """Serve *table* from the next request on; see `Proxy.swap`."""
        hosts: Mapping[str, object] = table.hosts
        for older in fading:
            table = replace(table, backends={**older.backends, **table.backends})
            hosts = {**older.hosts, **hosts}
        self.table, self.fading = table, fading
        self._balancer.follow(table)
        self.runtime.counters.keep_hosts(hosts)

    def admit(
        self, downstream: Downstream, peer: Peer, head: RequestHead, host: RequestedHost
    ) -> Exchange | Gathering | Inquiry | LocalReply:
        """What happens with a request.

        Args:
            downstream: Its stream.
            peer: Who sent it.
            head: What it says.
            host: Its ``Host`` field, read.

        Raises:
            BadRequest: Its path cannot be one, or its target names another host.
        """
        target_bytes = head.target
        if target_bytes[0] != 0x2F:
            if target_bytes != b"*" or head.method != b"OPTIONS":
                target_bytes = _from_absolute(target_bytes, host, head.method)
            if target_bytes == b"*":
                # About the server in general, which is this proxy: no rule is asked (RFC 9110, 9.3.7).
                return LocalReply(200, None, host=host.name, path="*")
        if b"#" in target_bytes:
            raise BadRequest(400, "The target has a fragment.")
        raw_path, mark, query = target_bytes.partition(b"?")
        table = self.table
        try:
            path = normalise_path(raw_path.decode("ascii"), table.paths)
        except PathRefused as exc:
            raise BadRequest(400, f"The path {exc}.") from None
        try:
            if (chosen := peer.chosen) is None:
                # The common case first: an exact host. The table knows the others.
                exact = table.hosts.get(host.name)
                target = (exact.find(path) if exact is not None else None) or table.find(host.name, path)
                if target is not None and target.is_variant:
                    judged = JudgedHead(head, host, mark + query, peer)
                    target = self._variant(table, host.name, path, judged)
                if target is None:
                    return LocalReply(404, Termination.NO_ROUTE, host=host.name, path=path)
            elif chosen.kind is None:
                if (whole := chosen.whole((table, *self.fading))) is None:
                    return LocalReply(
                        503, Termination.UNAVAILABLE, host=host.name, path=path, rule_host=chosen.host
                    )
                target = whole.find(chosen.host, path)
                if target is not None and target.is_variant:
                    judged = JudgedHead(head, host, mark + query, peer)
                    target = self._variant(whole, chosen.host, path, judged)
                if target is None:
                    return LocalReply(
                        404, Termination.NO_ROUTE, host=host.name, path=path, rule_host=chosen.host
                    )
            elif (target := chosen.find((table, *self.fading))) is None:
                # The proxy in front knows a route that is not here (yet): it may be protected, so nothing else
                # will do.
                return LocalReply(
                    503, Termination.UNAVAILABLE, host=host.name, path=path, rule_host=chosen.host
                )
        except TimeoutError:
            raise BadRequest(400, "The path takes too long to be matched.") from None
        forwarding = peer.forwarding(host.wire, host.port, head.client_fields)
        edit, marks = target.request, None
        if guards := target.secure if forwarding.https else target.plain:
            guarded = GuardedRequest(
                self.filters, peer, head, host, path, mark + query, target, forwarding, guards
            )
            outcome = guarded.go_on()
            if isinstance(outcome, Question):
                return Inquiry(self.runtime, downstream, guarded, outcome, self._forward_guarded)
            if outcome is not None:
                return outcome
            if guarded.responses:
                return self._forward_guarded(downstream, guarded, self.runtime.deadlines.recent)
            edit, marks = guarded.edit or None, guarded.marks
        request = ForwardedRequest(head, host, path, mark + query, target, forwarding, edit, marks)
        return self._forward(downstream, request, self.runtime.deadlines.recent)

    def _variant(self, table: RoutingTable, host: str, path: str, judged: JudgedHead) -> Target | None:
        """The target of a request that a variant may take: that of the client's affinity, if it has one."""
        targets = table.targets(host, path)
        # Backends are those of the table that the balancer follows, also for a route that is fading.
        if (sticky := self._balancer.sticky_target(targets, self.table, judged)) is not None:
            return sticky
        return table.choose(host, path, judged, random.random())  # noqa: S311 - of a canary

    def _forward_guarded(
        self, downstream: Downstream, request: GuardedRequest, began: float
    ) -> Exchange | Gathering | LocalReply:
        """The same after a wait for what a filter asked, which began at *began*."""
        forwarded = ForwardedRequest(
            request.head,
            request.requested_host,
            request.path,
            request.query,
            request.target,
            request.forwarding,
            request.edit or None,
            request.marks,
        )
        forwarded.responses = request.responses
        forwarded.request_id = request.request_id or forwarded.request_id
        return self._forward(downstream, forwarded, began)

    def _forward(
        self, downstream: Downstream, request: ForwardedRequest, began: float
    ) -> Exchange | Gathering | LocalReply:
        """What becomes of a request that all filters let go on."""
        target = request.target
        if request.head.max_forwards == 0:
            return _not_forwarded(request, 200, None)
        if target.path is not None:
            try:
                request.rewrite(self.table.paths)
            except PathRefused:
                return _not_forwarded(request, 400, Termination.BAD_REQUEST)
        if target.http_1_0 and request.head.length is None:
            return _not_forwarded(request, 411, Termination.BAD_REQUEST)
        action = target.route.action
        # A route that does not forward has a filter that responds.
        state = None
        if isinstance(action, Forward):
            state = self._balancer.choose_backend(action, self.table, request)
        if target.extended or (state is None and isinstance(action, Forward) and action.fallback is not None):
            exchange = self._forward_beside(downstream, request, state, began)
            if isinstance(exchange, LocalReply):
                return exchange
        elif state is None:
            return _not_forwarded(request, 503, Termination.NO_ENDPOINT)
        elif state.observed:
            exchange = ObservedExchange(self.runtime, downstream, request, state, began)
        else:
            exchange = Exchange(self.runtime, downstream, request, state, began)
        if target.gathered_bytes and request.head.length != 0:
            return Gathering(self.runtime, downstream, request, exchange)
        return exchange

    def _forward_beside(
        self, downstream: Downstream, request: ForwardedRequest, state: BackendState | None, began: float
    ) -> Exchange | LocalReply:
        """The same where other backends than those of the route may do their work."""
        target = request.target
        action = target.route.action
        if not isinstance(action, Forward):
            return _not_forwarded(request, 503, Termination.NO_ENDPOINT)
        pages = self._usable(action.pages) if target.errors else None
        if state is None and (state := self._usable(action.fallback)) is not None:
            pages = None  # What it sends is its page.
        if state is None and pages is None:
            return _not_forwarded(request, 503, Termination.NO_ENDPOINT)
        mirror = self._usable(action.mirror)
        return ExtendedExchange(self.runtime, downstream, request, state, began, pages, mirror)

    def _usable(self, key: BackendKey | None) -> BackendState | None:
        """The backend with that key, if it has endpoints."""
        backend = None if key is None else self.table.backends.get(key)
        return None if backend is None or not backend.endpoints else self._balancer.backend(backend)


def _not_forwarded(request: ForwardedRequest, status: int, termination: Termination | None) -> LocalReply:
    """The response to a request that all filters let go on, and that goes no further."""
    if (marks := request.marks) is not None:
        marks.end()
    return LocalReply(
        status,
        termination,
        host=request.host,
        path=request.path,
        rule_host=request.target.host,
        fields=local_fields(request.target, request, status),
        shadow=() if marks is None else marks.shadow,
        logged=request.target.logs(request.head.target),
    )


def _from_absolute(target: bytes, host: RequestedHost, method: bytes) -> bytes:
    """The origin form of an absolute target; ``*`` for OPTIONS of one without a path (RFC 9112, 3.2.4).

    RFC 9112, 3.2.2 lets the target win over ``Host``; we refuse when they differ, since whatever
    checked the request before us may have read the other one.
    """
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise BadRequest(400, "The target is neither a path nor an http URL.")
    cuts = [cut for mark in _HOST_END if (cut := rest.find(mark)) >= 0]
    cut = min(cuts, default=len(rest))
    if RequestedHost(rest[:cut]).wire != host.wire:
        raise BadRequest(400, "The target and the Host are not the same.")
    path = rest[cut:]
    if not path and method == b"OPTIONS":
        return b"*"
    return path if path.startswith(b"/") else b"/" + path
