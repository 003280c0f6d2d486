"""Responses that no API server sends, or that something on the way changed: what the errors say of them."""

from __future__ import annotations

import logging
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest
from anyio import to_thread
from cryptography.hazmat.primitives import serialization

from ingresskit.errors import ApiError, CredentialsError, TransportError, Unauthorized
from ingresskit.kube import (
    Access,
    AioTransport,
    ByteStream,
    ListOptions,
    ResourceKind,
    StaticCredentials,
    TrustMaterial,
)
from ingresskit.models import Service
from ingresskit.testing.apiserver.certificates import Authority
from tests.unit.kube.stub import Asked, Stub, serving

pytestmark = pytest.mark.anyio

SERVICES = ResourceKind.of(Service)
WATCH = ListOptions(resource_version="7")
REFUSED = "credentials were refused, renewing them"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def transport(stub: Stub) -> AioTransport:
    return AioTransport(StaticCredentials(stub.access()))


async def test_a_web_page_in_place_of_a_list_or_watch_is_called_one() -> None:
    async def page(asked: Asked) -> None:
        await asked.answer(b"<html>log in</html>", kind="text/html; charset=utf-8")

    async with serving(page) as stub, transport(stub) as it:
        with pytest.raises(TransportError, match="GET /api/v1/services got a web page"):
            await it.list(SERVICES, "", ListOptions())
        with pytest.raises(TransportError, match="the watch of /api/v1/services got a web page"):
            async with it.watch(SERVICES, "", WATCH):
                pass


async def test_a_redirect_says_where_to_without_its_query() -> None:
    async def redirect(asked: Asked) -> None:
        await asked.answer(
            b"<html>", status=302, extra="Location: https://me:pw@login.example/in?code=s3cret\r\n"
        )

    async with serving(redirect) as stub, transport(stub) as it:
        with pytest.raises(ApiError, match=r"302: a redirect to https://login\.example/in, which") as caught:
            await it.list(SERVICES, "", ListOptions())

    assert "s3cret" not in str(caught.value)
    assert "pw" not in str(caught.value)


async def test_a_header_of_many_kilobytes_is_no_trouble() -> None:
    async def ok(asked: Asked) -> None:
        await asked.answer(extra=f"Content-Security-Policy: {'x' * 100_000}\r\n")

    async with serving(ok) as stub, transport(stub) as it:
        assert (await it.request("GET", "/version")).status == 200


async def test_a_server_of_http_2_only_is_called_one() -> None:
    async def settings(asked: Asked) -> None:
        await asked.write(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64" + bytes(12))
        asked.writer.close()

    async with serving(settings) as stub, transport(stub) as it:
        with pytest.raises(TransportError, match="the server speaks HTTP/2 only"):
            await it.request("GET", "/version")


async def test_a_watch_that_is_cut_does_not_speak_of_an_error_400() -> None:
    async def cut(asked: Asked) -> None:
        await asked.begin()
        await asked.chunk(b"{}\n")
        asked.writer.transport.abort()

    async with serving(cut) as stub, transport(stub) as it, it.watch(SERVICES, "", WATCH) as stream:
        with pytest.raises(TransportError) as caught:
            await to_the_end(stream)

    assert "400" not in str(caught.value)
    assert "the watch of /api/v1/services failed: " in str(caught.value)


async def to_the_end(stream: ByteStream) -> None:
    while True:
        await stream.receive()


async def test_refused_credentials_are_logged_once_until_they_are_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    taken = False

    async def script(asked: Asked) -> None:
        await asked.answer(b"{}", status=200 if taken else 401)

    async def refused(it: AioTransport) -> None:
        with pytest.raises(Unauthorized):
            await it.request("GET", "/version")

    async with serving(script) as stub, transport(stub) as it:
        for _ in range(3):
            await refused(it)
        taken = True
        await it.request("GET", "/version")
        taken = False
        await refused(it)

    assert [record.message.partition(" server=")[0] for record in caplog.records] == [REFUSED] * 2


# An encrypted key.


def encrypted() -> TrustMaterial:
    authority = Authority()
    pair = authority.client("me")
    key = serialization.load_pem_private_key(pair.key, None)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"pass"),
    )
    return TrustMaterial(authorities=authority.pem, certificate=pair.certificate, key=pem)


async def test_an_encrypted_key_is_refused_and_says_so() -> None:
    access = Access(server="https://127.0.0.1:1", trust=encrypted())
    async with AioTransport(StaticCredentials(access)) as it:
        with pytest.raises(CredentialsError, match="the client key is encrypted"):
            await it.request("GET", "/version")


ON_A_TERMINAL = """
import anyio, sys
from pathlib import Path
from ingresskit.kube import Access, AioTransport, StaticCredentials, TrustMaterial

async def main():
    certificate, key = (Path(name).read_bytes() for name in sys.argv[1:])
    trust = TrustMaterial(certificate=certificate, key=key)
    async with AioTransport(StaticCredentials(Access(server="https://127.0.0.1:1", trust=trust))) as it:
        try:
            await it.request("GET", "/version")
        except Exception as error:
            print(type(error).__name__, flush=True)

anyio.run(main)
"""


async def test_an_encrypted_key_asks_no_terminal_for_its_pass_phrase(tmp_path: Path) -> None:
    trust = encrypted()
    for name, content in (("tls.crt", trust.certificate), ("tls.key", trust.key)):
        (tmp_path / name).write_bytes(content)
    arguments = [sys.executable, "-c", ON_A_TERMINAL, str(tmp_path / "tls.crt"), str(tmp_path / "tls.key")]

    said = await to_thread.run_sync(on_a_terminal, arguments)

    assert "CredentialsError" in said
    assert "pass phrase:" not in said


def on_a_terminal(arguments: list[str]) -> str:
    """What a program says that has a terminal of its own, up to its end or its first question."""
    master, slave = pty.openpty()
    said = ""
    try:
        with subprocess.Popen(
            arguments, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, close_fds=True
        ) as process:
            os.close(slave)
            try:
                while "CredentialsError" not in said and "phrase" not in said:
                    if not select.select([master], [], [], 60)[0]:
                        break
                    said += os.read(master, 4096).decode()
            except OSError:  # the other end is closed
                pass
            finally:
                process.kill()
    finally:
        os.close(master)
    return said
