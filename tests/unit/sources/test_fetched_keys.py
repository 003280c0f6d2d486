"""Keys of tokens by URL: who may be asked, what is kept, and what routes do meanwhile."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from typing_extensions import override

from ingresskit._doubling import Doubling
from ingresskit.graph import Forward
from ingresskit.models import Snapshot
from ingresskit.policies import JwtAuth
from ingresskit.policies.key_urls import parse_key_prefix, parse_key_url
from ingresskit.sources import FetchedKeysSource, MemorySource
from ingresskit.sources.fetched_keys import fetch_keys
from ingresskit.testing import ingress, ingress_class, make_authority, pace, service
from ingresskit.translate import Translation, translate

pytestmark = pytest.mark.anyio

URL = "https://id.example/keys"
KEY = {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(bytes(32)).rstrip(b"=").decode()}
KEYS = json.dumps({"keys": [{**KEY, "kid": "one"}]}).encode()
OTHERS = json.dumps({"keys": [{**KEY, "kid": "two"}]}).encode()


class Issuer:
    """Answers with what it holds; an exception is raised."""

    def __init__(self, answer: bytes | Exception = KEYS) -> None:
        self.answer: bytes | Exception = answer
        self.asked: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, url: str) -> bytes:
        with self._changed:
            self.asked.append(url)
            self._changed.notify_all()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def wait_until_asked(self, times: int) -> None:
        """Return once it was asked so often."""

        def wait() -> None:
            with self._changed:
                assert self._changed.wait_for(lambda: len(self.asked) >= times, pace.within(20))

        await anyio.to_thread.run_sync(wait)


def web(name: str = "web", url: str = URL) -> MemorySource:
    annotations = {"jwt-keys-url": url}
    return MemorySource(
        [ingress_class(), service("web"), ingress(name, {"a.test": {"/": "web"}}, annotations=annotations)]
    )


@asynccontextmanager
async def running(
    inner: MemorySource, issuer: Issuer, *allowed: str, refresh: float = 3600
) -> AsyncGenerator[FetchedKeysSource]:
    source = FetchedKeysSource(
        inner,
        allowed or ("https://id.example/",),
        fetch=issuer,
        refresh=timedelta(seconds=refresh),
        retry=Doubling(timedelta(milliseconds=1), timedelta(milliseconds=5)),
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(source.run)
        yield source
        tasks.cancel_scope.cancel()


async def until(source: FetchedKeysSource, wanted: str) -> Translation:
    """The translation of the first snapshot whose route is ``closed`` or has the key named so."""
    revision = 0
    with anyio.fail_after(pace.within(20)):
        while True:
            await source.wait_changed(revision)
            snapshot = source.snapshot()
            assert snapshot is not None
            revision = snapshot.revision
            found = translate(snapshot)
            if state(found) == wanted:
                return found


def state(found: Translation) -> str:
    (route,) = found.graph.by_host["a.test"].routes
    policy = route.policies.get(JwtAuth)
    if not isinstance(route.action, Forward) or policy is None:
        return "closed"
    return ",".join(key.identity for key in policy.keys)


async def test_keys_are_fetched_and_routes_are_closed_until_then() -> None:
    issuer = Issuer(OSError("down"))
    async with running(web(), issuer) as source:
        found = await until(source, "closed")
        assert any("--jwt-keys-from" in item.message for item in found.diagnostics)
        issuer.answer = KEYS

        await until(source, "one")

    assert set(issuer.asked) == {URL}


async def test_other_keys_take_their_place_and_a_failure_keeps_the_last_good_ones() -> None:
    issuer = Issuer()
    async with running(web(), issuer, refresh=0.001) as source:
        await until(source, "one")
        issuer.answer = OTHERS
        await until(source, "two")
        for fault in (OSError("down"), b"<html>", b'{"keys": []}', b"\xff", ValueError("too large")):
            issuer.answer = fault
            seen = len(issuer.asked)
            await issuer.wait_until_asked(seen + 3)
            snapshot = source.snapshot()
            assert snapshot is not None
            assert state(translate(snapshot)) == "two"
            assert "those that it gave last hold" in str(snapshot.problems[0])
        issuer.answer = KEYS

        found = await until(source, "one")

    assert not any("cannot be fetched" in item.message for item in found.diagnostics)


@pytest.mark.parametrize(
    "url",
    [
        "https://id.example.evil.test/keys",
        "https://evil.test/https://id.example/keys",
        "https://id.example:8443/keys",
        "http://id.example/keys",
        "https://id.example@evil.test/keys",
        "https://169.254.169.254/latest",
        "https://id.example/../x",
        "https://id.example/%2e%2e/x",
        "file:///etc/passwd",
    ],
)
async def test_nobody_is_asked_whom_the_operator_does_not_allow(url: str) -> None:
    issuer, inner = Issuer(), web(url=url)
    async with running(inner, issuer) as source:
        await until(source, "closed")
        inner.apply(ingress("other", {"b.test": {"/": "web"}}, annotations={"jwt-keys-url": URL}))
        await issuer.wait_until_asked(1)

    assert set(issuer.asked) == {URL}


async def test_keys_are_for_the_namespaces_that_name_them_and_go_with_the_last_one() -> None:
    inner = web()
    async with running(inner, Issuer()) as source:
        await until(source, "one")
        snapshot = source.snapshot()
        assert isinstance(snapshot, Snapshot)
        (key,) = [key for kind in snapshot.objects.values() for key in kind if key.name.startswith("jwks:")]
        assert key.namespace == "default"
        inner.apply(ingress("web", {"a.test": {"/": "web"}}))
        await source.wait_changed(snapshot.revision)
        after = source.snapshot()

    assert after is not None
    assert [key for kind in after.objects.values() for key in kind if key.name.startswith("jwks:")] == []


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("HTTPS://Id.Example:443/Keys?p=1", "https://id.example/Keys?p=1"),
        ("https://id.example:8443/", "https://id.example:8443/"),
    ],
)
def test_urls_have_one_form(text: str, url: str) -> None:
    assert parse_key_url(text) == url


@pytest.mark.parametrize("text", ["https://id.example", "https://id.example/?x", "id.example/", "https://*/"])
def test_what_is_no_beginning_of_urls_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_key_prefix(text)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "/keys")
            self.end_headers()
            return
        self.send_response(200 if self.path in ("/keys", "/large") else 404)
        self.end_headers()
        self.wfile.write(KEYS if self.path == "/keys" else b"x" * 300_000)

    @override
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def issuer_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[int]:
    made = make_authority().issue("localhost", "localhost")
    (tmp_path / "own.pem").write_bytes(made.chain + made.private_key)
    (tmp_path / "ca.pem").write_bytes(make_authority().certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_response_is_trusted_by_its_certificate_bounded_and_leads_nowhere(
    issuer_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = f"https://localhost:{issuer_port}"

    assert fetch_keys(f"{start}/keys") == KEYS
    for path in ("/elsewhere", "/gone"):
        with pytest.raises(OSError, match="HTTP Error"):
            fetch_keys(start + path)
    with pytest.raises(ValueError, match="at most"):
        fetch_keys(f"{start}/large")
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch_keys(f"https://127.0.0.1:{issuer_port}/keys")
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch_keys(f"{start}/keys")
