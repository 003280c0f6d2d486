"""The copies of requests that are under way, and what one is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ingresskit.facts import fact_logger

if TYPE_CHECKING:
    from ingresskit.proxy.deadlines import Deadlines

__all__ = ["Copies", "Copy", "SendCopy"]

_logger = fact_logger(__name__)

_MOST_UNDER_WAY: Final = 64
_WARNING_GAP: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A request to be sent whose response is for nobody.

    Attributes:
        address: A host name or an address.
        server_name: For TLS; ``None``: without TLS.
        verified: The certificate must be valid for *server_name*.
        judged: The address comes from the graph, whose destinations were judged.
        target: Path and query.
        host: Of the ``Host`` field.
        lines: All other field lines but those of framing.
        timeout: Seconds for all of it.
    """

    address: str
    port: int
    server_name: str | None = None
    verified: bool = True
    judged: bool = False
    method: bytes
    target: bytes
    host: bytes
    lines: bytes = field(repr=False)
    body: bytes = field(repr=False)
    timeout: float


SendCopy = Callable[[Copy], Awaitable[str]]
"""Sends a copy; returns what went wrong as a clause, empty when a response came. Never raises."""


class Copies:
    """The copies of one proxy that are under way.

    Args:
        send: Sends one.
        run: Runs a coroutine as a task of the proxy.
        deadlines: The clock.

    Attributes:
        under_way: How many.
    """

    __slots__ = ("_deadlines", "_run", "_send", "_warned", "under_way")

    def __init__(
        self,
        send: SendCopy,
        run: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        deadlines: Deadlines,
    ) -> None:
        self._send = send
        self._run = run
        self._deadlines = deadlines
        self._warned: dict[str, float] = {}
        self.under_way: int = 0

    def start(self, copy: Copy, host: str) -> None:
        """Send *copy* of a request for the rule host *host*, if there is room for one more."""
        if self.under_way >= _MOST_UNDER_WAY:
            self.missed(host, "too many are under way")
            return
        self.under_way += 1
        self._run(self._sent(copy, host))

    def missed(self, host: str, why: str) -> None:
        """A request for *host* has no copy: let the log know, once in a minute for each host and reason."""
        now, key = self._deadlines.recent, f"{host} {why}"
        if now >= self._warned.get(key, now):
            if len(self._warned) >= 1024:
                self._warned.clear()
            self._warned[key] = now + _WARNING_GAP
            _logger.warning("requests are not mirrored", extra={"host": host, "fault": why})

    async def _sent(self, copy: Copy, host: str) -> None:
        try:
            fault = await self._send(copy)
        finally:
            self.under_way -= 1
        if fault:
            self.missed(host, fault)
