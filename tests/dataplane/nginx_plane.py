"""nginx in its modes, as planes; ``$NGINX`` names another one than that on the path."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio

from ingresskit.apply.nginx import Nginx, NginxApplier, NginxProcessSettings
from ingresskit.apply.nginx.probe import find_nginx
from ingresskit.graph import RouteGraph
from ingresskit.render.nginx import Mode, NginxArtifact, NginxRenderer, NginxSettings
from ingresskit.testing.loopback import Address
from ingresskit.testing.planes import LivePlane, Plane, PlaneSettings
from tests.dataplane.kind import Kind, located

PROGRAM, _MISSING = located(os.environ.get("NGINX", "nginx"))


@asynccontextmanager
async def open_nginx_dynamic(settings: PlaneSettings) -> AsyncGenerator[Plane]:
    nginx_settings = NginxSettings(
        state=str(settings.state_dir),
        http=(_listen(settings.http),),
        https=(_listen(settings.https),),
        https_port=settings.https_port,
        trusted_proxies=settings.trusted_proxies,
        proxy_protocol=settings.proxy_protocol,
        workers=2,
    )
    # Tests ask for one new thing after another, and need not wait as tenants must.
    process = NginxProcessSettings(program=settings.program or PROGRAM, reload_gap=timedelta(0))
    async with Nginx(nginx_settings, process) as nginx:
        plane = LivePlane[NginxArtifact](
            name="nginx-dynamic",
            renderer=NginxRenderer(nginx_settings, nginx.capabilities, mode=Mode.DYNAMIC),
            applier=NginxApplier(nginx),
            http=settings.http,
            https=settings.https,
            processes=lambda: nginx.workers().serving | ({nginx.pid} if nginx.pid else frozenset[int]()),
        )
        if nginx.pid is None:
            await plane.serve(RouteGraph())  # nginx takes no connection before there is something to serve
            plane.applied = dict.fromkeys(plane.applied, 0)
        yield plane


def _listen(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def _why_no_dynamic_mode() -> str:
    return _MISSING or anyio.run(find_nginx, PROGRAM).note


NGINX_DYNAMIC = Kind(
    name="nginx-dynamic", open=open_nginx_dynamic, program=PROGRAM, missing=_why_no_dynamic_mode()
)
