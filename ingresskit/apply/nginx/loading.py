"""Putting configurations live in a running nginx, and back when they do not become live.

nginx says "ok" to a reload that it then does not do, such as when a port is taken. So nothing here goes
by what a command returns: a configuration counts as live when fresh connections are answered by it and
every previous worker is gone, or is only finishing what it has.
"""

from __future__ import annotations

import signal
from datetime import timedelta
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from ingresskit.apply.generations import Generation, Generations
from ingresskit.apply.nginx.addresses import check_free, close_socket, remove_stale_sockets
from ingresskit.apply.nginx.certificates import CertificateFiles
from ingresskit.apply.nginx.checking import check_folder, complaints
from ingresskit.apply.nginx.control import Control
from ingresskit.apply.nginx.journal import Journal, table_record
from ingresskit.apply.nginx.name_server import NameServer
from ingresskit.apply.nginx.reload_budget import ReloadBudget
from ingresskit.apply.nginx.settings import NginxProcessSettings
from ingresskit.apply.nginx.tables import all_rows
from ingresskit.apply.nginx.workers import workers_of
from ingresskit.apply.process import ProxyProcess
from ingresskit.errors import ApplyError, ApplyPostponed
from ingresskit.facts import fact_logger
from ingresskit.graph import Certificate
from ingresskit.render.files import RenderedFile
from ingresskit.render.nginx import Mode, NginxArtifact, NginxSettings

__all__ = ["ConfigLoader"]

_logger = fact_logger(__name__)

_POLL_SECONDS = 0.02
# Responses of the new generation in a row before it counts: old workers respond now and then for a moment.
_RESPONSES = 5


class ConfigLoader:
    """Puts configurations live, each in a folder of its own. One task calls it.

    Args:
        program: Of nginx.
        process: It, running or not yet.
        listeners: Where it listens, and where things lie.
        settings: How it is reloaded.
        control: Its private socket.
        certificates: The certificates that it reads from files.
        journal: The pushes since the last configuration.
        names: What it asks for endpoints; ``None``: they stand in files.

    Attributes:
        served: The `NginxArtifact.generation` that is live; empty when none is known to be.
        reloads: How often nginx reloaded.
        ended: nginx is being ended: nothing is put live any more.
    """

    def __init__(
        self,
        program: Path,
        process: ProxyProcess,
        listeners: NginxSettings,
        settings: NginxProcessSettings,
        *,
        control: Control,
        certificates: CertificateFiles,
        journal: Journal,
        names: NameServer | None,
    ) -> None:
        self.served: str = ""
        self.reloads: int = 0
        self.ended: bool = False
        self._program = program
        self._process = process
        self._listeners = listeners
        self._settings = settings
        self._control = control
        self._certificates = certificates
        self._journal = journal
        self._names = names
        self._generations = Generations(Path(listeners.state), keep=settings.keep)
        self._budget = ReloadBudget()

    async def check(self, artifact: NginxArtifact) -> None:
        """As `Nginx.check`."""
        generation = await self._write(artifact)
        try:
            await check_folder(self._program, generation.path, artifact)
        finally:
            await anyio.to_thread.run_sync(self._generations.discard, generation)

    async def load(self, artifact: NginxArtifact, state: str) -> None:
        """As `Nginx.load`."""
        process = self._process
        if self.ended:
            raise _ending()
        self._may_reload()
        # In the dynamic mode they are rows; what stands in a file is shown where there is no row.
        files = dict[str, Certificate]() if artifact.mode is Mode.DYNAMIC else artifact.certificates
        await anyio.to_thread.run_sync(self._certificates.write, files)
        generation = await self._write(artifact, state)
        before = self._generations.current()
        try:
            await check_folder(self._program, generation.path, artifact)
            if process.pid is None:
                await anyio.to_thread.run_sync(check_free, (*self._listeners.http, *self._listeners.https))
        except BaseException:
            await anyio.to_thread.run_sync(self._generations.discard, generation)
            raise
        # Before anything asks: of what is not known yet, the first answer is the right one.
        told = frozenset[str]() if self._names is None else self._names.tell(artifact.endpoints)
        begun, starting = anyio.current_time(), process.pid is None
        await anyio.to_thread.run_sync(self._generations.activate, generation)
        mark = process.output.mark()
        try:
            with anyio.fail_after(self._settings.reload_timeout.total_seconds()):
                if process.pid is None:
                    await self._start(artifact.generation, mark)
                else:
                    await self._reload(artifact.generation, mark)
        except BaseException as exc:
            await self._go_back(before, generation)
            if isinstance(exc, TimeoutError):
                raise ApplyError(_timed_out(self._settings.reload_timeout)) from None
            raise
        if artifact.mode is Mode.DYNAMIC:
            # Its records were for the tables of before, and are passed over already.
            await anyio.to_thread.run_sync(self._journal.clear)
        self.served = artifact.generation
        if not starting:
            now = anyio.current_time()
            self._budget.spend(now, self._settings.reload_gap.total_seconds(), now - begun)
        if self._names is not None:
            try:
                await self._names.wait_known(told)
            except ApplyError as exc:
                # The configuration is live for all that, and nginx goes on asking.
                _logger.warning("endpoints may not be known yet", extra={"reason": str(exc)})

    def _may_reload(self) -> None:
        settings = self._settings
        if self._process.pid is None:
            return
        left = self._budget.wait(anyio.current_time(), settings.reload_gap.total_seconds())
        if left > 0:
            raise ApplyPostponed("nginx reloaded a moment ago", retry_after=timedelta(seconds=left))
        old = len(workers_of(self._process.pid).leaving)
        if old >= settings.most_old_workers:
            raise ApplyPostponed(
                f"{old} workers of older configurations still finish", retry_after=timedelta(seconds=5)
            )

    async def _start(self, generation: str, mark: int) -> None:
        process = self._process
        await anyio.to_thread.run_sync(remove_stale_sockets, self._listeners)
        await process.start()
        while not await self._responds(generation):
            if process.pid is None:
                lines = complaints(process.output.since(mark))
                raise ApplyError(
                    "nginx could not start: " + ("; ".join(dict.fromkeys(lines)) or process.problem)
                )
            await anyio.sleep(_POLL_SECONDS)
        await anyio.to_thread.run_sync(close_socket, self._listeners.status_socket)

    async def _reload(self, generation: str, mark: int) -> None:
        """Let nginx reload, and wait until nothing of before takes a connection any more."""
        process = self._process
        old = workers_of(self._process.pid).serving
        process.send(signal.SIGHUP)
        responses = 0
        while True:
            if lines := [line for line in process.output.since(mark) if "[emerg]" in line]:
                raise ApplyError("nginx did not take the configuration: " + "; ".join(dict.fromkeys(lines)))
            if self.ended:
                raise _ending()
            if process.pid is None:
                raise ApplyError(f"nginx ended while it reloaded: {process.problem}")
            responses = responses + 1 if await self._responds(generation) else 0
            if responses >= _RESPONSES and not old & workers_of(self._process.pid).serving:
                self.reloads += 1
                return
            await anyio.sleep(_POLL_SECONDS if responses == 0 else 0.001)

    async def _responds(self, generation: str) -> bool:
        try:
            return await self._control.generation() == generation
        except ApplyError:
            return False

    async def _go_back(self, before: Generation | None, failed: Generation) -> None:
        """Let a restart find what is served, and have no process that loads what failed."""
        with anyio.CancelScope(shield=True):
            if before is not None:
                await anyio.to_thread.run_sync(self._generations.activate, before)
                await anyio.to_thread.run_sync(self._generations.discard, failed)
            elif self._process.pid is None:
                # Nothing was served before, and what failed must not be tried again by itself.
                await anyio.to_thread.run_sync(partial(self._generations.link.unlink, missing_ok=True))

    async def _write(self, artifact: NginxArtifact, state: str = "check") -> Generation:
        return await anyio.to_thread.run_sync(lambda: self._generations.write(_files(artifact, state)))


def _files(artifact: NginxArtifact, state: str) -> list[RenderedFile]:
    files = list(artifact.files())
    if artifact.mode is Mode.DYNAMIC:
        tables = table_record(all_rows(artifact), generation=1, base="-", state=state)
        files.append(RenderedFile.of("tables", tables, secret=True))
    return files


def _ending() -> ApplyPostponed:
    return ApplyPostponed("nginx is being ended", retry_after=timedelta(minutes=1))


def _timed_out(limit: timedelta) -> str:
    return f"the new configuration was not live within {limit.total_seconds():g} s"
