"""Every proxy there is, started with its real applier on free ports of this machine."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from ingresskit.apply import InProcessApplier, find_program
from ingresskit.apply.haproxy import Haproxy, HaproxyApplier, HaproxyOptions
from ingresskit.errors import ApplyError
from ingresskit.proxy import Proxy, ProxySettings
from ingresskit.render.haproxy import Bind, HaproxyArtifact, HaproxyRenderer, HaproxySettings
from ingresskit.render.inprocess import InProcessRenderer, RoutingTable
from ingresskit.testing.planes import LivePlane, Plane, PlaneSettings
from tests.dataplane.nginx_planes import NGINX_DYNAMIC_MISSING, open_nginx_dynamic


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a proxy promises of ordinary changes, in its documentation.

    Attributes:
        reloads: At most so many in a run of a hundred changes or a thousand; ``None``: each may be one.
        may_fail: Whether requests may fail at a reload.
    """

    reloads: int | None = 0
    may_fail: bool = False


OpenPlane = Callable[[PlaneSettings], AbstractAsyncContextManager[Plane]]


@asynccontextmanager
async def open_inprocess(
    settings: PlaneSettings, renderer: InProcessRenderer | None = None
) -> AsyncGenerator[Plane]:
    proxy = Proxy(
        ProxySettings(
            https_port=settings.https_port,
            trusted_proxies=settings.trusted_proxies,
            proxy_protocol=settings.proxy_protocol,
        )
    )
    async with proxy:
        http = await proxy.listen(*settings.http)
        https = await proxy.listen(*settings.https, tls=True)
        yield LivePlane[RoutingTable](
            renderer=renderer or InProcessRenderer(),
            applier=InProcessApplier(proxy),
            http=http.address,
            https=https.address,
            counts=proxy.statistics,
        )


# Tests ask for one new thing after another, and need not wait as tenants must.
_IMPATIENT = HaproxyOptions(reload_gap=timedelta(milliseconds=1), reload_share=1.0)


@asynccontextmanager
async def open_haproxy(
    settings: PlaneSettings, renderer: HaproxyRenderer | None = None, options: HaproxyOptions = _IMPATIENT
) -> AsyncGenerator[Plane]:
    program = HaproxySettings(
        http=(Bind(*settings.http),),
        https=(Bind(*settings.https),),
        https_port=settings.https_port,
        trusted_proxies=settings.trusted_proxies,
        proxy_protocol=settings.proxy_protocol,
    )
    async with Haproxy(program, state=settings.state_dir, program=HAPROXY, options=options) as haproxy:
        yield LivePlane[HaproxyArtifact](
            renderer=renderer or HaproxyRenderer(),
            applier=HaproxyApplier(haproxy),
            http=settings.http,
            https=settings.https,
            processes=lambda: frozenset(() if haproxy.pid is None else (haproxy.pid,)),
        )


HAPROXY = os.environ.get("HAPROXY", "haproxy")
"""The HAProxy to test; ``$HAPROXY`` names another one than that on the path."""


def _missing(program: str) -> str:
    try:
        find_program(program)
    except ApplyError as exc:
        return str(exc)
    return ""


_OPENERS: Mapping[str, OpenPlane] = {
    "inprocess": open_inprocess,
    "haproxy": open_haproxy,
    "nginx-dynamic": open_nginx_dynamic,
}
_REASONS = {"haproxy": _missing(HAPROXY), "nginx-dynamic": NGINX_DYNAMIC_MISSING}

MISSING: Mapping[str, str] = {name: why for name, why in _REASONS.items() if why}
"""The proxies that are not installed here, and why."""
PLANES: Mapping[str, OpenPlane] = {name: opener for name, opener in _OPENERS.items() if name not in MISSING}
"""By name, those that are."""
PROMISES: Mapping[str, Promise] = {
    "inprocess": Promise(),
    "haproxy": Promise(),
    "nginx-dynamic": Promise(),
}
