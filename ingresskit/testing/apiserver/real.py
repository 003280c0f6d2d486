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
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from ingresskit.errors import IngressKitError
from ingresskit.testing import pace
from ingresskit.testing.apiserver.auth import Rule
from ingresskit.testing.apiserver.certificates import Authority
from ingresskit.testing.apiserver.kubeconfig import write_kubeconfig
from ingresskit.testing.apiserver.manifests import Manifest
from ingresskit.testing.apiserver.real_programs import (
    end,
    etcd_command,
    free_ports,
    last_words,
    run,
    server_command,
)

__all__ = ["RealApiServer", "RealApiServerFailed", "assets_folder", "real_api_server"]

_START_SECONDS = pace.within(90.0)


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
    """A real API server, running; see `real_api_server`.

    It may be stopped, started again and set back, as in clusters that are repaired or upgraded: it keeps its
    address, its objects and its tokens.
    """

    def __init__(self, assets: Path, folder: Path, flags: Sequence[str]) -> None:
        """Write its certificates, and start nothing yet."""
        client, peer, secure = free_ports(3)
        self.token: str = secrets.token_urlsafe(24)
        self.url: str = f"https://127.0.0.1:{secure}"
        self.ca: bytes = _write_files(folder, self.token)
        self._folder = folder
        self._data = folder / "etcd"
        self._backups = 0
        etcd_url = f"http://127.0.0.1:{client}"
        self._commands = {
            "etcd": etcd_command(assets, self._data, etcd_url, f"http://127.0.0.1:{peer}"),
            "kube-apiserver": server_command(assets, folder, etcd_url, secure, flags),
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start it, and return once it is ready. Does nothing while it runs.

        Raises:
            RealApiServerFailed: One of its programs ends, or is not ready within 90 s.
        """
        for name, command in self._commands.items():
            if name not in self._processes:
                self._processes[name] = run(command, self._folder / f"{name}.log")
        self._wait_ready()

    def pause(self) -> None:
        """Let it stand still: connections stay open, and nothing comes out of them until `resume`."""
        self._processes["kube-apiserver"].send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._processes["kube-apiserver"].send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, and return once its programs are gone. What is in it stays."""
        if "kube-apiserver" in self._processes:
            self.resume()  # one that stands still does not hear that it is to end
        for name in reversed(list(self._processes)):
            end(self._processes.pop(name))

    def restart(self) -> None:
        """Stop and start it. Connections are cut, and versions from before cannot be watched from: 410.

        Raises:
            RealApiServerFailed: As for `start`.
        """
        self.stop()
        self.start()

    def backup(self) -> Path:
        """Keep a copy of all objects and their versions, for `restore`. It is restarted for that.

        Raises:
            RealApiServerFailed: As for `start`.
        """
        self.stop()
        self._backups += 1
        copy = self._folder / f"backup-{self._backups}"
        shutil.copytree(self._data, copy)
        self.start()
        return copy

    def restore(self, backup: Path) -> None:
        """Go back to what `backup` kept: objects and versions from since then are as if they had never been.

        Raises:
            RealApiServerFailed: As for `start`.
        """
        self.stop()
        shutil.rmtree(self._data)
        shutil.copytree(backup, self._data)
        self.start()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            for name, process in self._processes.items():
                if process.poll() is not None:
                    said = last_words(self._folder, name)
                    raise RealApiServerFailed(f"{name} ended with {process.returncode}:\n{said}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, _ = _request(self.url, self.ca, self.token, "GET", "/readyz")
                if status == 200:
                    return
            if time.monotonic() > deadline:
                said = last_words(self._folder, "kube-apiserver")
                raise RealApiServerFailed(f"kube-apiserver is not ready after 90 s:\n{said}")
            time.sleep(0.1)

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
    with tempfile.TemporaryDirectory(prefix="ingresskit-apiserver-") as folder:
        server = RealApiServer(assets, Path(folder), flags)
        try:
            server.start()
            yield server
        finally:
            server.stop()


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
