"""A program in one call: signals, a drain and readable logs around a controller.

The rest of the room is imported when one of them is called: the command ``version`` loads this file, too.
"""

from __future__ import annotations

import os
import threading
from contextlib import AsyncExitStack
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from ingresskit.errors import ConfigurationError
from ingresskit.facts import fact_logger

if TYPE_CHECKING:
    import anyio

    from ingresskit.app.flags import Address
    from ingresskit.controller import Controller
    from ingresskit.render.base import ArtifactT

__all__ = ["ProxyProgram", "run", "serve"]

_logger = fact_logger(__name__)

_INTERRUPTED = 130  # 128 and the number of SIGINT, as shells count


class ProxyProgram(Protocol):
    """What `run` opens around a controller, and drains: a `Proxy`, `Haproxy` or `Nginx`, or one of yours."""

    async def __aenter__(self) -> object:
        """Open it."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        """End it, with all that it started."""
        ...

    async def drain(self, grace: timedelta) -> None:
        """Take no more requests, and return when those under way are done, or after *grace*."""
        ...


def serve(
    folder: str | os.PathLike[str],
    *,
    http: str | None = "127.0.0.1:8080",
    https: str | None = None,
    admin: str | None = None,
    allow_loopback: bool = False,
) -> None:
    """Serve a folder of manifests through the in-process proxy until SIGINT or SIGTERM, and drain.

    Edits of the folder are live. Requests under way have 30 seconds to finish; a second signal cuts them.
    Logs go to the error output, unless logging is set up already.

    Args:
        folder: Of YAML and JSON manifests; YAML needs the extra ``files``.
        http: Where plain HTTP is served, ``"ADDR:PORT"``; port 0 is any free one; ``None``: nowhere.
        https: The same of TLS, which needs the extra ``tls``.
        admin: The same of health, metrics, API and dashboard, which need the extra ``admin``.
        allow_loopback: Whether endpoints may have loopback addresses, as the pods of a laptop do.

    Raises:
        ConfigurationError: An address is not ``"ADDR:PORT"``, *http* and *https* are both ``None``, or this is
            not the main thread, which alone can wait for signals.
        SystemExit: With 1, after one line on the error output: the folder is not there, or an address cannot
            be had; also after a second signal.
    """
    from ingresskit.app.controller import run_flags
    from ingresskit.app.flags import parse_flags
    from ingresskit.app.parser import RaisingParser

    _check_thread()
    if http is None and https is None:
        raise ConfigurationError("http and https are both None, which leaves nothing to listen at")
    flags = parse_flags(
        [
            f"--manifests={os.fspath(folder)}",
            *(
                f"--{name}={value if value is not None else 'off'}"
                for name, value in (("http", http), ("https", https), ("admin", admin))
            ),
            *(("--allow-endpoint=127.0.0.0/8", "--allow-endpoint=::1/128") if allow_loopback else ()),
        ],
        program="ingresskit.serve",
        parser_class=RaisingParser,
    )
    flags.command = "serve"
    if status := run_flags(flags, program="ingresskit.serve"):
        raise SystemExit(status)


def run(
    controller: Controller[ArtifactT],
    *,
    proxy: ProxyProgram | None = None,
    http: str | None = None,
    https: str | None = None,
    shutdown_grace: timedelta = timedelta(seconds=30),
) -> None:
    """Run a controller until SIGINT or SIGTERM, and drain its proxy.

    A second signal cuts the drain short. Logs go to the error output, unless
    logging is set up already.

    Args:
        controller: What to run.
        proxy: What carries its traffic: opened before the controller runs, drained and closed at the end.
            ``None``: nothing is opened or drained, as for files that a proxy reads which runs elsewhere.
        http: Where *proxy*, when it is a `Proxy`, serves plain HTTP once the first configuration is live:
            ``"ADDR:PORT"``; port 0 is any free one. Other proxies know by their settings where to listen.
        https: The same of TLS.
        shutdown_grace: How long requests may finish after the signal.

    Raises:
        ConfigurationError: An address is not ``"ADDR:PORT"`` or is given for what is no `Proxy`, or this is not
            the main thread.
        SystemExit: With one line for the error output, when an address cannot be had or the proxy's program
            cannot be started; with 1 after a second signal.
    """
    import anyio

    from ingresskit.app.failures import exit_status
    from ingresskit.app.logs import set_up_logging
    from ingresskit.app.signals import drain_on_signal

    _check_thread()
    listeners = _Listeners(proxy, http=_read("http", http), https=_read("https", https))
    set_up_logging("text", "info")

    async def work() -> int:
        status = 0

        def cut() -> None:
            nonlocal status
            status = 1

        async def stop_on_signal(scope: anyio.CancelScope) -> None:
            drain = _nothing_to_drain if proxy is None else proxy.drain
            await drain_on_signal(drain, logger=_logger, grace=shutdown_grace, on_cut=cut)
            scope.cancel()

        async def listen() -> None:
            await controller.wait_applied(0)
            await listeners.open()

        async with AsyncExitStack() as stack:
            if proxy is not None:
                await stack.enter_async_context(proxy)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            tasks.start_soon(stop_on_signal, tasks.cancel_scope)
            tasks.start_soon(controller.run)
            tasks.start_soon(listen)
        return status

    try:
        status = exit_status(lambda: anyio.run(work), program="ingresskit.run")
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None
    if status:
        raise SystemExit(status)


def _check_thread() -> None:
    if threading.current_thread() is not threading.main_thread():
        raise ConfigurationError("signals reach the main thread only; call this there")


async def _nothing_to_drain(grace: timedelta) -> None:
    pass


def _read(name: str, text: str | None) -> Address | None:
    from ingresskit.app.flags import read_address

    if text is None:
        return None
    try:
        return read_address(text)
    except ValueError as exc:
        raise ConfigurationError(f"{name}: {exc}") from None


class _Listeners:
    """Where `run` makes a `Proxy` listen."""

    def __init__(self, proxy: ProxyProgram | None, *, http: Address | None, https: Address | None) -> None:
        from ingresskit.proxy import Proxy

        self._http, self._https = http, https
        self._proxy = proxy if isinstance(proxy, Proxy) else None
        if (http or https) and self._proxy is None:
            raise ConfigurationError(
                "http and https are where an ingresskit.Proxy listens; give it as proxy, or leave them out"
            )

    async def open(self) -> None:
        """Listen, when there is where.

        Raises:
            CannotListen: An address cannot be had.
        """
        # TLS first: once its port is known, plain HTTP is redirected there.
        https = await self._listen(self._https, tls=True)
        http = await self._listen(self._http, tls=False)
        if http or https:
            _logger.info("serving", extra={"http": str(http or "off"), "https": str(https or "off")})

    async def _listen(self, address: Address | None, *, tls: bool) -> Address | None:
        from ingresskit.app.failures import CannotListen
        from ingresskit.app.flags import Address

        if address is None or self._proxy is None:
            return None
        try:
            listener = await self._proxy.listen(address.host, address.port, tls=tls)
        except OSError as exc:
            raise CannotListen(f"cannot listen at {address}: {exc.strerror}") from None
        return Address(*listener.address)
