"""What a peer may do that costs work and brings nothing forward: a bucket of tokens."""

from __future__ import annotations

import time

__all__ = ["Budget", "build_goaway"]


class Budget:
    """Tokens that are earned over time, up to a burst."""

    __slots__ = ("_burst", "_left", "_rate", "_since")

    def __init__(self, burst: int, per_second: float) -> None:
        """Begin with *burst* tokens, and earn *per_second*."""
        self._burst = float(burst)
        self._rate = per_second
        self._left = self._burst
        self._since = time.monotonic()

    def spend(self, tokens: int) -> bool:
        """Take *tokens*; whether there were as many."""
        self._left -= tokens
        if self._left >= 0:
            return True
        # The clock is only read when the tokens at hand are used up.
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._since) * self._rate)
        self._since = now
        return self._left >= 0


def build_goaway(last: int, code: int) -> bytes:
    """The octets of a GOAWAY frame, for where a library has none any more (RFC 9113, 6.8)."""
    payload = last.to_bytes(4, "big") + code.to_bytes(4, "big")
    return len(payload).to_bytes(3, "big") + b"\x07\x00" + bytes(4) + payload
