"""A whole controller as one object: `Service` puts the public parts of ingresskit together by flags.

This is the place to begin reading, and to copy from.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from ingresskit.app.collector import Collector
from ingresskit.app.flags import Address, Flags
from ingresskit.app.logs import AccessLog
from ingresskit.app.planes import Plane, Taken
from ingresskit.app.signals import RENEWING_SIGNAL, drain_on_signal, reopening_signals
from ingresskit.controller import ControllerSettings, Health
from ingresskit.controller.claims import ClaimKeeper
from ingresskit.errors import ConfigurationError
from ingresskit.facts import FactLogger
from ingresskit.sources import FetchedKeysSource, FileSource, Source
from ingresskit.translate import TranslateOptions

if TYPE_CHECKING:
    from ingresskit.app.demo import DemoSource
    from ingresskit.app.reports import ClusterReports
    from ingresskit.controller.admin import AdminServer, AdminSettings
    from ingresskit.kube import AioTransport
    from ingresskit.sources import ClusterSource

__all__ = ["Service"]

_START_SECONDS = 120.0
_ADMIN_PAUSE = 0.2


class Service:
    """A proxy, a controller that keeps it up to date, and an admin server that reports their state."""

    def __init__(
        self,
        flags: Flags,
        options: TranslateOptions,
        *,
        access_log: AccessLog | None,
        plane: Plane,
        state: Path,
        transport: AioTransport | None,
        claims: ClaimKeeper,
        logger: FactLogger,
    ) -> None:
        self._flags = flags
        self._state = state
        self._access_log = access_log
        self._plane = plane
        self._logger = logger
        self._demo = _demo(state) if flags.demo else None
        self._cluster = cluster = _follow(transport, flags, options) if transport else None
        source: Source = cluster or self._demo or FileSource(flags.manifests or Path())
        if flags.jwt_keys_from:
            source = FetchedKeysSource(source, flags.jwt_keys_from)
        self._controller = self._plane.controller(
            source,
            # A cluster's source paces its snapshots by itself: a change that comes alone need not wait.
            ControllerSettings(settle_quiet=timedelta(0)) if cluster else None,
        )
        self._reports: ClusterReports | None = None
        if transport is not None and cluster is not None:
            from ingresskit.app.reports import ClusterReports

            self._reports = ClusterReports(
                transport, flags, options, controller=self._controller, source=cluster, claims=claims
            )
        self._admin = self._admin_server(flags.admin) if flags.admin else None
        self._collector = Collector()
        self._listens = self._stopping = False
        self._status = 0

    def _admin_server(self, address: Address) -> AdminServer:
        # Imported when it is wanted: it needs the extra `admin`.
        from ingresskit.controller.admin import AdminServer

        cluster = self._cluster
        return AdminServer(
            self._controller,
            host=address.host,
            port=address.port,
            health=Health(
                self._controller,
                live=[cluster.silent] if cluster else [],
                ready=[*([cluster.hindrance] if cluster else []), self._not_ready],
            ),
            planes={"proxy": self._plane, **({"cluster": cluster} if cluster else {})},
            caches=(lambda: cluster.statistics().caches) if cluster else None,
            leader=self._reports.leader if self._reports else None,
            as_files=self._plane.files,
            settings=_admin_settings(self._flags),
        )

    async def run(self) -> int:
        """Serve until a signal; returns the exit status."""
        async with self._plane.opened(), anyio.create_task_group() as tasks:
            tasks.start_soon(self._stop_on_signals, tasks.cancel_scope)
            tasks.start_soon(self._reopen_on_signal)
            tasks.start_soon(self._renew_on_signal)
            tasks.start_soon(self._controller.run)
            tasks.start_soon(self._listen)
            tasks.start_soon(self._collector.run, self._controller)
            if self._reports is not None:
                tasks.start_soon(self._reports.run)
            if self._admin is not None:
                tasks.start_soon(self._run_admin, self._admin)
            if self._access_log is not None:
                tasks.start_soon(self._access_log.run)
        return self._status

    async def _listen(self) -> None:
        # Not before there is something to serve: a 404 for a host that is about to be known is a lie.
        await self._controller.wait_applied(0)
        self._collector.begin()
        taken = Taken(http=None, https=None) if self._stopping else await self._plane.listen()
        http, https = taken.http, taken.https
        self._listens = True
        self._logger.info("serving", extra={"http": str(http or "off"), "https": str(https or "off")})
        if self._demo is not None:
            await self._print_demo(self._demo, taken)

    async def _print_demo(self, demo: DemoSource, taken: Taken) -> None:
        from ingresskit.app.demo import things_to_try

        admin = Address(*await self._admin.wait_listening()) if self._admin else None
        authority = self._state / "demo-authority.pem"
        authority.write_bytes(demo.authority)
        print(f"Serving {demo.folder}: edit a file there, and the change is live. Try:\n")
        lines = things_to_try(http=taken.http, https=taken.https, admin=admin, authority=authority)
        for title, command in lines:
            print(f"# {title}\n{command}")
        print(flush=True)

    def _not_ready(self) -> str:
        if self._stopping:
            return "the controller is shutting down"
        return self._plane.hindrance() if self._listens else "the listeners are not open yet"

    async def _stop_on_signals(self, scope: anyio.CancelScope) -> None:
        await drain_on_signal(
            self._plane.drain,
            logger=self._logger,
            grace=timedelta(seconds=self._flags.shutdown_grace),
            on_cut=self._cut,
            delay=self._begin_stopping,
        )
        scope.cancel()

    def _cut(self) -> None:
        self._status = 1

    def _begin_stopping(self) -> timedelta:
        self._stopping = True
        return timedelta(seconds=self._flags.shutdown_delay if self._listens else 0)

    async def _run_admin(self, admin: AdminServer) -> None:
        """Run it; a controller that is taken over from has its address until it has drained."""
        flags = self._flags
        wait = flags.shutdown_delay + flags.shutdown_grace + _START_SECONDS if flags.takeover else 0.0
        until = anyio.current_time() + wait
        while True:
            try:
                await admin.run()
            except ConfigurationError:
                if anyio.current_time() >= until:
                    raise
                await anyio.sleep(_ADMIN_PAUSE)

    async def _reopen_on_signal(self) -> None:
        with anyio.open_signal_receiver(*reopening_signals()) as signals:
            async for one in signals:
                facts = {"signal": one.name, "path": self._flags.access_log}
                self._logger.info("reopening the access log", extra=facts)
                if self._access_log is not None:
                    self._access_log.reopen()

    async def _renew_on_signal(self) -> None:
        with anyio.open_signal_receiver(RENEWING_SIGNAL) as signals:
            async for one in signals:
                self._logger.info("renewing the worker processes", extra={"signal": one.name})
                await self._plane.renew()
                self._logger.info("worker processes renewed")


def _demo(state: Path) -> DemoSource:
    from ingresskit.app.demo import DemoSource, demo_manifests

    return DemoSource(demo_manifests(state))


def _follow(transport: AioTransport, flags: Flags, options: TranslateOptions) -> ClusterSource:
    from ingresskit.app.cluster import follow

    return follow(transport, flags, options)


def _admin_settings(flags: Flags) -> AdminSettings:
    """Who may read the admin server, by the flags.

    Raises:
        ConfigurationError: The file of ``--admin-auth`` cannot be used.
    """
    from ingresskit.controller.admin import AdminSettings, BasicFile, TokenFile

    hosts = frozenset(flags.admin_host)
    if flags.admin_auth is None:
        return AdminSettings(allowed_hosts=hosts)
    kind, path = flags.admin_auth
    return AdminSettings(
        allowed_hosts=hosts, authenticator=TokenFile(path) if kind == "token" else BasicFile(path)
    )
