"""Every proxy there is, started with its real applier on free ports of this machine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from ingresskit.apply import InProcessApplier
from ingresskit.proxy import Proxy, ProxySettings
from ingresskit.render.inprocess import InProcessRenderer, RoutingTable
from ingresskit.testing.planes import LivePlane, Plane, PlaneSettings


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


PLANES: Mapping[str, OpenPlane] = {"inprocess": open_inprocess}
"""By name. What is not installed here is in `MISSING` instead, with the reason."""
MISSING: Mapping[str, str] = {}
PROMISES: Mapping[str, Promise] = {"inprocess": Promise()}
