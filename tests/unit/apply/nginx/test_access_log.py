"""Lines of the access log as a controller gets them."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from ingresskit.apply.nginx import Nginx, NginxApplier, NginxProcessSettings
from ingresskit.graph import RouteGraph
from ingresskit.render.nginx import Mode, NginxRenderer, NginxSettings
from ingresskit.testing import pace
from ingresskit.testing.planes import free_port, state_folder

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nginx_there")]


@pytest.mark.parametrize("mode", list(Mode))
async def test_each_request_is_one_line_in_the_format_of_ingress_nginx(mode: Mode) -> None:
    lines: list[str] = []
    with state_folder() as folder:
        port = free_port()
        settings = NginxSettings(state=str(folder), http=(f"127.0.0.1:{port}",), workers=1, access_log="socket")
        process = NginxProcessSettings(reload_gap=timedelta(0))
        async with Nginx(settings, process, access_line=lines.append) as nginx:
            if mode is Mode.DYNAMIC and not nginx.capabilities.lua:
                pytest.skip("nginx has no Lua module here")
            renderer, applier = NginxRenderer(settings, nginx.capabilities, mode=mode), NginxApplier(nginx)
            await applier.apply(applier.plan(None, renderer.render(RouteGraph())))
            for path in ("/one", "/two"):
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    request = (
                        f"GET {path} HTTP/1.1\r\nHost: a.test\r\nUser-Agent: me\r\nConnection: close\r\n\r\n"
                    )
                    await stream.send(request.encode())
                    await stream.receive()
            with anyio.fail_after(pace.within(20)):
                while len(lines) < 2:  # noqa: ASYNC110 - a datagram of another process
                    await anyio.sleep(0.01)

    assert [line.partition(" - - [")[0] for line in lines] == ["127.0.0.1", "127.0.0.1"]
    assert '"GET /one HTTP/1.1" 404 24 "-" "me"' in lines[0]
    assert '"GET /two HTTP/1.1" 404' in lines[1]
