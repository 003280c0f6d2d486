"""A request that waits for what a filter asked: it stands where its exchange will stand.

    started ──the question is answered──► filters ──all let it go on──► exchange
                     ▲                       │
                     └───another question────┼──a filter responds──► local reply
    client gone: a subrequest is cut, and nothing is forwarded

What the client sends of the body meanwhile is kept, up to the size of a buffer; then it is not read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

from ingresskit.facts import fact_logger
from ingresskit.filters import Keepalive, Question, Subrequest, Verification
from ingresskit.graph import Termination
from ingresskit.proxy.exchange.replies import LocalReply, count_reply
from ingresskit.proxy.ports.streams import NO_UPSTREAM

if TYPE_CHECKING:
    import asyncio

    from ingresskit.filters import SubrequestReply
    from ingresskit.proxy.exchange.exchange import Exchange
    from ingresskit.proxy.exchange.gathering import Gathering
    from ingresskit.proxy.exchange.guards import GuardedRequest
    from ingresskit.proxy.exchange.runtime import Runtime
    from ingresskit.proxy.ports.streams import Downstream

__all__ = ["Inquiry"]

_logger = fact_logger(__name__)

_CLIENT_LEFT: Final = 499  # nginx's convention for a client that closed the connection: logged, never sent
_SMALL_BODY: Final = 8192  # kept without being accounted for


class Inquiry:
    """A request between two filters.

    Args:
        runtime: What exchanges share.
        downstream: The client's stream.
        request: How far it has come.
        first: What its filter wants to know.
        forward: Makes the exchange when all filters let it go on.

    Attributes:
        request_complete: The last byte of the request was received.
    """

    __slots__ = (
        "_began",
        "_downstream",
        "_finished",
        "_first",
        "_forward",
        "_kept",
        "_kept_size",
        "_request",
        "_runtime",
        "_task",
        "request_complete",
    )

    def __init__(
        self,
        runtime: Runtime,
        downstream: Downstream,
        request: GuardedRequest,
        first: Question,
        forward: Callable[[Downstream, GuardedRequest, float], Exchange | Gathering | LocalReply],
    ) -> None:
        self._runtime = runtime
        self._downstream = downstream
        self._request = request
        self._first: Question = first
        self._forward = forward
        self._began: float = runtime.deadlines.recent
        self._kept: list[bytes] = []
        self._kept_size = 0
        self.request_complete: bool = False
        self._finished = False
        self._task: asyncio.Task[None] | None = None

    # What the client does: see `Exchange`.

    @property
    def waiting_bytes(self) -> int:
        """What is kept of the request."""
        return self._kept_size

    def start(self, payload: bytes, *, complete: bool) -> None:
        """Ask; the payload is what is there of the body."""
        self.request_data(payload, complete=complete)
        self._task = self._runtime.start(self._run())

    def request_data(self, payload: bytes, *, complete: bool, trailers: bytes = b"") -> None:
        """Keep more of the request's body, *complete* with its last byte."""
        self.request_complete = complete
        if not payload or self._finished:
            return
        self._kept.append(payload)
        self._kept_size += len(payload)
        if self._kept_size > _SMALL_BODY:
            self._downstream.recharge()
        if self._kept_size > self._runtime.settings.buffer_bytes and not complete:
            self._downstream.pause_reading(NO_UPSTREAM)

    def client_lost(self) -> None:
        """The client disconnected: abandon the question."""
        if self._finished:
            return
        if self._runtime.closing:
            self._end(503, Termination.SHUTDOWN)
        elif self._downstream.given_up:
            self._end(503, Termination.OVERLOADED)
        else:
            self._end(_CLIENT_LEFT, Termination.CLIENT_LEFT)

    def client_timed_out(self) -> None:
        """The client did not send its body in time."""
        self._respond(self._request.reply(408, Termination.CLIENT_TIMEOUT))

    def client_write_paused(self) -> None:
        """Nothing is written meanwhile."""

    def client_write_resumed(self) -> None:
        """Nothing is written meanwhile."""

    def refuse(self, sentence: str) -> None:
        """The rest of the request is malformed."""
        self._respond(self._request.reply(400, Termination.BAD_REQUEST, detail=sentence), sentence=sentence)

    # What the filters do.

    async def _run(self) -> None:
        outcome: LocalReply | Question | None = self._first
        try:
            while isinstance(outcome, Question):
                outcome = await self._asked(outcome)
        except Exception:
            _logger.exception("a request could not be judged", extra={"host": self._request.target.host})
            outcome = self._request.reply(500, Termination.INTERNAL)
        if self._finished:
            return
        self._task = None  # it must not cancel itself
        result = outcome or self._forward(self._downstream, self._request, self._began)
        if isinstance(result, LocalReply):
            self._respond(result)
            return
        self._finished = True
        payload = b"".join(self._kept)
        self._kept.clear()
        self._kept_size = 0
        self._downstream.hand_over(result)
        result.start(payload, complete=self.request_complete)

    async def _asked(self, question: Question) -> LocalReply | Question | None:
        match question:
            case Subrequest():
                result: SubrequestReply | bool | None = await self._reply_to(question)
            case Verification():
                result = await self._request.verify(question)
            case _:
                assert_never(question)
        self._runtime.deadlines.now()
        if result is None:
            return self._request.turn_away()
        return self._request.resume(result)

    async def _reply_to(self, subrequest: Subrequest) -> SubrequestReply:
        """The reply to a subrequest, which may be one that was kept."""
        runtime, request = self._runtime, self._request
        if request.head.connection_auth:
            # The server would take the next client for this one.
            subrequest = replace(subrequest, keepalive=Keepalive())
        kept = subrequest.kept
        digest = b"" if kept is None else runtime.verdicts.digest(request.target, kept)
        if digest and (known := runtime.verdicts.find(digest)) is not None:
            return known
        reply = await runtime.send_subrequest(subrequest, request.fields_for(subrequest))
        if kept is not None:
            runtime.verdicts.keep(digest, reply, kept.times)
        return reply

    # The end.

    def _respond(self, reply: LocalReply, *, sentence: str = "") -> None:
        if self._finished:
            return
        size = self._downstream.send_local_reply(
            reply.status, sentence=sentence, location=reply.location, fields=reply.fields
        )
        self._finish(reply, size)
        self._downstream.finish()

    def _end(self, status: int, termination: Termination) -> None:
        self._finish(self._request.reply(status, termination), 0)

    def _finish(self, reply: LocalReply, size: int) -> None:
        self._finished = True
        self._kept.clear()
        self._kept_size = 0
        if self._task is not None:
            self._task.cancel()
        request = self._request
        duration = self._runtime.deadlines.now() - self._began
        head = request.head
        count_reply(self._runtime, request.peer, head.method, reply, size, duration, head.protocol)
