"""nginx's error messages about endpoints, brought from its standard error to the controller's log.

A broken endpoint fails thousands of requests a second. The first message for each endpoint and cause is
logged; further ones are counted, and the next is logged a minute later at the earliest, with the count.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NoReturn

import anyio
import anyio.to_thread

from ingresskit.diagnostics import printable
from ingresskit.facts import fact_logger

__all__ = ["ErrorMessages", "follow_errors"]

_logger = fact_logger(__name__)

_INTERVAL: Final = 60.0
# Of all endpoints together, in one interval: a node that goes may take hundreds with it.
_MOST: Final = 60
_LONGEST: Final = 200
_READ_SECONDS: Final = 1.0
_MOST_BYTES: Final = 256 * 1024
# ``2026/11/30 09:47:24 [error] 31188#31188: *30 connect() failed (111: …) while …, client: …``.
# What stands behind the first quote or the client may be a client's text, or an endpoint's.
_MESSAGE: Final = re.compile(
    r"[0-9/]{10} [0-9:]{8} \[(?:error|crit|alert|emerg)\] [0-9#]+: (?:\*[0-9]+ )?"
    r"(?P<cause>[^\"]+?)(?:[:,]? ?\"|, client: |$)"
)
_ENDPOINT: Final = re.compile(
    r", upstream: \"https?://(?P<endpoint>(?:[0-9.]{7,15}|\[[0-9a-f:.]{2,45}\]):[0-9]{1,5})/"
)
# The messages of a connection that could not be made, which has no response and so no other trace than these.
_CONNECTING: Final = re.compile(r"connect\(\) failed|upstream timed out .* while connecting to upstream")
# nginx says when a connection fails, and not when the next one succeeds.
_UNREACHABLE_SECONDS: Final = 30.0
# An error of the program, and a message that it writes by itself.
_LUA: Final = re.compile(r"_by_lua|\[lua\] ")


class ErrorMessages:
    """Logs what lines of nginx's error log say of endpoints and of the program, each cause once a minute.

    Attributes:
        unreachable: The endpoints that a connection could not be made to within the last 30 seconds, as
            ``address:port``, sorted; nginx does not say when one works again.
    """

    def __init__(self) -> None:
        self.unreachable: tuple[str, ...] = ()
        self._failed: dict[str, float] = {}
        self._window_ends = 0.0
        self._seen: dict[tuple[str, str], int] = {}
        self._repeated: dict[tuple[str, str], int] = {}
        self._left_out = 0

    def take(self, lines: Iterable[str], now: float) -> None:
        """Log those of *lines* that are new within the minute; *now* is of the loop's clock, in seconds."""
        for line in lines:
            if (message := _MESSAGE.match(line)) is None:
                continue
            endpoint = _ENDPOINT.search(line)
            if endpoint is None and not _LUA.search(message["cause"]):
                continue
            if endpoint is not None and _CONNECTING.match(message["cause"]):
                self._failed[endpoint["endpoint"]] = now
            self._take(endpoint["endpoint"] if endpoint else "", printable(message["cause"], _LONGEST), now)

        self._failed = {key: at for key, at in self._failed.items() if now - at < _UNREACHABLE_SECONDS}
        self.unreachable = tuple(sorted(self._failed))

    def _take(self, endpoint: str, cause: str, now: float) -> None:
        if now >= self._window_ends:
            if self._left_out:
                _logger.warning("messages of nginx left out", extra={"count": self._left_out})
            self._repeated = {key: count for key, count in self._seen.items() if count}
            self._seen, self._left_out = {}, 0
            self._window_ends = now + _INTERVAL
        key = (endpoint, cause)
        if key in self._seen:
            self._seen[key] += 1
            return
        if len(self._seen) >= _MOST:
            self._left_out += 1
            return
        self._seen[key] = 0
        facts: dict[str, object] = {"endpoint": endpoint} if endpoint else {}
        facts["reason"] = cause
        if repeated := self._repeated.pop(key, 0):
            facts["repeated"] = repeated
        _logger.warning("nginx reported an error", extra=facts)


async def follow_errors(path: Path, messages: ErrorMessages) -> NoReturn:
    """Give *messages* what nginx writes to *path* from now on, until cancelled."""
    place = await anyio.to_thread.run_sync(_size, path)
    while True:
        await anyio.sleep(_READ_SECONDS)
        lines, place = await anyio.to_thread.run_sync(_read, path, place)
        messages.take(lines, anyio.current_time())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read(path: Path, place: int) -> tuple[list[str], int]:
    """The whole lines behind *place*, at most the last 256 KiB, and where they end.

    A file that became shorter was cut: what remains of it was read before.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size <= place:
                return [], size
            start = max(place, size - _MOST_BYTES)
            file.seek(start)
            text = file.read(size - start)
    except OSError:
        return [], place
    whole, newline, _ = text.rpartition(b"\n")
    if not newline:
        return [], place
    return whole.decode("utf-8", "replace").split("\n"), start + len(whole) + 1
