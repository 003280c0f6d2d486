"""A real nginx in its dynamic mode, and a client that asks it over one connection after the other."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from ingresskit.apply.nginx import Nginx, NginxApplier, NginxProcessSettings
from ingresskit.graph import RouteGraph
from ingresskit.render.nginx import Mode, NginxArtifact, NginxRenderer, NginxSettings
from ingresskit.testing.planes import free_port, state_folder


class Running:
    """An nginx, what renders for it and what applies to it."""

    def __init__(self, nginx: Nginx, port: int) -> None:
        self.nginx = nginx
        self.port = port
        self.renderer = NginxRenderer(nginx.settings, nginx.capabilities, mode=Mode.DYNAMIC)
        self.applier = NginxApplier(nginx)
        self.live: NginxArtifact | None = None

    @property
    def state(self) -> Path:
        return Path(self.nginx.settings.state)

    async def serve(self, graph: RouteGraph) -> None:
        artifact = self.renderer.render(graph)
        await self.applier.apply(self.applier.plan(self.live, artifact))
        self.live = artifact

    async def status(self, host: str, path: str = "/") -> int:
        """What a new connection is answered."""
        async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
            await stream.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return int((await stream.receive()).split(b" ", 2)[1])


@asynccontextmanager
async def running_nginx(state: Path, *, workers: int = 2) -> AsyncGenerator[Running]:
    port = free_port()
    settings = NginxSettings(state=str(state), http=(f"127.0.0.1:{port}",), workers=workers)
    async with Nginx(settings, NginxProcessSettings(reload_gap=timedelta(0))) as nginx:
        if not nginx.capabilities.lua:
            pytest.skip("nginx has no Lua module here")
        yield Running(nginx, port)


@pytest.fixture
def nginx_there() -> None:
    if shutil.which("nginx", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin") is None:
        pytest.skip("nginx is not installed")


@pytest.fixture
async def running(nginx_there: None) -> AsyncGenerator[Running]:
    with state_folder() as folder:
        async with running_nginx(folder) as made:
            await made.serve(RouteGraph())
            yield made
