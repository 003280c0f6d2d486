"""The README's own program, run the way the README says."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
from typing_extensions import override

from ingresskit.testing import pace
from ingresskit.testing.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = pace.within(30)


class Answer(NamedTuple):
    """What the README's ``curl`` line gets."""

    status: int
    served_by: str | None
    body: bytes


ReadmeProgram = Callable[[Path], Answer]
"""Runs the program with an interpreter and gives the first answer that an endpoint made."""


class _Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    @override
    def log_message(self, format: str, *args: object) -> None:
        return None


@contextmanager
def _endpoint() -> Generator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hello) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def readme_program(tmp_path: Path) -> ReadmeProgram:
    """Only the two ports of the README are replaced by free ones."""

    def run(python: Path) -> Answer:
        port = free_port()
        with _endpoint() as endpoint:
            manifest = _titled("manifests/hello.yaml").replace("port: 9000", f"port: {endpoint}")
            (tmp_path / "manifests").mkdir()
            (tmp_path / "manifests" / "hello.yaml").write_text(manifest, encoding="utf-8")
            (tmp_path / "serve.py").write_text(_titled("serve.py").replace("8080", str(port)), encoding="utf-8")
            # Isolated, in a folder without the checkout: what is imported is what is installed.
            with subprocess.Popen([str(python), "-I", "serve.py"], cwd=tmp_path) as process:
                try:
                    return _answer(port, process)
                finally:
                    process.terminate()

    return run


def _titled(title: str) -> str:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf'^```\w+ title="{re.escape(title)}"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    assert found is not None, f"the README has no {title}"
    return found[1]


def _answer(port: int, process: subprocess.Popen[bytes]) -> Answer:
    """Asks until an endpoint answers: the proxy listens before the manifests are read."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while process.poll() is None:
        assert time.monotonic() < deadline, "no answer in time"
        with (
            suppress(ConnectionRefusedError),
            closing(HTTPConnection("127.0.0.1", port, timeout=pace.within(5))) as connection,
        ):
            connection.request("GET", "/", headers={"Host": "hello.example"})
            response = connection.getresponse()
            if response.status == 200:
                return Answer(response.status, response.getheader("X-Served-By"), response.read())
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    pytest.fail(f"the program ended with {process.returncode}")
