"""What a laptop lacks to serve manifests for real: pods that respond, and certificates that clients can check.

`DemoSource` is a source of objects like any other, put around a folder: it starts a small server at
each loopback address that an EndpointSlice names, and adds the TLS Secrets that Ingresses name.
"""

from __future__ import annotations

import ipaddress
import json
import shlex
import shutil
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import h11
from anyio.abc import SocketAttribute, SocketStream, TaskGroup
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ingresskit.app.flags import Address
from ingresskit.models import EndpointSlice, Ingress, KubeObject, ObjectKey, ObjectMeta, Secret, Snapshot
from ingresskit.sources import FileSource, SnapshotStore

__all__ = ["MANIFESTS", "DemoSource", "demo_manifests", "things_to_try"]

_HERE = Path(__file__).resolve()
_PACKAGED = _HERE.parent / "manifests"  # made when a wheel is built, of the folder below
MANIFESTS = _PACKAGED if _PACKAGED.is_dir() else _HERE.parents[2] / "examples" / "manifests" / "demo"


def demo_manifests(state: Path) -> Path:
    """A folder with the demonstration's manifests that may be edited.

    In a clone it is the clone's own folder; of an installed package, a copy under *state*.
    """
    if MANIFESTS is not _PACKAGED:
        return MANIFESTS
    folder = state / "demo-manifests"
    shutil.copytree(MANIFESTS, folder, dirs_exist_ok=True)
    return folder


class DemoSource:
    """The manifests of a folder, with what a cluster would have brought to life.

    A pod whose address is taken (another demo runs) or cannot be had (macOS knows 127.0.0.1 only)
    listens somewhere else, and the slice that is handed on says so.

    Attributes:
        folder: That of the manifests.
    """

    def __init__(self, folder: Path = MANIFESTS) -> None:
        self.folder: Path = folder
        self._files = FileSource(folder)
        self._store = SnapshotStore()
        self._authority = _Authority()
        self._pods: dict[tuple[str, int], _Pod] = {}

    @property
    def authority(self) -> bytes:
        """The certificate, in PEM, that clients have to trust."""
        return self._authority.pem

    async def run(self) -> None:
        """Follow the folder until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._files.run)
            revision = 0
            while True:
                await self._files.wait_changed(revision)
                if snapshot := self._files.snapshot():
                    revision = snapshot.revision
                    await self._follow(snapshot, tasks)

    def snapshot(self) -> Snapshot | None:
        """What is known now; ``None`` until the folder has been read."""
        return self._store.snapshot()

    async def wait_changed(self, revision: int) -> None:
        """Return once the snapshot's revision is above *revision*."""
        await self._store.wait_changed(revision)

    async def _follow(self, snapshot: Snapshot, tasks: TaskGroup) -> None:
        objects = {item.ref: item for kind in snapshot.objects.values() for item in kind.values()}
        named = {address for item in snapshot.all(EndpointSlice) for address in _pods_of(item)}
        for address in self._pods.keys() - named:
            self._pods.pop(address).scope.cancel()
        for item in snapshot.all(EndpointSlice):
            for number, address in enumerate(_pods_of(item), start=1):
                if address not in self._pods:
                    pod = _Pod(service=str(item.service), name=f"{item.key.name}-{number}")
                    self._pods[address] = await tasks.start(pod.run, *address)
            del objects[item.ref]
            objects |= {part.ref: part for part in self._moved(item)}
        for secret in self._authority.secrets(snapshot):
            objects.setdefault(secret.ref, secret)
        self._store.replace(objects.values(), snapshot.problems)

    def _moved(self, item: EndpointSlice) -> list[EndpointSlice]:
        """The slice itself, or one for each of its pods when a pod is not where the slice says."""
        pods = _pods_of(item)
        if all(self._pods[address].listens == address for address in pods):
            return [item]
        parts: list[EndpointSlice] = []
        for number, address in enumerate(pods, start=1):
            host, port = self._pods[address].listens
            endpoint = next(entry for entry in item.endpoints if entry.addresses[0] == address[0])
            parts.append(
                replace(
                    item,
                    metadata=replace(item.metadata, name=f"{item.key.name}-moved-{number}"),
                    endpoints=(replace(endpoint, addresses=(host,)),),
                    ports=tuple(replace(entry, port=port) for entry in item.ports if entry.port == address[1]),
                )
            )
        return parts


def _pods_of(item: EndpointSlice) -> list[tuple[str, int]]:
    """The loopback addresses of a slice, in its order, each once."""
    return list(
        dict.fromkeys(
            (endpoint.addresses[0], port.port)
            for endpoint in item.endpoints
            for port in item.ports
            if endpoint.addresses and port.port and _is_loopback(endpoint.addresses[0])
        )
    )


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


@dataclass(kw_only=True)
class _Pod:
    """A server that responds to every request with what reached it."""

    service: str
    name: str
    listens: tuple[str, int] = ("", 0)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def run(self, host: str, port: int, *, task_status: anyio.abc.TaskStatus[_Pod]) -> None:
        """Listen at that address, or at any free one, and respond until cancelled."""
        with self.scope:
            try:
                server = await anyio.create_tcp_listener(local_host=host, local_port=port)
            except OSError:
                server = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
            bound = server.extra(SocketAttribute.local_address)  # noqa: S610 - no database here
            self.listens = (str(bound[0]), int(bound[1]))
            task_status.started(self)
            async with server:
                await server.serve(self._converse)

    async def _converse(self, stream: SocketStream) -> None:
        http = h11.Connection(h11.SERVER)
        async with stream:
            try:
                while request := await _next_request(http, stream):
                    reply = json.dumps(self._echo(request), indent=2).encode() + b"\n"
                    fields = [("content-type", "application/json"), ("content-length", str(len(reply)))]
                    answer = http.send(h11.Response(status_code=200, headers=fields, reason=b"OK"))
                    answer += http.send(h11.Data(data=b"" if request.method == b"HEAD" else reply))
                    await stream.send(answer + http.send(h11.EndOfMessage()))
                    if http.our_state is not h11.DONE:
                        return
                    http.start_next_cycle()
            except (h11.ProtocolError, anyio.BrokenResourceError):
                return  # The other side is gone, or does not speak HTTP: there is nobody to answer.

    def _echo(self, request: h11.Request) -> dict[str, object]:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        return {
            "service": self.service,
            "pod": self.name,
            "method": request.method.decode(),
            "path": request.target.decode("latin-1"),
            "host": headers.pop("host", ""),
            "headers": headers,
        }


async def _next_request(http: h11.Connection, stream: SocketStream) -> h11.Request | None:
    """The next request, once its body is read too; ``None`` when there is none."""
    request: h11.Request | None = None
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            try:
                http.receive_data(await stream.receive())
            except anyio.EndOfStream:
                http.receive_data(b"")
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage):
            return request
        elif not isinstance(event, h11.Data):
            return None


class _Authority:
    """Signs a certificate for every host under ``tls`` that has a Secret's name and no Secret."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ingresskit demo")])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        self._certificate = (
            _builder(self._name, self._name, self._key)
            .add_extension(constraints, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self._issued: dict[tuple[ObjectKey, tuple[str, ...]], Secret] = {}

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        return self._certificate.public_bytes(Encoding.PEM)

    def secrets(self, snapshot: Snapshot) -> list[KubeObject]:
        """A Secret for each one that is named in an Ingress and missing; made once, then kept."""
        hosts: dict[ObjectKey, set[str]] = {}
        for ingress in snapshot.all(Ingress):
            for entry in ingress.spec.tls:
                if entry.secret_name and entry.hosts:
                    key = ObjectKey(ingress.key.namespace, entry.secret_name)
                    hosts.setdefault(key, set()).update(entry.hosts)
        wanted = {(key, tuple(sorted(names))) for key, names in hosts.items()}
        self._issued = {
            item: self._issued.get(item) or self._issue(*item)
            for item in wanted
            if snapshot.get(Secret, item[0]) is None
        }
        return list(self._issued.values())

    def _issue(self, key: ObjectKey, names: tuple[str, ...]) -> Secret:
        private = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        certificate = (
            _builder(subject, self._name, private)
            .add_extension(alternatives, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Secret(
            metadata=ObjectMeta(name=key.name, namespace=key.namespace),
            type="kubernetes.io/tls",
            data={"tls.crt": certificate.public_bytes(Encoding.PEM), "tls.key": pem},
        )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
    )


def things_to_try(
    *, http: Address | None, https: Address | None, admin: Address | None, authority: Path
) -> list[tuple[str, str]]:
    """What to ask the demo: pairs of what it shows, and a command line.

    Args:
        http: Where plain HTTP is served; ``None``: nowhere, and nothing of it is shown. So the next two.
        https: Where TLS is.
        admin: Where the admin API is.
        authority: A file with the certificate that clients have to trust.
    """
    lines: list[tuple[str, str]] = []
    if http is not None:
        curl, plain = "curl" + _detour(http), f"demo.localhost:{http.port}"
        lines += [
            ("a host, and three pods that take turns: ask again", f"{curl} http://shop.{plain}/"),
            ("Prefix /api takes whole elements", f"{curl} http://shop.{plain}/api/v1"),
            ("and so not this one", f"{curl} http://shop.{plain}/apis"),
            ("Exact /status takes this path only", f"{curl} http://shop.{plain}/status"),
            ("a wildcard host takes one label", f"{curl} http://blue.tenants.{plain}/"),
            ("an exact host wins over it", f"{curl} http://vip.tenants.{plain}/"),
            ("headers set and removed, the prefix rewritten", f"{curl} -i http://headers.{plain}/shop/cart"),
            ("a redirect (301)", f"{curl} -i http://old.{plain}/"),
            ("a Service without endpoints (503)", f"{curl} -i http://asleep.{plain}/"),
            ("an Ingress of another class (404)", f"{curl} -i http://elsewhere.{plain}/"),
        ]
        if https is not None:
            lines.append(("plain HTTP is sent to HTTPS (308)", f"{curl} -i http://secure.{plain}/cart"))
    if https is not None:
        curl = f"curl{_detour(https)} --cacert {shlex.quote(str(authority))}"
        lines += [
            ("TLS", f"{curl} https://secure.demo.localhost:{https.port}/"),
            ("another server name, another certificate", f"{curl} https://pay.demo.localhost:{https.port}/"),
        ]
    if admin is not None:
        at = Address(_ANYWHERE.get(admin.host, admin.host), admin.port)
        question = "url=http://shop.demo.localhost/apis"
        lines += [
            ("why /apis is not taken by /api", f"curl 'http://{at}/api/explain?{question}'"),
            ("what is wrong with the manifests", f"curl http://{at}/api/diagnostics"),
            ("the dashboard, for a browser", f"curl http://{at}/"),
        ]
    return lines


_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound to


def _detour(address: Address) -> str:
    """What leads curl to an address other than those that names under ``localhost`` stand for."""
    near = address.host in {*_ANYWHERE, *_ANYWHERE.values()}
    return "" if near else f" --connect-to ::{address}"
