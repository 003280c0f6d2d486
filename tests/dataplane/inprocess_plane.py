"""The in-process proxy as a plane."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ingresskit.apply import InProcessApplier
from ingresskit.proxy import Proxy, ProxySettings
from ingresskit.render.inprocess import InProcessRenderer, RoutingTable
from ingresskit.testing.planes import LivePlane, Plane, PlaneSettings
from tests.dataplane.kind import Kind


@asynccontextmanager
async def open_inprocess(
    settings: PlaneSettings, renderer: InProcessRenderer | None = None
) -> AsyncGenerator[Plane]:
    proxy = Proxy(
        ProxySettings(
            underscores_in_headers=settings.underscores_in_headers,
            public_http_port=settings.public_http_port,
            public_https_port=settings.public_https_port,
            trusted_proxies=settings.trusted_proxies,
            proxy_protocol=settings.proxy_protocol,
            ports_address="127.0.0.1",
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


INPROCESS = Kind(name="inprocess", open=open_inprocess)
