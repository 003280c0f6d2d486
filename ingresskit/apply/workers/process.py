"""One worker process: started, spoken to, and waited for."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import anyio

from ingresskit.apply.delegate.link import Link
from ingresskit.apply.workers.channel import SocketChannel
from ingresskit.errors import ApplyError
from ingresskit.render.delegate.control import pack_pickled
from ingresskit.render.workers import WorkerOrder

__all__ = ["WORKER_PROGRAM", "WorkerProcess"]

# Without the working folder on the path: who can write there would be who runs here.
WORKER_PROGRAM: Final = (sys.executable, "-P", "-m", "ingresskit.proxy.worker")
_CONTROL: Final = 0
_DESCRIPTORS: Final = 3
# Python ignores these signals and children inherit that; reset them.
_NOT_IGNORED: Final = (signal.SIGPIPE, signal.SIGXFSZ)


class WorkerProcess:
    """A process of `WORKER_PROGRAM`, in a session of its own: no signal of a terminal reaches it.

    It writes to the controller's standard error, and ends when this object is closed.

    Args:
        argv: The program and its arguments.

    Raises:
        ApplyError: It cannot be started.
    """

    def __init__(self, argv: Sequence[str] = WORKER_PROGRAM) -> None:
        control, its_control = socket.socketpair()
        descriptors, its_descriptors = socket.socketpair()
        with its_control, its_descriptors:
            try:
                self.pid: int = os.posix_spawn(
                    argv[0],
                    list(argv),
                    os.environ,
                    file_actions=[
                        (os.POSIX_SPAWN_DUP2, its_control.fileno(), _CONTROL),
                        (os.POSIX_SPAWN_DUP2, its_descriptors.fileno(), _DESCRIPTORS),
                    ],
                    setsid=True,
                    setsigmask=(),
                    setsigdef=_NOT_IGNORED,
                )
            except OSError as exc:
                control.close()
                descriptors.close()
                raise ApplyError(f"{argv[0]} could not be started: {exc.strerror or exc}") from exc
        self._descriptor = os.pidfd_open(self.pid)
        self._channel = SocketChannel(control)
        self._link = Link(self._channel)
        self._descriptors = descriptors
        self._asking = anyio.Lock()
        self._status: str | None = None
        self._ended = anyio.Event()

    async def ask(self, order: WorkerOrder, descriptors: Sequence[int] = ()) -> dict[str, object]:
        """What the worker responds to *order*, which *descriptors* go with.

        Raises:
            ApplyError: The worker has ended, or does not make sense.
            ValueError: Its response is no JSON.
        """
        return await self.ask_packed(pack_pickled(order), descriptors)

    async def ask_packed(self, packed: bytes, descriptors: Sequence[int] = ()) -> dict[str, object]:
        """The same for an order that `pack_pickled` packed, for several workers."""
        async with self._asking:
            if descriptors:
                try:
                    socket.send_fds(self._descriptors, [b"."], list(descriptors), socket.MSG_NOSIGNAL)
                except OSError as exc:
                    raise ApplyError("the worker takes no descriptors") from exc
            return await self._link.ask_packed(packed)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing where it has ended."""
        if self._status is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def hang_up(self) -> None:
        """Speak to it no more; it drains and ends."""
        self._channel.close()
        self._descriptors.close()

    async def wait_ended(self) -> str:
        """How it ended, in words, once it has. One task waits for it."""
        if self._status is None:
            await anyio.wait_readable(self._descriptor)
            self._status = self._reap()
            os.close(self._descriptor)
            self.hang_up()
        return self._status

    def _reap(self) -> str:
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            return "by itself"
        if os.WIFSIGNALED(status):
            return f"by signal {os.WTERMSIG(status)}"
        return f"with status {os.waitstatus_to_exitcode(status)}"
