"""A request that waits for a filter's subrequest: it stands where its exchange will stand.

    started ──reply of the subrequest──► filters ──all let it go on──► exchange
                     ▲                      │
                     └──another subrequest──┼──a filter responds──► local reply
    client gone: the subrequest is cut, and nothing is forwarded

What the client sends of the body meanwhile is kept, up to the size of a buffer; then it is not read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ingresskit.facts import fact_logger
from ingresskit.filters import Subrequest
from ingresskit.graph import Termination
from ingresskit.proxy.exchange.replies import LocalReply
from ingresskit.proxy.exchange.subrequests import send_subrequest

if TYPE_CHECKING:
    import asyncio

    from ingresskit.proxy.exchange.exchange import Exchange
    from ingresskit.proxy.exchange.guards import GuardedRequest
    from ingresskit.proxy.h1.downstream import ClientConnection
    from ingresskit.proxy.plane import Plane

__all__ = ["Inquiry"]

_logger = fact_logger(__name__)

_LEFT: Final = 499  # nginx's convention for a client that closed the connection: logged, never sent
_SMALL_BODY: Final = 8192  # kept without being accounted for


class Inquiry:
    """A request between two filters.

    Args:
        plane: Shared state.
        client: Whose request it is.
        request: How far it has come.
        first: What its filter wants to know.
        forward: Makes the exchange when all filters let it go on.
    """

    __slots__ = (
        "_began",
        "_client",
        "_complete",
        "_first",
        "_forward",
        "_held",
        "_held_size",
        "_over",
        "_plane",
        "_request",
        "_task",
    )

    def __init__(
        self,
        plane: Plane,
        client: ClientConnection,
        request: GuardedRequest,
        first: Subrequest,
        forward: Callable[[ClientConnection, GuardedRequest, float], Exchange | LocalReply],
    ) -> None:
        self._plane = plane
        self._client = client
        self._request = request
        self._first = first
        self._forward = forward
        self._began: float = plane.deadlines.recent
        self._held: list[bytes] = []
        self._held_size = 0
        self._complete = False
        self._over = False
        self._task: asyncio.Task[None] | None = None

    # What the client does: see `Exchange`.

    @property
    def waiting_bytes(self) -> int:
        """What is kept of the request."""
        return self._held_size

    def start(self, payload: bytes, *, complete: bool) -> None:
        """Send the subrequest; the payload is what is there of the body."""
        self.request_data(payload, complete=complete)
        task = self._task = self._plane.loop.create_task(self._run())
        self._plane.tasks.add(task)
        task.add_done_callback(self._plane.tasks.discard)

    def request_data(self, payload: bytes, *, complete: bool) -> None:
        """Keep more of the request's body, *complete* with its last byte."""
        self._complete = complete
        if not payload or self._over:
            return
        self._held.append(payload)
        self._held_size += len(payload)
        if self._held_size > _SMALL_BODY:
            self._client.recharge()
        if self._held_size > self._plane.settings.buffer_bytes and not complete:
            self._client.hold_for_connection()

    def client_lost(self) -> None:
        """The client disconnected: nobody waits for the subrequest any more."""
        if self._over:
            return
        if self._plane.closing:
            self._end(503, Termination.SHUTDOWN)
        elif self._client.given_up:
            self._end(503, Termination.OVERLOADED)
        else:
            self._end(_LEFT, Termination.CLIENT_LEFT)

    def client_timed_out(self) -> None:
        """The client did not send its body in time."""
        self._respond(self._request.reply(408, Termination.CLIENT_TIMEOUT))

    def client_is_full(self) -> None:
        """Nothing is written meanwhile."""

    def client_has_room(self) -> None:
        """Nothing is written meanwhile."""

    def refuse(self, sentence: str) -> None:
        """The rest of the request is malformed."""
        self._respond(self._request.reply(400, Termination.BAD_REQUEST, detail=sentence), sentence=sentence)

    # What the filters do.

    async def _run(self) -> None:
        outcome: LocalReply | Subrequest | None = self._first
        try:
            while isinstance(outcome, Subrequest):
                reply = await send_subrequest(outcome, self._plane.settings)
                self._plane.deadlines.now()
                outcome = self._request.resume(reply)
        except Exception:
            _logger.exception("a request could not be judged", extra={"host": self._request.target.host})
            outcome = self._request.reply(500, Termination.INTERNAL)
        if self._over:
            return
        self._task = None  # it must not cancel itself
        result = outcome or self._forward(self._client, self._request, self._began)
        if isinstance(result, LocalReply):
            self._respond(result)
            return
        self._over = True
        payload = b"".join(self._held)
        self._held.clear()
        self._held_size = 0
        self._client.forward(result)
        result.start(payload, complete=self._complete)

    # The end.

    def _respond(self, reply: LocalReply, *, sentence: str = "") -> None:
        if self._over:
            return
        head = self._request.head
        closing = not self._complete or not head.keep_alive
        size = self._client.send_local_reply(
            reply.status,
            sentence=sentence,
            head_only=head.method == b"HEAD",
            closing=closing,
            location=reply.location,
            fields=reply.fields,
        )
        self._finish(reply, size)
        self._client.exchange_over(closing=closing)

    def _end(self, status: int, termination: Termination) -> None:
        self._finish(self._request.reply(status, termination), 0)

    def _finish(self, reply: LocalReply, size: int) -> None:
        self._over = True
        self._held.clear()
        self._held_size = 0
        if self._task is not None:
            self._task.cancel()
        request = self._request
        duration = self._plane.deadlines.now() - self._began
        self._client.count_reply(request.peer, request.head.method, reply, size, duration)
