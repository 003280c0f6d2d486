"""A HAProxy over its whole life, in front of an endpoint, for tests of what is done to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import anyio

from ingresskit.apply.haproxy import Haproxy, HaproxyApplier, HaproxyOptions
from ingresskit.errors import ApplyPostponed
from ingresskit.models import KubeObject, Snapshot
from ingresskit.policies.values import parse_networks
from ingresskit.render.haproxy import Bind, HaproxyArtifact, HaproxyRenderer, HaproxySettings
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.testing.planes import free_port
from ingresskit.testing.traffic import open_endpoints
from ingresskit.translate import DestinationPolicy, TranslateOptions, Translator
from tests.unit.apply.haproxy.conftest import DEADLINE, haproxy_binary

QUICK = HaproxyOptions(
    reload_gap=timedelta(milliseconds=1), reload_share=1.0, disk_delay=timedelta(milliseconds=10)
)
PATIENT = HaproxyOptions(reload_gap=timedelta(seconds=600))
PLAIN: Mapping[str, str] = {}
UNUSUAL = {"connect-timeout": "2s"}
ALLOWED = TranslateOptions(destinations=DestinationPolicy(allow=parse_networks("127.0.0.0/8")))


@dataclass(kw_only=True)
class Scene:
    """A HAProxy in front of one endpoint, and what a cluster would say."""

    haproxy: Haproxy
    port: int
    pod: int
    applier: HaproxyApplier = field(init=False)
    renderer: HaproxyRenderer = field(default_factory=HaproxyRenderer)
    translator: Translator = field(default_factory=lambda: Translator(ALLOWED))

    def __post_init__(self) -> None:
        self.applier = HaproxyApplier(self.haproxy)

    def artifact(self, *more: KubeObject, hosts: Mapping[str, Mapping[str, str]]) -> HaproxyArtifact:
        """For hosts with annotations, each with a Service of its own."""
        objects: list[KubeObject] = [ingress_class(), *more]
        for host, asked in hosts.items():
            name = host.removesuffix(".test")
            objects += [
                ingress(name, {host: {"/": name}}, annotations=asked),
                service(name),
                endpoint_slice(name, "127.0.0.1", ports=self.pod),
            ]
        graph = self.translator.translate(Snapshot.of(objects)).graph
        return self.renderer.render(self.renderer.restrict(graph).graph)

    async def serve(self, *more: KubeObject, hosts: Mapping[str, Mapping[str, str]]) -> type[object]:
        """Serve them, as soon as a reload is due; returns what kind of plan it took."""
        artifact = self.artifact(*more, hosts=hosts)
        while True:
            plan = self.applier.plan(None, artifact)
            try:
                await self.applier.apply(plan)
            except ApplyPostponed as exc:
                if exc.retry_after > timedelta(seconds=5):
                    raise
                await anyio.sleep(exc.retry_after.total_seconds())
            else:
                return type(plan)

    async def ask(self, host: str) -> int:
        """The status that a client gets; 0: nobody answers."""
        try:
            async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
                await stream.send(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                return int((await stream.receive()).split()[1])
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
            return 0


@asynccontextmanager
async def scene(state: Path, options: HaproxyOptions = QUICK, *, tls: bool = False) -> AsyncGenerator[Scene]:
    port = free_port()
    settings = HaproxySettings(
        http=(Bind("127.0.0.1", port),), https=(Bind("127.0.0.1", free_port()),) if tls else ()
    )
    with anyio.fail_after(DEADLINE):
        async with (
            open_endpoints(1) as endpoints,
            Haproxy(settings, state=state, program=haproxy_binary(), options=options) as haproxy,
        ):
            yield Scene(haproxy=haproxy, port=port, pod=endpoints.ports[0])


async def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - another process is waited for
        await anyio.sleep(0.01)
