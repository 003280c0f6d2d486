"""How long a change takes to be live in HAProxy, with thousands of Ingresses there, and what they cost it.

    python benchmarks/haproxy_live_change.py [--ingresses 5000] [--changes 40] [--program haproxy]

Objects in memory, `Controller`, a real HAProxy, sockets on 127.0.0.1. Each Ingress has a host and a
Service of its own. Each change is timed from the moment its objects are there to the first right answer
through HAProxy, on a new connection.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import ssl
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import anyio
from anyio.streams.tls import TLSAttribute

from ingresskit.apply.haproxy import Haproxy, HaproxyApplier, HaproxyOptions
from ingresskit.controller import Controller, ControllerSettings
from ingresskit.models import Ingress, KubeObject
from ingresskit.policies.values import parse_networks
from ingresskit.render.haproxy import Bind, HaproxyArtifact, HaproxyRenderer, HaproxySettings
from ingresskit.sources import MemorySource
from ingresskit.testing import EPOCH, endpoint_slice, ingress, ingress_class, service, tls_secret
from ingresskit.testing.certificates import make_certificate
from ingresskit.testing.loopback import Address, connect_tls
from ingresskit.testing.planes import free_port
from ingresskit.testing.traffic import open_endpoints
from ingresskit.translate import DestinationPolicy, TranslateOptions

__all__ = ["Report", "measure"]

_DEADLINE_SECONDS = 20
_TLS_HOST = "tls.test"
_KINDS = ("endpoint replaced", "host and service added", "certificate rotated", "host deleted")


@dataclass(kw_only=True)
class Report:
    """What was seen.

    Attributes:
        seconds: For each kind of change, how long each took to be live.
        first: How long the first configuration took, from the objects to the first right answer.
        empty: Memory of HAProxy's worker with as many empty slots, in bytes.
        loaded: The same with everything in them.
        reloads: By reason, the first start among them.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    first: float = 0.0
    empty: int = 0
    loaded: int = 0
    reloads: dict[str, int] = field(default_factory=dict[str, int])

    def lines(self) -> Iterator[str]:
        """The report for people."""
        yield f"first configuration live after {self.first:.2f} s"
        for what, values in self.seconds.items():
            median = 1000 * statistics.median(values)
            yield f"{what:24} {len(values):4}  median {median:6.1f} ms  max {1000 * max(values):6.1f} ms"
        ratio = self.loaded / self.empty if self.empty else 0
        yield f"HAProxy's memory: {self.loaded / 1e6:.0f} MB, {ratio:.2f} times that of as many empty slots"
        yield from (f"{count} x {reason}" for reason, count in self.reloads.items())


async def measure(*, ingresses: int = 5000, changes: int = 40, program: str = "haproxy") -> Report:
    """Serve *ingresses* Ingresses and make *changes* changes of each kind.

    Raises:
        TimeoutError: A change was not live within 20 seconds.
    """
    report = Report()
    with tempfile.TemporaryDirectory(prefix="ik-") as folder:
        http, https = ("127.0.0.1", free_port()), ("127.0.0.1", free_port())
        settings = HaproxySettings(http=(Bind(*http),), https=(Bind(*https),))
        async with (
            open_endpoints(2) as pods,
            Haproxy(settings, state=Path(folder), program=program, options=HaproxyOptions()) as haproxy,
            anyio.create_task_group() as tasks,
        ):
            world = _World(pods.ports)
            source = MemorySource(world.first(ingresses))
            controller: Controller[HaproxyArtifact] = Controller(
                source=source,
                renderer=HaproxyRenderer(),
                applier=HaproxyApplier(haproxy),
                options=TranslateOptions(destinations=DestinationPolicy(allow=parse_networks("127.0.0.0/8"))),
                settings=ControllerSettings(settle_quiet=timedelta(0)),
            )
            begun = anyio.current_time()
            tasks.start_soon(controller.run)
            with anyio.fail_after(120):
                await controller.wait_applied(0)
            report.first = anyio.current_time() - begun
            gc.collect()
            gc.freeze()
            probe = _Probe(http, https)
            for number in range(changes):
                for kind in _KINDS:
                    change, right = world.change(kind, number, source)
                    begun = anyio.current_time()
                    change()
                    await probe.wait(right)
                    report.seconds.setdefault(kind, []).append(anyio.current_time() - begun)
                    await anyio.sleep(0.1)
            report.loaded = await _worker_memory(haproxy)
            report.reloads = dict(haproxy.reloads)
            slots = haproxy.supervisor.live.slots.pools if haproxy.supervisor.live else {}
            tasks.cancel_scope.cancel()
    report.empty = await _empty_memory(max(slots.values()), program)
    return report


async def _empty_memory(slots: int, program: str) -> int:
    from ingresskit.apply.haproxy import PoolSettings

    with tempfile.TemporaryDirectory(prefix="ik-") as folder:
        settings = HaproxySettings(
            http=(Bind("127.0.0.1", free_port()),), https=(Bind("127.0.0.1", free_port()),)
        )
        options = HaproxyOptions(pools=PoolSettings(first=slots))
        async with Haproxy(settings, state=Path(folder), program=program, options=options) as haproxy:
            applier = HaproxyApplier(haproxy)
            await applier.apply(applier.plan(None, HaproxyArtifact()))
            return await _worker_memory(haproxy)


async def _worker_memory(haproxy: Haproxy) -> int:
    processes = await haproxy.master.api.processes()
    status = await anyio.Path(f"/proc/{processes.workers[0].pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


Right = Callable[["_Probe"], Awaitable[bool]]


class _World:
    """The objects and how they change."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        self._ports = ports
        self._turn = 0

    def first(self, count: int) -> list[KubeObject]:
        objects: list[KubeObject] = [ingress_class(), *self._app("moving", 0)]
        objects += [
            *self._app("tls", 0),
            ingress("tls", {_TLS_HOST: {"/": "tls"}}, tls={"tls": [_TLS_HOST]}),
            tls_secret(_TLS_HOST, salt="0"),
            ingress("moving", {"moving.test": {"/": "moving"}}),
        ]
        for number in range(count):
            objects += self._app(f"app-{number}", number)
            objects.append(ingress(f"app-{number}", {f"app-{number}.test": {"/": f"app-{number}"}}))
        return objects

    def _app(self, name: str, turn: int) -> list[KubeObject]:
        port = self._ports[turn % len(self._ports)]
        return [service(name, 80), endpoint_slice(name, "127.0.0.1", ports=port)]

    def change(self, kind: str, number: int, source: MemorySource) -> tuple[Callable[[], None], Right]:
        match kind:
            case "endpoint replaced":
                port = self._ports[(number + 1) % len(self._ports)]
                return (
                    lambda: source.apply(*self._app("moving", number + 1)),
                    lambda probe: probe.answers("moving.test", port),
                )
            case "host and service added":
                name = f"new-{number}"
                objects = [*self._app(name, 0), ingress(name, {f"{name}.test": {"/": name}})]
                return lambda: source.apply(*objects), lambda probe: probe.answers(
                    f"{name}.test", self._ports[0]
                )
            case "certificate rotated":
                shown = make_certificate(
                    _TLS_HOST, salt=str(number + 1), not_after=EPOCH + timedelta(days=36500)
                ).fingerprint
                secret = tls_secret(_TLS_HOST, salt=str(number + 1))
                return lambda: source.apply(secret), lambda probe: probe.shows(shown)
            case _:
                return (
                    lambda: source.delete(Ingress, "default", f"new-{number}"),
                    lambda probe: probe.answers(f"new-{number}.test", None),
                )


class _Probe:
    """Asks until the answer is right."""

    def __init__(self, http: Address, https: Address) -> None:
        self._http, self._https = http, https

    async def wait(self, right: Right) -> None:
        with anyio.fail_after(_DEADLINE_SECONDS):
            # Nothing but asking again tells a client. Not too often: it takes turns with the controller.
            while not await right(self):  # noqa: ASYNC110 - asks over the network
                await anyio.sleep(0.002)

    async def answers(self, host: str, port: int | None) -> bool:
        """Whether the endpoint at *port* answers; ``None``: whether it is 404."""
        async with await anyio.connect_tcp(*self._http) as stream:
            await stream.send(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            received = b""
            async for part in stream:
                received += part
        if port is None:
            return received.startswith(b"HTTP/1.1 404 ")
        return received.startswith(b"HTTP/1.1 200 ") and received.endswith(str(port).encode())

    async def shows(self, fingerprint: str) -> bool:
        """Whether that certificate is shown."""
        stream = await connect_tls(self._https, _TLS_HOST)
        der = stream.extra(TLSAttribute.peer_certificate_binary)  # noqa: S610 - not Django's
        await anyio.aclose_forcefully(stream)
        return hashlib.sha256(der or b"").hexdigest() == fingerprint


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ingresses", type=int, default=5000)
    parser.add_argument("--changes", type=int, default=40)
    parser.add_argument("--program", default="haproxy")
    arguments = parser.parse_args()

    async def run() -> Report:
        return await measure(
            ingresses=arguments.ingresses, changes=arguments.changes, program=arguments.program
        )

    report = anyio.run(run)
    print(f"{arguments.ingresses} Ingresses, {arguments.changes} changes of each kind, {ssl.OPENSSL_VERSION}")
    print(*report.lines(), sep="\n")


if __name__ == "__main__":
    main()
