"""The words that the rows of the maps and the rules of the program have in common.

The row of a route is ``kind|id|policy|flags|cut``:

| kind | id |
|---|---|
| ``forward`` | of a `SlotBackend` |
| ``split`` | of a split, by which `MapName.SPLITS` leads to a layout |
| ``redirect-308`` and so on | of a block with the location |
| ``respond-503`` and so on | ``.`` |

*policy* is the id of a block with settings, and *flags* has a letter for each policy among them, or ``.``.
*cut* is the length of what the rule matches of the path, which a prefix rewrite replaces.
"""

from __future__ import annotations

from typing import Final

__all__ = ["NONE", "SHARE_DIGITS", "TLS_FLAG", "Kind", "route_value"]

NONE: Final = "."
"""Stands where there is nothing to say: map rows have no empty fields."""

TLS_FLAG: Final = "T"
"""The flag of a route whose plain HTTP requests are redirected to HTTPS."""

SHARE_DIGITS: Final = 5
"""The shares of a split are told apart by a random number of so many hexadecimal digits."""


class Kind:
    """What a route does."""

    FORWARD: Final = "forward"
    SPLIT: Final = "split"

    @staticmethod
    def redirect(status: int) -> str:
        """Redirects with that status."""
        return f"redirect-{status}"

    @staticmethod
    def respond(status: int) -> str:
        """Answers with that status."""
        return f"respond-{status}"


def route_value(kind: str, identifier: str, *, policy: str, flags: str, cut: int) -> str:
    """The value of the row of a route."""
    return f"{kind}|{identifier}|{policy}|{flags or NONE}|{cut}"
