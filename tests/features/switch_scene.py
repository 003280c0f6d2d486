"""A cluster that switches its edge: ingress-nginx's stand-in, external-dns, cert-manager, and clients.

Each is a thread that does what the real one does to the API server, and no more.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Self, cast

from ingresskit.models import Ingress, decode
from ingresskit.testing import pace
from ingresskit.testing.apiserver import AnyApiServer, ApiServer
from ingresskit.testing.apiserver.calls import call, opened
from tests.features.cluster_scene import Pod, service, slice_of
from tests.old_edge import OldEdge

Object = dict[str, Any]
OLD, NEW = "198.51.100.1", "192.0.2.1"
MANAGER = "nginx-ingress-controller"
_APPLY_UPDATE = f"?fieldManager={MANAGER}"


class Cluster:
    """What the threads share: the server, a namespace, and an end."""

    def __init__(self, server: AnyApiServer, namespace: str) -> None:
        self.server = server
        self.namespace = namespace
        self.pod_address = "127.0.0.1" if isinstance(server, ApiServer) else _own_address()
        self.over = threading.Event()
        self.faults: list[str] = []
        self._threads: list[threading.Thread] = []

    def path(self, name: str = "", more: str = "") -> str:
        base = f"/apis/networking.k8s.io/v1/namespaces/{self.namespace}/ingresses"
        return f"{base}/{name}{more}" if name else base

    def create(self, item: Object, plural: str) -> None:
        version = item["apiVersion"]
        root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        scope = f"/namespaces/{self.namespace}" if item["kind"] != "IngressClass" else ""
        if scope:
            item["metadata"]["namespace"] = self.namespace
        answer = call(self.server, "POST", f"{root}{scope}/{plural}", item)
        assert answer.status in (201, 409), answer

    def delete(self, path: str) -> None:
        call(self.server, "DELETE", path)

    def ingresses(self) -> list[Object]:
        return cast("list[Object]", call(self.server, "GET", self.path()).json["items"])

    def start(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except Exception as exc:  # noqa: BLE001 - the test reports it
                if not self.over.is_set():
                    self.faults.append(repr(exc))

        self._threads.append(threading.Thread(target=guarded))
        self._threads[-1].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join(pace.within(30))


def _own_address() -> str:
    """An address of this machine that no route leaves it for."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent
        return str(probe.getsockname()[0])


def addresses_of(item: Object) -> tuple[str, ...]:
    held = item.get("status", {}).get("loadBalancer", {}).get("ingress", [])
    return tuple(entry.get("ip", "") for entry in held)


class OldController:
    """ingress-nginx: follows the Ingresses of its class, and writes their status by updates, as it is told."""

    def __init__(self, cluster: Cluster, edge: OldEdge, ingress_class: str) -> None:
        self.updates_status = True
        self.writes = 0
        self.served: set[str] = set()
        self._cluster, self._edge, self._class = cluster, edge, ingress_class
        self._look()
        cluster.start(self._follow)

    def _follow(self) -> None:
        while not self._cluster.over.wait(0.1):
            self._look()

    def _look(self) -> None:
        ours = [it for it in self._cluster.ingresses() if it["spec"].get("ingressClassName") == self._class]
        self._edge.serve(decode(Ingress, item) for item in ours)
        self.served = {item["metadata"]["name"] for item in ours}
        for item in ours:
            if self.updates_status and addresses_of(item) != (OLD,):
                item["status"] = {"loadBalancer": {"ingress": [{"ip": OLD}]}}
                path = self._cluster.path(item["metadata"]["name"], "/status" + _APPLY_UPDATE)
                # 409: it has changed meanwhile, and is looked at again.
                self.writes += call(self._cluster.server, "PUT", path, item).status == 200


class Dns:
    """external-dns: records follow the status of Ingresses. Every status that there ever was is kept."""

    def __init__(self, cluster: Cluster) -> None:
        self.history: dict[str, list[tuple[str, ...]]] = {}
        self.records: dict[str, str] = {}
        self.ready = threading.Event()
        self._items: dict[str, Object] = {}
        self._cluster = cluster
        cluster.start(self._follow)
        assert self.ready.wait(pace.within(20))

    def _follow(self) -> None:
        cluster, version = self._cluster, "0"
        listed = call(cluster.server, "GET", cluster.path()).json
        version = cast("Object", listed["metadata"])["resourceVersion"]
        for item in cast("list[Object]", listed["items"]):
            self._note("ADDED", item)
        self.ready.set()
        while not cluster.over.is_set():
            with opened(cluster.server, timeout=pace.within(60)) as connection:
                query = f"?watch=1&resourceVersion={version}&timeoutSeconds=1"
                headers = {"Authorization": f"Bearer {cluster.server.token}"}
                connection.request("GET", cluster.path() + query, headers=headers)
                answer = connection.getresponse()
                while line := answer.readline():
                    event = json.loads(line)
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._note(event["type"], event["object"])

    def _note(self, kind: str, item: Object) -> None:
        name = item["metadata"]["name"]
        if kind == "DELETED":
            self._items.pop(name, None)
        elif kind in ("ADDED", "MODIFIED"):
            self._items[name] = item
            history = self.history.setdefault(name, [])
            if not history or history[-1] != addresses_of(item):
                history.append(addresses_of(item))
        self._record()

    def _record(self) -> None:
        wanted: dict[str, list[str]] = {}
        for item in self._items.values():
            notes: Object = item["metadata"].get("annotations") or {}
            mine: str = notes.get("external-dns.alpha.kubernetes.io/controller", "dns-controller")
            solver = "acme.cert-manager.io/http01-solver" in (item["metadata"].get("labels") or {})
            if mine != "dns-controller" or solver:
                continue
            for rule in item["spec"].get("rules", []):
                wanted.setdefault(rule["host"], []).extend(addresses_of(item))
        for host, targets in wanted.items():
            # As external-dns with two resources for a name: the record stays while one of them wants it.
            if targets and self.records.get(host) not in targets:
                self.records[host] = targets[0]
            elif not targets:
                self.records.pop(host, None)
        for host in self.records.keys() - wanted.keys():
            del self.records[host]

    def wait(self, host: str, address: str) -> None:
        end = time.monotonic() + pace.within(30)
        while self.records.get(host) != address:
            assert time.monotonic() < end, (host, self.records, self.history)
            time.sleep(0.01)


class Clients:
    """Ask for hosts all the time, over HTTP and TLS, at the address of a DNS record that is a while old."""

    def __init__(self, cluster: Cluster, dns: Dns, hosts: Sequence[str], secure: Sequence[str]) -> None:
        self.edges: dict[str, tuple[tuple[str, int], tuple[str, int]]] = {}
        self.requests = 0
        self.failures: list[str] = []
        self.by_address: dict[str, int] = {}
        self._cluster, self._dns = cluster, dns
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._urls = [*((host, False) for host in hosts), *((host, True) for host in secure)]

    def start(self) -> None:
        for number, (host, tls) in enumerate(self._urls):
            # One believes a record for this moment, another for half a second longer.
            self._cluster.start(partial(self._ask, host, tls, number % 3 * 0.25))

    def _ask(self, host: str, tls: bool, age: float) -> None:
        address, until = "", 0.0
        while not self._cluster.over.wait(0.01):
            if time.monotonic() >= until:
                address, until = self._dns.records.get(host, ""), time.monotonic() + age
            self.requests += 1
            try:
                status, body = self.once(address, host, "/", tls=tls)
                if (status, body) != (200, "web"):
                    self.failures.append(f"{host} at {address!r}: {status} {body[:80]!r}")
            except (OSError, http.client.HTTPException, KeyError) as exc:
                self.failures.append(f"{host} at {address!r}: {exc!r}")
            self.by_address[address] = self.by_address.get(address, 0) + 1

    def once(self, address: str, host: str, path: str, *, tls: bool = False) -> tuple[int, str]:
        """What a new connection to *address* gets."""
        plain, secure = self.edges[address]
        if tls:
            connection: http.client.HTTPConnection = _Named(secure, host, self._context)
        else:
            connection = http.client.HTTPConnection(*plain, timeout=pace.within(20))
        try:
            connection.request("GET", path, headers={"Host": host, "Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def wait_more(self, number: int = 40) -> None:
        """Return once so many more requests were made."""
        wanted = self.requests + number
        end = time.monotonic() + pace.within(30)
        while self.requests < wanted:
            assert time.monotonic() < end, self._cluster.faults
            time.sleep(0.01)


class _Named(http.client.HTTPConnection):
    """TLS to an address, for a name."""

    def __init__(self, address: tuple[str, int], name: str, context: ssl.SSLContext) -> None:
        super().__init__(*address, timeout=pace.within(20))
        self._name, self._tls = name, context

    def connect(self) -> None:
        super().connect()
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)


class CertManager:
    """HTTP-01, over and over: a solver and its Ingress, asked for where DNS leads, and taken away again."""

    def __init__(
        self, cluster: Cluster, dns: Dns, clients: Clients, host: str, class_of: Callable[[], str]
    ) -> None:
        self.solved = 0
        self._cluster, self._dns, self._clients = cluster, dns, clients
        self._host, self._class_of = host, class_of
        cluster.start(self._work)

    def _work(self) -> None:
        number = 0
        while not self._cluster.over.is_set():
            number += 1
            token = f"token-{number}"
            with (
                Pod(token, self._cluster.pod_address) as pod,
                self._challenge(number, token, pod.port, self._class_of()),
            ):
                end = time.monotonic() + pace.within(30)
                while self._asked(token) != (200, token):
                    if self._cluster.over.is_set():
                        return
                    assert time.monotonic() < end, f"{token} is not served where DNS leads"
                    time.sleep(0.02)
                self.solved += 1

    def _asked(self, token: str) -> tuple[int, str]:
        with suppress(OSError, http.client.HTTPException, KeyError):
            address = self._dns.records.get(self._host, "")
            return self._clients.once(address, self._host, f"/.well-known/acme-challenge/{token}")
        return 0, ""

    @contextmanager
    def _challenge(self, number: int, token: str, port: int, ingress_class: str) -> Generator[None]:
        name = f"cm-acme-http-solver-{number}"
        item = ingress(name, self._host, name, ingress_class, path=f"/.well-known/acme-challenge/{token}")
        item["spec"].pop("tls", None)
        item["metadata"]["labels"] = {"acme.cert-manager.io/http01-solver": "true"}
        create_pod(self._cluster, name, port)
        self._cluster.create(item, "ingresses")
        yield
        self._cluster.delete(self._cluster.path(name))


def ingress(
    name: str,
    host: str,
    to: str,
    ingress_class: str,
    *,
    path: str = "/",
    tls: bool = False,
    annotations: Mapping[str, str] | None = None,
) -> Object:
    exact = path != "/"
    rule = {
        "path": path,
        "pathType": "Exact" if exact else "Prefix",
        "backend": {"service": {"name": to, "port": {"number": 80}}},
    }
    spec: Object = {"ingressClassName": ingress_class, "rules": [{"host": host, "http": {"paths": [rule]}}]}
    if tls:
        spec["tls"] = [{"hosts": [host], "secretName": "cert"}]
    metadata = {"name": name, "annotations": dict(annotations or {})}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}


def create_pod(cluster: Cluster, name: str, port: int) -> None:
    """A Service with one endpoint on this machine."""
    cluster.create(cast("Object", service(name, namespace=cluster.namespace)), "services")
    endpoints = cast(
        "Object", slice_of(name, port=port, namespace=cluster.namespace, address=cluster.pod_address)
    )
    if isinstance(cluster.server, ApiServer):
        cluster.server.put(endpoints)  # past its validation, which refuses loopback as the real one does
    else:
        cluster.create(endpoints, "endpointslices")
