"""A real HAProxy on what the renderer made, started anew for each graph.

The real applier changes a running one; this is for tests of the program and its maps alone: each graph
is met by a process that knows of no other, and reads all of it from files.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from ingresskit.apply import NoOp, Plan, Reload
from ingresskit.errors import CheckFailed
from ingresskit.render.haproxy import (
    PROGRAM,
    Bind,
    Capabilities,
    HaproxyArtifact,
    HaproxyRenderer,
    HaproxySettings,
    Server,
    SlotClass,
    configuration,
    program,
    slot_name,
)
from ingresskit.testing.certificates import make_certificate
from ingresskit.testing.planes import LivePlane, Plane, PlaneSettings

BINARY = shutil.which(os.environ.get("HAPROXY", "haproxy")) or ""
needs_haproxy = pytest.mark.skipif(not BINARY, reason="needs the program haproxy")

_OWN = make_certificate("own.test")


@functools.cache
def capabilities(binary: str = BINARY) -> Capabilities:
    """Of the program."""
    said = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True)
    return Capabilities.of(said.stdout)


def write_configuration(
    artifact: HaproxyArtifact, settings: HaproxySettings, folder: Path, binary: str = BINARY
) -> Path:
    """All files in *folder*, each backend in a slot of its own; the path of the program."""
    numbers = Counter[SlotClass]()
    slots: dict[str, str] = {}
    held: dict[str, tuple[Server, ...]] = {}
    for name, backend in sorted(artifact.backends.items()):
        numbers[backend.slot_class] += 1
        slots[name] = slot_name(backend.slot_class, numbers[backend.slot_class])
        held[slots[name]] = backend.servers
    text = program(
        settings, capabilities(binary), needs=artifact.needs, pools=numbers, slots=held, marker="test"
    )
    own = _OWN.private_key + _OWN.chain
    for file in configuration(artifact, program=text, slots=slots, default_certificate=own):
        path = folder / file.path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file.content)
    return folder / PROGRAM


def check(path: Path, binary: str = BINARY) -> str:
    """What the checker says of a configuration; warnings are errors."""
    said = subprocess.run(
        [binary, "-W", "-dW", "-c", "-f", str(path)], capture_output=True, text=True, check=False
    )
    return said.stdout + said.stderr if said.returncode else ""


@contextmanager
def running(path: Path, port: int, binary: str = BINARY) -> Generator[int]:
    """HAProxy on a configuration, taking connections at *port*; the id of its process.

    Raises:
        CheckFailed: It did not start.
    """
    log = path.parent / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([binary, "-db", "-dW", "-f", str(path)], stdout=output, stderr=output)
    try:
        _wait_listening(process, port, log)
        yield process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _wait_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        try:
            process.wait(0.005)
        except subprocess.TimeoutExpired:
            continue
    raise CheckFailed(log.read_text())


class Restarting:
    """An applier that knows one way to change anything."""

    def __init__(self, settings: HaproxySettings, folder: Path, binary: str) -> None:
        self._settings = settings
        self._folder = folder
        self._binary = binary
        self._served = 0
        self._stack = ExitStack()
        self.pid: int | None = None

    def plan(self, old: HaproxyArtifact | None, new: HaproxyArtifact) -> Plan[HaproxyArtifact]:
        return NoOp() if old == new else Reload(artifact=new, reason="it is started anew")

    async def apply(self, plan: Plan[HaproxyArtifact]) -> None:
        if not isinstance(plan, NoOp):
            await anyio.to_thread.run_sync(self._start, plan.artifact)

    def _start(self, artifact: HaproxyArtifact) -> None:
        self.stop()
        self._served += 1
        folder = self._folder / str(self._served)
        folder.mkdir()
        path = write_configuration(artifact, self._settings, folder, self._binary)
        self.pid = self._stack.enter_context(running(path, self._settings.http[0].port, self._binary))

    def stop(self) -> None:
        self._stack.close()
        self.pid = None


@asynccontextmanager
async def open_restarting(settings: PlaneSettings) -> AsyncGenerator[Plane]:
    """A plane for the contract and for `tests.dataplane`."""
    binary = settings.program or BINARY
    own = HaproxySettings(
        http=(Bind(*settings.http),),
        https=(Bind(*settings.https),),
        underscores_in_headers=settings.underscores_in_headers,
        public_http_port=settings.public_http_port,
        public_https_port=settings.public_https_port,
        trusted_proxies=settings.trusted_proxies,
        proxy_protocol=settings.proxy_protocol,
        max_connections=500,
    )
    applier = Restarting(own, settings.state_dir, binary)
    try:
        await applier.apply(applier.plan(None, HaproxyArtifact()))
        yield LivePlane[HaproxyArtifact](
            renderer=HaproxyRenderer(),
            applier=applier,
            http=settings.http,
            https=settings.https,
            processes=lambda: frozenset() if applier.pid is None else frozenset({applier.pid}),
        )
    finally:
        applier.stop()
