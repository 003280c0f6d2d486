"""An exchange whose endpoints are judged by it, or take a bounded number of requests, or of further tries.

Exchanges of all other routes are of the base class, and know nothing of it.
"""

from __future__ import annotations

from asyncio import get_running_loop
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from ingresskit.graph import Termination
from ingresskit.proxy.exchange.exchange import Exchange

if TYPE_CHECKING:
    from asyncio import TimerHandle

    from ingresskit.proxy.endpoints import EndpointState
    from ingresskit.proxy.exchange.runtime import Runtime
    from ingresskit.proxy.message.head import ResponseHead
    from ingresskit.proxy.message.request import ForwardedRequest
    from ingresskit.proxy.ports.streams import Downstream
    from ingresskit.proxy.upstreams.balance import BackendState
    from ingresskit.proxy.upstreams.budget import RetryBudget

__all__ = ["ObservedExchange"]

# Seconds: endpoints that are full for a moment are not for long, and clients that come at once make it longer.
_RETRY_AFTER: Final = b"1"


class ObservedExchange(Exchange):
    """An exchange of a backend with `BackendState.observed`, or of a route with a budget for further tries."""

    __slots__ = ("_budget", "_full", "_is_called", "_judged", "_wait")

    def __init__(
        self,
        runtime: Runtime,
        downstream: Downstream,
        request: ForwardedRequest,
        state: BackendState,
        began: float,
    ) -> None:
        super().__init__(runtime, downstream, request, state, began)
        # The endpoint whose part in this is judged: each attempt counts once.
        self._judged: EndpointState | None = None
        self._wait: TimerHandle | None = None
        self._is_called = False
        self._full = False
        rule = self._rule
        self._budget: RetryBudget | None = None
        if rule is not None and rule.budget is not None:
            self._budget = state.budget(rule.budget)
            self._budget.count_request(began)

    # How many requests endpoints have.

    @override
    def _try(self) -> None:
        before, queue = self._endpoint, self._state.queue
        if queue is not None and len(queue) and not self._is_called and before is None:
            self._no_endpoint()  # others were first
            return
        super()._try()
        if before is not None and self._endpoint is not None and self._endpoint is not before:
            _free(before)

    @override
    def _no_endpoint(self) -> None:
        state = self._state
        if not state.limited:
            super()._no_endpoint()
            return
        if (before := self._endpoint) is not None:
            # Another try: what it waits for is no longer the endpoint that failed.
            self._endpoint = None
            before.active -= 1
            _free(before)
        self._full = True
        if self._is_called:
            return  # it goes on waiting
        queue = state.queue
        if queue is None or not queue.enter(self):
            super()._no_endpoint()
        else:
            self._wait = get_running_loop().call_later(queue.timeout, self._waited_in_vain)

    def called(self) -> bool:
        """As `ingresskit.proxy.upstreams.queue.Waiting`."""
        if self._leaves_with_client():
            return True
        self._is_called, self._full = True, False
        # Not in the queue meanwhile: what becomes of the attempt may look at it.
        self._try()
        self._is_called = False
        if self._full and not self._finished:
            return False
        self._leave_queue()
        return True

    def _waited_in_vain(self) -> None:
        self._leave_queue()
        self._fail(503, Termination.NO_ENDPOINT, "no endpoint became free in time")

    def _leave_queue(self) -> None:
        if self._wait is not None:
            self._wait.cancel()
            self._wait = None
        if (queue := self._state.queue) is not None:
            queue.leave(self)

    @override
    def _fields_of_own(self, status: int) -> tuple[tuple[bytes, bytes], ...]:
        fields = super()._fields_of_own(status)
        return (*fields, (b"Retry-After", _RETRY_AFTER)) if self._full and status == 503 else fields

    @override
    def _end(self, status: int, termination: Termination | None = None, detail: str = "") -> None:
        self._leave_queue()
        super()._end(status, termination, detail)

    @override
    def _release_endpoint(self) -> None:
        if (endpoint := self._endpoint) is not None:
            if self._status:
                self._observe_once(self._status)
            super()._release_endpoint()
            _free(endpoint)
        else:
            super()._release_endpoint()

    # How many further tries there are.

    @override
    def _has_next_endpoint(self) -> bool:
        if (budget := self._budget) is not None and not budget.allows(self._runtime.deadlines.now()):
            return False
        return super()._has_next_endpoint()

    @override
    def _advance(self) -> None:
        if self._budget is not None:
            self._budget.count_retry(self._runtime.deadlines.recent)
        self._judged = None
        super()._advance()

    # What endpoints did.

    @override
    def response(self, head: ResponseHead, payload: bytes, *, complete: bool) -> None:
        self._observe_response(head.status)
        super().response(head, payload, complete=complete)

    @override
    def switch_protocols(self, head: ResponseHead, data: bytes) -> None:
        self._observe_response(head.status)
        super().switch_protocols(head, data)

    def _observe_response(self, status: int) -> None:
        """A response begins: a failure counts at once, and so does what may end an ejection."""
        outcomes, endpoint = self._state.outcomes, self._endpoint
        if outcomes is None or endpoint is None or self._judged is endpoint:
            return
        if outcomes.is_failed_status(status) or (endpoint.health is not None and endpoint.health.is_ejected):
            self._observe(status)

    def _observe_once(self, status: int) -> None:
        """The endpoint sent a response, which is judged now, if it was not."""
        if self._judged is not self._endpoint:
            self._observe(status)
            self._judged = self._endpoint

    def _observe(self, status: int) -> None:
        outcomes, endpoint = self._state.outcomes, self._endpoint
        if outcomes is None or endpoint is None:
            return
        self._judged = endpoint
        now = self._runtime.deadlines.recent
        if outcomes.is_failed_status(status):
            outcomes.failed(endpoint, str(status), self._state.endpoints, now)
        else:
            outcomes.succeeded(endpoint, now)

    @override
    def _attempt_failed(self, termination: Termination, detail: str = "") -> None:
        super()._attempt_failed(termination, detail)
        outcomes, endpoint = self._state.outcomes, self._endpoint
        if outcomes is not None and endpoint is not None and self._judged is not endpoint:
            self._judged = endpoint
            now = self._runtime.deadlines.now()
            outcomes.attempt_failed(endpoint, termination, self._state.endpoints, now)


def _free(endpoint: EndpointState) -> None:
    """Tell all that wait for *endpoint*."""
    for queue in endpoint.queues:
        queue.freed()
