"""Names of header fields that some applications cannot tell from one another.

RFC 9110, section 5.6.2, allows ``.``, ``!``, ``~`` and other punctuation in names, and S3 metadata has such
names: they pass. CGI and its kin make ``_`` of all punctuation. So a field is dropped when it would be a
field of the proxy's own, or one that the route sets or removes, but for its punctuation; the same as in
`ingresskit.proxy.message.fields`. HAProxy keeps names in lower case.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["ALIASES", "every_spelling"]

_ANY: Final = "[^a-z0-9]"
_ODD: Final = "[^a-z0-9-]"


def every_spelling(name: str) -> str:
    """A regular expression for *name*, which is in lower case, with any punctuation in place of its own."""
    return f"^{_ANY.join(re.split(_ANY, name))}$"


def _odd_spellings(name: str) -> str:
    """An expression, without anchors, for *name* with punctuation other than its own ``-`` somewhere."""
    letters = name.split("-")
    ways = ("-".join(letters[:at]) + _ODD + _ANY.join(letters[at:]) for at in range(1, len(letters)))
    return f"({'|'.join(ways)})"


def _aliases() -> tuple[str, ...]:
    whole = (
        "content-length",
        "transfer-encoding",
        "max-forwards",
        "x-request-id",
        "keep-alive",
        "http2-settings",
        "ingresskit-delegate",
        # What the delegate says to services that authenticate, and to those that make pages of errors.
        "x-auth-request-redirect",
        "x-code",
        "x-format",
        "x-ingress-name",
        "x-namespace",
        "x-original-forwarded-for",
        "x-original-method",
        "x-original-uri",
        "x-original-url",
        "x-sent-from",
        "x-service-name",
        "x-service-port",
    )
    client = ("x-real-ip", "x-scheme", "client-cert", "client-cert-chain", "x-client-cert")
    families = ("x-forwarded", "ssl-client-", "x-ssl-client-", "proxy-")
    names = "|".join(map(_odd_spellings, (*whole, *client)))
    below = "|".join(f"{_odd_spellings(name)}.*|{name}.*{_ODD}.*" for name in families)
    return f"^({names})$", f"^({below})$"


ALIASES: Final = _aliases()
"""Expressions for the names that could be taken for those that mean something to a proxy."""
