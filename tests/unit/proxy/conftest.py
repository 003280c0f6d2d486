"""A proxy, endpoints that do as they are told, and clients that speak bytes: all on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ingresskit.filters import BUILTIN_EFFECTS, PolicyEffects
from ingresskit.graph import (
    Backend,
    BackendKey,
    Certificate,
    Endpoint,
    Forward,
    PathMatch,
    Protocol,
    Route,
    VirtualHost,
)
from ingresskit.graph.nodes import Action, WeightedBackend
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import Origin, Policy, PolicySet
from ingresskit.proxy import Proxy, ProxySettings
from ingresskit.render.inprocess import HostTable, RoutingTable, Target, TargetMaker
from ingresskit.testing import pace

LONG = pace.within(30.0)
"""How long anything in these tests may take before it counts as never."""


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


@dataclass
class Message:
    """A head as somebody received it, and the body."""

    head: bytes
    body: bytes = b""

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0]

    def values(self, name: str) -> list[str]:
        wanted = name.lower().encode()
        found: list[str] = []
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == wanted:
                found.append(value.strip().decode("latin-1"))
        return found

    def value(self, name: str) -> str | None:
        found = self.values(name)
        assert len(found) <= 1, f"{name} is there {len(found)} times"
        return found[0] if found else None


class Seen(Message):
    """A request as an endpoint saw it."""


class Answer(Message):
    """An answer as a client saw it."""

    @property
    def status(self) -> int:
        return int(self.line.split(b" ", 2)[1])


async def read_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def read_chunks(reader: asyncio.StreamReader, *, take_trailers: bool = False) -> bytes:
    body = b""
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if not size and take_trailers:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return body
        piece = await reader.readexactly(size + 2)
        assert piece.endswith(b"\r\n")
        if not size:
            return body
        body += piece[:-2]


async def read_body(reader: asyncio.StreamReader, head: Message, *, take_trailers: bool = False) -> bytes:
    if (head.value("transfer-encoding") or "").rpartition(",")[2].strip() == "chunked":
        return await read_chunks(reader, take_trailers=take_trailers)
    return await reader.readexactly(int(head.value("content-length") or 0))


def reply(
    body: bytes = b"ok", *, status: str = "200 OK", fields: Iterable[str] = (), version: str = "HTTP/1.1"
) -> bytes:
    lines = [f"{version} {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


Handler = Callable[[Seen, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class FakeEndpoint:
    """Listens on loopback; each connection is served by ``serve``, each request answered by ``answer``.

    ``answer`` is bytes for every request, a list of bytes for one after the other, or a function that
    writes what it likes. ``raw`` takes over whole connections.
    """

    answer: bytes | list[bytes] | Handler = field(default_factory=reply)
    raw: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None
    read_bodies: bool = True
    take_trailers: bool = False
    seen: list[Seen] = field(default_factory=list[Seen])
    connections: int = 0
    port: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list[asyncio.StreamWriter])
    tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.connections += 1
        self.writers.append(writer)
        try:
            if self.raw is not None:
                await self.raw(reader, writer)
                return
            while True:
                request = Seen(await read_head(reader))
                if self.read_bodies:
                    request.body = await read_body(reader, request, take_trailers=self.take_trailers)
                self.seen.append(request)
                if callable(self.answer):
                    await self.answer(request, reader, writer)
                else:
                    writer.write(self.answer.pop(0) if isinstance(self.answer, list) else self.answer)
                await writer.drain()
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self.tasks.discard(task)


@dataclass
class Wire:
    """A client connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, head_only: bool = False) -> Answer:
        async with asyncio.timeout(LONG):
            while True:
                head = await read_head(self.reader)
                answer = Answer(head)
                if answer.status != 100:
                    break
            if head_only or answer.status in (101, 204, 304):
                return answer
            if answer.value("transfer-encoding") or answer.value("content-length") is not None:
                answer.body = await read_body(self.reader, answer)
            else:
                answer.body = await self.reader.read()
            return answer

    async def ask(self, request: bytes, *, head_only: bool = False) -> Answer:
        await self.send(request)
        return await self.answer(head_only=head_only)

    async def rest(self) -> bytes:
        """All that comes until the proxy ends the connection."""
        async with asyncio.timeout(LONG):
            return await self.reader.read()

    async def is_closed(self) -> bool:
        try:
            return await self.rest() == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LONG):
                # All who wait for the end share a future, which one who is cancelled would cancel for all.
                await asyncio.shield(self.writer.wait_closed())


def get(
    path: str = "/", *, host: str = "web.example", fields: Iterable[str] = (), method: str = "GET"
) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *fields]).encode("latin-1") + b"\r\n\r\n"


ORIGIN = Origin(ObjectRef("Ingress", ObjectKey("shop", "web")), "spec")


def make_backend(*ports: int, service: str = "web", protocol: Protocol = Protocol.HTTP) -> Backend:
    return Backend(
        key=BackendKey("shop", service, 80),
        endpoints=tuple(Endpoint(address="127.0.0.1", port=port) for port in sorted(ports)),
        protocol=protocol,
    )


def make_target(
    action: Action,
    *,
    host: str = "*",
    path: str = "/",
    exact: bool = False,
    policies: Iterable[Policy] = (),
    effects: PolicyEffects = BUILTIN_EFFECTS,
    **more: Any,  # noqa: ANN401 - handed on
) -> Target:
    """The target of a route with these policies; *more* are fields of it."""
    match = PathMatch.exact(path) if exact else PathMatch.prefix(path)
    route = Route(match=match, action=action, origin=ORIGIN, policies=PolicySet(policies))
    made = TargetMaker(VirtualHost(host=host, routes=(route,)), effects).target(route)
    return replace(made, **more)


def make_table(
    *targets: Target,
    backends: Iterable[Backend] = (),
    certificates: dict[str, Certificate | None] | None = None,
    default: Certificate | None = None,
) -> RoutingTable:
    hosts: dict[str, tuple[dict[str, Target], dict[str, Target]]] = {}
    for target in targets:
        exact, prefixes = hosts.setdefault(target.host, ({}, {}))
        if target.route.match.kind == "Exact":
            exact[target.route.match.value] = target
        else:
            prefixes[target.matched] = target
    return RoutingTable(
        hosts={
            host: HostTable(host=host, exact=exact, prefixes=prefixes)
            for host, (exact, prefixes) in hosts.items()
        },
        backends={backend.key: backend for backend in backends},
        certificates=certificates or {},
        default_certificate=default,
    )


def forward(
    *ports: int,
    protocol: Protocol = Protocol.HTTP,
    host: str = "*",
    held: tuple[Policy, ...] = (),
    **more: Any,  # noqa: ANN401 - handed on
) -> RoutingTable:
    """A table that sends everything to endpoints on these ports; *held* are policies of the backend."""
    backend = replace(make_backend(*ports, protocol=protocol), policies=PolicySet(held))
    action = Forward(backends=(WeightedBackend(backend.key),))
    return make_table(make_target(action, host=host, **more), backends=[backend])


class Stage:
    """Starts what a test needs and ends all of it."""

    def __init__(self) -> None:
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Stage:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def endpoint(self, answer: bytes | list[bytes] | Handler | None = None, **more: Any) -> FakeEndpoint:  # noqa: ANN401 - handed on
        tls = more.pop("tls", None)
        fake = FakeEndpoint(**more) if answer is None else FakeEndpoint(answer=answer, **more)
        server = await asyncio.start_server(fake.serve, "127.0.0.1", 0, ssl=tls)
        fake.port = server.sockets[0].getsockname()[1]

        async def stop() -> None:
            server.close()
            for task in list(fake.tasks):
                task.cancel()
            await asyncio.gather(*fake.tasks, return_exceptions=True)

        self._stack.push_async_callback(stop)
        return fake

    async def proxy(self, table: RoutingTable | None = None, *, tls: bool = False, **settings: Any) -> Proxy:  # noqa: ANN401 - handed on
        proxy = Proxy(ProxySettings(**settings))
        if table is not None:
            proxy.swap(table)
        self._stack.push_async_callback(proxy.close)
        await proxy.listen("127.0.0.1", 0)
        if tls:
            await proxy.listen("127.0.0.1", 0, tls=True)
        return proxy

    async def connect(
        self,
        proxy: Proxy,
        *,
        listener: int = 0,
        tls: ssl.SSLContext | None = None,
        name: str = "web.example",
        **more: Any,  # noqa: ANN401 - handed on
    ) -> Wire:
        host, port = proxy.listeners[listener].address
        reader, writer = await asyncio.open_connection(
            host, port, ssl=tls, server_hostname=name if tls else None, **more
        )
        wire = Wire(reader, writer)
        self._stack.push_async_callback(wire.close)
        return wire

    async def closed_port(self) -> int:
        """A port that refuses connections."""
        server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return port


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with Stage() as made:
        yield made


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that the event loop brings about."""
    async with asyncio.timeout(LONG):
        while not condition():  # noqa: ASYNC110 - the condition knows no event
            await asyncio.sleep(0.005)


async def until_still(count: Callable[[], int]) -> int:
    """Wait until a count has begun to move and has stopped: nothing more fits into the buffers between.

    Counted in turns of the event loop, not in time: endpoint, proxy and client share the loop, so on a busy
    machine they all stand still together, and that is not the end of it.
    """
    await until(lambda: count() > 0)
    before, turns = -1, 0
    async with asyncio.timeout(LONG * 6):
        while turns < 100:
            now = count()
            turns = turns + 1 if now == before else 0
            before = now
            await asyncio.sleep(0.002)
    return before
