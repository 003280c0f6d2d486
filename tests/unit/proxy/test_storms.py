"""Many faulty clients and endpoints at once: nobody gets another's answer, and nothing stays open."""

from __future__ import annotations

import asyncio
import contextlib
import random
from datetime import timedelta

import pytest

from ingresskit.proxy import Proxy
from tests.unit.proxy.conftest import Seen, Stage, Wire, forward, get, read_body, read_head, reply, until

pytestmark = pytest.mark.anyio

SIZES = (0, 5, 5000, 300_000)
SOON = timedelta(seconds=0.2)
UPGRADE = ["Connection: Upgrade", "Upgrade: websocket"]


class Storm:
    """Everything that is left to chance; the same seed gives the same intentions."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - the same every time
        self.answered = 0

    async def endpoint(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, RuntimeError):
            while await self._serve(reader, writer):
                await writer.drain()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request, in one of many ways; whether there may be another."""
        chance = self.chance
        request = Seen(await read_head(reader))
        token = f"X-Token: {request.value('x-token')}"
        kind = chance.randrange(24)
        if kind == 0:
            writer.transport.abort()
            return False
        if kind == 1:
            writer.write(reply(b"early", fields=[token, "Connection: close"]))
            return False
        if kind == 2:
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n{token}\r\n\r\nabc".encode())
            return False
        if kind == 3:
            await asyncio.sleep(SOON.total_seconds() * 1.5)
        if request.value("upgrade"):
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            )
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            return False
        if request.value("expect") and kind % 2:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await read_body(reader, request)
        if request.line.startswith(b"HEAD "):
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{token}\r\n\r\n".encode())
        elif kind < 6:
            writer.write(f"HTTP/1.1 204 No Content\r\n{token}\r\n\r\n".encode())
        elif kind < 9:
            writer.write(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{token}\r\n\r\n".encode())
            for size in chance.choices(SIZES[1:], k=3):
                writer.write(b"%x\r\n%b\r\n" % (size, b"z" * size))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        elif kind < 11:
            writer.write(f"HTTP/1.1 200 OK\r\n{token}\r\n\r\n".encode() + b"q" * chance.choice(SIZES))
            return False
        elif kind == 11:  # one more answer, which nobody asked for
            writer.write(reply(b"x", fields=[token]) + reply(b"y", fields=["X-Token: nobody's"]))
        else:
            writer.write(reply(b"x" * chance.choice(SIZES), fields=[token]))
        return kind != 12

    async def rude_client(self, client: Wire) -> None:
        """Ask for something, in part or several times, and leave in the middle of it."""
        chance = self.chance
        request = chance.choice(
            [
                get(),
                get(fields=["Connection: close"]) + get(),
                get(method="POST", fields=["Content-Length: 300000"]) + b"b" * 300_000,
                get(method="POST", fields=["Content-Length: 10", "Expect: 100-continue"]) + b"b" * 10,
                get(method="PUT", fields=["Transfer-Encoding: chunked"]) + b"3\r\nabc\r\n0\r\n\r\n",
                get(fields=UPGRADE) + b"early",
                b"GET / HTTP/1.1\r\n\r\n",
                b"\x16\x03\x01",
            ]
        )
        with contextlib.suppress(OSError, TimeoutError):
            client.writer.write((request * chance.choice((1, 1, 3)))[: chance.choice((None, None, -1, 30))])
            async with asyncio.timeout(chance.choice((0.0, 0.01, 0.2))):
                await client.writer.drain()
                await client.reader.read(chance.choice((1, 1000, 100_000)))
        if chance.random() < 0.5:
            client.writer.transport.abort()
        else:
            client.writer.close()

    async def honest_client(self, client: Wire) -> None:
        """Ask again and again, and see that each answer is the own one."""
        for _ in range(15):
            token = f"{self.chance.getrandbits(64):016x}"
            method = self.chance.choice(("GET", "HEAD", "POST", "PUT"))
            body = b"b" * self.chance.choice(SIZES) if method in ("POST", "PUT") else b""
            fields = [f"X-Token: {token}", f"Content-Length: {len(body)}"]
            try:
                answer = await client.ask(get(method=method, fields=fields) + body, head_only=method == "HEAD")
            except (ConnectionError, asyncio.IncompleteReadError):
                return  # the answer broke off, and that is how the proxy tells
            if answer.status not in (502, 504):
                assert answer.value("x-token") == token
                self.answered += 1
            if answer.value("connection") == "close":
                return


def left(proxy: Proxy) -> dict[str, int]:
    """What is still open or under way, after all time-outs."""
    counts = proxy.statistics()
    backends = counts.backends.values()
    return {
        "clients": counts.connections_open,
        "tunnels": counts.tunnels_open,
        "endpoints": counts.upstream_open,
        "requests": sum(backend.active for backend in backends),
    }


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_storm_of_faults_mixes_no_answers_and_leaves_nothing(stage: Stage, seed: int) -> None:
    storm = Storm(seed)
    endpoints = [await stage.endpoint(raw=storm.endpoint) for _ in range(3)]
    proxy = await stage.proxy(
        forward(*(endpoint.port for endpoint in endpoints)),
        read_timeout=SOON,
        send_timeout=SOON,
        header_timeout=SOON,
        body_timeout=SOON,
        client_write_timeout=SOON,
        idle_timeout=SOON,
        upstream_idle_timeout=SOON,
        max_idle_per_endpoint=4,
    )

    for _ in range(4):
        async with asyncio.TaskGroup() as clients:
            for number in range(36):
                client = await stage.connect(proxy)
                act = storm.rude_client if number % 3 else storm.honest_client
                clients.create_task(act(client))

    assert storm.answered > 100
    nothing = {"clients": 0, "tunnels": 0, "endpoints": 0, "requests": 0}
    await until(lambda: left(proxy) == nothing)
