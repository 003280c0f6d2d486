"""The row of a route, and other words that the rows of the maps share with the rules of the program.

The row of a route is ``kind|id|policy|flags|cut``:

| kind | id |
|---|---|
| ``forward`` | of a `SlotBackend` |
| ``split`` | of a split, by which `MapName.SPLITS` leads to a layout |
| ``redirect-308`` and so on | of a block with the location |
| ``respond-503`` and so on | ``.`` |
| ``close``, of streams | ``.`` |

*policy* is the id of a block with settings, and *flags* has a letter for each policy among them, or ``.``.
Six digits among the flags say that the policies act in another order than the native one.
*cut* is the length of what the rule matches of the path, which a prefix rewrite replaces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from ingresskit.graph import Protocol
from ingresskit.policies import Order
from ingresskit.render.haproxy.artifact import Server

__all__ = [
    "CERTIFICATE_FLAG",
    "HANDOVER_FLAG",
    "LONG_BODY_FLAG",
    "NONE",
    "PLAIN_HTTP_FLAG",
    "REDIRECT_LOOP",
    "SHARE_DIGITS",
    "TLS_FLAG",
    "UNKNOWN_LENGTH_FLAG",
    "Kind",
    "Speaks",
    "order_mark",
    "route_value",
    "slot_value",
]

NONE: Final = "."
"""Stands where there is nothing to say: map rows have no empty fields."""

PLAIN_HTTP_FLAG: Final = "P"
"""The flag of a route whose plain HTTP requests are refused."""

CERTIFICATE_FLAG: Final = "C"
"""The flag of a route whose host asks clients for certificates."""

HANDOVER_FLAG: Final = "D"
"""The flag of a route all of whose requests are handed over to the delegate."""

UNKNOWN_LENGTH_FLAG: Final = "E"
"""The flag of one whose requests with bodies of unknown length are."""

LONG_BODY_FLAG: Final = "F"
"""The flag of one whose requests with long bodies are too."""

TLS_FLAG: Final = "T"
"""The flag of a route whose plain HTTP requests are redirected to HTTPS."""

TLS_HOW_FLAG: Final = "H"
"""The flag of a route whose policy says how they are redirected: the status, the slash, the port."""

REDIRECT_LOOP: Final = "proc.redirect_loop"
"""The variable of the process that says whether a redirect to TLS may have come back to a trusted proxy."""

SHARE_DIGITS: Final = 5
"""The shares of a split are told apart by a random number of so many hexadecimal digits."""


class Kind:
    """What a route does."""

    FORWARD: Final = "forward"
    SPLIT: Final = "split"
    REDIRECTS: Final = "redirect-"
    """What all redirects begin with."""
    CLOSE: Final = "close"
    """Streams only."""
    DENIED: Final = "denied"
    """Not in a row: what the program says of a request that a policy refuses with any status."""
    RESPONDS: Final = "respond-"
    """What all other responses of HAProxy's own begin with."""

    @staticmethod
    def redirect(status: int) -> str:
        """Redirects with that status."""
        return f"{Kind.REDIRECTS}{status}"

    @staticmethod
    def respond(status: int) -> str:
        """Responses with that status."""
        return f"{Kind.RESPONDS}{status}"


class Speaks:
    """What the servers of a slot speak: the second word in the row that leads to the slot."""

    NOTHING: Final = "none"
    """There is no server."""
    HTTP1: Final = "http"
    HTTP2: Final = "h2"
    TCP: Final = "tcp"
    """Whatever the clients of a stream speak."""


def slot_value(slot: str, servers: Sequence[Server]) -> str:
    """The value of the row that leads from a backend to its slot: ``slot/speaks``.

    Args:
        slot: The name of the slot.
        servers: Those of the backend, which all speak the same.
    """
    if not servers:
        return f"{slot}/{Speaks.NOTHING}"
    spoken = servers[0].protocol
    if spoken is Protocol.TCP:
        return f"{slot}/{Speaks.TCP}"
    return f"{slot}/{Speaks.HTTP2 if spoken.is_http2 else Speaks.HTTP1}"


def order_mark(order: Order) -> str:
    """What stands among the flags of a route whose policies act in that order: six digits.

    The program has rules for the orders that its dialects have, of which there are few.
    """
    total = hashlib.sha256(" ".join(order.stages).encode()).digest()
    return f"{int.from_bytes(total[:8]) % 10**6:06}"


def route_value(kind: str, identifier: str, *, policy: str, flags: str, cut: int) -> str:
    """The value of the row of a route."""
    return f"{kind}|{identifier}|{policy}|{flags or NONE}|{cut}"
