"""What the exchanges of a running proxy share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING

from ingresskit.filters import Subrequest, SubrequestReply
from ingresskit.proxy.exchange.copies import Copies, Copy, SendCopy
from ingresskit.proxy.exchange.verdicts import Verdicts
from ingresskit.proxy.upstreams.troubles import Troubles

if TYPE_CHECKING:
    from ingresskit.proxy.deadlines import Deadlines
    from ingresskit.proxy.limits.memory import Memory
    from ingresskit.proxy.ports.connections import UpstreamPool
    from ingresskit.proxy.settings import ProxySettings
    from ingresskit.proxy.statistics import Counters
    from ingresskit.proxy.timeouts import Timeouts

__all__ = ["Runtime", "SendSubrequest"]

SendSubrequest = Callable[[Subrequest, bytes], Awaitable[SubrequestReply]]
"""Sends a subrequest of a filter, with further lines of header fields, each with its line end.

A reply with status 0: there was none in time, or none to be trusted.
"""


async def _nowhere(_copy: Copy) -> str:
    return "this proxy sends no copies"


class Runtime:
    """The state that exchanges of one proxy share. Only the event loop's thread touches it.

    Attributes:
        settings: As the operator gave them.
        timeouts: The same time-outs in seconds.
        deadlines: The clock, and what is due when.
        counters: What to count in.
        memory: What clients make the proxy hold.
        pool: Lends streams to endpoints.
        send_subrequest: Sends the subrequest of a filter; never raises.
        verdicts: Replies to subrequests that are still good.
        copies: The copies of requests that are under way.
        troubles: Tells the log what endpoints do wrong.
        draining: No connection outlives the request it serves.
        refusing: A connection that is made now is cut.
        closing: Connections are cut; what ends now ends for that reason.
    """

    __slots__ = (
        "_tasks",
        "closing",
        "copies",
        "counters",
        "deadlines",
        "draining",
        "memory",
        "pool",
        "refusing",
        "send_subrequest",
        "settings",
        "timeouts",
        "troubles",
        "verdicts",
    )

    def __init__(
        self,
        *,
        settings: ProxySettings,
        timeouts: Timeouts,
        deadlines: Deadlines,
        counters: Counters,
        memory: Memory,
        pool: UpstreamPool,
        send_subrequest: SendSubrequest,
        send_copy: SendCopy = _nowhere,
    ) -> None:
        self.settings: ProxySettings = settings
        self.timeouts: Timeouts = timeouts
        self.deadlines: Deadlines = deadlines
        self.counters: Counters = counters
        self.memory: Memory = memory
        self.pool: UpstreamPool = pool
        self.send_subrequest: SendSubrequest = send_subrequest
        self.verdicts: Verdicts = Verdicts(deadlines.now)
        self.copies: Copies = Copies(send_copy, self.start, deadlines)
        self.troubles: Troubles = Troubles()
        self.draining: bool = False
        self.refusing: bool = False
        self.closing: bool = False
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run *work* as a task that ends with the proxy."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def cancel_tasks(self) -> None:
        """End all tasks."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
