"""A request on its way through the filters of its route: what they see of it, and what they decide."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ingresskit.facts import fact_logger
from ingresskit.filters import (
    UNCHANGED,
    Admitted,
    Filter,
    Handshake,
    HeaderEdit,
    Question,
    Reply,
    ResponseFilter,
    Resuming,
    Subrequest,
    SubrequestReply,
    Verdict,
    Verification,
    Verifying,
)
from ingresskit.graph import Termination
from ingresskit.policies import Stage
from ingresskit.proxy.exchange.local_fields import local_fields
from ingresskit.proxy.exchange.replies import LocalReply
from ingresskit.proxy.message.fields import without
from ingresskit.proxy.message.marks import Marks
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


_CERTIFICATE: Final = b"ssl-client-"


class GuardedRequest:
    """A request whose route has filters: their `RequestView` and `Memory`, and how far it has come.

    Attributes:
        edit: What filters and policies change of its header fields.
        marks: What its end and its record need to know; ``None``: nothing.
        responses: What filters of this request change of its response.
        request_id: What is sent as ``X-Request-ID``.
    """

    __slots__ = (
        "_asking",
        "_context",
        "_guard",
        "_guards",
        "_next",
        "client",
        "edit",
        "forwarding",
        "head",
        "host",
        "https",
        "length",
        "marks",
        "method",
        "path",
        "peer",
        "query",
        "request_id",
        "requested_host",
        "responses",
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
        self.marks: Marks | None = None
        self.responses: tuple[ResponseFilter, ...] = ()
        self.request_id: bytes = head.request_id
        self._guards = guards
        self._next = 0
        # The filter whose question is open, and who gets the answer.
        self._guard: Filter | None = None
        self._asking: object = None

    @property
    def handshake(self) -> Handshake | None:
        """As `RequestView`."""
        return self.peer.handshake

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

    @property
    def now(self) -> float:
        """As `Memory`."""
        return self._context.buckets.now

    @property
    def unix_time(self) -> float:
        """As `Memory`."""
        return self._context.buckets.unix_time

    def draw(self, bits: int) -> int:
        """As `Memory`."""
        return random.getrandbits(bits)

    def take(self, key: tuple[object, ...], rate: float, burst: int) -> bool:
        """As `Memory`."""
        return self._context.buckets.take(key, rate, burst)

    def take_all(self, buckets: Sequence[tuple[tuple[object, ...], float, int]]) -> bool:
        """As `Memory`."""
        return self._context.buckets.take_all(buckets)

    def hold(self, key: tuple[object, ...], most: int) -> bool:
        """As `Memory`."""
        if not self._context.places.take(key, most):
            return False
        self._marked().held += (key,)
        return True

    def _is_on_trial(self, guard: Filter) -> bool:
        """Whether what the filter replies is only counted; if so, it is counted now."""
        stage = guard.stage
        if stage not in self.target.shadow:
            return False
        self._context.counters.count_shadow(stage)
        self._marked().shadow += (str(stage),)
        return True

    def _marked(self) -> Marks:
        if self.marks is None:
            self.marks = Marks(self._context.places.leave)
        return self.marks

    # For the proxy.

    def go_on(self) -> LocalReply | Question | None:
        """Ask the filters that were not asked yet.

        Returns:
            ``None`` when all let it go on; a `Question` whose answer `resume` is to get.
        """
        guards = self._guards
        while self._next < len(guards):
            guard = guards[self._next]
            self._next += 1
            if self.head.max_forwards == 0 and guard.stage in _FORWARDING:
                continue
            try:
                settled = self._settle(guard, guard.request(self, self))
            except Exception:  # noqa: BLE001 - a third party's code; logged
                return self._failed(guard)
            if settled is not None:
                return settled
        return None

    def resume(self, result: SubrequestReply | bool) -> LocalReply | Question | None:
        """Give who asked a question its answer, and go on."""
        guard, asking = self._guard, self._asking
        self._guard = self._asking = None
        if guard is None:
            return self.reply(500, Termination.INTERNAL)
        try:
            settled = self._settle(guard, self._told(asking, result))
        except Exception:  # noqa: BLE001 - a third party's code; logged
            return self._failed(guard)
        return self.go_on() if settled is None else settled

    def turn_away(self) -> LocalReply | Question | None:
        """What becomes of the request where nobody can say whether the filter that asked would let it go on."""
        guard, self._guard, self._asking = self._guard, None, None
        if guard is not None and self._is_on_trial(guard):
            return self.go_on()
        return self.reply(503, Termination.OVERLOADED)

    async def verify(self, question: Verification) -> bool | None:
        """The answer to *question*; ``None`` where too many wait for theirs."""
        return await self._context.verifier.verify(question, self.client)

    def fields_for(self, subrequest: Subrequest) -> bytes:
        """The header fields of this request that go with a subrequest, each with its line end."""
        if not subrequest.passes:
            return b""
        if not self.request_id:
            self.request_id = b"%032x" % random.getrandbits(128)
        own = b"" if b"x-request-id" in subrequest.drop else b"X-Request-ID: %b\r\n" % self.request_id
        # What this proxy, or one in front, found in the certificate of the client.
        said = without(self.forwarding.lines, self.edit.drop) + self.edit.lines
        shown = b"".join([line for line in said.splitlines(keepends=True) if line[:11].lower() == _CERTIFICATE])
        return without(self.head.fields, subrequest.drop) + without(shown, subrequest.drop) + own

    def _settle(self, guard: Filter, outcome: Reply | Question | Verdict) -> LocalReply | Question | None:
        """What comes of the outcome of *guard*; ``None``: the request goes on."""
        while outcome is not None:
            if isinstance(outcome, Reply):
                return None if self._is_on_trial(guard) else self._replied(guard, outcome)
            if isinstance(outcome, HeaderEdit):
                self.edit = self.edit.then(outcome)
                return None
            if isinstance(outcome, Admitted):
                self.edit = self.edit.then(outcome.request)
                if outcome.response is not None:
                    self.responses += (outcome.response,)
                return None
            asking = outcome.then or guard
            if not isinstance(outcome, Verification) or not self._context.verifier.knows(outcome):
                self._guard, self._asking = guard, asking
                return outcome
            outcome = self._told(asking, True)
        return None

    def _told(self, asking: object, result: SubrequestReply | bool) -> Reply | Question | Verdict:
        if isinstance(result, SubrequestReply):
            if isinstance(asking, Resuming):
                return asking.resume(self, result)
        elif isinstance(asking, Verifying):
            return asking.verified(self, result)
        raise TypeError(f"{type(asking).__name__} asked a question and cannot take the answer")

    def reply(
        self,
        status: int,
        termination: Termination | None,
        *,
        detail: str = "",
        location: str = "",
        fields: tuple[tuple[bytes, bytes], ...] = (),
    ) -> LocalReply:
        """A response of the proxy to this request, which is over with it."""
        if (marks := self.marks) is not None:
            marks.end()
        return LocalReply(
            status,
            termination,
            detail=detail,
            host=self.host,
            path=self.path,
            rule_host=self.target.host,
            location=location,
            fields=local_fields(self.target, self, status, fields, self._guards[self._next :]),
            shadow=() if marks is None else marks.shadow,
            logged=self.target.logs(self.head.target),
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
        return self.reply(
            reply.status, reply.termination, detail=reply.detail, location=reply.location, fields=fields
        )

    def _failed(self, guard: object) -> LocalReply:
        """A filter raised: whatever it guards stays closed."""
        _logger.exception("a filter failed", extra={"filter": type(guard).__name__, "host": self.target.host})
        return self.reply(500, Termination.INTERNAL)
