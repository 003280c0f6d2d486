"""How large the share of an endpoint is that is new, or back. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["FIRST_SHARE", "share_of"]

FIRST_SHARE: Final = 0.1
"""What an endpoint begins with: enough for it to warm up at all."""


def share_of(since: float, now: float, window: float) -> float:
    """The share of what an endpoint would get, from `FIRST_SHARE` to 1; it never shrinks as *now* grows.

    Args:
        since: When it came.
        now: The time, of the same clock.
        window: How long its share grows, in seconds; 0: not at all.
    """
    age = now - since
    if age >= window:
        return 1.0
    return FIRST_SHARE + (1.0 - FIRST_SHARE) * max(0.0, age) / window
