"""The attempts of one request: to which endpoint, on which stream, and whether there is another one.

Another attempt is safe when nothing was sent, or when the method may be repeated (RFC 9110, 9.2.2),
nothing of a response was passed on, and all that was sent of the body is still here. What causes one is the
route's to say, see `ingresskit.render.inprocess.RetryRule`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from ingresskit.graph import Termination
from ingresskit.proxy.ports.connections import ConnectFailed

if TYPE_CHECKING:
    from ingresskit.proxy.endpoints import EndpointState
    from ingresskit.proxy.exchange.runtime import Runtime
    from ingresskit.proxy.message.request import ForwardedRequest
    from ingresskit.proxy.ports.streams import Downstream, Upstream
    from ingresskit.proxy.upstreams.balance import BackendState
    from ingresskit.render.inprocess import RetryRule

__all__ = ["Attempts"]

_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))


class Attempts(ABC):
    """Chooses endpoints for a request and borrows streams to them; a subclass sends and receives.

    A base class and not a part of an exchange: an object more, and a call more for each step, would be
    noticed at every request.
    """

    __slots__ = (
        "_attempts",
        "_began",
        "_body_discarded",
        "_connect_time",
        "_cookie_line",
        "_downstream",
        "_endpoint",
        "_finished",
        "_repeatable",
        "_request",
        "_retries_left",
        "_rule",
        "_runtime",
        "_stale_retries",
        "_state",
        "_tried",
        "_upstream",
    )

    def __init__(
        self,
        runtime: Runtime,
        downstream: Downstream,
        request: ForwardedRequest,
        state: BackendState,
        began: float,
    ) -> None:
        self._runtime = runtime
        self._downstream = downstream
        self._request = request
        self._state = state
        self._began: float = began
        rule = request.target.retry
        self._rule: RetryRule | None = rule
        self._repeatable: bool = request.head.method in _IDEMPOTENT or (rule is not None and rule.any_method)
        self._retries_left: int = request.target.retries
        self._stale_retries: int = 1
        self._tried: tuple[EndpointState, ...] = ()
        self._endpoint: EndpointState | None = None
        self._upstream: Upstream | None = None
        self._attempts: int = 0
        # The field that keeps the client at the endpoint; the response gets it.
        self._cookie_line: bytes = b""
        self._body_discarded: bool = False
        self._connect_time: float | None = None
        self._finished: bool = False
        state.requests += 1
        state.active += 1

    # For the subclass to do.

    @abstractmethod
    def _send(self, upstream: Upstream) -> None:
        """Send the request on the stream of a new attempt."""

    @abstractmethod
    def _fail(self, status: int, termination: Termination, detail: str = "") -> None:
        """There is no further attempt: end the request."""

    @abstractmethod
    def client_lost(self) -> None:
        """The client is gone: end the request."""

    # For the subclass to call.

    def _try(self) -> None:
        """Choose an endpoint, and send the request there."""
        state = self._state
        if state.reads_request:
            now = self._runtime.deadlines.recent
            endpoint, self._cookie_line = state.choose_for(self._request, self._tried, now)
        else:
            endpoint = state.choose("", self._tried, self._began)
        if endpoint is None:
            self._no_endpoint()
            return
        if self._endpoint is not None:
            self._endpoint.active -= 1
        self._endpoint = endpoint
        endpoint.active += 1
        self._connect(fresh=False)

    def _no_endpoint(self) -> None:
        """No endpoint may take the request now."""
        self._fail(503, Termination.NO_ENDPOINT)

    def _connect(self, *, fresh: bool) -> None:
        endpoint = self._endpoint
        assert endpoint is not None  # noqa: S101 - set by _try, always before
        self._attempts += 1
        endpoint.requests += 1
        runtime = self._runtime
        name = endpoint.server_name(self._request.server_name) if endpoint.secure else ""
        if not fresh:
            repeatable = self._repeatable and not self._body_discarded
            if (stream := runtime.pool.take(endpoint, name, repeatable=repeatable)) is not None:
                runtime.counters.upstream_reused += 1
                if self._connect_time is not None:
                    self._connect_time = None  # of another attempt
                self._send(stream)
                return
        timeout = self._request.target.connect_timeout
        seconds = runtime.timeouts.connect if timeout is None else timeout
        runtime.start(self._wait_for_connection(endpoint, name, seconds))

    async def _wait_for_connection(self, endpoint: EndpointState, name: str, seconds: float) -> None:
        deadlines = self._runtime.deadlines
        begun = deadlines.now()
        try:
            upstream = await self._runtime.pool.connect(endpoint, name, seconds)
        except ConnectFailed as exc:
            self._connect_time = deadlines.now() - begun
            if not self._finished:
                self._attempt_failed(exc.termination, exc.detail)
                late = exc.termination is Termination.UPSTREAM_CONNECT_TIMEOUT
                rule = self._rule
                causes = rule is None or rule.error or (late and rule.timeout)
                if not (causes and self._next_endpoint()):
                    self._fail(504 if late else 502, exc.termination, exc.detail)
            return
        self._connect_time = deadlines.now() - begun
        if self._finished:
            # The client left meanwhile; the connection is as good as new.
            upstream.release(reusable=True)
        else:
            self._send(upstream)

    def _reconnect(self) -> None:
        """The endpoint closed an idle connection just when we took it: a new one to the same endpoint.

        That is nobody's fault, and not one of the retries of the policy.
        """
        self._stale_retries -= 1
        if not self._leaves_with_client():
            self._connect(fresh=True)

    def _next_endpoint(self) -> bool:
        """Go on with another endpoint, if the policy lets us and there is one."""
        if not self._has_next_endpoint():
            return False
        self._advance()
        return True

    def _advance(self) -> None:
        """Go on with another endpoint, which there is; or end the request with its client."""
        if self._leaves_with_client():
            return
        if self._endpoint is not None:
            self._tried = (*self._tried, self._endpoint)
        self._retries_left -= 1
        self._runtime.counters.retries += 1
        self._try()

    def _has_next_endpoint(self) -> bool:
        """Whether the policy lets us have another try, and there is an endpoint that had none."""
        endpoint, rule = self._endpoint, self._rule
        if not self._retries_left or endpoint is None:
            return False
        if rule is not None and rule.within is not None:
            if self._runtime.deadlines.now() - self._began >= rule.within:
                return False
        return any(item is not endpoint and item not in self._tried for item in self._state.endpoints)

    def _leaves_with_client(self) -> bool:
        """End the exchange when its client left: its request is never repeated."""
        if not self._downstream.has_left():
            return False
        self.client_lost()
        self._downstream.reset()
        return True

    def _attempt_failed(self, termination: Termination, detail: str = "") -> None:
        """Count a failure of the endpoint, and let the log know why."""
        runtime, endpoint = self._runtime, self._endpoint
        self._state.failures += 1
        runtime.counters.count_failure(termination)
        if endpoint is not None:
            endpoint.failures += 1
            runtime.troubles.failed(endpoint, termination, detail, self._request, runtime.deadlines.now())

    def _attempt_succeeded(self, endpoint: EndpointState) -> None:
        """An endpoint that failed before returned a whole response."""
        if endpoint.unreached:
            endpoint.worked()
        self._runtime.troubles.ended(endpoint, self._runtime.deadlines.recent)

    def _drop_upstream(self) -> None:
        if self._upstream is not None:
            self._upstream.reset()
            self._upstream = None

    def _release_endpoint(self) -> None:
        self._state.active -= 1
        if (marks := self._request.marks) is not None:
            marks.end()
        if (endpoint := self._endpoint) is not None:
            if self._state.timed:
                now = self._runtime.deadlines.now()
                endpoint.took(now - self._began, now)
            endpoint.active -= 1
            self._endpoint = None
