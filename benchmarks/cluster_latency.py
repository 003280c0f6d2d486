"""How long a change of endpoints in a cluster takes to be used by the proxy, with many Ingresses loaded.

    python benchmarks/cluster_latency.py [--ingresses 1000] [--changes 100]

The reference controller runs as a process of its own and follows the embedded API server over HTTP;
each Ingress has its own Service and EndpointSlice. An EndpointSlice is changed from one pod to another,
and the clock runs from just before that until the proxy first answers from the new pod. One client asks
all the while on one connection. Goal: a median of at most 50 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ingresskit.testing.apiserver import ApiServer

_CONTROLLER = Path(__file__).resolve().parents[1] / "examples" / "reference_controller.py"
_DEADLINE_SECONDS = 60.0
_PODS = ("blue", "green")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ingresses", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--pause", type=float, default=0.6, help="seconds between two changes (%(default)s)")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(ApiServer.in_thread())
        ports = [stack.enter_context(_pod(name)) for name in _PODS]
        _load(server, options.ingresses, ports[0])
        began = time.monotonic()
        port, process = stack.enter_context(_controller(server.kubeconfig(folder / "config")))
        print(f"start to serving {options.ingresses} Ingresses: {time.monotonic() - began:.2f} s")
        seconds = [
            _change(server, port, number % options.ingresses, ports, options.pause)
            for number in range(options.changes)
        ]
        print(f"resident memory of the controller: {_resident_megabytes(process)} MB")
    _report(seconds)
    return 0


def _report(seconds: list[float]) -> None:
    ordered = sorted(1000 * value for value in seconds)
    print(
        f"endpoint changes: {len(ordered)}; median {statistics.median(ordered):.1f} ms,"
        f" 90th percentile {ordered[int(len(ordered) * 0.9)]:.1f} ms, longest {ordered[-1]:.1f} ms"
    )


def _change(server: ApiServer, port: int, number: int, ports: list[int], pause: float) -> float:
    time.sleep(pause)
    connection = HTTPConnection("127.0.0.1", port, timeout=_DEADLINE_SECONDS)
    try:
        wanted = _PODS[1] if _ask(connection, number) == _PODS[0] else _PODS[0]
        began = time.monotonic()
        server.put(_slice(number, ports[_PODS.index(wanted)]))
        while _ask(connection, number) != wanted:
            if time.monotonic() - began > _DEADLINE_SECONDS:
                raise TimeoutError(f"the change of Ingress {number} was never used")
        return time.monotonic() - began
    finally:
        connection.close()


def _ask(connection: HTTPConnection, number: int) -> str:
    connection.request("GET", "/", headers={"Host": f"h{number}.example"})
    return connection.getresponse().read().decode()


@contextmanager
def _controller(config: Path) -> Iterator[tuple[int, int]]:
    flags = ["--http=127.0.0.1:0", "--https=off", "--admin=off", "--log-format=json"]
    process = subprocess.Popen(
        [sys.executable, str(_CONTROLLER), f"--kubeconfig={config}", "--allow-endpoint=127.0.0.0/8", *flags],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            record: Mapping[str, str] = json.loads(line)
            if record["message"] == "serving":
                break
        else:
            raise RuntimeError("the controller ended before it served")
        # Nobody may be kept waiting by a log that is not read.
        reader = threading.Thread(target=process.stderr.read, daemon=True)
        reader.start()
        yield int(record["http"].rpartition(":")[2]), process.pid
    finally:
        process.terminate()
        process.wait(_DEADLINE_SECONDS)


@contextmanager
def _pod(name: str) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # In one piece and at once: what is measured is not to be how TCP waits for acknowledgements.
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(name)))
            self.end_headers()
            self.wfile.write(name.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _load(server: ApiServer, count: int, port: int) -> None:
    server.load([_object("networking.k8s.io/v1", "IngressClass", "ingresskit", spec={"controller": _NAME})])
    for number in range(count):
        name = f"s{number}"
        backend = {"service": {"name": name, "port": {"number": 80}}}
        http = {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}
        rules = [{"host": f"h{number}.example", "http": http}]
        spec: Mapping[str, object] = {"ingressClassName": "ingresskit", "rules": rules}
        server.load(
            [
                _object("v1", "Service", name, spec={"ports": [{"port": 80}]}),
                _slice(number, port),
                _object("networking.k8s.io/v1", "Ingress", name, spec=spec),
            ]
        )


_NAME = "ingresskit.dev/ingress-controller"


def _slice(number: int, port: int) -> Mapping[str, object]:
    name = f"s{number}"
    return {
        **_object("discovery.k8s.io/v1", "EndpointSlice", name, {"kubernetes.io/service-name": name}),
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        "ports": [{"port": port}],
    }


def _object(
    version: str, kind: str, name: str, labels: Mapping[str, str] | None = None, **parts: object
) -> Mapping[str, object]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels or {}}, **parts}


def _resident_megabytes(process: int) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


if __name__ == "__main__":
    sys.exit(main())
