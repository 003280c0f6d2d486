"""How much memory an idle keep-alive connection of the in-process proxy takes, plain and with TLS.

    python benchmarks/connection_memory.py [--connections 10000] [--loop uvloop|asyncio] [--tls]

A second process opens the connections, sends a request on each, reads the response, and holds them. The figure
is what the resident memory of the proxy's process grew by, for each of them, and what is left of that when they
are closed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import resource
import socket
import ssl
import sys
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from ingresskit._allocator import map_large_buffers
from ingresskit.graph import PathMatch, Redirect, Route, VirtualHost
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import Origin
from ingresskit.proxy import Proxy, ProxySettings
from ingresskit.proxy.limits import clients
from ingresskit.proxy.limits.trimming import TRIM_SECONDS
from ingresskit.render.inprocess import HostTable, RoutingTable, TargetMaker

_REQUEST: Final = (
    b"GET /some/path HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
    b"Accept: */*\r\nAccept-Encoding: gzip\r\n\r\n"
)
_AT_ONCE: Final = 50


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    _allow_files(options.connections + 1024)
    # The proxy counts on a connection to an endpoint for each; here there is none.
    clients._most_connections = lambda wanted: wanted  # noqa: SLF001
    if options.loop == "uvloop":
        import uvloop

        map_large_buffers()
        uvloop.run(_measure(options.connections, options.loop, tls=options.tls))
    else:
        asyncio.run(_measure(options.connections, options.loop, tls=options.tls))


async def _measure(count: int, loop: str, *, tls: bool) -> None:
    ours, theirs = multiprocessing.Pipe()
    async with Proxy(ProxySettings(max_connections=count + 1000, idle_timeout=timedelta(hours=1))) as proxy:
        proxy.swap(_table())
        listener = await proxy.listen("127.0.0.1", 0, tls=tls)
        context = multiprocessing.get_context("spawn")
        client = context.Process(target=_hold, args=(theirs, listener.address[1], count, tls))
        client.start()
        sizes: list[int] = []
        # Twice: what the first round leaves is the interpreter's, and is used again.
        for _ in range(2):
            await _ask(ours, 200)
            sizes.append(_resident())
            await _ask(ours, count)
            assert proxy.statistics().connections_open == count + 200, proxy.statistics().connections_open
            sizes.append(_resident())
            await _ask(ours, 0)
            while proxy.statistics().connections_open:  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.05)
            await asyncio.sleep(2 * TRIM_SECONDS)
            sizes.append(_resident())
        await _ask(ours, -1)
        await asyncio.to_thread(client.join)
    before, held, after, _, again, last = sizes
    print(
        f"{loop}{' TLS' if tls else ''}, {count} connections:"
        f" {(held - before) / count:.0f} bytes each; {(again - before) / count:.0f} the second time;"
        f" {(after - before) / count:.0f} left, {(last - before) / count:.0f} the second time"
    )


async def _ask(pipe: Connection, count: int) -> None:
    pipe.send(count)
    assert await asyncio.to_thread(pipe.recv) == count
    await asyncio.sleep(0.2)


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _table() -> RoutingTable:
    origin = Origin(ObjectRef("Ingress", ObjectKey("shop", "web")), "spec")
    route = Route(match=PathMatch.prefix("/"), action=Redirect(location="/there"), origin=origin)
    maker = TargetMaker(VirtualHost(host="*", routes=(route,)))
    return RoutingTable(hosts={"*": HostTable(host="*", prefixes={"": maker.target(route)})})


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (OSError, ValueError):
        sys.exit(f"{wanted} open files are needed, and {hard} allowed: ask for fewer --connections")


def _hold(pipe: Connection, port: int, count: int, tls: bool) -> None:
    """The clients: add as many connections as are asked for; 0 closes all, -1 ends."""
    _allow_files(count + 1024)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if tls else None
    if context is not None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    held: list[socket.socket] = []
    while (asked := pipe.recv()) >= 0:
        if not asked:
            for one in held:
                one.close()
            held.clear()
        for number in range(asked):
            # Several addresses: each has some 28,000 ports.
            source = (f"127.0.0.{2 + number % 4}", 0)
            connection = socket.create_connection(("127.0.0.1", port), source_address=source)
            if context is not None:
                connection = context.wrap_socket(connection, server_hostname="shop.test")
            connection.sendall(_REQUEST)
            if not connection.recv(4096).startswith(b"HTTP/1.1 308"):
                sys.exit("no response")
            held.append(connection)
        pipe.send(asked)
    pipe.send(asked)


if __name__ == "__main__":
    main()
