"""Takes PEM private keys out of everything that is shown, wherever they come from."""

from __future__ import annotations

import re
import traceback

__all__ = ["REDACTED", "loggable", "redacted"]

REDACTED = "[redacted]"

# Up to the end marker, or the end of the text where that was cut off.
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL
)


def redacted(text: str) -> str:
    """*text* with every PEM private key replaced by ``[redacted]``."""
    return _PRIVATE_KEY.sub(REDACTED, text) if "PRIVATE KEY" in text else text


def loggable(error: BaseException | None) -> BaseException | None:
    """*error* for a log's traceback; ``None`` when that would show a private key."""
    if error is None or "PRIVATE KEY" not in "".join(traceback.format_exception(error)):
        return error
    return None
