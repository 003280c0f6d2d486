"""What the failure of a watch says about the version it was to go on from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ingresskit.errors import ApiError, Expired, IdleTimeout, TooManyRequests, TransportError

__all__ = ["Verdict", "is_too_large", "judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to do after a watch failed.

    Attributes:
        relist: Get the whole state: ``"not older"`` than what is held, or the ``"most recent"``.
        doubt: Compare versions with the server's before going on: who answers next may be one that was
            restored from a backup.
        strike: Count it: after several in a row, the version itself is suspected.
        pause: Wait before going on.
    """

    relist: Literal["", "not older", "most recent"] = ""
    doubt: bool = False
    strike: bool = False
    pause: bool = True


def judge(error: ApiError | TransportError, *, was_open: bool) -> Verdict:
    """Judge a failure by what it is, and by whether the server had let the watch begin."""
    match error:
        case Expired():
            return Verdict(relist="not older", pause=False)
        case ApiError() if is_too_large(error):
            return Verdict(relist="most recent", pause=False)
        case ApiError(reason="StorageReadError"):  # the server lost objects it had told of
            return Verdict(relist="most recent", pause=False)
        case TooManyRequests():
            return Verdict()
        case ApiError(status=status) if not was_open and status >= 500:
            return Verdict(doubt=True)
        case ApiError():
            return Verdict(strike=True)
        case IdleTimeout():
            # The silence was pause enough.
            return Verdict(doubt=True, pause=False)
        case TransportError():
            return Verdict(doubt=True, strike=was_open)


def is_too_large(error: ApiError) -> bool:
    """Whether the server has not reached the resource version that was asked for.

    Source: API machinery's ``NewTooLargeResourceVersionError``: 504 Timeout with a cause of that name;
    servers before 1.18 have the message only.
    """
    if any(cause.reason == "ResourceVersionTooLarge" for cause in error.causes):
        return True
    return error.status == 504 and "too large resource version" in error.message.lower()
