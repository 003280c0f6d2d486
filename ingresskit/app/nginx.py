"""The plane of nginx."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import TYPE_CHECKING

from typing_extensions import override

from ingresskit.app.delegate import front_of, make_delegate, opened_beside
from ingresskit.app.flags import Address
from ingresskit.app.planes import Plane, Setting, Taken, certain, shown
from ingresskit.apply.delegate import DelegatingApplier, front_record, with_delegate
from ingresskit.apply.nginx import (
    Nginx,
    NginxApplier,
    NginxProcessSettings,
    find_nginx,
)
from ingresskit.controller import Controller, ControllerSettings, Outcome, reconcile
from ingresskit.errors import ApplyError, ConfigurationError
from ingresskit.graph import DEFAULT_PATHS
from ingresskit.models import Snapshot
from ingresskit.render import RenderedFile
from ingresskit.render.access import AccessRecord
from ingresskit.render.delegate import DelegatingRenderer
from ingresskit.render.nginx import Capabilities, NginxArtifact, NginxRenderer, NginxSettings
from ingresskit.sources import Source
from ingresskit.traffic import Measured

if TYPE_CHECKING:
    from ingresskit.app.planes import AnyController

__all__ = ["NginxPlane", "prepared_nginx"]


class NginxPlane(Plane):
    """nginx, a program of its own: it listens from the first configuration on."""

    def __init__(self, setting: Setting, capabilities: Capabilities | None = None) -> None:
        self._setting = setting
        self._capabilities = capabilities
        flags = setting.flags
        self._http, self._https = certain(flags.http), certain(flags.https)
        self._settings = NginxSettings(
            state=str((setting.state / "nginx").absolute()),
            http=(str(self._http),) if self._http else (),
            https=(str(self._https),) if self._https else (),
            underscores_in_headers=flags.underscores_in_headers,
            public_http_port=flags.public_http_port,
            public_https_port=flags.public_https_port,
            trusted_proxies=tuple(flags.trusted_proxy),
            proxy_protocol=flags.proxy_protocol,
            http2=bool(flags.http2),
            resolver=_resolver(capabilities),
            affinity_key=setting.affinity_key,
            # Not into the file by itself: every proxy's lines have one form.
            access_log="socket" if setting.access_log else "",
        )
        log = setting.access_log
        self._nginx = Nginx(
            self._settings,
            NginxProcessSettings(program=flags.proxy_binary or "nginx"),
            access_log=_without_handed_over(log.record) if log else None,
        )
        self._delegate = (
            make_delegate(setting, log.record if log else None, self._https) if flags.delegate else None
        )

    @override
    def controller(self, source: Source, settings: ControllerSettings | None) -> AnyController:
        renderer, applier = NginxRenderer(self._settings, self._capabilities), NginxApplier(self._nginx)
        if (delegate := self._delegate) is not None:
            return Controller(
                source=source,
                renderer=DelegatingRenderer(
                    renderer,
                    str(delegate.socket),
                    effects=self._setting.effects,
                    affinity_key=self._setting.affinity_key,
                ),
                applier=DelegatingApplier(applier, delegate),
                options=self._setting.options,
                settings=settings,
                claims=self._setting.claims,
            )
        return Controller(
            source=source,
            renderer=renderer,
            applier=applier,
            options=self._setting.options,
            settings=settings,
            claims=self._setting.claims,
        )

    @override
    def opened(self) -> AbstractAsyncContextManager[object]:
        return opened_beside(self._delegate, self._nginx)

    @override
    async def listen(self) -> Taken:
        return Taken(http=self._http, https=self._https)

    @override
    async def drain(self, grace: timedelta) -> None:
        await self._nginx.drain(grace)
        if self._delegate is not None:
            await self._delegate.stop(timedelta(seconds=1))

    @override
    def hindrance(self) -> str:
        return self._nginx.problem

    @override
    def statistics(self) -> Measured:
        found = self._nginx.statistics()
        if self._delegate is None:
            return found
        return with_delegate(found, self._delegate.counts())

    @override
    def files(self, artifact: object) -> Iterable[RenderedFile]:
        front = front_of(artifact)
        return front.files() if isinstance(front, NginxArtifact) else ()

    @override
    def preview(self, snapshot: Snapshot) -> tuple[Outcome[object], str]:
        renderer, options = NginxRenderer(self._settings, self._capabilities), self._setting.options
        if self._delegate is None:
            plain = reconcile(snapshot, renderer, options)
            return plain, shown(self.files(plain.artifact))
        delegating = DelegatingRenderer(renderer, str(self._delegate.socket), effects=self._setting.effects)
        outcome = reconcile(snapshot, delegating, options)
        return outcome, shown(self.files(outcome.artifact))


async def prepared_nginx(setting: Setting, *, previewing: bool) -> NginxPlane:
    """As `ingresskit.app.plane_choice.prepared`."""
    try:
        found = await find_nginx(setting.flags.proxy_binary or "nginx")
    except ApplyError:
        if not previewing:
            raise
        return NginxPlane(setting)
    if not found.capabilities.lua and setting.options.paths != DEFAULT_PATHS:
        raise ConfigurationError("--keep-slashes and --strict-paths need an nginx with its Lua module")
    return NginxPlane(setting, found.capabilities)


def _resolver(capabilities: Capabilities | None) -> str:
    """Where a plain nginx that can asks for endpoints, so that they change without a reload."""
    if capabilities is None or capabilities.lua or not capabilities.follows_names:
        return ""
    return str(certain(Address("127.0.0.1", 0)))


def _without_handed_over(record: Callable[[AccessRecord], None]) -> Callable[[AccessRecord], None]:
    def take(request: AccessRecord) -> None:
        if (own := front_record(request)) is not None:
            record(own)

    return take
