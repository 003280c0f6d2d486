"""A request on its way through the filters of its route: what they see of it, and what they decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingresskit.facts import fact_logger
from ingresskit.filters import (
    UNCHANGED,
    Filter,
    HeaderEdit,
    Reply,
    Resuming,
    Subrequest,
    SubrequestReply,
)
from ingresskit.graph import Termination
from ingresskit.policies import Stage
from ingresskit.proxy.exchange.replies import LocalReply
from ingresskit.proxy.message.views import field_of

if TYPE_CHECKING:
    from ingresskit.proxy.exchange.filter_context import FilterContext
    from ingresskit.proxy.message.forwarded import Address, Forwarding, Peer
    from ingresskit.proxy.message.head import RequestHead
    from ingresskit.proxy.message.hosts import RequestedHost
    from ingresskit.render.inprocess import Target

__all__ = ["GuardedRequest"]

_logger = fact_logger(__name__)

# What a request that ends at this proxy (RFC 9110, 7.6.2) need not pass: it is not forwarded.
_FORWARDING: Final = frozenset({Stage.ACTION, Stage.BODY})


class GuardedRequest:
    """A request whose route has filters: their `RequestView`, and how far it has come.

    Attributes:
        edit: What filters and policies change of its header fields.
    """

    __slots__ = (
        "_asking",
        "_context",
        "_guards",
        "_next",
        "client",
        "edit",
        "forwarding",
        "head",
        "host",
        "https",
        "length",
        "method",
        "path",
        "peer",
        "query",
        "requested_host",
        "target",
    )

    def __init__(
        self,
        context: FilterContext,
        peer: Peer,
        head: RequestHead,
        host: RequestedHost,
        path: str,
        query: bytes,
        target: Target,
        forwarding: Forwarding,
        guards: tuple[Filter, ...],
    ) -> None:
        # For filters.
        self.method: bytes = head.method
        self.host: str = host.name
        self.path: str = path
        self.query: bytes = query
        self.client: Address = forwarding.client
        self.https: bool = forwarding.https
        self.length: int | None = head.length
        # For the proxy.
        self._context = context
        self.peer: Peer = peer
        self.head: RequestHead = head
        self.requested_host: RequestedHost = host
        self.target: Target = target
        self.forwarding: Forwarding = forwarding
        self.edit: HeaderEdit = target.request or UNCHANGED
        self._guards = guards
        self._next = 0
        self._asking: Filter | None = None

    @property
    def secure_location(self) -> str | None:
        """As `RequestView`."""
        port = self._context.redirect_port(self.peer, self.requested_host.port)
        if port is None:
            return None
        shown = "" if port == 443 else f":{port}"
        return f"https://{self.host}{shown}{self.path}{self.query.decode('ascii')}"

    def field(self, name: bytes) -> bytes | None:
        """As `RequestView`."""
        return field_of(name, self.head, self.requested_host.wire, self.forwarding)

    # For the proxy.

    def go_on(self) -> LocalReply | Subrequest | None:
        """Ask the filters that were not asked yet.

        Returns:
            ``None`` when all let it go on; a `Subrequest` to be sent before `resume`.
        """
        guards = self._guards
        while self._next < len(guards):
            guard = guards[self._next]
            self._next += 1
            if self.head.max_forwards == 0 and guard.stage in _FORWARDING:
                continue
            try:
                outcome = guard.request(self, self._context.buckets)
            except Exception:  # noqa: BLE001 - a third party's code; logged
                return self._failed(guard)
            if isinstance(outcome, Subrequest):
                self._asking = guard
                return outcome
            if isinstance(outcome, Reply):
                return self._replied(guard, outcome)
            if outcome is not None:
                self.edit = self.edit.then(outcome)
        return None

    def resume(self, reply: SubrequestReply) -> LocalReply | Subrequest | None:
        """Give the filter that asked for a subrequest what came of it, and go on."""
        guard, self._asking = self._asking, None
        if not isinstance(guard, Resuming):
            _logger.error(
                "a filter asked for a subrequest and cannot be resumed", extra={"filter": type(guard).__name__}
            )
            return self.reply(500, Termination.INTERNAL)
        try:
            outcome = guard.resume(self, reply)
        except Exception:  # noqa: BLE001 - a third party's code; logged
            return self._failed(guard)
        if isinstance(outcome, Reply):
            return self._replied(guard, outcome)
        if outcome is not None:
            self.edit = self.edit.then(outcome)
        return self.go_on()

    def reply(
        self,
        status: int,
        termination: Termination | None,
        *,
        detail: str = "",
        location: str = "",
        fields: tuple[tuple[bytes, bytes], ...] = (),
    ) -> LocalReply:
        """A response of the proxy to this request."""
        return LocalReply(
            status,
            termination,
            detail=detail,
            host=self.host,
            path=self.path,
            rule_host=self.target.host,
            location=location,
            fields=fields,
        )

    def _replied(self, guard: Filter, reply: Reply) -> LocalReply:
        peer = self.peer
        if guard.stage is Stage.TLS_REDIRECT and peer.trusted and not self.forwarding.said_scheme:
            self._context.suspect_redirect_loop(peer)
        try:
            fields = HeaderEdit(fields=reply.fields).fields
            reply.location.encode("ascii")
        except ValueError:
            return self._failed(guard)
        return self.reply(reply.status, reply.termination, location=reply.location, fields=fields)

    def _failed(self, guard: object) -> LocalReply:
        """A filter raised: whatever it guards stays closed."""
        _logger.exception("a filter failed", extra={"filter": type(guard).__name__, "host": self.target.host})
        return self.reply(500, Termination.INTERNAL)
