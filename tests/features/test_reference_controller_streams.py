"""The reference controller on a cluster: hosts and ports whose connections are passed on."""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import pytest

from ingresskit.testing import make_certificate
from ingresskit.testing.apiserver import ApiServer
from ingresskit.testing.ports import free_port
from tests.features.cluster_scene import (
    DEADLINE,
    LOOPBACK,
    Object,
    certificate,
    fingerprint,
    ingress,
    ingress_class,
    served_fingerprint,
    service,
    slice_of,
)
from tests.features.reference_process import ReferenceController, wait_until

_CONFIG: Object = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "tcp", "namespace": "shop"},
}


@contextmanager
def tls_pod(host: str) -> Generator[int]:
    """A server that ends TLS itself, with a certificate of its own, and sends its host; gives its port."""
    made = make_certificate(host, salt="pod")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder, "tls.pem")
        pem.write_bytes(made.chain + made.private_key)
        context.load_cert_chain(pem)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError), connection, context.wrap_socket(connection, server_side=True) as tls:
                tls.sendall(host.encode())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(DEADLINE)


def greeting(port: int) -> bytes:
    """What a TLS client of a plain port is sent; empty where nothing listens."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), DEADLINE) as connection,
            context.wrap_socket(connection) as tls,
        ):
            return tls.recv(100)
    except OSError:
        return b""


@pytest.fixture
def server() -> Generator[ApiServer]:
    with ApiServer.in_thread(tls=True, bookmark_seconds=0.5) as running:
        yield running


def passed(host: str, *, asked: bool = True) -> Object:
    made = ingress("vault", host=host, service="vault", tls="web")
    if asked:
        metadata = cast("dict[str, object]", made["metadata"])
        metadata["annotations"] = {"nginx.ingress.kubernetes.io/ssl-passthrough": "true"}
    return made


def test_hosts_and_ports_follow_the_cluster(server: ApiServer, tmp_path: Path) -> None:
    first, second = free_port(), free_port()
    flags = (
        *("--kubeconfig", server.kubeconfig(tmp_path / "config"), LOOPBACK, "--dialect=ingress-nginx"),
        *("--enable-ssl-passthrough", "--tcp-services-configmap=shop/tcp"),
    )
    host = "vault.example"
    with tls_pod(host) as port, ReferenceController(*flags) as running:
        running.wait_ready()
        https = int(str(running.wait_record("serving")["https"]).rpartition(":")[2])
        server.load([ingress_class(), service("vault"), slice_of("vault", port=port)])
        server.load([certificate("web", host)])

        # TLS ends here, then at the pod, then here again.
        server.put(passed(host, asked=False))
        wait_until(lambda: served_fingerprint(https, host) == fingerprint(host))
        server.put(passed(host))
        wait_until(lambda: served_fingerprint(https, host) == fingerprint(host, salt="pod"))
        graph = running.admin("/api/graph").text
        assert '"stream"' in graph
        server.put(passed(host, asked=False))
        wait_until(lambda: served_fingerprint(https, host) == fingerprint(host))

        # Ports come and go, and a wrong entry is told.
        server.put(_CONFIG | {"data": {str(first): "shop/vault:80", "x": "shop/vault:80"}})
        wait_until(lambda: greeting(first) == host.encode())
        assert "data[x]" in running.admin("/api/diagnostics").text
        server.put(_CONFIG | {"data": {str(second): "shop/vault:80"}})
        wait_until(lambda: greeting(second) == host.encode())
        wait_until(lambda: greeting(first) == b"")
