"""Judges the endpoints of a backend by how its requests went: ejects them, and takes them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingresskit.facts import fact_logger
from ingresskit.graph import Termination
from ingresskit.proxy.health import FailureRules, may_eject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingresskit.policies import PassiveHealth
    from ingresskit.proxy.endpoints import EndpointState

__all__ = ["Outcomes"]

_logger = fact_logger(__name__)


class Outcomes:
    """The judge of one backend.

    Args:
        policy: What ejects.
    """

    __slots__ = ("_policy", "_rules")

    def __init__(self, policy: PassiveHealth) -> None:
        self._policy = policy
        self._rules = FailureRules(policy)

    def is_failed_status(self, status: int) -> bool:
        """Whether a response with that status is a failure of the endpoint."""
        return self._rules.is_failed_status(status)

    def attempt_failed(
        self, endpoint: EndpointState, termination: Termination, endpoints: Sequence[EndpointState], now: float
    ) -> None:
        """An attempt ended without a whole response.

        Args:
            endpoint: Where it was made.
            termination: Why.
            endpoints: All of the backend.
            now: Of the loop's clock.
        """
        if self._rules.is_failure(termination):
            self.failed(endpoint, str(termination), endpoints, now)

    def failed(
        self, endpoint: EndpointState, reason: str, endpoints: Sequence[EndpointState], now: float
    ) -> None:
        """A request to *endpoint* failed, for *reason* in a word."""
        health = endpoint.health
        if health is None or not health.failed(now):
            return
        if not health.is_ejected:
            others = sum(
                1
                for item in endpoints
                if item is not endpoint and item.health is not None and item.health.is_ejected
            )
            if not may_eject(len(endpoints), others, self._policy.limit):
                return
            facts = {"endpoint": str(endpoint), "reason": reason}
            _logger.warning("endpoint ejected", extra=facts)
        endpoint.ejected(health.eject(now))

    def succeeded(self, endpoint: EndpointState, now: float) -> None:
        """*endpoint* sent a response that is no failure."""
        health = endpoint.health
        if health is not None and health.succeeded(now):
            endpoint.returned(now)
            facts = {"endpoint": str(endpoint), "ejections": health.ejections}
            _logger.info("endpoint returned from ejection", extra=facts)
