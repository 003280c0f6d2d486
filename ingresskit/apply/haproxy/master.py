"""The HAProxy process: found, started or adopted, given a configuration, reloaded, and asked what it serves.

What a return code says is never believed. A configuration counts as live when the worker that serves says
so itself: each has a marker, which HAProxy repeats in ``show info``.

After a failed reload the worker before it serves on, with all that was changed at runtime. So the link is
swapped back, and nothing else has to happen.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final, NoReturn

import anyio
import anyio.to_thread

from ingresskit.apply.command import run_command
from ingresskit.apply.generations import Generation, Generations
from ingresskit.apply.haproxy.cli import Cli, CommandRefused, Unreachable
from ingresskit.apply.haproxy.runtime import RuntimeApi
from ingresskit.apply.process import ProxyProcess, find_program
from ingresskit.errors import ApplyError, CheckFailed, ConfigurationError
from ingresskit.facts import fact_logger
from ingresskit.render.files import RenderedFile
from ingresskit.render.haproxy import Capabilities
from ingresskit.render.haproxy.files import PROGRAM

__all__ = ["Master", "occupied"]

_logger = fact_logger(__name__)

_PATH: Final = re.compile(r"[A-Za-z0-9_./@+=~-]+")
_POLL: Final = 0.01
_END: Final = timedelta(seconds=2)
_MARKER: Final = "description"
# How alerts end that only say that there were others.
_NOTHING_NEW: Final = (f"/{PROGRAM}", "Fatal errors found in configuration.")


class Master:
    """One HAProxy in master-worker mode, and its configurations on disk.

    Args:
        program: The path of HAProxy, or a name to look up.
        state: The folder for its socket, pid, output and configurations; must exist.
        command_timeout: For one command of the runtime API.
        load_timeout: For a start, a check and a reload, each.

    Raises:
        ApplyError: *state* is too long for a socket in it.
        ConfigurationError: *state* has a character that HAProxy would read as something else.
    """

    def __init__(
        self,
        program: str,
        *,
        state: Path,
        command_timeout: timedelta = timedelta(seconds=5),
        load_timeout: timedelta = timedelta(seconds=30),
    ) -> None:
        if not _PATH.fullmatch(str(state)):
            raise ConfigurationError(
                f"{str(state)!r} cannot be HAProxy's folder: its path must be of letters, digits and _./@+=~-"
            )
        self._program = program
        self._limit = load_timeout
        self._load_timeout = load_timeout.total_seconds()
        self._socket = state / "master.sock"
        self.generations: Generations = Generations(state / "configurations")
        self.api: RuntimeApi = RuntimeApi(Cli(self._socket, timeout=command_timeout))
        configuration = self.generations.link / PROGRAM
        self.process: ProxyProcess = ProxyProcess(
            "haproxy",
            [program, "-W", "-S", f"{self._socket},mode,600,level,admin", "-f", str(configuration)],
            state=state,
        )

    async def probe(self) -> Capabilities:
        """What the program can do, by its version.

        Raises:
            ApplyError: There is none, it cannot be executed, or it says nothing.
            ConfigurationError: It is not HAProxy, or too old.
        """
        path = find_program(self._program)
        ended = await run_command("version", [str(path), "-v"], limit=self._limit)
        try:
            return Capabilities.of(ended.output)
        except ConfigurationError as exc:
            raise ConfigurationError(f"{path}: {exc}") from None

    async def run(self, before_restart: Callable[[], Awaitable[None]]) -> NoReturn:
        """Watch the process until cancelled; see `ProxyProcess.run`."""
        await self.process.run(before_restart)

    async def check(self, generation: Generation) -> None:
        """Let HAProxy read a configuration without serving it.

        Raises:
            CheckFailed: It refuses.
            ApplyError: It could not be asked, or did not respond in time.
        """
        words = [str(find_program(self._program)), "-c", "-f", str(generation.path / PROGRAM)]
        ended = await run_command("check", words, limit=self._limit)
        if ended.status < 0:
            raise ApplyError(f"HAProxy's check was ended by signal {-ended.status}")
        if ended.status:
            said = _complaints(ended.output.splitlines()) or f"status {ended.status}"
            raise CheckFailed(f"HAProxy refuses the configuration: {said}")

    async def write(self, files: Sequence[RenderedFile]) -> Generation:
        """Write a configuration; nothing uses it yet.

        Raises:
            ApplyError: It could not be written.
        """
        return await anyio.to_thread.run_sync(self.generations.write, files)

    async def activate(self, generation: Generation) -> None:
        """Let the next start, or reload, use a configuration.

        Raises:
            ApplyError: The link could not be changed.
        """
        await anyio.to_thread.run_sync(self.generations.activate, generation)

    async def start(self, marker: str) -> None:
        """Start the process with the current configuration, and return when it serves that one.

        Raises:
            ApplyError: It does not; it may do so later, since it is started again when it ends.
        """
        mark = self.process.output.mark()
        # A socket of the time before would answer for nobody.
        with suppress(OSError):
            await anyio.to_thread.run_sync(self._socket.unlink)
        await self.process.start()
        await self.wait_serving(marker, mark=mark)

    async def wait_serving(self, marker: str, *, mark: int | None = None) -> None:
        """Return once the newest worker has the configuration with that marker, after a start.

        Raises:
            ApplyError: HAProxy ended, or that took too long.
        """
        if mark is None:
            mark = self.process.output.mark()
        try:
            with anyio.fail_after(self._load_timeout):
                while not await self.serves(marker):
                    if self.process.pid is None:
                        raise ApplyError(
                            f"HAProxy does not start: {self._last_words(mark) or self.process.problem}"
                        )
                    await anyio.sleep(_POLL)
        except TimeoutError:
            raise ApplyError(f"HAProxy did not serve within {self._load_timeout:g} s of its start") from None

    async def serves(self, marker: str) -> bool:
        """Whether the newest worker has the configuration with that marker. Never raises for what is down."""
        return await self.marker() == marker

    async def marker(self) -> str | None:
        """The marker of the configuration that the newest worker has; ``None`` when it does not respond."""
        try:
            info = await self.api.info()
        except (CommandRefused, Unreachable):
            return None
        return info.get(_MARKER, "")

    async def reload(self, marker: str) -> None:
        """Let the master load the current configuration, and return when the worker that serves has it.

        Raises:
            ApplyError: It has not; whatever served before still does.
        """
        before = await self.api.processes()
        mark = self.process.output.mark()
        try:
            with anyio.fail_after(self._load_timeout):
                if await self.api.reload() is False:
                    raise ApplyError(f"HAProxy's reload failed: {self._last_words(mark)}")
                await self._wait_loaded(marker, before.reloads, mark)
        except TimeoutError:
            raise ApplyError(f"HAProxy's reload did not end within {self._load_timeout:g} s") from None

    async def _wait_loaded(self, marker: str, reloads: int, mark: int) -> None:
        while True:
            if self.process.pid is None:
                raise ApplyError(f"HAProxy ended in a reload: {self._last_words(mark) or self.process.problem}")
            # The master replaces itself: for a moment nobody answers.
            with suppress(CommandRefused, Unreachable):
                now = await self.api.processes()
                if now.reloads > reloads and now.failed:
                    raise ApplyError(f"HAProxy's reload failed: {self._last_words(mark)}")
                if now.reloads > reloads and now.workers and await self.serves(marker):
                    return
            await anyio.sleep(_POLL)

    async def end_worker(self, pid: int) -> None:
        """End a process that was replaced, with the connections it still has; nothing for one that is gone."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    def _last_words(self, mark: int) -> str:
        """What HAProxy wrote since, the complaints of it."""
        lines = self.process.output.since(mark)
        return _complaints(lines)

    async def stop(self, grace: timedelta) -> None:
        """Let requests under way end, for as long as *grace* at most, and end the process."""
        if grace > timedelta(0):
            await self.process.stop(signal.SIGUSR1, grace=grace)
        else:
            await self.process.stop(grace=_END)


def _complaints(lines: Sequence[str]) -> str:
    """The alerts among HAProxy's messages, or its last one, in one line."""
    alerts: list[str] = []
    goes_on = False
    for line in lines:
        if line.startswith("["):
            text = line.partition(" : ")[2] or line
            goes_on = line.startswith("[ALERT]") and not text.endswith(_NOTHING_NEW)
            if goes_on:
                alerts.append(text.strip())
        elif goes_on and line.strip():
            alerts[-1] += f" {line.strip()}"
    chosen = alerts or [line.strip() for line in lines if line.strip()][-1:]
    return "; ".join(chosen)[:2000]


def occupied(address: str, port: int, *, shared: bool) -> str:
    """Why nothing can listen at an address, as a clause; empty when something can.

    Args:
        address: An IP address.
        port: A port.
        shared: Whether sockets of our own user that listen there already, and share, are none of our business.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if shared:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind((address, port))
            if not shared:
                probe.listen()
    except PermissionError:
        return ""  # HAProxy may have a right that we have not
    except OSError as exc:
        return exc.strerror or str(exc)
    return ""
