"""Takes PEM private keys out of everything that is shown, wherever they come from."""

from __future__ import annotations

import re
import traceback

from ingresskit.errors import IngressKitError

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
    """*error* for a log's traceback.

    Returns:
        ``None`` for a fault of the world (a port that is taken, a program that is missing, a full disk), whose
        text says all, and when the traceback would show a private key.
    """
    if error is None or _of_the_world(error):
        return None
    if "PRIVATE KEY" in "".join(traceback.format_exception(error)):
        return None
    return error


def _of_the_world(error: BaseException) -> bool:
    """Whether nothing that led to *error* is a bug: where in the code it was met helps nobody."""
    link: BaseException | None = error
    while link is not None:
        if not isinstance(link, IngressKitError | OSError):
            return False
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return True
