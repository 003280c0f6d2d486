"""A HAProxy as its owner sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import anyio
import anyio.to_thread

from ingresskit.apply.haproxy.fallback_certificate import fallback_certificate
from ingresskit.apply.haproxy.limits import affordable
from ingresskit.apply.haproxy.master import Master
from ingresskit.apply.haproxy.options import HaproxyOptions
from ingresskit.apply.haproxy.statistics import HaproxyStatistics
from ingresskit.apply.haproxy.supervisor import HaproxySupervisor
from ingresskit.apply.haproxy.traffic import Traffic
from ingresskit.apply.private_folder import private_folder
from ingresskit.errors import ApplyError, ConfigurationError
from ingresskit.facts import fact_logger
from ingresskit.render.access import AccessRecord
from ingresskit.render.delegate.control import DelegateCounts
from ingresskit.render.haproxy import Capabilities, HaproxySettings

__all__ = ["Haproxy"]

_logger = fact_logger(__name__)


class Haproxy:
    """A HAProxy that is kept running, and serves what a `HaproxyApplier` puts there.

    ```python
    async with Haproxy(settings, state=folder) as haproxy:
        controller = Controller(
            source=source, renderer=HaproxyRenderer(), applier=HaproxyApplier(haproxy)
        )
        await controller.run()
    ```

    It is started with the first artifact. When the controller is killed HAProxy serves on, and the next
    `Haproxy` with the same *state* takes it over; when HAProxy ends it is started again with what it
    served. Leaving the context ends it at once: `drain` before that.

    Args:
        settings: Listeners, limits, whom to believe.
        state: The folder for its configurations, certificates, socket, pid and output: made with mode 0700
            when it is not there; one for each HAProxy. Its path must be short: sockets are in it.
        program: The path of HAProxy, 2.6 or later, or a name to look up.
        options: How it is run and changed; the defaults when ``None``.
        access_log: Called for each request, on the event loop: it must not block or raise. What it cannot
            take in time HAProxy leaves out, and counts.
        delegate: What the delegate beside it counted, for the statistics; ``None``: there is none.
    """

    def __init__(
        self,
        settings: HaproxySettings,
        *,
        state: Path,
        program: str = "haproxy",
        options: HaproxyOptions | None = None,
        access_log: Callable[[AccessRecord], None] | None = None,
        delegate: Callable[[], DelegateCounts] | None = None,
    ) -> None:
        self._delegate = delegate
        self._state = state.absolute()
        self._log_socket = self._state / "access.sock"
        if access_log is not None:
            settings = replace(settings, log_socket=str(self._log_socket))
        settings = replace(settings, tls_socket=str(self._state / "tls"))
        self.settings: HaproxySettings = settings
        self._access_log = access_log
        self._traffic: Traffic | None = None
        self._program = program
        self._options = options or HaproxyOptions()
        self._capabilities: Capabilities | None = None
        self._master: Master | None = None
        self._supervisor: HaproxySupervisor | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Find the program, and take over a HAProxy that serves already.

        Raises:
            ApplyError: There is no such program, it cannot be executed, or *state* cannot be written to.
            ConfigurationError: It is not HAProxy, or too old.
        """
        await anyio.to_thread.run_sync(_make_folder, self._state)
        options = self._options
        master = Master(
            self._program,
            state=self._state,
            command_timeout=options.command_timeout,
            load_timeout=options.load_timeout,
        )
        self._capabilities = await master.probe()
        wanted, self.settings = self.settings.max_connections, affordable(self.settings)
        if (most := self.settings.max_connections) < wanted:
            facts = {"wanted": wanted, "maxConnections": most}
            _logger.warning("fewer connections than wanted, as the limit of open files is low", extra=facts)
        own = b""
        if self.settings.https:
            own = await anyio.to_thread.run_sync(fallback_certificate, self._state / "own.pem")
        if await master.process.adopt():
            self._capabilities = await _running(master) or self._capabilities
        supervisor = HaproxySupervisor(
            master, self.settings, self._capabilities, fallback_certificate=own, options=options
        )
        traffic = Traffic(
            master.api,
            supervisor,
            interval=options.statistics_interval,
            access_log=self._access_log,
            socket=self._log_socket,
            proxies=bool(self.settings.trusted_proxies),
            delegate=self._delegate,
        )
        async with AsyncExitStack() as stack:
            if traffic.log is not None:
                try:
                    await anyio.to_thread.run_sync(traffic.log.open)
                except OSError as exc:
                    raise ApplyError(f"{self._log_socket}: {exc.strerror or exc}") from exc
                # Left last: what HAProxy wrote while it ended is read too.
                stack.callback(traffic.log.close)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            stack.push_async_callback(self._end, master)
            tasks.start_soon(master.run, supervisor.before_restart)
            tasks.start_soon(supervisor.run)
            tasks.start_soon(traffic.run)
            self._master, self._supervisor, self._traffic = master, supervisor, traffic
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, exc, trace)

    async def _end(self, master: Master) -> None:
        with anyio.CancelScope(shield=True):
            await master.stop(timedelta(0))

    async def drain(self, grace: timedelta) -> None:
        """Stop politely: no new connections, idle ones closed, requests under way finished.

        Returns when all connections are gone. What is left at the end of *grace*, tunnels among it, is cut.
        """
        await self.master.stop(grace)

    @property
    def capabilities(self) -> Capabilities:
        """What the program can do.

        Raises:
            ConfigurationError: The context is not open.
        """
        if self._capabilities is None:
            raise ConfigurationError("open it first: async with Haproxy(…) as haproxy")
        return self._capabilities

    @property
    def master(self) -> Master:
        """The process.

        Raises:
            ConfigurationError: The context is not open.
        """
        if self._master is None:
            raise ConfigurationError("open it first: async with Haproxy(…) as haproxy")
        return self._master

    @property
    def supervisor(self) -> HaproxySupervisor:
        """What puts artifacts live.

        Raises:
            ConfigurationError: The context is not open.
        """
        if self._supervisor is None:
            raise ConfigurationError("open it first: async with Haproxy(…) as haproxy")
        return self._supervisor

    @property
    def reloads(self) -> Mapping[str, int]:
        """How often HAProxy was started or reloaded, by reason, since the context was opened."""
        return MappingProxyType(dict(self.supervisor.reloads))

    def statistics(self) -> HaproxyStatistics:
        """Counts of what HAProxy did, as they were read last; see `HaproxyOptions.statistics_interval`."""
        return HaproxyStatistics() if self._traffic is None else self._traffic.statistics()

    def take_delegated(self, record: AccessRecord) -> None:
        """Count and log a request that HAProxy handed over, as its delegate reports it."""
        if self._traffic is not None:
            self._traffic.take_delegated(record)

    @property
    def problem(self) -> str:
        """Why it does not run, as a clause; empty while it does, or was not started yet."""
        return self.master.process.problem

    @property
    def pid(self) -> int | None:
        """The master process; ``None`` when none runs."""
        return self.master.process.pid


async def _running(master: Master) -> Capabilities | None:
    """What a HAProxy that runs already can do; another program than ours may have been started."""
    try:
        return Capabilities.of((await master.api.info()).get("Version", ""))
    except (ApplyError, ConfigurationError):
        return None


def _make_folder(path: Path) -> None:
    try:
        private_folder(path)
        private_folder(path / "configurations")
        probe = path / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as exc:
        raise ApplyError(f"{path}: {exc.strerror or exc}") from exc
