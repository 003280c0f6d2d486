"""The reference controller with HAProxy and the delegate beside it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from ingresskit.testing import pace
from tests.features.reference_process import ReferenceController, wait_until

pytestmark = pytest.mark.skipif(
    shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None,
    reason="HAProxy is not installed",
)

HOST = "shop.test"
MANIFEST = """\
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {{name: ingresskit}}
spec: {{controller: ingresskit.dev/ingress-controller}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: web, namespace: shop, annotations: {{ingresskit.dev/body-limit: "100000"}}}}
spec:
  ingressClassName: ingresskit
  rules:
    - host: shop.test
      http:
        paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec: {{ports: [{{port: 80, targetPort: {port}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{port: {port}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
"""


@pytest.fixture
def endpoint() -> Iterator[int]:
    """The port of an endpoint that reads chunked bodies and responds 200."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def respond(connection: socket.socket) -> None:
            # A request that is refused on its way here ends in the middle, or with a reset.
            with connection, suppress(ConnectionError):
                received = b""
                while not received.endswith(b"\r\n0\r\n\r\n"):
                    if not (more := connection.recv(65536)):
                        return
                    received += more
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=respond, args=[connection], daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: the path of a socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="ik-") as made:
        yield Path(made)


def post(port: int, size: int) -> int:
    """The status of a request whose body does not say its length."""
    pieces = [b"x" * 10_000] * (size // 10_000)
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=pace.within(20))) as connection:
        headers = {"Host": HOST, "Transfer-Encoding": "chunked"}
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was sent
            connection.request("POST", "/", iter(pieces), headers, encode_chunked=True)
        return connection.getresponse().status


@pytest.mark.xfail(
    strict=False,
    reason="about one run in five, and not only lately: the first request for the delegate after it was "
    "adopted gets no response from HAProxy, though the endpoint responds",
)
def test_delegate_outlives_its_controller_and_is_adopted_by_the_next(folder: Path, endpoint: int) -> None:
    manifests, state, log = folder / "manifests", folder / "state", folder / "access.log"
    manifests.mkdir()
    (manifests / "shop.yaml").write_text(MANIFEST.format(port=endpoint))
    flags = (
        f"--manifests={manifests}",
        "--renderer=haproxy",
        f"--state-dir={state}",
        "--allow-endpoint=127.0.0.0/8",
        f"--access-log={log}",
        # A port of its own for each controller would be another setting of the delegate.
        "--https=off",
    )
    with ReferenceController(*flags) as first:
        first.wait_ready()
        port = first.http_port
        wait_until(lambda: post(port, 50_000) == 200)
        pid = json.loads((state / "delegate" / "delegate.pid").read_text())["pid"]
        over = post(port, 200_000)
        wait_until(lambda: log.read_text().count('"status": 413') + log.read_text().count('"status":413') == 1)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        modes = {
            name: stat.S_IMODE((state / "delegate" / name).stat().st_mode)
            for name in (".", "front.sock", "control.sock", "delegate.out")
        }
        first.stop(signal.SIGKILL)
        orphaned = post(port, 50_000), post(port, 200_000)
    with ReferenceController(*flags, f"--http=127.0.0.1:{port}") as second:
        second.wait_ready()
        adopted = post(port, 50_000), post(port, 200_000)
        still = json.loads((state / "delegate" / "delegate.pid").read_text())["pid"]
        ended = second.stop()

    assert over == 413
    assert [line["backend"] for line in lines if line["status"] in (200, 413)] == ["shop/web:80"] * 2
    assert modes == {".": 0o700, "front.sock": 0o600, "control.sock": 0o600, "delegate.out": 0o600}
    assert orphaned == adopted == (200, 413)
    assert still == pid
    assert ended == 0
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_without_a_delegate_haproxy_does_what_it_can(folder: Path, endpoint: int) -> None:
    manifests = folder / "manifests"
    manifests.mkdir()
    (manifests / "shop.yaml").write_text(MANIFEST.format(port=endpoint))
    flags = (f"--manifests={manifests}", "--renderer=haproxy", "--allow-endpoint=127.0.0.0/8", "--delegate=off")
    with ReferenceController(*flags) as controller:
        controller.wait_ready()
        status = post(controller.http_port, 50_000)
        told = controller.wait_record("diagnostic appeared")

    assert status == 411
    assert "do not say their length" in str(told)


@pytest.mark.parametrize("renderer", ["haproxy", "inprocess"])
def test_policy_of_another_package_has_its_effect_by_the_metadata_of_the_package(
    folder: Path, renderer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, manifests = folder / "packages", folder / "manifests"
    metadata = package / "acme-1.0.dist-info"
    metadata.mkdir(parents=True)
    manifests.mkdir()
    teapots = Path(__file__).parents[1] / "dataplane" / "teapots.py"
    (package / "acme.py").write_text(teapots.read_text())
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[ingresskit.policies]\nteapot = acme:Teapot\n[ingresskit.effects]\nteapot = acme:compile_teapot\n"
    )
    marked = MANIFEST.replace('body-limit: "100000"', 'teapot: "true"')
    (manifests / "shop.yaml").write_text(marked.format(port=9))
    monkeypatch.setenv("PYTHONPATH", str(package))

    flags = (f"--manifests={manifests}", f"--renderer={renderer}", f"--state-dir={folder / 'state'}")
    with ReferenceController(*flags) as controller:
        controller.wait_ready()
        wait_until(lambda: controller.get(HOST, "/coffee").status == 418)
        other = controller.get(HOST, "/tea").status
        controller.stop()

    assert other == 503  # no endpoint is let in
