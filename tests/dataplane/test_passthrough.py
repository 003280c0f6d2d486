"""Whatever the proxy: connections for some hosts are passed on by their server name, the others end here."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, suppress

import pytest

from ingresskit.models import KubeObject
from ingresskit.testing import ingress, make_certificate, service, tls_secret
from ingresskit.testing.planes import Plane
from tests.dataplane.conftest import EVERY_PLANE, TRUSTED, opened
from tests.dataplane.nginx_plane import why_nothing_is_passed_on
from tests.dataplane.passed import PASSED, client_hello, open_raw, passed_host, records, tls_endpoint
from tests.dataplane.stage import HOST, Stage, slices, trusting
from tests.unit.proxy.conftest import LONG, FakeEndpoint, Wire, get, until

pytestmark = pytest.mark.anyio


_NOT_NGINX = why_nothing_is_passed_on()
_PLANES = [
    pytest.param(item.values[0], id=item.id, marks=pytest.mark.skip(reason=_NOT_NGINX))
    if _NOT_NGINX and str(item.id).startswith("nginx")
    else item
    for item in EVERY_PLANE
]


@pytest.fixture(scope="module", params=_PLANES)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    async with opened(request.param) as made:
        yield made


@pytest.fixture(scope="module", params=_PLANES)
async def balanced_plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    async with opened(request.param, trusted_proxies=TRUSTED, proxy_protocol=True) as made:
        yield made


def shown(client: Wire) -> bytes:
    """The certificate the client was shown, as PEM."""
    connection: ssl.SSLObject = client.writer.get_extra_info("ssl_object")
    der = connection.getpeercert(binary_form=True)
    assert der is not None
    return ssl.DER_cert_to_PEM_cert(der).encode()


def ended_here(endpoint: FakeEndpoint, host: str = HOST) -> list[KubeObject]:
    return [
        ingress("web", {host: {"/": "web"}}, tls={"plain": [host]}),
        service("web"),
        *slices("web", [endpoint.port]),
        tls_secret(host, name="plain"),
    ]


async def said_by(stage: Stage, name: str = PASSED) -> bytes:
    """Which endpoint takes a new connection for *name*."""
    client = await stage.connect(tls=trusting(), name=name)
    await client.send(b"hello")
    async with asyncio.timeout(LONG):
        found = await client.reader.readuntil(b":")
    await client.close()
    return found[:-1]


async def is_closed(stage: Stage, name: str = PASSED) -> bool:
    """Whether no connection for *name* gets anywhere."""
    try:
        await stage.connect(tls=trusting(), name=name)
    except (OSError, ssl.SSLError):
        return True
    return False


async def first_of(reader: asyncio.StreamReader, count: int) -> bytes:
    """So many octets at most; none from a connection that is closed, which may be a reset."""
    try:
        return await reader.read(count)
    except ConnectionError:
        return b""


async def test_host_is_passed_on_beside_one_that_ends_here(stage: Stage) -> None:
    web = await stage.endpoint()
    async with tls_endpoint("one", PASSED) as one:
        await stage.serve_objects(*ended_here(web), *passed_host(one.port))
        passed = await stage.connect(tls=trusting(), name=PASSED)
        await passed.send(b"hello")
        async with asyncio.timeout(LONG):
            answer = await passed.reader.readexactly(9)
        here = await stage.connect(tls=trusting())
        response = await here.ask(get())

        assert answer == b"one:hello"
        assert shown(passed) == make_certificate(PASSED, salt="one").chain
        assert response.status == 200
        assert shown(here) == make_certificate(HOST).chain


async def test_names_below_a_wildcard_are_passed_on_and_a_more_specific_host_ends_here(stage: Stage) -> None:
    web = await stage.endpoint()
    async with tls_endpoint("wild", "*.wild.example") as wild:
        objects = passed_host(wild.port, host="*.wild.example")
        await stage.serve_objects(*objects, *ended_here(web, "own.wild.example"))

        assert await said_by(stage, "x.wild.example") == b"wild"
        assert await said_by(stage, "X.WILD.example") == b"wild"
        own = await stage.connect(tls=trusting(), name="own.wild.example")
        assert shown(own) == make_certificate("own.wild.example").chain
        deep = await stage.connect(tls=trusting(), name="x.y.wild.example")
        assert shown(deep) != make_certificate("*.wild.example", salt="wild").chain
        assert wild.connections == 2


async def test_client_without_a_name_is_not_passed_on(stage: Stage) -> None:
    web = await stage.endpoint()
    async with tls_endpoint("one", PASSED) as one:
        await stage.serve_objects(*ended_here(web), *passed_host(one.port))
        client = await stage.connect(tls=trusting(), name=None)

        assert (await client.ask(get())).status == 200
        assert one.connections == 0


async def test_first_message_in_many_segments_is_read(stage: Stage) -> None:
    web = await stage.endpoint()
    async with tls_endpoint("raw", raw=True) as raw:
        await stage.serve_objects(*ended_here(web), *passed_host(raw.port))
        hello = client_hello(PASSED)
        assert stage.plane.https is not None
        chunks = [hello[:1], hello[1:4], hello[4:9], hello[9:60], hello[60:-1], hello[-1:]]
        async with open_raw(stage.plane.https, *chunks) as (reader, _), asyncio.timeout(LONG):
            assert await reader.readexactly(len(hello)) == hello


async def test_first_message_in_many_records_is_read(stage: Stage) -> None:
    web = await stage.endpoint()
    async with tls_endpoint("raw", raw=True) as raw:
        await stage.serve_objects(*ended_here(web), *passed_host(raw.port))
        assert stage.plane.https is not None
        for sizes in ([1], [3, 1, 50], [100, 1, 1, 1]):
            hello = records(client_hello(PASSED), sizes)
            async with open_raw(stage.plane.https, hello[:8], hello[8:]) as (reader, _), asyncio.timeout(LONG):
                assert await reader.readexactly(len(hello)) == hello


async def test_host_is_not_reached_over_tls_that_ends_here(stage: Stage) -> None:
    web = await stage.endpoint()
    async with tls_endpoint("raw", raw=True) as raw:
        await stage.serve_objects(
            *ended_here(web),
            *passed_host(raw.port),
            # The paths of the host are served over plain HTTP, by this endpoint.
            ingress("more", {PASSED: {"/more": "web"}}, created=9),
        )
        assert stage.plane.https is not None
        reader, writer = await asyncio.open_connection(*stage.plane.https)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trusting().wrap_bio(incoming, outgoing, server_hostname=PASSED)
        first = True
        found = b""
        with suppress(OSError, ssl.SSLError, TimeoutError):
            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    data = outgoing.read()
                    writer.write(records(data, [20, 30]) if first else data)
                    first = False
                    async with asyncio.timeout(LONG):
                        more = await reader.read(1 << 16)
                    if not more or raw.connections:
                        break
                    incoming.write(more)
            client.write(get("/more", host=PASSED))
            writer.write(outgoing.read())
            async with asyncio.timeout(LONG):
                while more := await reader.read(1 << 16):
                    incoming.write(more)
                    with suppress(ssl.SSLWantReadError):
                        found += client.read()
        writer.transport.abort()

        assert not found
        assert not web.seen


async def test_much_passes_both_ways_while_one_side_is_slow(stage: Stage) -> None:
    web = await stage.endpoint()
    async with tls_endpoint("one", PASSED) as one:
        await stage.serve_objects(*ended_here(web), *passed_host(one.port))
        client = await stage.connect(tls=trusting(), name=PASSED)
        data = b"".join(number.to_bytes(4) for number in range(3 << 18))

        async def send() -> None:
            await client.send(data)

        sending = asyncio.create_task(send())
        await asyncio.sleep(0.05)  # everything between is full now, or will be
        async with asyncio.timeout(LONG):
            found = await client.reader.readexactly(4 + len(data))
            await sending
        assert found == b"one:" + data


async def test_end_of_one_direction_leaves_the_other(stage: Stage) -> None:
    web = await stage.endpoint()
    async with tls_endpoint("raw", raw=True) as raw:
        await stage.serve_objects(*ended_here(web), *passed_host(raw.port))
        hello = client_hello(PASSED)
        assert stage.plane.https is not None
        async with open_raw(stage.plane.https, hello) as (reader, writer), asyncio.timeout(LONG):
            assert await reader.readexactly(len(hello)) == hello
            writer.write_eof()
            assert await reader.read() == b"raw"


async def test_connections_stay_while_endpoints_come_and_go(stage: Stage) -> None:
    web = await stage.endpoint()
    async with AsyncExitStack() as stack:
        one, two, three = [
            await stack.enter_async_context(tls_endpoint(name, PASSED)) for name in ("one", "two", "three")
        ]
        await stage.serve_objects(*ended_here(web), *passed_host(one.port, two.port))
        found: set[bytes] = set()
        kept: list[Wire] = []
        for _ in range(6):
            client = await stage.connect(tls=trusting(), name=PASSED)
            await client.send(b"hello")
            async with asyncio.timeout(LONG):
                found.add(await client.reader.readexactly(9))
            kept.append(client)
        assert found == {b"one:hello", b"two:hello"}

        for ports in ((two.port, three.port), (three.port,), (one.port, three.port), (three.port,)):
            await stage.serve_objects(*ended_here(web), *passed_host(*ports))
            for client in kept:
                await client.send(b"more")
                async with asyncio.timeout(LONG):
                    assert await client.reader.readexactly(4) == b"more"
        assert {await said_by(stage) for _ in range(3)} == {b"three"}


async def test_another_endpoint_is_tried_for_one_that_refuses(stage: Stage) -> None:
    web = await stage.endpoint()
    dead = await stage.closed_port()
    async with tls_endpoint("one", PASSED) as one:
        await stage.serve_objects(*ended_here(web), *passed_host(dead, one.port))

        assert {await said_by(stage) for _ in range(4)} == {b"one"}


async def test_host_without_endpoints_is_closed_and_no_other_certificate_stands_in(stage: Stage) -> None:
    web = await stage.endpoint()
    await stage.serve_objects(*ended_here(web), *passed_host())

    assert await is_closed(stage)


async def test_addresses_that_are_kept_out_are_closed(stage: Stage) -> None:
    web = await stage.endpoint()
    async with tls_endpoint("one", PASSED) as one:
        await stage.serve_objects(*ended_here(web), *passed_host(one.port, deny_sources="127.0.0.0/8"))
        assert await is_closed(stage)
        await stage.serve_objects(*ended_here(web), *passed_host(one.port, allow_sources="10.0.0.0/8"))
        assert await is_closed(stage)
        assert one.connections == 0
        await stage.serve_objects(
            *ended_here(web), *passed_host(one.port, allow_sources="127.0.0.0/8", deny_sources="10.0.0.0/8")
        )
        assert await said_by(stage) == b"one"


async def test_protection_of_requests_closes_the_host(stage: Stage) -> None:
    web = await stage.endpoint()
    async with tls_endpoint("one", PASSED) as one:
        await stage.serve_objects(*ended_here(web), *passed_host(one.port, rate_limit="5/s"))

        assert await is_closed(stage)
        assert one.connections == 0


async def test_younger_object_cannot_take_the_connections_of_a_host(stage: Stage) -> None:
    web = await stage.endpoint()
    async with tls_endpoint("thief", HOST) as thief:
        await stage.serve_objects(*ended_here(web), *passed_host(thief.port, host=HOST, created=9))
        client = await stage.connect(tls=trusting())

        assert shown(client) == make_certificate(HOST).chain
        assert thief.connections == 0


async def test_what_is_no_name_reaches_nothing(stage: Stage) -> None:
    web = await stage.endpoint()
    async with tls_endpoint("raw", raw=True) as raw:
        await stage.serve_objects(*ended_here(web), *passed_host(raw.port))
        hello, name = client_hello(PASSED), PASSED.encode()
        assert stage.plane.https is not None
        for odd in (
            b"passed\x00example",
            b"passed/example",
            b"passed\nexample",
            b"*assed.example",
            b"\xffassed.example",
        ):
            assert len(odd) == len(name)
            changed = hello.replace(name, odd)
            async with open_raw(stage.plane.https, changed) as (reader, _), asyncio.timeout(LONG):
                # The endpoint would have sent all of it back.
                assert not (await first_of(reader, 1 << 16)).startswith(changed)
        assert raw.connections == 0


async def test_request_over_the_tls_of_another_host_is_sent_away(stage: Stage) -> None:
    web = await stage.endpoint()
    async with tls_endpoint("one", PASSED) as one:
        await stage.serve_objects(
            *ended_here(web), *passed_host(one.port), ingress("more", {PASSED: {"/more": "web"}}, created=9)
        )
        client = await stage.connect(tls=trusting())
        assert (await client.ask(get())).status == 200
        assert (await client.ask(get("/more", host=PASSED))).status == 421
        assert len(web.seen) == 1
        plain = await stage.connect()
        assert (await plain.ask(get("/more", host=PASSED))).status == 200


async def test_plain_http_for_the_host_is_served(stage: Stage) -> None:
    web = await stage.endpoint()
    await stage.serve_objects(
        ingress("web", {HOST: {"/": "web"}}, annotations={"tls-passthrough": "true"}),
        service("web"),
        *slices("web", [web.port]),
    )
    client = await stage.connect()

    assert (await client.ask(get())).status == 200


async def test_host_is_passed_on_no_longer_when_nobody_asks(stage: Stage) -> None:
    web = await stage.endpoint()
    async with tls_endpoint("one", PASSED) as one:
        await stage.serve_objects(*ended_here(web), *passed_host(one.port))
        assert await said_by(stage) == b"one"
        await stage.serve_objects(*ended_here(web))
        client = await stage.connect(tls=trusting())

        assert (await client.ask(get())).status == 200
        await until(lambda: one.open == 0)


async def test_address_in_a_proxy_header_counts(balanced_stage: Stage) -> None:
    stage = balanced_stage
    web = await stage.endpoint()
    async with tls_endpoint("raw", raw=True) as raw:
        await stage.serve_objects(*ended_here(web), *passed_host(raw.port, deny_sources="192.0.2.7"))
        hello = client_hello(PASSED)
        assert stage.plane.https is not None
        for source, passes in (("192.0.2.8", True), ("192.0.2.7", False)):
            before = f"PROXY TCP4 {source} 192.0.2.1 4711 443\r\n".encode()
            async with open_raw(stage.plane.https, before, hello) as (reader, _), asyncio.timeout(LONG):
                assert await first_of(reader, len(hello)) == (hello if passes else b"")
        assert raw.connections == 1


async def test_client_of_a_host_that_ends_here_stays_known(balanced_stage: Stage) -> None:
    stage = balanced_stage
    web = await stage.endpoint()
    async with tls_endpoint("raw", raw=True) as raw:
        await stage.serve_objects(*ended_here(web), *passed_host(raw.port))
        assert stage.plane.https is not None
        for before, client, port in (
            (b"PROXY TCP4 192.0.2.8 192.0.2.1 4711 8444\r\n", "192.0.2.8", "8444"),
            (b"PROXY UNKNOWN\r\n", "127.0.0.1", "443"),
        ):
            reader, writer = await asyncio.open_connection(*stage.plane.https)
            writer.write(before)
            async with asyncio.timeout(LONG):
                await writer.start_tls(trusting(), server_hostname=HOST)
            wire = Wire(reader, writer)
            assert (await wire.ask(get())).status == 200
            seen = web.seen[-1]
            assert (seen.value("x-real-ip"), seen.value("x-forwarded-port")) == (client, port)
            assert seen.value("x-forwarded-proto") == "https"
            await wire.close()
