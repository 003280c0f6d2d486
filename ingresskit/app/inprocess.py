"""The plane of the in-process proxy."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import TYPE_CHECKING

from typing_extensions import override

from ingresskit import InProcessApplier, InProcessRenderer
from ingresskit.app.failures import CannotListen
from ingresskit.app.flags import Address, ports_address
from ingresskit.app.planes import Plane, Setting, Taken
from ingresskit.controller import Controller, ControllerSettings, Outcome, reconcile
from ingresskit.graph import to_json
from ingresskit.models import Snapshot
from ingresskit.proxy import Proxy, ProxySettings
from ingresskit.render import RenderedFile
from ingresskit.sources import Source
from ingresskit.traffic import Measured

if TYPE_CHECKING:
    from ingresskit.app.planes import AnyController

__all__ = ["InProcessPlane", "proxy_settings"]


def proxy_settings(setting: Setting) -> ProxySettings:
    """The settings of the proxy, as the flags ask for them."""
    flags, log = setting.flags, setting.access_log
    return ProxySettings(
        underscores_in_headers=flags.underscores_in_headers,
        public_http_port=flags.public_http_port,
        public_https_port=flags.public_https_port,
        trusted_proxies=tuple(flags.trusted_proxy),
        ports_address=ports_address(flags),
        proxy_protocol=flags.proxy_protocol,
        http2=flags.http2,
        access_log=log.record if log else None,
        destination_fault=setting.options.destinations.fault,
    )


class InProcessPlane(Plane):
    """The proxy in this process."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._proxy = Proxy(proxy_settings(setting))

    @override
    def controller(self, source: Source, settings: ControllerSettings | None) -> AnyController:
        return Controller(
            source=source,
            renderer=InProcessRenderer(effects=self._setting.effects, affinity_key=self._setting.affinity_key),
            applier=InProcessApplier(self._proxy),
            options=self._setting.options,
            settings=settings,
            claims=self._setting.claims,
        )

    @override
    def opened(self) -> AbstractAsyncContextManager[object]:
        return self._proxy

    @override
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

    @override
    async def drain(self, grace: timedelta) -> None:
        await self._proxy.drain(grace)

    @override
    def hindrance(self) -> str:
        return ""

    @override
    def statistics(self) -> Measured:
        return self._proxy.statistics()

    @override
    def files(self, artifact: object) -> Iterable[RenderedFile]:
        return ()

    @override
    def preview(self, snapshot: Snapshot) -> tuple[Outcome[object], str]:
        outcome = reconcile(snapshot, InProcessRenderer(effects=self._setting.effects), self._setting.options)
        return outcome, to_json(outcome.graph).decode()
