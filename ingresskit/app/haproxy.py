"""The plane of HAProxy."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import TYPE_CHECKING

from typing_extensions import override

from ingresskit.app.planes import Plane, Setting, Taken, certain, shown
from ingresskit.apply.haproxy import Haproxy, HaproxyApplier, preview
from ingresskit.controller import Controller, ControllerSettings, Outcome, reconcile
from ingresskit.models import Snapshot
from ingresskit.render import RenderedFile
from ingresskit.render.haproxy import Bind, HaproxyArtifact, HaproxyRenderer, HaproxySettings
from ingresskit.sources import Source

if TYPE_CHECKING:
    from ingresskit.app.planes import AnyController

__all__ = ["HaproxyPlane"]


class HaproxyPlane(Plane):
    """HAProxy, a program of its own: it listens from the first configuration on."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        flags = setting.flags
        self._http, self._https = certain(flags.http), certain(flags.https)
        self._settings = HaproxySettings(
            http=(Bind(*self._http),) if self._http else (),
            https=(Bind(*self._https),) if self._https else (),
            underscores_in_headers=flags.underscores_in_headers,
            public_http_port=flags.public_http_port,
            public_https_port=flags.public_https_port,
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

    @override
    def controller(self, source: Source, settings: ControllerSettings | None) -> AnyController:
        return Controller(
            source=source,
            renderer=HaproxyRenderer(),
            applier=HaproxyApplier(self._haproxy),
            options=self._setting.options,
            settings=settings,
            claims=self._setting.claims,
        )

    @override
    def opened(self) -> AbstractAsyncContextManager[object]:
        return self._haproxy

    @override
    async def listen(self) -> Taken:
        return Taken(http=self._http, https=self._https)

    @override
    async def drain(self, grace: timedelta) -> None:
        await self._haproxy.drain(grace)

    @override
    def hindrance(self) -> str:
        return self._haproxy.problem

    @override
    def statistics(self) -> object:
        return self._haproxy.statistics()

    @override
    def files(self, artifact: object) -> Iterable[RenderedFile]:
        return preview(artifact, self._settings) if isinstance(artifact, HaproxyArtifact) else ()

    @override
    def preview(self, snapshot: Snapshot) -> tuple[Outcome[object], str]:
        outcome = reconcile(snapshot, HaproxyRenderer(), self._setting.options)
        return outcome, shown(self.files(outcome.artifact))
