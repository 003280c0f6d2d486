"""What a version of HAProxy can do, as far as the program depends on it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from ingresskit.errors import ConfigurationError

__all__ = ["OLDEST_VERSION", "Capabilities"]

OLDEST_VERSION: Final = (2, 6)
"""The oldest version the program is written for."""

_VERSION: Final = re.compile(
    r"(?:HAProxy version )?([0-9]{1,3})\.([0-9]{1,3})(?:[.-][^\s]*)?(?:\s.*)?", re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the program may use. Made by `of` from a version; tests may make any.

    Attributes:
        version: The first two numbers.
        refuses_nul: It refuses header values with a NUL by itself (3.0, and late 2.x); else a rule does.
        drains: A client that uploads reads a response that comes before the end of its body (3.0); before,
            HAProxy resets the connection or the stream, unless the rest of the body is there already.
        drops_trailers: It can drop the trailers of requests (3.2).
        waits_for_clients: How long a client may be silent can be said for each request (3.0).
        adds_backends: It may take new backends while it runs (3.4). Its response says whether it does.
    """

    version: tuple[int, int] = OLDEST_VERSION
    refuses_nul: bool = False
    drains: bool = False
    drops_trailers: bool = False
    waits_for_clients: bool = False
    adds_backends: bool = False

    @classmethod
    def of(cls, version: str) -> Self:
        """The capabilities of a version.

        Args:
            version: As ``haproxy -v`` begins, ``"HAProxy version 2.6.12-1+deb12u4 2026/10/17 …"``, or the
                number alone.

        Raises:
            ConfigurationError: It cannot be read, or is older than `OLDEST_VERSION`.
        """
        found = _VERSION.fullmatch(version.strip())
        if found is None:
            raise ConfigurationError(f"{version[:80]!r} is not a version of HAProxy")
        numbers = (int(found[1]), int(found[2]))
        if numbers < OLDEST_VERSION:
            oldest = ".".join(map(str, OLDEST_VERSION))
            raise ConfigurationError(f"HAProxy {found[1]}.{found[2]} is older than {oldest}")
        return cls(
            version=numbers,
            refuses_nul=numbers >= (3, 0),
            drains=numbers >= (3, 0),
            drops_trailers=numbers >= (3, 2),
            waits_for_clients=numbers >= (3, 0),
            adds_backends=numbers >= (3, 4),
        )
