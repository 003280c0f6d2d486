"""What carries the traffic of the reference controller: one class for each proxy that ``--renderer`` names.

A plane makes the controller of its proxy, is entered before that runs, and takes requests once the first
configuration is live. To add a proxy, add a class and its name in `PLANES`.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from reference_flags import Address, Flags
from reference_logging import AccessLog

from ingresskit import InProcessApplier, InProcessRenderer, TranslateOptions
from ingresskit.apply.haproxy import Haproxy, HaproxyApplier, preview
from ingresskit.apply.nginx import Nginx, NginxApplier, NginxProcessSettings, find_nginx
from ingresskit.controller import Controller, ControllerSettings, Outcome, reconcile
from ingresskit.errors import ApplyError
from ingresskit.models import Snapshot
from ingresskit.proxy import Proxy, ProxySettings
from ingresskit.render import RenderedFile
from ingresskit.render.haproxy import Bind, HaproxyArtifact, HaproxyRenderer, HaproxySettings
from ingresskit.render.inprocess import RoutingTable
from ingresskit.render.nginx import Capabilities, NginxArtifact, NginxRenderer, NginxSettings
from ingresskit.sources import Source

__all__ = ["PLANES", "AnyController", "CannotListen", "Plane", "Setting", "Taken", "prepared"]

AnyController = Controller[RoutingTable] | Controller[HaproxyArtifact] | Controller[NginxArtifact]


class CannotListen(Exception):
    """Ends the program: an address cannot be had, and trying again would not help. Its text says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a plane is made of.

    Attributes:
        nginx: What the nginx program can do; ``None``: what any can. See `prepared`.
    """

    flags: Flags
    options: TranslateOptions
    state: Path
    access_log: AccessLog | None = None
    nginx: Capabilities | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Where requests are taken; ``None``: nowhere."""

    http: Address | None
    https: Address | None


class Plane(Protocol):
    """A proxy, and what is in front of it."""

    def controller(self, source: Source, settings: ControllerSettings | None) -> AnyController:
        """The controller that keeps it up to date."""
        ...

    def opened(self) -> AbstractAsyncContextManager[object]:
        """The proxy while the context is open; ends, with all that it started, when that is left."""
        ...

    async def listen(self) -> Taken:
        """Take requests. Called once, after the first configuration is live.

        Raises:
            CannotListen: An address cannot be had.
        """
        ...

    async def drain(self, grace: timedelta) -> None:
        """Take no more requests, and return when those under way are done, or after *grace*."""
        ...

    def hindrance(self) -> str:
        """Why it is not ready; empty when it is."""
        ...

    def statistics(self) -> object:
        """Its counts, for metrics."""
        ...

    def files(self, artifact: object) -> Iterable[RenderedFile]:
        """An artifact as the files that the proxy reads; none where it reads none."""
        ...

    def preview(self, snapshot: Snapshot) -> tuple[Outcome[object], str]:
        """What *snapshot* comes to, and the configuration in a form for people. Starts nothing."""
        ...


class InProcessPlane:
    """The proxy in this process."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        flags, log = setting.flags, setting.access_log
        self._proxy = Proxy(
            ProxySettings(
                trusted_proxies=tuple(flags.trusted_proxy),
                proxy_protocol=flags.proxy_protocol,
                access_log=log.record if log else None,
                destination_fault=setting.options.destinations.fault,
            )
        )

    def controller(self, source: Source, settings: ControllerSettings | None) -> AnyController:
        return Controller(
            source=source,
            renderer=InProcessRenderer(),
            applier=InProcessApplier(self._proxy),
            options=self._setting.options,
            settings=settings,
        )

    def opened(self) -> AbstractAsyncContextManager[object]:
        return self._proxy

    async def listen(self) -> Taken:
        # TLS first: once its port is known, plain HTTP is redirected there.
        https = await self._listener("--https", self._setting.flags.https, tls=True)
        http = await self._listener("--http", self._setting.flags.http, tls=False)
        return Taken(http=http, https=https)

    async def _listener(self, flag: str, address: Address | None, *, tls: bool) -> Address | None:
        if address is None:
            return None
        try:
            listener = await self._proxy.listen(address.host, address.port, tls=tls)
        except OSError as exc:
            raise CannotListen(f"{flag}: cannot listen at {address}: {exc.strerror}") from None
        return Address(*listener.address)

    async def drain(self, grace: timedelta) -> None:
        await self._proxy.drain(grace)

    def hindrance(self) -> str:
        return ""

    def statistics(self) -> object:
        return self._proxy.statistics()

    def files(self, artifact: object) -> Iterable[RenderedFile]:
        return ()

    def preview(self, snapshot: Snapshot) -> tuple[Outcome[object], str]:
        outcome = reconcile(snapshot, InProcessRenderer(), self._setting.options)
        return outcome, outcome.graph.to_json().decode()


class HaproxyPlane:
    """HAProxy, a program of its own: it listens from the first configuration on."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        flags = setting.flags
        self._http, self._https = _certain(flags.http), _certain(flags.https)
        self._settings = HaproxySettings(
            http=(Bind(*self._http),) if self._http else (),
            https=(Bind(*self._https),) if self._https else (),
            trusted_proxies=tuple(flags.trusted_proxy),
            proxy_protocol=flags.proxy_protocol,
        )
        log = setting.access_log
        self._haproxy = Haproxy(
            self._settings,
            state=setting.state / "haproxy",
            program=flags.proxy_binary or "haproxy",
            access_log=log.record if log else None,
        )

    def controller(self, source: Source, settings: ControllerSettings | None) -> AnyController:
        return Controller(
            source=source,
            renderer=HaproxyRenderer(),
            applier=HaproxyApplier(self._haproxy),
            options=self._setting.options,
            settings=settings,
        )

    def opened(self) -> AbstractAsyncContextManager[object]:
        return self._haproxy

    async def listen(self) -> Taken:
        return Taken(http=self._http, https=self._https)

    async def drain(self, grace: timedelta) -> None:
        await self._haproxy.drain(grace)

    def hindrance(self) -> str:
        return self._haproxy.problem

    def statistics(self) -> object:
        return self._haproxy.statistics()

    def files(self, artifact: object) -> Iterable[RenderedFile]:
        return preview(artifact, self._settings) if isinstance(artifact, HaproxyArtifact) else ()

    def preview(self, snapshot: Snapshot) -> tuple[Outcome[object], str]:
        outcome = reconcile(snapshot, HaproxyRenderer(), self._setting.options)
        return outcome, _shown(self.files(outcome.artifact))


class NginxPlane:
    """nginx, a program of its own: it listens from the first configuration on."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        flags = setting.flags
        self._http, self._https = _certain(flags.http), _certain(flags.https)
        log = flags.access_log
        self._settings = NginxSettings(
            state=str((setting.state / "nginx").absolute()),
            http=(str(self._http),) if self._http else (),
            https=(str(self._https),) if self._https else (),
            trusted_proxies=tuple(flags.trusted_proxy),
            proxy_protocol=flags.proxy_protocol,
            # Into a file nginx writes it by itself, in the format of ingress-nginx.
            access_log=_nginx_log(log),
        )
        self._nginx = Nginx(
            self._settings,
            NginxProcessSettings(program=flags.proxy_binary or "nginx"),
            access_line=setting.access_log.line if setting.access_log else None,
        )

    def controller(self, source: Source, settings: ControllerSettings | None) -> AnyController:
        return Controller(
            source=source,
            renderer=NginxRenderer(self._settings, self._setting.nginx),
            applier=NginxApplier(self._nginx),
            options=self._setting.options,
            settings=settings,
        )

    def opened(self) -> AbstractAsyncContextManager[object]:
        return self._nginx

    async def listen(self) -> Taken:
        return Taken(http=self._http, https=self._https)

    async def drain(self, grace: timedelta) -> None:
        await self._nginx.drain(grace)

    def hindrance(self) -> str:
        return self._nginx.problem

    def statistics(self) -> object:
        return self._nginx.statistics()

    def files(self, artifact: object) -> Iterable[RenderedFile]:
        return artifact.files() if isinstance(artifact, NginxArtifact) else ()

    def preview(self, snapshot: Snapshot) -> tuple[Outcome[object], str]:
        outcome = reconcile(snapshot, NginxRenderer(self._settings, self._setting.nginx), self._setting.options)
        return outcome, _shown(self.files(outcome.artifact))


def _nginx_log(flag: str) -> str:
    return {"off": "", "-": "socket"}.get(flag, str(Path(flag).absolute()))


PLANES: Mapping[str, Callable[[Setting], Plane]] = {
    "inprocess": InProcessPlane,
    "haproxy": HaproxyPlane,
    "nginx": NginxPlane,
}
"""By the name that ``--renderer`` gives."""


async def prepared(setting: Setting, *, previewing: bool = False) -> Plane:
    """The plane that the flags ask for.

    Raises:
        ApplyError: Its program is asked what it can do, and cannot be. For a preview the oldest that would do
            is meant then.
    """
    flags = setting.flags
    if flags.renderer == "nginx":
        try:
            found = await find_nginx(flags.proxy_binary or "nginx")
        except ApplyError:
            if not previewing:
                raise
        else:
            setting = replace(setting, nginx=found.capabilities)
    return PLANES[flags.renderer](setting)


def _certain(address: Address | None) -> Address | None:
    """Port 0 is any free one; a program that is told where to listen needs to be told one of them."""
    if address is None or address.port:
        return address
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with contextlib.closing(socket.socket(family)) as probe:
        try:
            probe.bind((address.host, 0))
        except OSError as exc:
            raise CannotListen(f"cannot listen at {address}: {exc.strerror}") from None
        return Address(address.host, int(probe.getsockname()[1]))


def _shown(files: Iterable[RenderedFile]) -> str:
    """The files one after the other, each under its name; of those with keys, the name only."""
    parts = (
        f"==> {item.path} <==\n" + ("(not shown: it holds a key)\n" if item.secret else item.content.decode())
        for item in files
    )
    return "\n".join(parts)
