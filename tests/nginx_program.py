"""A real nginx on what the renderer wrote, for tests: no applier, a fresh process each time."""

from __future__ import annotations

import getpass
import http.client
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ingresskit.render.nginx import (
    DEFAULT_CERTIFICATE,
    Capabilities,
    NginxArtifact,
    NginxRenderer,
    NginxSettings,
)
from ingresskit.render.nginx.tree import Directive, Node
from ingresskit.testing import make_certificate, pace
from ingresskit.testing.ports import free_port

NGINX = os.environ.get("INGRESSKIT_TEST_NGINX") or shutil.which("nginx") or "/usr/sbin/nginx"
# A master that is root gives its workers to nobody, who may read no certificates.
_FOREGROUND = "daemon off;" + (f" user {getpass.getuser()};" if os.geteuid() == 0 else "")


class NginxOnDisk:
    """A folder for one nginx, and the renderer that writes for it."""

    def __init__(self, root: Path, settings: NginxSettings | None = None) -> None:
        self.http = ("127.0.0.1", free_port())
        self.https = ("127.0.0.1", free_port())
        self.root = root
        self.state = root / "state"
        (self.state / "temp").mkdir(parents=True)
        base = settings or NginxSettings(state="/x", public_https_port=443)
        self.settings = replace(
            base,
            state=str(self.state),
            http=(f"{self.http[0]}:{self.http[1]}",),
            https=(f"{self.https[0]}:{self.https[1]}",),
            workers=1,
            worker_connections=512,
            error_log=str(root / "error.log"),
        )
        self.renderer = NginxRenderer(self.settings, Capabilities(version=program_version()))

    def write(self, artifact: NginxArtifact) -> Path:
        """Put *artifact* where nginx looks for it; gives the main file."""
        folder = self.root / "current"
        shutil.rmtree(folder, ignore_errors=True)
        for file in artifact.files():
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
        certificates = Path(self.settings.certificate_directory)
        shutil.rmtree(certificates, ignore_errors=True)
        certificates.mkdir()
        own = make_certificate("ingresskit.invalid")
        wanted = {DEFAULT_CERTIFICATE: ("own", own.chain, own.private_key)}
        for identifier, item in artifact.certificates.items():
            wanted[identifier] = (item.digest, item.chain, item.private_key)
        for identifier, (digest, chain, key) in wanted.items():
            made = Path(self.settings.certificate_path(identifier, digest))
            made.mkdir()
            (made / "tls.pem").write_bytes(chain + b"\n" + key)
            (certificates / identifier).symlink_to(made.name)
        return folder / "nginx.conf"

    def write_text(self, content: bytes) -> None:
        """Put a main file of a test's own where nginx looks for it."""
        folder = self.root / "current"
        folder.mkdir(exist_ok=True)
        (folder / "nginx.conf").write_bytes(content)

    def basics(self) -> tuple[Node, ...]:
        """What a main file of a test's own needs to leave the system's files alone."""
        return (Directive("pid", (f"{self.state}/nginx.pid",)), Directive("error_log", ("stderr",)))

    def get(self, path: str) -> tuple[int, bytes]:
        """The status and the body of a plain request."""
        connection = http.client.HTTPConnection(*self.http, timeout=pace.within(10))
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def check(self) -> str:
        """What ``nginx -t`` complains of; empty when it takes the files."""
        done = subprocess.run(
            [NGINX, "-t", "-c", str(self.root / "current" / "nginx.conf"), "-e", "stderr"],
            capture_output=True,
            text=True,
            timeout=pace.within(60),
        )
        return done.stderr if done.returncode else ""

    @contextmanager
    def running(self) -> Generator[None]:
        """Serve what was written for as long as the context is open."""
        log = self.root / "error.log"
        process = subprocess.Popen(
            [NGINX, "-c", str(self.root / "current" / "nginx.conf"), "-e", str(log), "-g", _FOREGROUND],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wait(process, log)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(pace.within(10))
            Path(self.settings.status_socket).unlink(missing_ok=True)

    def _wait(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + pace.within(20)
        while time.monotonic() < deadline and process.poll() is None:
            try:
                socket.create_connection(self.http, pace.within(1)).close()
                return
            except OSError:
                time.sleep(0.01)
        raise AssertionError(f"nginx did not start: {log.read_text()[-2000:]}")


def program_version() -> tuple[int, int, int]:
    text = subprocess.run([NGINX, "-v"], capture_output=True, text=True, timeout=pace.within(10)).stderr
    major, minor, patch = text.strip().rpartition("/")[2].split(" ")[0].split(".")[:3]
    return int(major), int(minor), int(patch)


@contextmanager
def nginx_folder(settings: NginxSettings | None = None) -> Generator[NginxOnDisk]:
    """A folder whose name is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="ik-") as folder:
        yield NginxOnDisk(Path(folder), settings)
