"""Addresses and texts without the credentials in them: what may go into logs, errors and status pages."""

from __future__ import annotations

import re

__all__ = ["without_credentials", "without_user"]

# The user information of a URL inside a text, up to the last @ before the path.
_USER = re.compile(r"(?<![\w+.-])([A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#'\"<>]*@")
# The beginning of one address, whatever is in it: a password that should have been encoded may hold a slash.
_UP_TO_USER = re.compile(r"\A([A-Za-z][A-Za-z0-9+.-]*://)?.*@", re.DOTALL)


def without_user(address: str) -> str:
    """One URL, or ``host:port``, without user and password: everything before its last ``@``."""
    return _UP_TO_USER.sub(lambda found: found[1] or "", address)


def without_credentials(text: str) -> str:
    """A sentence, with the user and password of each URL in it replaced by ``***``."""
    return _USER.sub(r"\1***@", text)
