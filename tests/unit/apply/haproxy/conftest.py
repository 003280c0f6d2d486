"""A real HAProxy with a small configuration, for tests of what talks to it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from ingresskit.apply import ProxyProcess
from ingresskit.apply.haproxy.cli import Cli
from ingresskit.apply.haproxy.runtime import RuntimeApi
from ingresskit.errors import ApplyError
from ingresskit.testing import make_certificate, pace

DEADLINE = pace.within(30.0)

CONFIGURATION = """\
global
    default-path config
    hard-stop-after 2s
defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 1s
frontend clients
    bind unix@{root}/plain.sock
    bind unix@{root}/tls.sock ssl crt-list certificates.list
    http-request return status 404 unless {{ path,map_str(maps/routes.map) -m found }}
    use_backend %[path,map_str(maps/routes.map)]
backend slot
    balance random
"""


def haproxy_binary() -> str:
    """The HAProxy to test with: that of ``$HAPROXY``, else the installed one."""
    return os.environ.get("HAPROXY", "haproxy")


needs_haproxy = pytest.mark.skipif(
    shutil.which(haproxy_binary(), path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None,
    reason="HAProxy is not installed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A HAProxy that runs."""

    root: Path
    cli: Cli
    api: RuntimeApi
    process: ProxyProcess


@pytest.fixture
def short_path() -> Generator[Path]:
    """A folder with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="ik-") as folder:
        yield Path(folder)


@asynccontextmanager
async def running_haproxy(root: Path) -> AsyncGenerator[Running]:
    """Start it, wait until its worker answers, and end it."""
    for folder in ("maps", "certificates"):
        (root / folder).mkdir()
    (root / "maps/routes.map").write_text("")
    made = make_certificate("default.test")
    (root / "certificates/default.pem").write_bytes(made.private_key + made.chain)
    (root / "certificates.list").write_text("certificates/default.pem\n")
    (root / "haproxy.cfg").write_text(CONFIGURATION.format(root=root))
    socket = root / "master.sock"
    argv = [haproxy_binary(), "-W", "-S", f"{socket},mode,600,level,admin", "-f", str(root / "haproxy.cfg")]
    process = ProxyProcess("haproxy", argv, state=root)
    cli = Cli(socket)
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.run)
            await process.start()
            try:
                running = Running(root=root, cli=cli, api=RuntimeApi(cli), process=process)
                await wait_ready(running)
                yield running
            finally:
                with anyio.CancelScope(shield=True):
                    await process.stop(grace=timedelta(seconds=5))
                tasks.cancel_scope.cancel()


async def wait_ready(running: Running) -> None:
    while True:
        try:
            await running.api.info()
            return
        except ApplyError:
            await anyio.sleep(0.01)
