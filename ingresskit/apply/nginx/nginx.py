"""A running nginx, kept up and told what to serve.

    state/gen-000007/…   complete configurations, see `ingresskit.apply.Generations`
    state/current        the one nginx is started with, and reloads
    state/process/       its pid for the next controller, and what it writes to its standard streams
    state/status.sock    the private socket
    state/certificates/  see `ingresskit.apply.nginx.certificates`
    state/journal        see `ingresskit.apply.nginx.journal`

nginx says "ok" to a reload that it then does not do, such as when a port is taken. So nothing here goes
by what a command returns: a configuration counts as live when fresh connections are answered by it and
every worker of before is gone, or is only finishing what it has.
"""

from __future__ import annotations

import grp
import os
import pwd
import signal
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import anyio.abc
import anyio.to_thread

from ingresskit.apply.generations import Generation, Generations
from ingresskit.apply.nginx.accesslog import receive_records
from ingresskit.apply.nginx.addresses import check_free, close_socket, remove_stale
from ingresskit.apply.nginx.certificates import CertificateFiles
from ingresskit.apply.nginx.checking import check_folder, complaints
from ingresskit.apply.nginx.control import Control
from ingresskit.apply.nginx.error_log import follow_errors
from ingresskit.apply.nginx.journal import Journal, table_record
from ingresskit.apply.nginx.name_server import NameServer
from ingresskit.apply.nginx.probe import Found, find_nginx
from ingresskit.apply.nginx.reload_budget import ReloadBudget
from ingresskit.apply.nginx.settings import NginxProcessSettings
from ingresskit.apply.nginx.statistics import NginxStatistics, read_statistics
from ingresskit.apply.nginx.tables import all_rows
from ingresskit.apply.nginx.workers import Workers, workers_of
from ingresskit.apply.private_folder import private_folder
from ingresskit.apply.process import ProxyProcess
from ingresskit.errors import ApplyError, ApplyPostponed, ConfigurationError
from ingresskit.facts import fact_logger
from ingresskit.graph import BackendKey, Certificate, Endpoint
from ingresskit.render.access import AccessRecord
from ingresskit.render.base import RenderedFile
from ingresskit.render.nginx import Capabilities, Mode, NginxArtifact, NginxSettings

__all__ = ["Nginx"]

_logger = fact_logger(__name__)

_POLL_SECONDS = 0.02
_READ_SECONDS = 1.0
# Answers of the new generation in a row before it counts: old workers answer now and then for a moment.
_ANSWERS = 5


class Nginx:
    """One nginx program, for the length of an async context.

    Entering finds out what the program can do, and adopts one that a controller before left running.
    Nothing is started before there is something to serve: see `NginxApplier`. Leaving ends the program,
    with `drain` politely. When the controller is killed instead, the program serves on.

    ```python
    async with Nginx(settings) as nginx:
        renderer = NginxRenderer(settings, nginx.capabilities)
        controller = Controller(source=source, renderer=renderer, applier=NginxApplier(nginx))
        await controller.run()
    ```

    Args:
        settings: Listeners, limits and where things lie; the renderer gets the same.
        process: Which program, and how it is reloaded and kept running; the defaults when ``None``.
        access_log: Called with each request that is over, where `NginxSettings.access_log` is
            ``"socket"``; on the event loop: it must not block or raise.

    Raises:
        ApplyError: On entering: there is no such program, it is not nginx or too old, the state folder
            cannot be used, or `NginxSettings.resolver` is taken.
    """

    def __init__(
        self,
        settings: NginxSettings,
        process: NginxProcessSettings | None = None,
        *,
        access_log: Callable[[AccessRecord], None] | None = None,
    ) -> None:
        self._access_log = access_log
        self.settings: NginxSettings = settings
        self.process_settings: NginxProcessSettings = process or NginxProcessSettings()
        self._names: NameServer | None = None
        self.control: Control = Control(settings.status_socket)
        self.certificates: CertificateFiles = CertificateFiles(settings)
        self._state = Path(settings.state)
        self.journal: Journal = Journal(self._state)
        self._generations = Generations(self._state, keep=self.process_settings.keep)
        self._found: Found | None = None
        self._process: ProxyProcess | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._served_generation = ""
        self._budget = ReloadBudget()
        self._ended = False
        self._statistics = NginxStatistics()
        self.reloads: int = 0
        self.counting: bool = False
        self.backend_keys: Mapping[str, BackendKey] = {}

    async def __aenter__(self) -> Self:
        found = await find_nginx(self.process_settings.program)
        if warning := found.capabilities.warning():
            _logger.warning("nginx should be replaced", extra={"reason": warning})
        await anyio.to_thread.run_sync(self._prepare_state)
        argv = [
            *(str(found.program), "-p", f"{self._state}/current/", "-c", "nginx.conf"),
            *("-e", "stderr", "-g", _main_directives()),
        ]
        process = ProxyProcess(
            "nginx", argv, state=self._state / "process", settings=self.process_settings.restart
        )
        if await process.adopt():
            try:
                self._served_generation = await self.control.generation()
            except ApplyError as exc:
                _logger.warning("adopted program does not answer", extra={"reason": str(exc)})
        self._found, self._process = found, process
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        if self.settings.resolver and found.capabilities.follows_names:
            self._names = NameServer(self.settings.resolver)
            try:
                await self._tasks.start(self._names.run)
            except BaseException:
                self._tasks.cancel_scope.cancel()
                await self._tasks.__aexit__(None, None, None)
                raise
        self._tasks.start_soon(partial(process.run, self._before_restart))
        self._tasks.start_soon(self._read_statistics)
        if self.settings.error_log == "stderr":
            self._tasks.start_soon(follow_errors, process.output.path)
        if self._access_log is not None:
            self._tasks.start_soon(
                receive_records, Path(self.settings.log_socket), self._access_log, self._backend_key
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        with anyio.CancelScope(shield=True):
            if not self._ended:
                await self._running.stop(signal.SIGTERM, grace=timedelta(seconds=5))
        tasks, self._tasks = self._tasks, None
        if tasks is None:
            return None
        tasks.cancel_scope.cancel()
        if isinstance(exc, Exception):
            # Not for the group, which would wrap it: whoever used the context raised it, not a task.
            await tasks.__aexit__(None, None, None)
            return None
        return await tasks.__aexit__(kind, exc, trace)

    @property
    def capabilities(self) -> Capabilities:
        """What the program can do.

        Raises:
            ConfigurationError: The context was not entered.
        """
        return self._probed.capabilities

    @property
    def served_generation(self) -> str:
        """The `NginxArtifact.generation` that is live; empty when none is known to be."""
        return self._served_generation

    @property
    def pid(self) -> int | None:
        """The process id of the master; ``None`` while it does not run."""
        return self._running.pid

    @property
    def problem(self) -> str:
        """Why it does not run, as a clause; empty while it does, or was not started yet."""
        return self._running.problem

    @property
    def restarts(self) -> int:
        """How often it ended by itself and was started again."""
        return self._running.restarts

    def workers(self) -> Workers:
        """The worker processes now."""
        return workers_of(self._running.pid)

    def statistics(self) -> NginxStatistics:
        """What it did so far, as of a second ago."""
        return self._statistics

    async def drain(self, grace: timedelta) -> None:
        """Take no more connections, finish the requests under way, and end; at the latest after *grace*."""
        self._ended = True
        await self._running.stop(signal.SIGQUIT, grace=grace)

    async def tell_endpoints(self, endpoints: Mapping[str, tuple[Endpoint, ...]]) -> None:
        """Have nginx follow these endpoints, where it looks them up; returns once it does.

        Raises:
            ApplyError: It does not ask for them.
        """
        if self._names is not None:
            await self._names.wait_known(self._names.tell(endpoints))

    async def check(self, artifact: NginxArtifact) -> None:
        """Ask nginx's own checker; nothing is put live.

        Raises:
            CheckFailed: nginx refuses it.
            ApplyError: It could not be asked.
        """
        generation = await self._write(artifact)
        try:
            await check_folder(self._probed.program, generation.path, artifact)
        finally:
            await anyio.to_thread.run_sync(self._generations.discard, generation)

    async def load(self, artifact: NginxArtifact, state: str) -> None:
        """Serve the configuration of *artifact*: start nginx with it, or let it reload.

        Args:
            artifact: What will be served.
            state: In dynamic mode, the name of the tables that are written beside it.

        Raises:
            CheckFailed: nginx refuses it.
            ApplyPostponed: The last reload was a moment ago, or too many old workers still finish.
            ApplyError: It did not become live. What was served before still is.
        """
        process = self._running
        if self._ended:
            raise _ending()
        self._may_reload()
        # In the dynamic mode they are rows; what stands in a file is shown where there is no row.
        files = dict[str, Certificate]() if artifact.mode is Mode.DYNAMIC else artifact.certificates
        await anyio.to_thread.run_sync(self.certificates.write, files)
        generation = await self._write(artifact, state)
        before = self._generations.current()
        try:
            await check_folder(self._probed.program, generation.path, artifact)
            if process.pid is None:
                await anyio.to_thread.run_sync(check_free, (*self.settings.http, *self.settings.https))
        except BaseException:
            await anyio.to_thread.run_sync(self._generations.discard, generation)
            raise
        # Before anything asks: of what is not known yet, the first answer is the right one.
        told = frozenset[str]() if self._names is None else self._names.tell(artifact.endpoints)
        begun, starting = anyio.current_time(), process.pid is None
        await anyio.to_thread.run_sync(self._generations.activate, generation)
        mark = process.output.mark()
        try:
            with anyio.fail_after(self.process_settings.reload_timeout.total_seconds()):
                if process.pid is None:
                    await self._start(artifact.generation, mark)
                else:
                    await self._reload(artifact.generation, mark)
        except BaseException as exc:
            await self._go_back(before, generation)
            if isinstance(exc, TimeoutError):
                raise ApplyError(_timed_out(self.process_settings.reload_timeout)) from None
            raise
        if artifact.mode is Mode.DYNAMIC:
            # Its records were for the tables of before, and are passed over already.
            await anyio.to_thread.run_sync(self.journal.clear)
        self._served_generation = artifact.generation
        self.counting = artifact.mode is Mode.DYNAMIC
        if not starting:
            now = anyio.current_time()
            self._budget.spend(now, self.process_settings.reload_gap.total_seconds(), now - begun)
        if self._names is not None:
            try:
                await self._names.wait_known(told)
            except ApplyError as exc:
                # The configuration is live for all that, and nginx goes on asking.
                _logger.warning("endpoints may not be known yet", extra={"reason": str(exc)})

    def _may_reload(self) -> None:
        settings = self.process_settings
        if self._running.pid is None:
            return
        left = self._budget.wait(anyio.current_time(), settings.reload_gap.total_seconds())
        if left > 0:
            raise ApplyPostponed("nginx reloaded a moment ago", retry_after=timedelta(seconds=left))
        old = len(self.workers().leaving)
        if old >= settings.most_old_workers:
            raise ApplyPostponed(
                f"{old} workers of older configurations still finish", retry_after=timedelta(seconds=5)
            )

    async def _start(self, generation: str, mark: int) -> None:
        process = self._running
        await anyio.to_thread.run_sync(remove_stale, self.settings.status_socket)
        await process.start()
        while not await self._answers(generation):
            if process.pid is None:
                lines = complaints(process.output.since(mark))
                raise ApplyError(
                    "nginx could not start: " + ("; ".join(dict.fromkeys(lines)) or process.problem)
                )
            await anyio.sleep(_POLL_SECONDS)
        await anyio.to_thread.run_sync(close_socket, self.settings.status_socket)

    async def _reload(self, generation: str, mark: int) -> None:
        """Let nginx reload, and wait until nothing of before takes a connection any more."""
        process = self._running
        old = self.workers().serving
        process.send(signal.SIGHUP)
        answers = 0
        while True:
            if lines := [line for line in process.output.since(mark) if "[emerg]" in line]:
                raise ApplyError("nginx did not take the configuration: " + "; ".join(dict.fromkeys(lines)))
            if self._ended:
                raise _ending()
            if process.pid is None:
                raise ApplyError(f"nginx ended while it reloaded: {process.problem}")
            answers = answers + 1 if await self._answers(generation) else 0
            if answers >= _ANSWERS and not old & self.workers().serving:
                self.reloads += 1
                return
            await anyio.sleep(_POLL_SECONDS if answers == 0 else 0.001)

    async def _answers(self, generation: str) -> bool:
        try:
            return await self.control.generation() == generation
        except ApplyError:
            return False

    async def _go_back(self, before: Generation | None, failed: Generation) -> None:
        """Let a restart find what is served, and have no process that loads what failed."""
        with anyio.CancelScope(shield=True):
            if before is not None:
                await anyio.to_thread.run_sync(self._generations.activate, before)
                await anyio.to_thread.run_sync(self._generations.discard, failed)
            elif self._running.pid is None:
                # Nothing was served before, and what failed must not be tried again by itself.
                await anyio.to_thread.run_sync(partial(self._generations.link.unlink, missing_ok=True))

    async def _write(self, artifact: NginxArtifact, state: str = "check") -> Generation:
        return await anyio.to_thread.run_sync(lambda: self._generations.write(_files(artifact, state)))

    async def _read_statistics(self) -> None:
        while True:
            await anyio.sleep(_READ_SECONDS)
            if not self._served_generation or self._running.pid is None:
                continue
            try:
                # Again and again: an nginx that was started anew has opened it anew.
                close_socket(self.settings.status_socket)
                status = await self.control.status() if self.capabilities.stub_status else ""
                counts = await self.control.counts() if self.counting else {}
            except ApplyError:
                continue  # it is being started, or reads its configuration: the counts are there again soon
            self._statistics = read_statistics(
                status,
                counts,
                self.backend_keys,
                reloads=self.reloads,
                restarts=self.restarts,
                old_workers=len(self.workers().leaving),
            )

    def _backend_key(self, name: str) -> BackendKey | None:
        return self.backend_keys.get(name)

    async def _before_restart(self) -> None:
        await anyio.to_thread.run_sync(remove_stale, self.settings.status_socket)

    def _prepare_state(self) -> None:
        try:
            for folder in (self._state, *(self._state / name for name in ("process", "temp", "certificates"))):
                private_folder(folder)
            probe = self._state / ".writable"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as exc:
            raise ApplyError(f"{self._state} cannot be used for nginx's state: {exc.strerror or exc}") from exc

    @property
    def _running(self) -> ProxyProcess:
        if self._process is None:
            raise ConfigurationError("nginx is used before its context was entered")
        return self._process

    @property
    def _probed(self) -> Found:
        if self._found is None:
            raise ConfigurationError("nginx is used before its context was entered")
        return self._found


def _files(artifact: NginxArtifact, state: str) -> list[RenderedFile]:
    files = list(artifact.files())
    if artifact.mode is Mode.DYNAMIC:
        tables = table_record(all_rows(artifact), generation=1, base="-", state=state)
        files.append(RenderedFile.of("tables", tables, secret=True))
    return files


def _main_directives() -> str:
    """What must hold however nginx was configured: it stays in the foreground, and reads what we write.

    A master that is root would give its workers to ``nobody``, who may read neither program nor
    certificates. The remedy is not to be root; that its workers are what it is, is the next best.
    """
    if os.geteuid() != 0:
        return "daemon off;"
    return f"daemon off; user {pwd.getpwuid(0).pw_name} {grp.getgrgid(os.getegid()).gr_name};"


def _ending() -> ApplyPostponed:
    return ApplyPostponed("nginx is being ended", retry_after=timedelta(minutes=1))


def _timed_out(limit: timedelta) -> str:
    return f"the new configuration was not live within {limit.total_seconds():g} s"
