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

if TYPE_CHECKING:
    from ingresskit.proxy.h1.heads import RequestHead, ResponseHead
    from ingresskit.proxy.hosts import RequestedHost
    from ingresskit.proxy.message.forwarded import Address, Forwarding, Peer
    from ingresskit.proxy.plane import Plane
    from ingresskit.render.inprocess import Target

__all__ = ["EndpointResponse", "GuardedRequest", "JudgedHead", "field_of", "value_in"]

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
        "plane",
        "query",
        "requested_host",
        "target",
    )

    def __init__(
        self,
        plane: Plane,
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
        self.plane: Plane = plane
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
        port = self.plane.redirect_port(self.peer, self.requested_host.port)
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
                outcome = guard.request(self, self.plane.buckets)
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
            self.plane.suspect_redirect_loop(peer)
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


class EndpointResponse:
    """An endpoint's response as filters see it."""

    __slots__ = ("_head",)

    def __init__(self, head: ResponseHead) -> None:
        self._head = head

    @property
    def status(self) -> int:
        """As `ResponseView`."""
        return self._head.status

    def field(self, name: bytes) -> bytes | None:
        """As `ResponseView`."""
        return value_in(self._head.fields, name)


class JudgedHead:
    """A request head as the conditions of variants see it: a `ingresskit.policies.Judged`."""

    __slots__ = ("_forwarding", "_head", "_host", "method", "query")

    def __init__(self, head: RequestHead, host: RequestedHost, query: bytes, peer: Peer) -> None:
        self.method: bytes = head.method
        self.query: bytes = query
        self._head = head
        self._host = host.wire
        self._forwarding = peer.forwarding(host.wire, host.port, head.client_fields)

    def field(self, name: bytes) -> bytes | None:
        """As `Judged`."""
        return field_of(name, self._head, self._host, self._forwarding)


def field_of(name: bytes, head: RequestHead, host: bytes, forwarding: Forwarding) -> bytes | None:
    """A header field of a request as `RequestView.field` gives it.

    What the proxy owns is what the endpoint gets: a client cannot make up its address for a filter either.
    """
    if name == b"host":
        return host
    if name == b"content-length":
        return None if head.length is None or not head.has_length else b"%d" % head.length
    if name == b"x-request-id":
        return head.request_id or None
    if name == b"upgrade":
        return head.upgrade or None
    return value_in(head.fields + forwarding.lines, name)


def value_in(lines: bytes, name: bytes) -> bytes | None:
    """The value of a field in lines of a head; several are joined, cookies by semicolons."""
    found = [
        value.strip(b" \t\r\n")
        for line in lines.splitlines(keepends=True)
        for key, _, value in (line.partition(b":"),)
        if key.lower() == name
    ]
    if not found:
        return None
    return (b"; " if name == b"cookie" else b", ").join(found)
