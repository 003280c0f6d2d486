"""A real ``etcd`` and ``kube-apiserver`` on loopback, for as long as a ``with`` block lasts.

The binaries are those of controller-runtime's envtest: unpack them and name the folder in
``KUBEBUILDER_ASSETS``. Nothing of them is left behind: data, certificates and tokens live in one
temporary folder, and both processes are ended by their own handles.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from ingresskit.errors import IngressKitError
from ingresskit.testing.apiserver.auth import Rule
from ingresskit.testing.apiserver.certificates import Authority
from ingresskit.testing.apiserver.kubeconfig import write_kubeconfig
from ingresskit.testing.apiserver.manifests import Manifest

__all__ = ["RealApiServer", "RealApiServerFailed", "assets_folder", "real_api_server"]

_START_SECONDS = 90.0
_STOP_SECONDS = 15.0


class RealApiServerFailed(IngressKitError):
    """Raised when ``etcd`` or ``kube-apiserver`` does not come up, or refuses what the kit asks of it.

    The message ends with the last lines the process wrote.
    """


def assets_folder() -> Path | None:
    """The folder ``KUBEBUILDER_ASSETS`` names, if both binaries are in it, else ``None``."""
    named = os.environ.get("KUBEBUILDER_ASSETS", "")
    folder = Path(named)
    binaries = ("etcd", "kube-apiserver")
    return folder if named and all((folder / name).is_file() for name in binaries) else None


class RealApiServer:
    """A running real API server; see `real_api_server`."""

    def __init__(self, url: str, ca: bytes, token: str) -> None:
        self.url = url
        self.ca = ca
        self.token = token

    def kubeconfig(self, path: Path, *, token: str | None = None) -> Path:
        """Write a kubeconfig to *path*, for *token* or the administrator, and return its path."""
        return write_kubeconfig(path, url=self.url, ca=self.ca, token=token or self.token)

    def token_for(self, user: str, rules: Sequence[Rule]) -> str:
        """A token of a new ServiceAccount that may do exactly what *rules* say.

        It is named ``system:serviceaccount:test-users:<user>``: the real server takes no new users
        while it runs. Asking again for the same user replaces the rules.

        Raises:
            RealApiServerFailed: The server refuses it.
        """
        self._put("/api/v1/namespaces", {"metadata": {"name": "test-users"}})
        accounts = "/api/v1/namespaces/test-users/serviceaccounts"
        self._put(accounts, {"metadata": {"name": user}})
        subject = {"kind": "ServiceAccount", "namespace": "test-users", "name": user}
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        for place, namespace in enumerate(sorted({item for rule in rules for item in rule.namespaces} | {""})):
            mine = [
                rule for rule in rules if (namespace in rule.namespaces if namespace else not rule.namespaces)
            ]
            scope = f"{rbac}/namespaces/{namespace}/" if namespace else f"{rbac}/cluster"
            kind = "Role" if namespace else "ClusterRole"
            name = f"test-user-{user}-{place}"
            role: Manifest = {"metadata": {"name": name}, "rules": [_policy_rule(rule) for rule in mine]}
            binding: Manifest = {
                "metadata": {"name": name},
                "subjects": [subject],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
            }
            if namespace:
                self._put("/api/v1/namespaces", {"metadata": {"name": namespace}})
            self._put(f"{scope}roles", role)
            self._put(f"{scope}rolebindings", binding)
        answer = self._call(
            "POST", f"{accounts}/{user}/token", {"spec": {"expirationSeconds": 7200}}, ok=(201,)
        )
        return str(answer["status"]["token"])

    def _put(self, collection: str, manifest: Manifest) -> None:
        """Create, or bring an older one of the same name to this state."""
        answer = self._call("POST", collection, manifest, ok=(201, 409))
        if answer.get("reason") == "AlreadyExists" and ("rules" in manifest):
            self._call("PUT", f"{collection}/{manifest['metadata']['name']}", manifest, ok=(200,))

    def _call(self, method: str, path: str, manifest: Manifest | None, *, ok: tuple[int, ...]) -> Manifest:
        status, body = _request(self.url, self.ca, self.token, method, path, manifest)
        if status not in ok:
            raise RealApiServerFailed(f"kube-apiserver answers {method} {path} with {status}: {body[:500]!r}")
        return json.loads(body)  # type: ignore[no-any-return] # JSON


def _policy_rule(rule: Rule) -> Manifest:
    if rule.paths:
        return {"verbs": list(rule.verbs), "nonResourceURLs": list(rule.paths)}
    said: Manifest = {
        "verbs": list(rule.verbs),
        "apiGroups": list(rule.groups),
        "resources": list(rule.resources),
    }
    return {**said, "resourceNames": list(rule.names)} if rule.names else said


def _request(
    url: str, ca: bytes, token: str, method: str, path: str, manifest: Manifest | None = None
) -> tuple[int, bytes]:
    host, _, port = url.removeprefix("https://").rpartition(":")
    context = ssl.create_default_context(cadata=ca.decode())
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=30)
    with contextlib.closing(connection):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(manifest) if manifest is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


@contextlib.contextmanager
def real_api_server(assets: Path, *, flags: Sequence[str] = ()) -> Generator[RealApiServer]:
    """Run ``etcd`` and ``kube-apiserver`` from *assets*, and hand out the server once it is ready.

    Args:
        assets: The folder with both binaries.
        flags: Further flags of ``kube-apiserver``; they win over the kit's own.

    Raises:
        RealApiServerFailed: One of them ends, or is not ready within 90 s.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ingresskit-apiserver-")))
        client, peer, secure = _free_ports(3)
        etcd_url = f"http://127.0.0.1:{client}"
        etcd = [
            str(assets / "etcd"),
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={etcd_url}",
            f"--advertise-client-urls={etcd_url}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync=true",
        ]
        etcd_process = stack.enter_context(_running(etcd, folder / "etcd.log"))
        token = secrets.token_urlsafe(24)
        server = _write_files(folder, token)
        command = [
            str(assets / "kube-apiserver"),
            f"--etcd-servers={etcd_url}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={secure}",
            f"--cert-dir={folder}",
            f"--tls-cert-file={folder / 'server.crt'}",
            f"--tls-private-key-file={folder / 'server.key'}",
            f"--client-ca-file={folder / 'ca.crt'}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            f"--service-account-key-file={folder / 'accounts.key'}",
            f"--service-account-signing-key-file={folder / 'accounts.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--allow-privileged=true",
            *flags,
        ]
        api_process = stack.enter_context(_running(command, folder / "kube-apiserver.log"))
        running = RealApiServer(f"https://127.0.0.1:{secure}", server, token)
        _wait_ready(running, {"etcd": etcd_process, "kube-apiserver": api_process}, folder)
        yield running


def _write_files(folder: Path, token: str) -> bytes:
    """Certificates, keys and the token file; returns the PEM of the authority."""
    authority = Authority()
    server, accounts = authority.server(), authority.client("accounts")
    files = {
        "ca.crt": authority.pem,
        "server.crt": server.certificate,
        "server.key": server.key,
        "accounts.key": accounts.key,
        "tokens.csv": f'{token},test-admin,test-admin,"system:masters"\n'.encode(),
    }
    for name, content in files.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)
    return authority.pem


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago; neither binary can be told to choose one and say which."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [int(item.getsockname()[1]) for item in sockets]


@contextlib.contextmanager
def _running(command: Sequence[str], log: Path) -> Generator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - the binaries the caller named
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=log.parent
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_ready(server: RealApiServer, processes: dict[str, subprocess.Popen[bytes]], folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        for name, process in processes.items():
            if process.poll() is not None:
                raise RealApiServerFailed(f"{name} ended with {process.returncode}:\n{_tail(folder, name)}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, _ = _request(server.url, server.ca, server.token, "GET", "/readyz")
            if status == 200:
                return
        if time.monotonic() > deadline:
            raise RealApiServerFailed(
                f"kube-apiserver is not ready after 90 s:\n{_tail(folder, 'kube-apiserver')}"
            )
        time.sleep(0.1)


def _tail(folder: Path, name: str) -> str:
    lines = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-20:])
