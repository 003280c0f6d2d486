"""Every change that the runtime API is used for, on a real HAProxy."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from anyio.abc import SocketAttribute, SocketStream

from ingresskit.apply.haproxy.cli import MAX_PAYLOAD_BYTES, Cli, CommandRefused, Unreachable, chunks
from ingresskit.errors import ApplyError
from ingresskit.testing import make_certificate, pace
from tests.unit.apply.haproxy.conftest import Running, needs_haproxy, running_haproxy

pytestmark = [pytest.mark.anyio, needs_haproxy]

ROUTES = "maps/routes.map"


def ask(running: Running, path: str) -> str:
    """The status line that a client gets."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(pace.within(5))
        client.connect(str(running.root / "plain.sock"))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n".encode())
        return client.recv(4096).partition(b"\r\n")[0].decode()


def fingerprint(running: Running, name: str) -> bytes:
    """The certificate that a client gets for a server name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(pace.within(5))
        client.connect(str(running.root / "tls.sock"))
        with context.wrap_socket(client, server_hostname=name) as tls:
            return tls.getpeercert(binary_form=True) or b""


def pem(name: str, salt: str = "") -> list[str]:
    made = make_certificate(name, salt=salt)
    return (made.private_key + made.chain).decode().splitlines()


def der(name: str, salt: str = "") -> bytes:
    return ssl.PEM_cert_to_DER_cert(make_certificate(name, salt=salt).chain.decode())


async def test_rows_are_added_replaced_and_taken_out(short_path: Path) -> None:
    async with running_haproxy(short_path) as running:
        api = running.api
        await api.add_rows(ROUTES, ["/a one", "/b two"])
        await api.set_row(ROUTES, "/a", "three")
        await api.delete_row(ROUTES, "/b")
        a, b = await api.get_row(ROUTES, "/a"), await api.get_row(ROUTES, "/b")
        counts = await api.map_counts()

    assert (a, b) == ("three", None)
    assert counts[ROUTES] == 1


async def test_ten_thousand_long_rows_all_arrive(short_path: Path) -> None:
    rows = [f"/{number}/{'x' * 60} value-{number}" for number in range(10_000)]
    async with running_haproxy(short_path) as running:
        await running.api.add_rows(ROUTES, rows)
        counts = await running.api.map_counts()
        last = await running.api.get_row(ROUTES, f"/9999/{'x' * 60}")

    assert counts[ROUTES] == len(rows)
    assert last == "value-9999"


async def test_a_map_is_replaced_as_a_whole(short_path: Path) -> None:
    async with running_haproxy(short_path) as running:
        await running.api.add_rows(ROUTES, ["/old slot"])
        await running.api.replace_rows(ROUTES, ["/new slot"])
        counts = await running.api.map_counts()
        old, new = await running.api.get_row(ROUTES, "/old"), await running.api.get_row(ROUTES, "/new")

    assert counts[ROUTES] == 1
    assert (old, new) == (None, "slot")


async def test_a_row_that_is_not_there_cannot_be_replaced(short_path: Path) -> None:
    async with running_haproxy(short_path) as running:
        with pytest.raises(CommandRefused) as refused:
            await running.api.set_row(ROUTES, "/nowhere", "slot")

    assert "set map" in refused.value.command


@asynccontextmanager
async def endpoint() -> AsyncGenerator[int]:
    """The port of a server that answers 204."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port: int = listener.extra(SocketAttribute.local_port)  # noqa: S610 - no database here

    async def answer(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        yield port
        tasks.cancel_scope.cancel()


async def test_a_server_takes_requests_until_it_is_stopped(short_path: Path) -> None:
    async with endpoint() as port, running_haproxy(short_path) as running:
        api = running.api
        await api.add_rows(ROUTES, ["/ slot"])
        assert (await anyio.to_thread.run_sync(ask, running, "/")).startswith("HTTP/1.1 503")
        await api.add_server("slot", "s1", f"127.0.0.1:{port}")
        assert await api.servers("slot") == {"slot": {"s1": ("127.0.0.1", port)}}
        assert (await anyio.to_thread.run_sync(ask, running, "/")).startswith("HTTP/1.1 204")
        assert not await api.delete_server("slot", "s1"), "it still takes requests"

        await api.stop_server("slot", "s1")
        while not await api.delete_server("slot", "s1"):  # noqa: ASYNC110 - another process is waited for
            await anyio.sleep(0.01)

        assert await api.servers("slot") == {}
        assert (await anyio.to_thread.run_sync(ask, running, "/")).startswith("HTTP/1.1 503")


async def test_a_server_that_is_there_is_not_added_twice(short_path: Path) -> None:
    async with running_haproxy(short_path) as running:
        await running.api.add_server("slot", "s1", "127.0.0.1:1")
        with pytest.raises(CommandRefused, match=r"[Aa]lready exists"):
            await running.api.add_server("slot", "s1", "127.0.0.1:1")


async def test_a_certificate_comes_is_renewed_and_goes(short_path: Path) -> None:
    async with running_haproxy(short_path) as running:
        api, file = running.api, "certificates/c1.pem"

        async def seen(name: str) -> bytes:
            return await anyio.to_thread.run_sync(fingerprint, running, name)

        await api.put_certificate(file, pem("a.test"), new=True)
        await api.list_certificate("certificates.list", f"{file} a.test *.a.test")
        first, wildcard, other = await seen("a.test"), await seen("x.a.test"), await seen("b.test")
        await api.put_certificate(file, pem("a.test", "renewed"), new=False)
        renewed = await seen("a.test")
        lines = await api.listed("certificates.list")
        await api.unlist_certificate("certificates.list", file, lines[-1].line)
        await api.drop_certificate(file)
        gone = await seen("a.test")

    assert (first, wildcard, other) == (der("a.test"), der("a.test"), der("default.test"))
    assert renewed == der("a.test", "renewed")
    assert lines[-1].names == ("a.test", "*.a.test")
    assert gone == der("default.test")


async def test_a_key_that_does_not_fit_leaves_the_certificate_as_it_was(short_path: Path) -> None:
    async with running_haproxy(short_path) as running:
        good, other = make_certificate("a.test"), make_certificate("a.test", salt="other")
        wrong = (other.private_key + good.chain).decode().splitlines()
        with pytest.raises(CommandRefused):
            await running.api.put_certificate("certificates/default.pem", wrong, new=False)
        await running.api.put_certificate("certificates/default.pem", pem("b.test"), new=False)
        seen = await anyio.to_thread.run_sync(fingerprint, running, "x.test")

    assert seen == der("b.test")


async def test_a_reload_brings_a_new_worker(short_path: Path) -> None:
    async with running_haproxy(short_path) as running:
        before = await running.api.processes()
        success = await running.api.reload()
        while True:
            try:
                after = await running.api.processes()
            except ApplyError:
                continue
            if after.reloads == before.reloads + 1 and len(after.workers) == 1:
                break
            await anyio.sleep(0.01)

    assert success in (True, None)
    assert after.master == before.master
    assert after.workers[0].pid != before.workers[0].pid
    assert after.failed == 0


async def test_info_and_counts_can_be_read(short_path: Path) -> None:
    async with running_haproxy(short_path) as running:
        await anyio.to_thread.run_sync(ask, running, "/")
        info = await running.api.info()
        rows = {(row["pxname"], row["svname"]): row for row in await running.api.stat()}

    assert info["Name"] == "HAProxy"
    assert rows["clients", "FRONTEND"]["hrsp_4xx"] == "1"


@pytest.mark.parametrize(
    "word",
    ["a;quit", "a b", "a\nb", "<<", "\\", "'", '"', "ä", ""],
    ids=["separator", "space", "line", "payload", "backslash", "quote", "double quote", "not ascii", "empty"],
)
async def test_nothing_but_plain_words_becomes_a_command(short_path: Path, word: str) -> None:
    with pytest.raises(ValueError, match="is not a word"):
        await Cli(short_path / "nobody").worker("set", "map", ROUTES, word, "x")


@pytest.mark.parametrize(
    "lines", [[], [""], ["a\nb"], ["a\x00"], ["ä"], ["x" * (MAX_PAYLOAD_BYTES + 1)]], ids=range(6)
)
async def test_nothing_but_lines_becomes_a_payload(short_path: Path, lines: list[str]) -> None:
    with pytest.raises(ValueError, match="payload"):
        await Cli(short_path / "nobody").worker("add", "map", ROUTES, payload=lines)


async def test_rows_that_look_like_commands_are_rows(short_path: Path) -> None:
    rows = ["/;quit one", "/$(x) two;quit", "/<< three", "/a'b\\ four \\; five"]
    async with running_haproxy(short_path) as running:
        await running.api.add_rows(ROUTES, rows)
        there = await running.cli.worker("show", "map", ROUTES)

    assert [line.partition(" ")[2] for line in there.splitlines()] == rows


async def test_nobody_at_the_socket_is_an_error_that_says_so(short_path: Path) -> None:
    with pytest.raises(Unreachable, match="cannot be reached"):
        await Cli(short_path / "nobody").master("show", "proc")


async def test_an_answer_that_never_comes_is_not_waited_for(short_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(short_path / "silent"))
        silent.listen()
        with pytest.raises(Unreachable, match="did not respond"):
            await Cli(short_path / "silent", timeout=timedelta(milliseconds=20)).worker("show", "info")


def test_a_path_too_long_for_a_socket_is_refused() -> None:
    with pytest.raises(ApplyError, match="too long for a socket"):
        Cli(Path("/" + "x" * 200))


def test_chunks_hold_all_lines_in_order() -> None:
    lines = [f"{number} {'x' * (number % 97)}" for number in range(1000)]

    groups = list(chunks(lines, 500))

    assert [line for group in groups for line in group] == lines
    assert max(sum(len(line) + 1 for line in group) for group in groups) <= 500
