"""The last net under everything that is shown: no PEM private key leaves, whoever put it there."""

from __future__ import annotations

import re

__all__ = ["REDACTED", "redacted"]

REDACTED = "[redacted]"

# Up to the end marker, or the end of the text where that was cut off.
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL
)


def redacted(text: str) -> str:
    """*text* with every PEM private key replaced by ``[redacted]``."""
    return _PRIVATE_KEY.sub(REDACTED, text) if "PRIVATE KEY" in text else text
