"""Logs what endpoints do wrong: a warning with its reason, seldom repeated, and its end.

A broken endpoint fails thousands of requests a second. The first failure for each reason is a warning;
further ones are counted, and the next warning, a minute later at the earliest, has the count. Each failed
request has its reason in the access log, whatever is left out here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from ingresskit.facts import fact_logger
from ingresskit.graph import Termination
from ingresskit.proxy.endpoints import EndpointState, Trouble
from ingresskit.proxy.repeated import WARNING_INTERVAL, Repeated

if TYPE_CHECKING:
    from ingresskit.render.inprocess import Target

__all__ = ["FailedRequest", "Troubles"]

_logger = fact_logger(__name__)

# Of all endpoints together, in one interval: a node that goes may take hundreds with it.
_MOST_WARNINGS: Final = 60


class FailedRequest(Protocol):
    """The request that met a failure."""

    @property
    def target(self) -> Target:
        """Its route."""
        ...

    @property
    def host(self) -> str:
        """In normal form."""
        ...

    @property
    def request_id(self) -> bytes:
        """In the log too."""
        ...


class Troubles:
    """The warnings about endpoints of one proxy."""

    def __init__(self) -> None:
        self._window_ends = 0.0
        self._in_window = 0
        self._left_out = 0

    def failed(
        self, endpoint: EndpointState, termination: Termination, detail: str, request: FailedRequest, now: float
    ) -> None:
        """Warn that an attempt failed, unless there was such a warning within the last minute.

        Args:
            endpoint: The one that failed.
            termination: Why.
            detail: What exactly, in fixed words; may be empty.
            request: The request that met the failure; another endpoint may have served it since.
            now: Of the loop's clock.
        """
        trouble = endpoint.trouble
        if trouble is None:
            trouble = endpoint.trouble = Trouble(now)
        elif not trouble.failures:
            trouble.since = now
        trouble.failures += 1
        repeated = trouble.reported.get(termination)
        if repeated is None:
            repeated = trouble.reported[termination] = Repeated()
        if not repeated.is_due(now) or not self._has_room(now):
            return
        target = request.target
        facts: dict[str, object] = {"endpoint": str(endpoint), "reason": str(termination)}
        if detail:
            facts["detail"] = detail
        facts["host"] = request.host
        facts["route"] = f"{target.host}{target.route.match.value}"
        facts["object"] = str(target.route.origin.subject)
        facts["requestId"] = request.request_id.decode("ascii")
        trouble.warned = True
        if repeated.left_out:
            facts["repeated"] = repeated.left_out
            repeated.left_out = 0
        _logger.warning("endpoint failed", extra=facts)

    def ended(self, endpoint: EndpointState, now: float) -> None:
        """An endpoint returned a whole response; say so once after each warning about it."""
        trouble = endpoint.trouble
        if trouble is None or not trouble.failures:
            return
        if trouble.warned:
            seconds = round(now - trouble.since, 1)
            facts = {"endpoint": str(endpoint), "failures": trouble.failures, "seconds": seconds}
            _logger.info("endpoint works again", extra=facts)
        trouble.failures = 0
        trouble.warned = False

    def _has_room(self, now: float) -> bool:
        if now >= self._window_ends:
            if self._left_out:
                _logger.warning("warnings about endpoints left out", extra={"count": self._left_out})
            self._window_ends, self._in_window, self._left_out = now + WARNING_INTERVAL, 0, 0
        if self._in_window >= _MOST_WARNINGS:
            self._left_out += 1
            return False
        self._in_window += 1
        return True
