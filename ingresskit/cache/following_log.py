"""What a reflector logs: each change of how it goes, once."""

from __future__ import annotations

from collections.abc import Mapping

from ingresskit.errors import ApiError, TransportError
from ingresskit.facts import fact_logger

__all__ = ["FollowingLog"]

_logger = fact_logger("ingresskit.cache.reflector")

_MOST_UNKNOWN_TYPES = 16


class FollowingLog:
    """Knows what was logged last of one reflector.

    Args:
        facts: What every line says: the kind, the namespace, the selector.
    """

    def __init__(self, facts: Mapping[str, str]) -> None:
        self._facts = facts
        self._announced = False  # that something is wrong
        self._unknown_types: set[str] = set()
        self.error: ApiError | TransportError | None = None
        """Why the server is not followed now; ``None`` when it is."""

    def failed(self, error: ApiError | TransportError, *, cut: bool) -> None:
        """Something failed. *cut*: an open watch, which is mostly opened again at once."""
        before, self.error = self.error, error
        same = type(before) is type(error) and getattr(before, "status", 0) == getattr(error, "status", 0)
        facts = {**self._facts, "error": str(error)}
        if cut and not self._announced:
            _logger.debug("the watch was cut, opening it again", extra=facts)
        elif same and self._announced:
            _logger.debug("still not following the server", extra=facts)
        else:
            self._announced = True
            _logger.warning("not following the server", extra=facts)

    def recovered(self) -> None:
        """The server is followed."""
        self.error = None
        if self._announced:
            self._announced = False
            _logger.info("following the server again", extra=self._facts)

    def stream_failed(self, why: str, *, for_good: bool) -> None:
        """The state was not streamed and is listed. *for_good*: no more streams are tried."""
        facts = {**self._facts, "error": why}
        if for_good:
            _logger.info("the state is listed from now on, streaming it failed", extra=facts)
        else:
            _logger.debug("the state was not streamed, listing it", extra=facts)

    def synced(self, objects: int) -> None:
        """The first state is held."""
        _logger.debug("synced", extra={**self._facts, "objects": objects})

    def regressed(self, before: str, after: str) -> None:
        """The server's resource version went back."""
        _logger.warning(
            "the server went back to an older state, everything is compared",
            extra={**self._facts, "from": before, "to": after},
        )

    def unknown_type(self, kind: str) -> None:
        """A watch event of a type that is not known."""
        if kind not in self._unknown_types and len(self._unknown_types) < _MOST_UNKNOWN_TYPES:
            self._unknown_types.add(kind)
            _logger.warning("unknown type of watch event, ignored", extra={**self._facts, "type": kind[:64]})
