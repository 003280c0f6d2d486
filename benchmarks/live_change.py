"""How long a change of a manifest takes to be live, under load, and whether it costs a request.

    python benchmarks/live_change.py [--ingresses 1000] [--changes 100]

Everything is real but the pods: manifests in a folder, `FileSource`, `Controller`, the in-process
proxy, TLS, sockets on 127.0.0.1. Clients in threads ask all the while, on connections that they keep
and on new ones; each change is timed from the moment its file is in place to the first right answer.
"""

from __future__ import annotations

import argparse
import http.client
import json
import ssl
import statistics
import tempfile
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.to_thread

from ingresskit.apply import InProcessApplier
from ingresskit.controller import Controller
from ingresskit.graph import Backend, BackendKey, Certificate, Endpoint, RouteGraph
from ingresskit.models import ObjectKey
from ingresskit.policies.values import parse_networks
from ingresskit.proxy import Proxy
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.sources import FileSource
from ingresskit.testing import EPOCH, Answer, Ask, make_certificate
from ingresskit.testing.loopback import Address, LoopbackWorld, open_loopback
from ingresskit.translate import DestinationPolicy, TranslateOptions

__all__ = ["Report", "measure"]

_CLIENTS = 4
_PAUSE_SECONDS = 0.004  # between two requests of a client: a constant load, not as much as there can be
_DEADLINE_SECONDS = 15
_SERVICES = 20
_TLS_HOST = "tls.test"
_PODS = ("blue", "green")


@dataclass(kw_only=True)
class Report:
    """What was seen.

    Attributes:
        seconds: For each kind of change, how long each took to be live.
        requests: How many requests the clients made.
        failures: What went wrong with some of them, each as a sentence.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    requests: int = 0
    failures: list[str] = field(default_factory=list[str])

    def lines(self) -> Iterator[str]:
        """The report for people."""
        every = [value for values in self.seconds.values() for value in values]
        for what, values in (*self.seconds.items(), ("all changes", every)):
            median = statistics.median(values)
            yield f"{what:20} {len(values):4}  median {median:.3f} s  max {max(values):.3f} s"
        yield f"{self.requests} requests meanwhile, {len(self.failures)} failed"


async def measure(
    folder: Path,
    *,
    ingresses: int = 1000,
    changes: int = 100,
    interval: timedelta = timedelta(milliseconds=200),
) -> Report:
    """Serve *ingresses* Ingresses from *folder* and make *changes* changes under load.

    Args:
        folder: An empty folder.
        ingresses: How many, besides a few that are changed.
        changes: How many.
        interval: How often the source looks at the folder.

    Raises:
        TimeoutError: A change was not live within 15 seconds.
    """
    report = Report()
    async with open_loopback(_pods(changes)) as world, Proxy() as proxy, anyio.create_task_group() as tasks:
        ports = {key.service: backend.endpoints[0].port for key, backend in world.graph.backends.items()}
        manifests = _Manifests(folder, ports)
        manifests.write_all(ingresses)
        source = FileSource(folder, interval=interval)
        controller = Controller(
            source=source,
            renderer=InProcessRenderer(),
            applier=InProcessApplier(proxy),
            options=TranslateOptions(
                destinations=DestinationPolicy(allow=parse_networks("127.0.0.0/8")),
            ),
        )
        tasks.start_soon(controller.run)
        await controller.wait_applied(1)
        http = (await proxy.listen("127.0.0.1", 0)).address
        https = (await proxy.listen("127.0.0.1", 0, tls=True)).address
        probe = _Probe(world, http, https)
        async with _load(http, https, ingresses, report):
            for number in range(changes):
                what, change, ask, right = manifests.change(number)
                change()
                report.seconds.setdefault(what, []).append(await probe.wait(ask, right))
        tasks.cancel_scope.cancel()
    return report


class _Manifests:
    """The folder and what is done to it. Files are written beside their place and moved into it."""

    def __init__(self, folder: Path, ports: Mapping[str, int]) -> None:
        self._folder = folder
        self._ports = ports
        self._pod = _PODS[0]

    def write_all(self, count: int) -> None:
        self._write("class.json", _CLASS)
        self._write("secret.json", _secret(0))
        for number in range(_SERVICES):
            self._write(f"service-{number}.json", _service(f"service-{number}"))
            self._endpoints(f"service-{number}", _PODS[0])
        self._write("service-moving.json", _service("moving"))
        self._endpoints("moving", _PODS[0])
        self._write("moving.json", _ingress("moving", "moving.test", {"/": "moving"}))
        self._write("grow.json", _ingress("grow", "grow.test", {"/any": "service-0"}))
        tls = [{"hosts": [_TLS_HOST], "secretName": "tls"}]
        self._write("tls.json", _ingress("tls", _TLS_HOST, {"/": "service-0"}, tls=tls))
        for number in range(count):
            service = f"service-{number % _SERVICES}"
            paths = {"/": service, f"/path-{number}": service}
            self._write(f"many/web-{number}.json", _ingress(f"web-{number}", f"web-{number}.test", paths))

    def change(self, number: int) -> tuple[str, Callable[[], None], Ask, Callable[[Answer], bool]]:
        """The *number*-th change: what it is, doing it, a request, and whether its answer is right."""
        turn, kind = divmod(number, 5)
        match kind:
            case 0:
                pod = self._pod = _PODS[(_PODS.index(self._pod) + 1) % len(_PODS)]
                return (
                    "endpoint replaced",
                    lambda: self._endpoints("moving", pod),
                    Ask(host="moving.test"),
                    lambda answer: answer.services == frozenset({f"pods/{pod}"}),
                )
            case 1:
                paths = {f"/added-{at}": "service-1" for at in range(turn + 1)}
                return (
                    "path added",
                    lambda: self._write(
                        "grow.json", _ingress("grow", "grow.test", {"/any": "service-0", **paths})
                    ),
                    Ask(host="grow.test", path=f"/added-{turn}"),
                    lambda answer: answer.status == 200,
                )
            case 2:
                host = f"new-{turn}.test"
                return (
                    "host added",
                    lambda: self._write(f"new-{turn}.json", _ingress(f"new-{turn}", host, {"/": "service-2"})),
                    Ask(host=host),
                    lambda answer: answer.status == 200,
                )
            case 3:
                return (
                    "host deleted",
                    (self._folder / f"new-{turn}.json").unlink,
                    Ask(host=f"new-{turn}.test"),
                    lambda answer: answer.status == 404,
                )
            case _:
                return (
                    "certificate rotated",
                    lambda: self._write("secret.json", _secret(turn + 1)),
                    Ask(host=_TLS_HOST, tls=True, server_name=_TLS_HOST),
                    lambda answer: answer.certificate == f"turns/{turn + 1}" and answer.status == 200,
                )

    def _endpoints(self, service: str, pod: str) -> None:
        manifest = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{service}-1", "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "ports": [{"port": self._ports[pod]}],
            "endpoints": [{"addresses": ["127.0.0.1"]}],
        }
        self._write(f"{service}-1.json", manifest)

    def _write(self, name: str, manifest: object) -> None:
        place = self._folder / name
        place.parent.mkdir(exist_ok=True)
        beside = place.parent / f".{place.name}"
        beside.write_text(json.dumps(manifest))
        beside.replace(place)


class _Probe:
    """Asks until the answer is right."""

    def __init__(self, world: LoopbackWorld, http: Address, https: Address) -> None:
        self._world, self._http, self._https = world, http, https

    async def wait(self, ask: Ask, right: Callable[[Answer], bool]) -> float:
        """Seconds until *right* says so."""
        begun = anyio.current_time()
        with anyio.fail_after(_DEADLINE_SECONDS):
            # A client of a proxy has nothing but asking again.
            while not right(await self._world.ask(ask, http=self._http, https=self._https)):  # noqa: ASYNC110 - asks over the network
                await anyio.sleep(0.005)
        return anyio.current_time() - begun


@asynccontextmanager
async def _load(http_at: Address, https_at: Address, ingresses: int, report: Report) -> AsyncGenerator[None]:
    """Ask from threads for as long as the context is open."""
    stop, lock = threading.Event(), threading.Lock()

    def ask_on(connection: http.client.HTTPConnection, host: str, number: int) -> str | None:
        try:
            connection.request("GET", f"/any/{number}", headers={"Host": host})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as exc:
            connection.close()
            return f"{host}: {type(exc).__name__}: {exc}"
        return None if answer.status == 200 and body else f"{host}: status {answer.status}"

    def work(client: int) -> None:
        requests, failures = 0, list[str]()
        with closing(_connection(http_at, https_at, tls=client == 0)) as kept:
            while not stop.wait(_PAUSE_SECONDS):
                number = requests * _CLIENTS + client
                hosts = (f"web-{number % ingresses}.test", "moving.test", "grow.test")
                host = _TLS_HOST if client == 0 else hosts[number % len(hosts)]
                if requests % 10:
                    failed = ask_on(kept, host, number)
                else:
                    with closing(_connection(http_at, https_at, tls=client == 0)) as new:
                        failed = ask_on(new, host, number)
                requests += 1
                failures += [failed] if failed else []
        with lock:
            report.requests += requests
            report.failures += failures

    threads = [threading.Thread(target=work, args=(client,)) for client in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        with anyio.CancelScope(shield=True):
            for thread in threads:
                # Not here: the proxy that owes them an answer runs on this event loop.
                await anyio.to_thread.run_sync(thread.join)


def _connection(http_at: Address, https_at: Address, *, tls: bool) -> http.client.HTTPConnection:
    if not tls:
        return http.client.HTTPConnection(*http_at, timeout=_DEADLINE_SECONDS)
    return _NamedConnection(*https_at, timeout=_DEADLINE_SECONDS)


def _client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class _NamedConnection(http.client.HTTPSConnection):
    """Sends the server name of the TLS host to an address."""

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = _client_context().wrap_socket(self.sock, server_hostname=_TLS_HOST)


def _pods(changes: int) -> RouteGraph:
    """Two pods to play, and every certificate that will be shown, so that a probe can name it."""
    keys = [BackendKey("pods", name, 80) for name in _PODS]
    certificates: dict[ObjectKey, Certificate] = {}
    for turn in range(changes // 5 + 2):
        made, key = make_certificate(_TLS_HOST, salt=str(turn)), ObjectKey("turns", str(turn))
        certificates[key] = Certificate(
            secret=key,
            chain=made.chain,
            private_key=made.private_key,
            digest=made.fingerprint,
            names=(_TLS_HOST,),
            not_before=EPOCH,
            not_after=EPOCH,
        )
    backends = {key: Backend(key=key, endpoints=(Endpoint(address="10.0.0.1", port=80),)) for key in keys}
    return RouteGraph(backends=backends, certificates=certificates)


_CLASS = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "IngressClass",
    "metadata": {"name": "ingresskit"},
    "spec": {"controller": "ingresskit.dev/ingress-controller"},
}


def _service(name: str) -> object:
    metadata = {"name": name}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}


def _secret(turn: int) -> object:
    made = make_certificate(_TLS_HOST, salt=str(turn))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "tls"},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": made.chain.decode(), "tls.key": made.private_key.decode()},
    }


def _ingress(name: str, host: str, paths: Mapping[str, str], tls: object = None) -> object:
    written = [
        {
            "path": path,
            "pathType": "Prefix",
            "backend": {"service": {"name": service, "port": {"number": 80}}},
        }
        for path, service in paths.items()
    ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name},
        "spec": {
            "ingressClassName": "ingresskit",
            "tls": tls,
            "rules": [{"host": host, "http": {"paths": written}}],
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ingresses", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = anyio.run(
            lambda: measure(Path(folder), ingresses=arguments.ingresses, changes=arguments.changes)
        )
    print(f"{arguments.ingresses} Ingresses, {arguments.changes} changes")
    print(*report.lines(), *report.failures[:10], sep="\n")


if __name__ == "__main__":
    main()
