"""What a front needs to know of a route whose requests it hands to the delegate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ingresskit.graph import BackendKey, PathMatch
from ingresskit.policies import Policy

__all__ = ["DELEGATE", "SHORT_BODY_BYTES", "WHOLE_HOST", "HandedOver", "Handover"]

DELEGATE: Final = BackendKey("", "delegate", 1)
"""The backend in the graph of a front that stands for the delegate. No Service can be it."""

WHOLE_HOST: Final = "Host"
"""Stands where the kind of a path match does: the program in front did not look for a route."""

SHORT_BODY_BYTES: Final = 16384
"""A body of so many bytes fits into the buffers of a connection, even while an endpoint reads none of them."""


class HandedOver(StrEnum):
    """Which requests of a route a front hands over."""

    ALL = "all"
    """The front applies no policy: the delegate applies all of them."""
    UNKNOWN_LENGTH = "unknown-length"
    """Those whose body does not say its length; the front serves the others by itself."""
    LONG_BODY = "long-body"
    """Those, and those whose body says that it is longer than `SHORT_BODY_BYTES`."""

    @classmethod
    def union(cls, found: Iterable[HandedOver]) -> HandedOver | None:
        """All requests that any of *found* is; ``None`` for nothing."""
        return max(found, key=_LESS_THAN.index, default=None)


_LESS_THAN: Final = (HandedOver.UNKNOWN_LENGTH, HandedOver.LONG_BODY, HandedOver.ALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover(Policy):
    """Requests of the route go to the delegate. Only `DelegatingRenderer` makes it: no annotation asks for it.

    Attributes:
        host: The rule host that the route stands under.
        match: What the route matches, under which the delegate knows it; ``None``: the delegate finds the
            route of each request by itself, among those of the host.
        requests: Which of its requests.
    """

    protects = True

    host: str
    match: PathMatch | None
    requests: HandedOver = HandedOver.ALL

    @property
    def words(self) -> str:
        """The last three words of `DELEGATE_FIELD`: rule host, kind and path."""
        if self.match is None:
            return f"{self.host} {WHOLE_HOST} /"
        return f"{self.host} {self.match.kind} {self.match.value}"
