"""What it costs to follow a cluster: our informers, the official client's, kopf's index and kr8s.

    python benchmarks/informers.py [--objects 5000] [--changes 2000] [--only ingresskit]

The embedded API server runs in a process of its own and holds so many Ingresses, Services and
EndpointSlices; each library follows all three in its own process until it holds everything, then sees so
many EndpointSlices change, 1,000 a second. Shown are the CPU seconds of the whole process until then
(imports, which are shown too, included), the resident memory, and the CPU time for each change. A library
that is not installed is left out. Goal: at most a quarter of the CPU of the official client's
informer, and a process below 110 MB.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

_KINDS = ("ingresses", "services", "endpointslices")
_DEADLINE_SECONDS = 180.0
_PER_TURN = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--objects", type=int, default=5000, help="of each kind (%(default)s)")
    parser.add_argument("--changes", type=int, default=2000, help="(%(default)s)")
    parser.add_argument("--only", choices=sorted(_FOLLOWERS), action="append", help="may be repeated")
    parser.add_argument("--serve", metavar="KUBECONFIG", help=argparse.SUPPRESS)
    parser.add_argument("--follow", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return _serve(Path(options.serve), options.objects, options.changes)
    if options.follow:
        name, config = options.follow
        os.environ["KUBECONFIG"] = config
        _FOLLOWERS[name][1](_Report(options.objects, name))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config"
        sizes = [f"--objects={options.objects}", f"--changes={options.changes}"]
        with _process("--serve", str(config), *sizes) as server:
            _answer(server)
            found = {
                name: figures
                for name in options.only or list(_FOLLOWERS)
                if (figures := _measure(name, config, server, sizes)) is not None
            }
    _print(found, options.changes)
    return 0


def _print(found: dict[str, dict[str, float]], changes: int) -> None:
    print(f"{'':28}{'imports':>9}{'synced':>9}{'CPU s':>9}{'RSS MB':>9}{'peak MB':>9}{'us/change':>11}")
    for name, it in found.items():
        each = 1e6 * it["changes_cpu"] / changes
        print(
            f"{name:28}{it['imports_cpu']:9.2f}{it['seconds']:8.1f}s{it['cpu']:9.2f}{it['rss']:9.0f}"
            f"{it['peak']:9.0f}{each:11.0f}"
        )
    ours = found.get("ingresskit")
    for name, it in found.items():
        if ours is not None and not name.startswith("ingresskit"):
            print(
                f"{name} / ingresskit: CPU {it['cpu'] / ours['cpu']:.1f}, memory {it['rss'] / ours['rss']:.1f},"
                f" change {it['changes_cpu'] / ours['changes_cpu']:.1f}"
            )


def _measure(
    name: str, config: Path, server: subprocess.Popen[str], sizes: list[str]
) -> dict[str, float] | None:
    package = _FOLLOWERS[name][0]
    if importlib.util.find_spec(package) is None:
        print(f"{name}: {package} is not installed, left out")
        return None
    with _process("--follow", name, str(config), *sizes) as follower:
        try:
            figures = _answer(follower)
            _tell(server, name)
            _answer(server)
            return figures | _answer(follower)
        except (TimeoutError, EOFError) as exc:
            print(f"{name}: did not get there: {exc}")
            return None


@contextmanager
def _process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, __file__, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def _answer(process: subprocess.Popen[str]) -> dict[str, float]:
    """The next line the process says; ends it if there is none in time."""
    assert process.stdout is not None
    timer = threading.Timer(_DEADLINE_SECONDS, process.kill)
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        timer.cancel()
    if not line:
        raise EOFError(f"no answer within {_DEADLINE_SECONDS:g} s")
    return dict(json.loads(line))


# The server.


def _serve(config: Path, objects: int, changes: int) -> int:
    from ingresskit.testing.apiserver import ApiServer

    with ApiServer.in_thread() as server:
        server.load(item for number in range(objects) for item in _application(number))
        server.kubeconfig(config)
        print("{}", flush=True)
        for turn, line in enumerate(sys.stdin):
            for number in range(changes - 1):
                server.put(_slice(f"a{number % objects}", f"10.{turn + 1}.{number // 250}.{number % 250 + 1}"))
                if number % _PER_TURN == 0:
                    time.sleep(_PER_TURN / 1000)
            server.put(_slice(_last(line), "10.0.0.1"))
            print("{}", flush=True)
    return 0


def _last(name: str) -> str:
    """The name of the EndpointSlice that ends the changes for *name*."""
    return f"done-{name.strip().lower().replace(' ', '-')}"


def _application(number: int) -> list[dict[str, object]]:
    name = f"a{number}"
    backend = {"service": {"name": name, "port": {"number": 80}}}
    rule = {
        "host": f"{name}.example",
        "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
    }
    meta = {"name": name, "namespace": "default", "labels": {"app": name, "team": f"t{number % 50}"}}
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": meta,
            "spec": {"ingressClassName": "ingresskit", "rules": [rule]},
        },
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": 80}]}},
        _slice(name, "10.0.0.1"),
    ]


def _slice(name: str, address: str) -> dict[str, object]:
    addresses = [address, "10.200.0.1", "10.200.0.2"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [item], "conditions": {"ready": True}} for item in addresses],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


# Those who follow.


class _Report:
    """Says when everything is held, and when the last change was seen."""

    def __init__(self, objects: int, name: str) -> None:
        self.objects = objects
        self.last = _last(name)
        self._began = time.monotonic()
        self._imports = self._cpu = 0.0

    def imported(self) -> None:
        self._imports = _cpu_seconds()

    def synced(self) -> None:
        self._cpu = _cpu_seconds()
        self._say(
            imports_cpu=self._imports,
            seconds=time.monotonic() - self._began,
            cpu=self._cpu,
            rss=_megabytes("VmRSS"),
        )

    def changed(self) -> None:
        self._say(changes_cpu=_cpu_seconds() - self._cpu, peak=_megabytes("VmHWM"))

    def _say(self, **figures: float) -> None:
        print(json.dumps(figures), flush=True)


def _cpu_seconds() -> float:
    used = getrusage(RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _megabytes(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def _ingresskit(report: _Report) -> None:
    import anyio

    from ingresskit.cache import EventHandler, SharedInformerFactory
    from ingresskit.kube import AioTransport, KubeconfigCredentials
    from ingresskit.models import EndpointSlice, Ingress, KubeObject, Service

    async def follow() -> None:
        last = anyio.Event()

        def seen(item: KubeObject) -> None:
            if item.metadata.name == report.last:
                last.set()

        async with AioTransport(KubeconfigCredentials()) as transport, anyio.create_task_group() as group:
            factory = SharedInformerFactory(transport)
            kinds: list[type[KubeObject]] = [Ingress, Service, EndpointSlice]
            for kind in kinds:
                factory.for_resource(kind).add_event_handler(
                    EventHandler(on_add=seen, on_update=lambda _, new: seen(new))
                )
            group.start_soon(factory.run)
            await factory.wait_for_sync()
            report.synced()
            await last.wait()
            report.changed()
            group.cancel_scope.cancel()

    report.imported()
    anyio.run(follow)


def _ingresskit_source(report: _Report) -> None:
    import anyio

    from ingresskit.kube import AioTransport, KubeconfigCredentials
    from ingresskit.models import EndpointSlice, ObjectKey
    from ingresskit.sources import ClusterSource

    async def follow() -> None:
        async with AioTransport(KubeconfigCredentials()) as transport, anyio.create_task_group() as group:
            source = ClusterSource(transport)
            group.start_soon(source.run)
            await source.wait_changed(0)
            report.synced()
            key = ObjectKey("default", report.last)
            while (snapshot := source.snapshot()) is None or snapshot.get(EndpointSlice, key) is None:
                await source.wait_changed(snapshot.revision if snapshot is not None else 0)
            report.changed()
            group.cancel_scope.cancel()

    report.imported()
    anyio.run(follow)


def _official(report: _Report) -> None:
    from kubernetes import client, config
    from kubernetes.informer import SharedInformer

    report.imported()
    config.load_kube_config()
    networking, core, discovery = client.NetworkingV1Api(), client.CoreV1Api(), client.DiscoveryV1Api()
    informers = [
        SharedInformer(list_func=networking.list_ingress_for_all_namespaces),
        SharedInformer(list_func=core.list_service_for_all_namespaces),
        SharedInformer(list_func=discovery.list_endpoint_slice_for_all_namespaces),
    ]
    last = threading.Event()

    def seen(item: object) -> None:
        if getattr(getattr(item, "metadata", None), "name", "") == report.last:
            last.set()

    for informer in informers:
        informer.add_event_handler("ADDED", seen)
        informer.start()
    _poll(lambda: all(len(informer.cache.list_keys()) >= report.objects for informer in informers))
    report.synced()
    last.wait()
    report.changed()
    os._exit(0)  # its threads wait for their watches


def _kopf(report: _Report) -> None:
    import logging

    import kopf

    report.imported()
    logging.disable(logging.ERROR)
    held: dict[str, set[str]] = {kind: set() for kind in _KINDS}
    last = threading.Event()

    def follow(kind: str) -> None:
        @kopf.index(kind, id=kind)
        def _index(name: str, namespace: str, body: object, **_: object) -> object:
            held[kind].add(name)
            if name == report.last:
                last.set()
            return {(namespace, name): body}

    for kind in _KINDS:
        follow(kind)

    def watch() -> None:
        _poll(lambda: all(len(held[kind]) >= report.objects for kind in _KINDS))
        report.synced()
        last.wait()
        report.changed()
        os._exit(0)  # an operator's end takes its time

    threading.Thread(target=watch, daemon=True).start()
    kopf.run(clusterwide=True, standalone=True)


def _kr8s(report: _Report) -> None:
    import asyncio

    import kr8s.asyncio

    report.imported()

    async def follow() -> None:
        api = await kr8s.asyncio.api()
        held: dict[str, dict[str, object]] = {kind: {} for kind in _KINDS}
        last = asyncio.Event()

        async def one(kind: str) -> None:
            # It has no informer: this is the loop its users write. The watch begins with the state.
            async for event, item in api.watch(kind, namespace=kr8s.ALL):
                if event == "DELETED":
                    held[kind].pop(item.name, None)
                else:
                    held[kind][item.name] = item
                if item.name == report.last:
                    last.set()

        tasks = [asyncio.create_task(one(kind)) for kind in _KINDS]
        while any(len(held[kind]) < report.objects for kind in _KINDS):  # noqa: ASYNC110 - a count
            await asyncio.sleep(0.05)
        report.synced()
        await last.wait()
        report.changed()
        for task in tasks:
            task.cancel()

    asyncio.run(follow())


def _poll(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.05)


_FOLLOWERS: dict[str, tuple[str, Callable[[_Report], None]]] = {
    "ingresskit": ("ingresskit", _ingresskit),
    "ingresskit ClusterSource": ("ingresskit", _ingresskit_source),
    "kubernetes SharedInformer": ("kubernetes", _official),
    "kopf index": ("kopf", _kopf),
    "kr8s watch": ("kr8s", _kr8s),
}


if __name__ == "__main__":
    sys.exit(main())
