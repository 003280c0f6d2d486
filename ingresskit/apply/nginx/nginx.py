"""A running nginx, kept up, with its configuration.

    state/gen-000007/…   complete configurations, see `ingresskit.apply.Generations`
    state/current        the one nginx is started with, and reloads
    state/process/       its pid for the next controller, and what it writes to its standard streams
    state/status.sock    the private socket
    state/certificates/  see `ingresskit.apply.nginx.certificates`
    state/journal        see `ingresskit.apply.nginx.journal`

How a configuration becomes live, and what happens when it does not: `ingresskit.apply.nginx.loading`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import anyio
import anyio.abc
import anyio.to_thread

from ingresskit.apply.nginx.accesslog import receive_records
from ingresskit.apply.nginx.addresses import remove_stale_sockets
from ingresskit.apply.nginx.certificates import CertificateFiles
from ingresskit.apply.nginx.control import Control
from ingresskit.apply.nginx.counting import StatisticsReader
from ingresskit.apply.nginx.error_log import ErrorMessages, follow_errors
from ingresskit.apply.nginx.journal import Journal
from ingresskit.apply.nginx.loading import ConfigLoader
from ingresskit.apply.nginx.main_directives import main_directives
from ingresskit.apply.nginx.name_server import NameServer
from ingresskit.apply.nginx.probe import Found, find_nginx
from ingresskit.apply.nginx.settings import NginxProcessSettings
from ingresskit.apply.nginx.statistics import NginxStatistics
from ingresskit.apply.nginx.workers import Workers, workers_of
from ingresskit.apply.private_folder import private_folder
from ingresskit.apply.process import ProxyProcess
from ingresskit.errors import ApplyError, ConfigurationError
from ingresskit.facts import fact_logger
from ingresskit.graph import BackendKey, Endpoint
from ingresskit.render.access import AccessRecord
from ingresskit.render.nginx import Capabilities, NginxArtifact, NginxSettings
from ingresskit.traffic import EndpointHealth

__all__ = ["Nginx"]

_logger = fact_logger(__name__)


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
        self.unwritten: str = ""
        self._errors = ErrorMessages()
        self._found: Found | None = None
        self._process: ProxyProcess | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._loader: ConfigLoader | None = None
        self._reader = StatisticsReader(
            self.control, settings.status_socket, running=self._serves, events=self._events
        )

    async def __aenter__(self) -> Self:
        found = await find_nginx(self.process_settings.program)
        if warning := found.capabilities.warning():
            _logger.warning("nginx should be replaced", extra={"reason": warning})
        await anyio.to_thread.run_sync(self._prepare_state)
        argv = [
            *(str(found.program), "-p", f"{self._state}/current/", "-c", "nginx.conf"),
            *("-e", "stderr", "-g", main_directives()),
        ]
        process = ProxyProcess(
            "nginx", argv, state=self._state / "process", settings=self.process_settings.restart
        )
        served = await self._adopted_generation() if await process.adopt() else ""
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
        self._loader = ConfigLoader(
            found.program,
            process,
            self.settings,
            self.process_settings,
            control=self.control,
            certificates=self.certificates,
            journal=self.journal,
            names=self._names,
        )
        self._loader.served = served
        self._tasks.start_soon(partial(process.run, self._before_restart))
        self._tasks.start_soon(partial(self._reader.run, connections=found.capabilities.stub_status))
        if self.settings.error_log == "stderr":
            self._tasks.start_soon(follow_errors, process.output.path, self._errors)
        if self._access_log is not None:
            self._tasks.start_soon(
                receive_records, Path(self.settings.log_socket), self._access_log, self._backend_key
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        with anyio.CancelScope(shield=True):
            if not self._loading.ended:
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
        return self._loader.served if self._loader is not None else ""

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

    @property
    def reloads(self) -> int:
        """How often it was given another configuration while it ran."""
        return self._loader.reloads if self._loader is not None else 0

    def workers(self) -> Workers:
        """The worker processes now."""
        return workers_of(self._running.pid)

    def statistics(self) -> NginxStatistics:
        """What it did so far, as of a second ago."""
        unwell = MappingProxyType(dict.fromkeys(self._errors.unreachable, EndpointHealth.UNREACHABLE))
        return replace(self._reader.latest, unwell=unwell, unwritten=self.unwritten)

    async def drain(self, grace: timedelta) -> None:
        """Take no more connections, finish the requests under way, and end; at the latest after *grace*."""
        self._loading.ended = True
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
        await self._loading.check(artifact)

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
        await self._loading.load(artifact, state)

    def expecting(self, artifact: NginxArtifact) -> None:
        """*artifact* is about to be served: logs may speak of its backends already."""
        self._reader.expecting(artifact)

    def serving(self, artifact: NginxArtifact) -> None:
        """From now on *artifact* is served, its tables included: counts and logs speak of its backends."""
        self._reader.serving(artifact)

    def _backend_key(self, name: str) -> BackendKey | None:
        return self._reader.backends.get(name)

    def _serves(self) -> bool:
        return bool(self.served_generation) and self.pid is not None

    def _events(self) -> tuple[int, int, int]:
        return self.reloads, self.restarts, len(self.workers().leaving)

    async def _adopted_generation(self) -> str:
        try:
            return await self.control.generation()
        except ApplyError as exc:
            _logger.warning("the adopted nginx does not respond", extra={"reason": str(exc)})
            return ""

    async def _before_restart(self) -> None:
        await anyio.to_thread.run_sync(remove_stale_sockets, self.settings)

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
    def _loading(self) -> ConfigLoader:
        if self._loader is None:
            raise ConfigurationError("nginx is used before its context was entered")
        return self._loader

    @property
    def _probed(self) -> Found:
        if self._found is None:
            raise ConfigurationError("nginx is used before its context was entered")
        return self._found
