"""Values as nginx reads them, in both modes."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

__all__ = ["EMPTY_VALUE", "duration"]

EMPTY_VALUE: Final = " "
"""The value for a header field that is set to nothing: nginx leaves out a field without a value.

White space around a value is no part of it (RFC 9110, section 5.5), so the field arrives empty.
"""


def duration(value: timedelta) -> str:
    """A time in whole milliseconds, at least one: ``"1500ms"``."""
    return f"{max(1, value // timedelta(milliseconds=1))}ms"
