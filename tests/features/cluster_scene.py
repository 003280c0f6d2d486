"""What stands in a cluster while the reference controller follows it: pods that answer, and manifests."""

from __future__ import annotations

import base64
import hashlib
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import create_connection
from types import TracebackType
from typing import Self

from ingresskit.testing import make_certificate, pace

CONTROLLER = "ingresskit.dev/ingress-controller"
LOOPBACK = "--allow-endpoint=127.0.0.0/8"
DEADLINE = pace.within(20.0)

Object = dict[str, object]


class Pod:
    """A server on a port of its own that answers every GET with its name."""

    def __init__(self, name: str, address: str = "127.0.0.1") -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(name)))
                self.end_headers()
                self.wfile.write(name.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
                pass

        self._server = ThreadingHTTPServer((address, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(DEADLINE)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])


def ingress_class(name: str = "ingresskit") -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": name},
        "spec": {"controller": CONTROLLER},
    }


def ingress(
    name: str, *, host: str = "", service: str = "web", namespace: str = "shop", tls: str = ""
) -> Object:
    """Takes all paths of *host*, its name with ``.example`` unless given; with *tls*, the name of a Secret."""
    host = host or f"{name}.example"
    backend = {"service": {"name": service, "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    spec: Object = {"ingressClassName": "ingresskit", "rules": [{"host": host, "http": {"paths": paths}}]}
    if tls:
        spec["tls"] = [{"hosts": [host], "secretName": tls}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def service(name: str = "web", *, namespace: str = "shop") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": [{"port": 80}]},
    }


def slice_of(name: str = "web", *, port: int, namespace: str = "shop", address: str = "127.0.0.1") -> Object:
    """The one endpoint of a Service: a pod at that port of this machine."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-1",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"port": port}],
    }


def certificate(name: str, host: str, *, salt: str = "", namespace: str = "shop") -> Object:
    made = make_certificate(host, salt=salt)
    data = {"tls.crt": made.chain, "tls.key": made.private_key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": namespace},
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def fingerprint(host: str, *, salt: str = "") -> str:
    """That of the certificate that `certificate` makes."""
    return make_certificate(host, salt=salt).fingerprint


def served_fingerprint(port: int, host: str) -> str:
    """That of the certificate a client is shown; empty when the handshake is refused."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        plain = create_connection(("127.0.0.1", port), DEADLINE)
        with plain, context.wrap_socket(plain, server_hostname=host) as secure:
            shown = secure.getpeercert(binary_form=True)
    except (ssl.SSLError, ConnectionError):
        return ""
    return hashlib.sha256(shown or b"").hexdigest()
