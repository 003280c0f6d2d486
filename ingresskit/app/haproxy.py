"""The plane of HAProxy."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from typing_extensions import override

from ingresskit.app.delegate import front_of, make_delegate, opened_beside
from ingresskit.app.planes import Plane, Setting, Taken, certain, shown
from ingresskit.apply.delegate import Delegate, DelegatingApplier
from ingresskit.apply.haproxy import Haproxy, HaproxyApplier, preview
from ingresskit.controller import Controller, ControllerSettings, Outcome, reconcile
from ingresskit.models import Snapshot
from ingresskit.render import RenderedFile
from ingresskit.render.access import AccessRecord
from ingresskit.render.delegate import DelegatingRenderer
from ingresskit.render.haproxy import Bind, HaproxyArtifact, HaproxyRenderer, HaproxySettings
from ingresskit.sources import Source
from ingresskit.traffic import Measured

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
        self._delegate: Delegate | None = None
        if flags.delegate:
            self._settings = replace(self._settings, delegate=True)
            self._delegate = make_delegate(setting, self._take_delegated if log else None, self._https)
        self._haproxy = Haproxy(
            self._settings,
            state=setting.state / "haproxy",
            program=flags.proxy_binary or "haproxy",
            access_log=log.record if log else None,
            delegate=None if self._delegate is None else self._delegate.counts,
        )

    @override
    def controller(self, source: Source, settings: ControllerSettings | None) -> AnyController:
        applier = HaproxyApplier(self._haproxy)
        if (delegate := self._delegate) is not None:
            return Controller(
                source=source,
                renderer=_delegating(delegate, self._setting),
                applier=DelegatingApplier(applier, delegate),
                options=self._setting.options,
                settings=settings,
                claims=self._setting.claims,
            )
        return Controller(
            source=source,
            renderer=HaproxyRenderer(),
            applier=applier,
            options=self._setting.options,
            settings=settings,
            claims=self._setting.claims,
        )

    @override
    def opened(self) -> AbstractAsyncContextManager[object]:
        return opened_beside(self._delegate, self._haproxy)

    @override
    async def listen(self) -> Taken:
        return Taken(http=self._http, https=self._https)

    @override
    async def drain(self, grace: timedelta) -> None:
        await self._haproxy.drain(grace)
        if self._delegate is not None:
            await self._delegate.stop(timedelta(seconds=1))

    @override
    def hindrance(self) -> str:
        return self._haproxy.problem

    def _take_delegated(self, record: AccessRecord) -> None:
        self._haproxy.take_delegated(record)

    @override
    def statistics(self) -> Measured:
        return self._haproxy.statistics()

    @override
    def files(self, artifact: object) -> Iterable[RenderedFile]:
        front = front_of(artifact)
        return preview(front, self._settings) if isinstance(front, HaproxyArtifact) else ()

    @override
    def preview(self, snapshot: Snapshot) -> tuple[Outcome[object], str]:
        options = self._setting.options
        if self._delegate is None:
            plain = reconcile(snapshot, HaproxyRenderer(), options)
            return plain, shown(self.files(plain.artifact))
        renderer = _delegating(self._delegate, self._setting)
        outcome = reconcile(snapshot, renderer, options)
        return outcome, shown(self.files(outcome.artifact))


def _delegating(delegate: Delegate, setting: Setting) -> DelegatingRenderer[HaproxyArtifact]:
    return DelegatingRenderer(
        HaproxyRenderer(),
        str(delegate.socket),
        effects=setting.effects,
        affinity_key=setting.affinity_key,
    )
