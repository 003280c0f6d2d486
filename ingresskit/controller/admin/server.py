"""The admin server: its listener, and how many clients it has at a time."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, cast

import anyio
import anyio.abc

from ingresskit.controller.admin.access import is_loopback
from ingresskit.controller.admin.settings import AdminSettings
from ingresskit.controller.health import Health
from ingresskit.controller.planes import StatisticsSource
from ingresskit.controller.statistics import ControllerView
from ingresskit.errors import ConfigurationError
from ingresskit.facts import fact_logger
from ingresskit.render.files import RenderedFile
from ingresskit.sources import CacheStatistics

if TYPE_CHECKING:
    from ingresskit.controller.metrics import Metrics

__all__ = ["AdminServer"]

_logger = fact_logger(__name__)

_ACCEPT_PAUSE = 0.25


class AdminServer:
    """Serves health, metrics, the API and the dashboard of one controller. Read only.

    Building one does no I/O. Health and metrics are open to every client; the rest to clients on a
    loopback address, or where `AdminSettings.authenticator` is set, to those that it lets in. Keys, Secret
    data and values of header fields that policies set are in none of its responses.

    Args:
        controller: Whose.
        host: An address to bind to.
        port: 0 takes a free one; see `address`.
        health: What the probes are told; that of the controller alone when ``None``.
        metrics: What is scraped; those of the controller and of *planes* when ``None``.
        planes: What else is scraped, by name; see `ingresskit.controller.metrics.Metrics`.
        caches: By kind, how following the cluster goes, for ``/api/status``; `ClusterSource.statistics` tells.
        leader: Who leads, for ``/api/status``: a JSON object. ``None`` where nobody is elected.
        as_files: An artifact as the files that the proxy reads, for ``/api/config``; called in a worker
            thread. `Rendering` and the in-process proxy's table need none.
        settings: Limits; the defaults when ``None``.

    Raises:
        ConfigurationError: *host* is not an address, *port* is not a port, both *metrics* and *planes*
            are given, or the extra ``admin`` is not installed.
    """

    def __init__(
        self,
        controller: ControllerView,
        *,
        host: str = "127.0.0.1",
        port: int = 8580,
        health: Health | None = None,
        metrics: Metrics | None = None,
        planes: Mapping[str, StatisticsSource] | None = None,
        caches: Callable[[], Mapping[str, CacheStatistics]] | None = None,
        leader: Callable[[], Mapping[str, object]] | None = None,
        as_files: Callable[[object], Iterable[RenderedFile]] | None = None,
        settings: AdminSettings | None = None,
    ) -> None:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ConfigurationError(f"the admin host {host!r} is not an IPv4 or IPv6 address") from None
        if not 0 <= port <= 65535:
            raise ConfigurationError(f"the admin port {port} is not between 0 and 65535")
        if metrics is not None and planes is not None:
            raise ConfigurationError("give the admin server metrics or planes, not both")
        self._bind = (host, port)
        self._settings = settings or AdminSettings()
        try:
            # Here, not above: whoever imports the package without the extra must be able to.
            from ingresskit.controller.admin.connection import Connection
            from ingresskit.controller.admin.site import Site
            from ingresskit.controller.metrics import Metrics
        except ModuleNotFoundError as exc:
            raise ConfigurationError(
                f"the admin server needs {exc.name}: pip install 'ingresskit[admin]'"
            ) from exc
        health = health or Health(controller)
        metrics = metrics or Metrics(controller, health=health, planes=planes)
        self._metrics = metrics
        self._site = Site(
            controller, health, metrics, self._settings, caches=caches, leader=leader, as_files=as_files
        )
        self._connection = Connection
        # Those that wait for a request, longest first; and all.
        self._waiting: dict[anyio.CancelScope, None] = {}
        self._open: set[anyio.CancelScope] = set()
        self._address: tuple[str, int] | None = None
        self._listening = anyio.Event()

    @property
    def address(self) -> tuple[str, int] | None:
        """Where it listens: address and port; ``None`` while it does not."""
        return self._address

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._open)

    async def wait_listening(self) -> tuple[str, int]:
        """The `address`, once there is one."""
        while self._address is None:
            await self._listening.wait()
        return self._address

    async def run(self) -> None:
        """Serve until cancelled. Closes every connection when it ends.

        Raises:
            ConfigurationError: It cannot listen at that address.
        """
        host, port = self._bind
        try:
            listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise ConfigurationError(f"the admin server cannot listen at {host}:{port}: {reason}") from exc
        async with listener:
            await self._site.load()
            self._address = (host, listener.extra(anyio.abc.SocketAttribute.local_port))  # noqa: S610 - not Django's
            self._listening.set()
            _logger.info("admin server listens", extra={"host": host, "port": self._address[1]})
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._metrics.run)
                    for one in listener.listeners:
                        tasks.start_soon(self._accept, cast(anyio.abc.SocketListener, one), tasks)
            finally:
                self._address = None
                self._listening = anyio.Event()

    async def _accept(self, listener: anyio.abc.SocketListener, tasks: anyio.abc.TaskGroup) -> None:
        # Not `Listener.serve`: it would take connections without end, and end at the first error.
        while True:
            try:
                stream = await listener.accept()
            except OSError as exc:  # out of descriptors, or the client went before it was taken
                _logger.warning("accept failed", extra={"reason": exc.strerror})
                await anyio.sleep(_ACCEPT_PAUSE)
                continue
            scope = anyio.CancelScope()
            if not self._make_room():
                await anyio.aclose_forcefully(stream)
                continue
            # Counted before its task first runs: a burst must not slip through between the two.
            self._open.add(scope)
            self._waiting[scope] = None
            tasks.start_soon(self._serve, stream, scope)

    def _make_room(self) -> bool:
        if len(self._open) < self._settings.max_connections:
            return True
        longest = next(iter(self._waiting), None)
        if longest is None:
            return False
        self._forget(longest)
        longest.cancel()
        return True

    async def _serve(self, stream: anyio.abc.SocketStream, scope: anyio.CancelScope) -> None:
        def idle(waits: bool) -> None:
            self._waiting.pop(scope, None)
            if waits and scope in self._open:
                self._waiting[scope] = None

        try:
            with scope:
                peer = stream.extra(anyio.abc.SocketAttribute.remote_address, None)  # noqa: S610 - not Django's
                local = isinstance(peer, tuple) and is_loopback(str(peer[0]))
                connection = self._connection(stream, self._site, self._settings, local=local, idle=idle)
                await connection.serve()
        except Exception:
            # One connection's fault must not end the server.
            _logger.exception("admin connection failed")
        finally:
            self._forget(scope)
            await anyio.aclose_forcefully(stream)

    def _forget(self, scope: anyio.CancelScope) -> None:
        self._open.discard(scope)
        self._waiting.pop(scope, None)
