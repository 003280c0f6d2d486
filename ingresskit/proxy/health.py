"""Whether an endpoint is well: by the outcome of its requests, and by checks. Pure; the caller has the clock.

By requests an endpoint is *well*, *ejected* or, when the time of its ejection is over, *on probation*: then
one request decides. Each ejection lasts twice as long as the last one, to the longest that the policy has; one
that was well for that long begins anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingresskit.graph import Termination
from ingresskit.policies import FailureKind, HealthCheck, PassiveHealth

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CheckRecord", "FailureRules", "HealthRecord", "may_eject"]

# Doubled more often, times would overflow long before they matter.
_MOST_DOUBLINGS: Final = 24

_KINDS: Final[Mapping[Termination, FailureKind]] = {
    Termination.UPSTREAM_REFUSED: FailureKind.ERROR,
    Termination.UPSTREAM_CONNECT_TIMEOUT: FailureKind.ERROR,
    Termination.UPSTREAM_TLS: FailureKind.ERROR,
    Termination.UPSTREAM_CLOSED: FailureKind.ERROR,
    Termination.UPSTREAM_TRUNCATED: FailureKind.ERROR,
    Termination.UPSTREAM_MALFORMED: FailureKind.MALFORMED,
    Termination.UPSTREAM_READ_TIMEOUT: FailureKind.TIMEOUT,
    Termination.UPSTREAM_SEND_TIMEOUT: FailureKind.TIMEOUT,
}


class FailureRules:
    """What a policy takes for a failure.

    Args:
        policy: It.
    """

    __slots__ = ("_any_5xx", "_kinds", "_statuses")

    def __init__(self, policy: PassiveHealth) -> None:
        self._kinds = frozenset(policy.on)
        self._any_5xx = FailureKind.SERVER_ERROR in self._kinds
        self._statuses = frozenset(int(kind) for kind in policy.on if kind.isdecimal())

    def is_failure(self, termination: Termination) -> bool:
        """Whether an attempt that ended like this failed."""
        return _KINDS.get(termination) in self._kinds

    def is_failed_status(self, status: int) -> bool:
        """Whether a response with that status is a failure."""
        return status in self._statuses or (self._any_5xx and status >= 500)


class HealthRecord:
    """What the requests of one endpoint showed.

    Args:
        policy: What ejects.

    Attributes:
        ejections: How often it was ejected so far.
        is_ejected: It is ejected, or on probation.
        until: When the ejection ends; 0 when it is well.
    """

    __slots__ = (
        *("_began", "_doublings", "_failed", "_in_a_row", "_longest", "_policy", "_time", "_total"),
        *("_well_since", "_window", "ejections", "is_ejected", "until"),
    )

    def __init__(self, policy: PassiveHealth) -> None:
        self._policy = policy
        self._window = policy.window.total_seconds()
        self._time = policy.time.total_seconds()
        self._longest = policy.longest.total_seconds()
        self._in_a_row = 0
        self._began = float("-inf")
        self._total = 0
        self._failed = 0
        self._doublings = 0
        self._well_since = float("-inf")
        self.ejections: int = 0
        self.is_ejected: bool = False
        self.until: float = 0.0

    def succeeded(self, now: float) -> bool:
        """A request got a response that is no failure.

        Returns:
            Whether that ended an ejection.
        """
        self._in_a_row = 0
        if self.is_ejected:
            if now < self.until:
                return False  # a request from before the ejection, or one that had no other place to go
            self._return(now)
            return True
        self._count(now)
        return False

    def failed(self, now: float) -> bool:
        """A request failed.

        Returns:
            Whether the endpoint is to be ejected: then call `eject`, if there is room for that.
        """
        if self.is_ejected:
            return now >= self.until
        self._in_a_row += 1
        self._count(now)
        self._failed += 1
        policy = self._policy
        if policy.failures and self._in_a_row >= policy.failures:
            return True
        if not policy.ratio or self._total < policy.requests:
            return False
        return self._failed * 100 >= policy.ratio * self._total

    def eject(self, now: float) -> float:
        """Eject the endpoint.

        Returns:
            Until when.
        """
        if not self.is_ejected and now - self._well_since >= self._longest:
            self._doublings = 0
        self.until = now + min(self._longest, self._time * 2**self._doublings)
        self._doublings = min(self._doublings + 1, _MOST_DOUBLINGS)
        self.ejections += 1
        self.is_ejected = True
        return self.until

    def checked(self, now: float) -> None:
        """A check says that the endpoint is well: it is not ejected any more."""
        if self.is_ejected:
            self._return(now)

    def _return(self, now: float) -> None:
        self.is_ejected = False
        self.until = 0.0
        self._in_a_row = 0
        self._total = self._failed = 0
        self._began = self._well_since = now

    def _count(self, now: float) -> None:
        if now - self._began >= self._window:
            self._began = now
            self._total = self._failed = 0
        self._total += 1


def may_eject(endpoints: int, ejected: int, limit: int) -> bool:
    """Whether another endpoint may be ejected.

    Args:
        endpoints: How many there are.
        ejected: How many of them are ejected, the one in question not counted.
        limit: As `PassiveHealth.limit`: one always may be ejected, and one is always left.
    """
    return ejected < min(max(1, endpoints * limit // 100), endpoints - 1)


class CheckRecord:
    """What the checks of one endpoint showed. It is well until they fail.

    Args:
        policy: How many of them decide.

    Attributes:
        is_well: Whether it is.
        checks: How many there were.
    """

    __slots__ = ("_in_a_row", "_policy", "checks", "is_well")

    def __init__(self, policy: HealthCheck) -> None:
        self._policy = policy
        self._in_a_row = 0
        self.is_well: bool = True
        self.checks: int = 0

    def checked(self, *, success: bool) -> bool:
        """A check ended.

        Returns:
            Whether that changed `is_well`.
        """
        self.checks += 1
        if success is self.is_well:
            self._in_a_row = 0
            return False
        self._in_a_row += 1
        if self._in_a_row < (self._policy.successes if success else self._policy.failures):
            return False
        self._in_a_row = 0
        self.is_well = success
        return True
