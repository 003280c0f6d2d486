"""How a request that was forwarded ends: for its client, for its endpoint, in the counts and in the log.

An exchange ends in one of these ways, and each says what becomes of the two streams:

- the response is complete, and so was the request: both connections go on (the endpoint's to the pool);
- the response is complete before the request: neither is used again, since unread request bytes would
  be taken for the next request;
- request or response authenticates its connection: the endpoint's is not used again, or the next client
  would be taken for this one;
- no response began: another attempt where that is safe, else a local reply; the endpoint's stream is gone
  either way;
- the response broke off: the client's stream is reset, which is the only way left to tell it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from typing_extensions import override

from ingresskit.graph import Termination
from ingresskit.policies import ConnectionUse
from ingresskit.proxy.access import AccessRecord
from ingresskit.proxy.exchange.attempts import Attempts
from ingresskit.proxy.exchange.local_fields import local_fields

if TYPE_CHECKING:
    from asyncio import TimerHandle

__all__ = ["Endings"]

_CLIENT_LEFT: Final = 499  # nginx's convention for a client that closed the connection: logged, never sent
_MOST_TRIED: Final = 10  # endpoints in a record

# Looking a member up on its class at every request costs more than the comparison.
_CLOSE: Final = ConnectionUse.CLOSE


class Endings(Attempts):
    """Ends a request and its response, in every way there is; a subclass passes them on until then.

    What it reads is set by the subclass: an `__init__` here would be a call more for each request.

    Attributes:
        request_complete: The last byte of the request was received.
        response_started: The head of the response was sent to the client; nothing else may be any more.
    """

    __slots__ = ("_first_byte", "_sent", "_status", "_timer", "request_complete", "response_started")

    request_complete: bool
    response_started: bool
    _status: int
    _sent: int
    _first_byte: float | None
    _timer: TimerHandle | None

    # The client.

    @override
    def client_lost(self) -> None:
        """The client disconnected: end the upstream request, and never repeat it."""
        if self._finished:
            return
        self._drop_upstream()
        if self._runtime.closing:
            self._end(self._status or 503, Termination.SHUTDOWN)
        elif self._downstream.given_up:
            self._end(self._status or 503, Termination.OVERLOADED)
        elif self._downstream.timed_out:
            self._end(self._status or 408, Termination.CLIENT_TIMEOUT, "the client took nothing")
        else:
            self._end(self._status or _CLIENT_LEFT, Termination.CLIENT_LEFT)

    # The response.

    def _release_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.release(reusable=self.request_complete and not self._used_once())

    def _response_complete(self) -> None:
        if (endpoint := self._endpoint) is not None and endpoint.trouble is not None:
            self._attempt_succeeded(endpoint)
        # As `_release_upstream`, which would be two calls more for each request.
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            request = self._request
            once = request.head.connection_auth or request.target.connection is _CLOSE
            upstream.release(reusable=self.request_complete and not once)
        self._end(self._status)
        self._downstream.finish()

    def _used_once(self) -> bool:
        """Whether no other request may have the connection to the endpoint."""
        request = self._request
        return request.head.connection_auth or request.target.connection is _CLOSE

    # Errors of our own.

    @override
    def _fail(self, status: int, termination: Termination, detail: str = "", *, sentence: str = "") -> None:
        """Respond with an error of our own; when a response has begun already, cut it."""
        if self._finished:
            return
        self._drop_upstream()
        if self.response_started:
            self._cut(termination, detail)
            return
        self.response_started = True
        fields = self._fields_of_own(status)
        self._sent = self._downstream.send_local_reply(status, sentence=sentence, fields=fields)
        self._end(status, termination, detail)
        self._downstream.finish()

    def _fields_of_own(self, status: int) -> tuple[tuple[bytes, bytes], ...]:
        """The fields of an error of the proxy."""
        request = self._request
        return local_fields(request.target, request, status)

    def _cut(self, termination: Termination, detail: str = "") -> None:
        self._end(self._status, termination, detail)
        self._downstream.reset()

    # The end itself.

    def _end(self, status: int, termination: Termination | None = None, detail: str = "") -> None:
        self._finished = True
        if self._timer is not None:
            self._timer.cancel()
        endpoint = self._endpoint
        if status != 101:
            self._release_endpoint()
        request = self._request
        runtime = self._runtime
        # After a failure nothing may have been received for long, and the time with it.
        deadlines = runtime.deadlines
        duration = (deadlines.recent if termination is None else deadlines.now()) - self._began
        runtime.counters.count_request(request.target.host, status, duration, termination)
        first = self._first_byte
        if first is None and self._status:
            first = deadlines.recent  # the response came whole, in one read
        if first is not None:
            runtime.counters.first_bytes.add(first - self._began)
        log = runtime.settings.access_log
        if log is not None and (request.target.access_log is None or request.target.logs(request.head.target)):
            log(
                AccessRecord(
                    client=str(request.forwarding.client),
                    method=request.head.method.decode("ascii"),
                    host=request.host,
                    path=request.path,
                    rule_host=request.target.host,
                    status=status,
                    sent_bytes=self._sent,
                    duration=duration,
                    backend=self._state.backend.key,
                    endpoint="" if endpoint is None else str(endpoint),
                    attempts=self._attempts,
                    request_id=request.request_id.decode("ascii"),
                    termination=termination,
                    detail=detail,
                    tried=tuple(str(tried) for tried in self._tried[:_MOST_TRIED]),
                    connect_time=self._connect_time,
                    first_byte_time=None if first is None else first - self._began,
                    upstream_status=self._status or None,
                    shadow=() if request.marks is None else request.marks.shadow,
                    protocol=request.head.protocol,
                )
            )
