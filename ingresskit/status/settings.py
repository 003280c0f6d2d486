"""How the writer of statuses behaves towards the API server."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ingresskit._checks import check_settings
from ingresskit.errors import ConfigurationError
from ingresskit.status.handover import Handover

__all__ = ["StatusWriterSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusWriterSettings:
    """How the writer behaves towards the API server.

    Attributes:
        field_manager: As whom the field is written. Two controllers for one class do well to differ.
        taken_from: Field managers that no longer write, whose addresses are overwritten. With one that still
            writes this stops after three times.
        handover: The edge that Ingresses are handed over from; ``None``: none.
        rate: Requests a second at most, on average.
        request_timeout: For one request.
        attempts: How often a refused write (409 for another reason than its owner, 422, 400) is made.
        retry_first: The pause after a failure; it doubles.
        retry_ceiling: The longest pause.

    Raises:
        ConfigurationError: A number or time is not positive, or the field manager is empty or too long.
    """

    field_manager: str = "ingresskit"
    taken_from: frozenset[str] = frozenset()
    handover: Handover | None = None
    rate: float = 20.0
    request_timeout: timedelta = timedelta(seconds=10)
    attempts: int = 5
    retry_first: timedelta = timedelta(seconds=1)
    retry_ceiling: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        if not 0 < len(self.field_manager) <= 128 or not self.field_manager.isprintable():
            raise ConfigurationError(f"{self.field_manager[:60]!r} cannot be the name of a field manager")
        check_settings(self)
