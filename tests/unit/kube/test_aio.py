"""The transport against servers that do what servers do on bad days."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any, TypedDict, Unpack, cast

import anyio
import pytest
import trio

from ingresskit.errors import (
    ApiError,
    ConfigurationError,
    CredentialsError,
    RequestTimeout,
    TransportError,
    Unauthorized,
)
from ingresskit.kube import (
    Access,
    AioTransport,
    ListOptions,
    ResourceKind,
    StaticCredentials,
    TrustMaterial,
    session,
)
from ingresskit.models import Service
from ingresskit.testing import pace
from ingresskit.testing.apiserver.certificates import Authority
from ingresskit.testing.apiserver.listening import server_context
from tests.unit.kube.stub import Asked, Stub, serving

pytestmark = pytest.mark.anyio

SERVICES = ResourceKind.of(Service)
WATCH = ListOptions(resource_version="7")


class Times(TypedDict, total=False):
    request_timeout: timedelta
    open_timeout: timedelta


def transport(stub: Stub, **times: Unpack[Times]) -> AioTransport:
    return AioTransport(StaticCredentials(stub.access()), **times)


class Renewing:
    """Credentials that count up when they are refused, unless there are no more."""

    def __init__(self, stub: Stub, tokens: list[str]) -> None:
        self.stub = stub
        self.tokens = tokens

    async def access(self) -> Access:
        return self.stub.access(self.tokens[0])

    async def renew(self, refused: Access) -> None:
        if len(self.tokens) == 1:
            raise CredentialsError("no more tokens")
        if refused == self.stub.access(self.tokens[0]):
            del self.tokens[0]


async def ok(asked: Asked) -> None:
    await asked.answer(b'{"items":[]}')


async def test_a_list_is_one_get_with_its_options_and_our_token() -> None:
    async with serving(ok) as stub, transport(stub) as it:
        response = await it.list(SERVICES, "shop", ListOptions(limit=5, label_selector="a in (b,c)"))

    assert (response.status, response.body) == (200, b'{"items":[]}')
    assert response.headers["content-type"] == "application/json"
    asked = stub.asked[0]
    assert asked.target == "/api/v1/namespaces/shop/services?labelSelector=a+in+%28b%2Cc%29&limit=5"
    assert asked.headers["authorization"] == "Bearer one"
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["user-agent"] == "ingresskit"


async def test_a_request_sends_its_body_as_it_is_and_keeps_the_connection() -> None:
    body = b'{"b":1, "a":2}'
    async with serving(ok) as stub, transport(stub) as it:
        for _ in range(3):
            await it.request(
                "PATCH",
                SERVICES.path("shop", "web", "status"),
                query=[("fieldManager", "ingress kit")],
                headers={"Content-Type": "application/apply-patch+yaml"},
                body=body,
            )

    assert stub.connections == 1
    assert stub.asked[0].body == body
    assert stub.asked[0].headers["content-type"] == "application/apply-patch+yaml"
    assert stub.asked[0].target.endswith("/services/web/status?fieldManager=ingress+kit")


async def test_an_odd_name_stays_one_segment_of_the_path() -> None:
    async with serving(ok) as stub, transport(stub) as it:
        await it.request("GET", SERVICES.path("shop", "a/../b%2f"))

    assert stub.asked[0].target == "/api/v1/namespaces/shop/services/a%2F..%2Fb%252f"


async def test_a_refusal_is_an_error_that_says_what_was_asked() -> None:
    async def refuse(asked: Asked) -> None:
        body = json.dumps({"kind": "Status", "reason": "Invalid", "message": "no", "code": 422}).encode()
        await asked.answer(body, status=422, extra="Retry-After: 3\r\n")

    async with serving(refuse) as stub, transport(stub) as it:
        with pytest.raises(ApiError, match="GET /api/v1/services got 422 Invalid: no") as caught:
            await it.list(SERVICES, "", ListOptions())

    assert caught.value.retry_after == timedelta(seconds=3)


async def test_a_redirect_is_not_followed() -> None:
    async def redirect(asked: Asked) -> None:
        await asked.answer(b"", status=302, extra="Location: /elsewhere\r\n")

    async with serving(redirect) as stub, transport(stub) as it:
        with pytest.raises(ApiError, match="302"):
            await it.request("GET", "/api")

    assert len(stub.asked) == 1


async def one_time_only(asked: Asked) -> None:
    if asked.headers["authorization"] == "Bearer two":
        await asked.answer()
    else:
        await asked.answer(b"<html>no</html>", status=401, kind="text/html")


async def test_401_is_one_renewal_and_one_more_try() -> None:
    async with serving(one_time_only) as stub, AioTransport(Renewing(stub, ["one", "two"])) as it:
        await it.request("GET", "/api")

    assert stub.tokens == ["one", "two"]
    assert it.statistics() == {"requests": 2, "renewals": 1, "sessions": 1}


async def test_401_again_is_the_error() -> None:
    async with serving(one_time_only) as stub, AioTransport(Renewing(stub, ["x", "y", "z"])) as it:
        with pytest.raises(Unauthorized):
            await it.request("GET", "/api")

    assert stub.tokens == ["x", "y"]


async def test_401_without_other_credentials_is_the_error_and_says_why() -> None:
    async with serving(one_time_only) as stub, AioTransport(Renewing(stub, ["x"])) as it:
        with pytest.raises(Unauthorized) as caught:
            await it.request("GET", "/api")

    assert isinstance(caught.value.__cause__, CredentialsError)


async def test_a_watch_renews_too() -> None:
    async def script(asked: Asked) -> None:
        if asked.headers["authorization"] != "Bearer two":
            await asked.answer(b"", status=401)
            return
        await asked.begin()
        await asked.chunk(b"line\n")
        await asked.chunk(b"")

    async with (
        serving(script) as stub,
        AioTransport(Renewing(stub, ["one", "two"])) as it,
        it.watch(SERVICES, "", WATCH) as stream,
    ):
        received = await stream.receive()
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()

    assert received == b"line\n"

    assert stub.asked[-1].target == "/api/v1/services?watch=true&resourceVersion=7"


async def test_a_watch_that_is_reset_says_so_after_what_had_come() -> None:
    received = anyio.Event()

    async def script(asked: Asked) -> None:
        await asked.begin()
        await asked.chunk(b'{"type":')
        await received.wait()
        asked.writer.transport.abort()

    async with serving(script) as stub, transport(stub) as it, it.watch(SERVICES, "", WATCH) as stream:
        assert await stream.receive() == b'{"type":'
        received.set()
        with pytest.raises(TransportError, match="the watch of /api/v1/services failed"):
            await stream.receive()


async def test_a_watch_may_be_left_at_any_time_and_takes_its_connection_along() -> None:
    closed = anyio.Event()

    async def script(asked: Asked) -> None:
        await asked.begin()
        try:
            while True:
                await asked.chunk(b"x" * 1000)
                await anyio.sleep(0.01)
        finally:
            closed.set()

    async with serving(script) as stub, transport(stub) as it:
        with anyio.CancelScope() as scope:
            async with it.watch(SERVICES, "", WATCH) as stream:
                await stream.receive()
                scope.deadline = anyio.current_time() + 0.02
                while True:
                    await stream.receive()
        with anyio.fail_after(pace.within(5)):
            await closed.wait()


async def silence(asked: Asked) -> None:
    await anyio.sleep_forever()


async def test_a_list_that_is_not_answered_has_a_deadline() -> None:
    async with serving(silence) as stub, transport(stub, request_timeout=timedelta(milliseconds=50)) as it:
        with pytest.raises(RequestTimeout, match="got no response in time"):
            await it.list(SERVICES, "", ListOptions())


async def test_a_watch_that_is_not_answered_has_a_deadline() -> None:
    async with serving(silence) as stub, transport(stub, open_timeout=timedelta(milliseconds=50)) as it:
        with pytest.raises(RequestTimeout, match="got no response in time"):
            await it.watch(SERVICES, "", WATCH).__aenter__()


async def test_a_body_that_never_ends_has_the_same_deadline() -> None:
    async def script(asked: Asked) -> None:
        await asked.begin()
        while True:
            await asked.chunk(b" ")
            await anyio.sleep(0.01)

    async with serving(script) as stub, transport(stub, request_timeout=timedelta(milliseconds=100)) as it:
        with pytest.raises(RequestTimeout):
            await it.list(SERVICES, "", ListOptions())


async def test_a_body_without_measure_is_given_up() -> None:
    async def script(asked: Asked) -> None:
        await asked.begin()
        while True:
            await asked.chunk(b"x" * 65536)

    async with (
        serving(script) as stub,
        AioTransport(StaticCredentials(stub.access()), max_body_bytes=1_000_000) as it,
    ):
        with pytest.raises(TransportError, match="more than 1000000 bytes"):
            await it.list(SERVICES, "", ListOptions())


async def garbage(asked: Asked) -> None:
    await asked.write(b"SSH-2.0-OpenSSH_9.9\r\n")


async def hang_up(asked: Asked) -> None:
    asked.writer.close()


async def half_a_body(asked: Asked) -> None:
    await asked.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    asked.writer.close()


@pytest.mark.parametrize("script", [garbage, hang_up, half_a_body])
async def test_what_is_no_answer_is_an_error_of_the_transport(script: object) -> None:
    async with serving(script) as stub, transport(stub) as it:  # type: ignore[arg-type] # pyright: ignore
        with pytest.raises(TransportError) as caught:
            await it.list(SERVICES, "", ListOptions())

    assert caught.value.__cause__ is not None


async def test_a_server_that_is_not_there_is_an_error_of_the_transport() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        stub = Stub(port=bound.getsockname()[1])
        async with transport(stub) as it:
            with pytest.raises(TransportError):
                await it.list(SERVICES, "", ListOptions())


async def test_a_name_that_does_not_resolve_is_an_error_of_the_transport() -> None:
    access = Access(server="https://no-such-host.invalid")
    async with AioTransport(StaticCredentials(access), request_timeout=timedelta(seconds=5)) as it:
        with pytest.raises(TransportError):
            await it.list(SERVICES, "", ListOptions())


async def test_connections_keep_themselves_alive() -> None:
    async with serving(ok) as stub, transport(stub) as it:
        await it.list(SERVICES, "", ListOptions())
        assert it._session is not None
        connector = it._session.client.connector
        assert connector is not None
        [(protocol, _)] = [pair for pairs in connector._conns.values() for pair in pairs]
        assert protocol.transport is not None
        made = protocol.transport.get_extra_info("socket")

        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 20


async def test_two_hundred_watches_may_be_open_at_once() -> None:
    async def script(asked: Asked) -> None:
        await asked.begin()
        await anyio.sleep_forever()

    opened = 0

    async with serving(script) as stub, transport(stub) as it, anyio.create_task_group() as group:

        async def watch() -> None:
            nonlocal opened
            async with it.watch(SERVICES, "", WATCH):
                opened += 1
                await anyio.sleep_forever()

        for _ in range(200):
            group.start_soon(watch)
        with anyio.fail_after(pace.within(20)):
            while opened < 200:  # noqa: ASYNC110 - two hundred things are waited for
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()


class Changing:
    """Credentials whose trust material a test replaces."""

    def __init__(self, access: Access) -> None:
        self.now = access

    async def access(self) -> Access:
        return self.now

    async def renew(self, refused: Access) -> None:
        pass


def tls_context(authority: Authority, require: bool = False) -> ssl.SSLContext:
    context = server_context(authority)
    if require:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_another_authority_means_other_connections_and_open_watches_go_on() -> None:
    old, new = Authority("old"), Authority("new")
    context = tls_context(old)
    more = anyio.Event()

    async def script(asked: Asked) -> None:
        if "watch=true" not in asked.target:
            await asked.answer()
            return
        await asked.begin()
        await asked.chunk(b"first\n")
        await more.wait()
        await asked.chunk(b"second\n")
        await anyio.sleep_forever()

    async with serving(script, context=context) as stub:
        credentials = Changing(stub.access(trust=TrustMaterial(authorities=old.pem)))
        async with AioTransport(credentials) as it, it.watch(SERVICES, "", WATCH) as stream:
            assert await stream.receive() == b"first\n"
            credentials.now = stub.access(trust=TrustMaterial(authorities=new.pem))
            with pytest.raises(CredentialsError, match="not trusted"):
                await it.list(SERVICES, "", ListOptions())
            credentials.now = stub.access(trust=TrustMaterial(authorities=new.pem + old.pem))
            await it.list(SERVICES, "", ListOptions())
            more.set()
            assert await stream.receive() == b"second\n"

            assert it.statistics()["sessions"] == 3


async def test_a_client_certificate_is_shown_and_leaves_no_file_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left() -> list[Path]:
        return sorted(tmp_path.iterdir())

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    authority = Authority("it")
    pair = authority.client("someone")
    async with serving(ok, context=tls_context(authority, require=True)) as stub:
        trust = TrustMaterial(authorities=authority.pem, certificate=pair.certificate, key=pair.key)
        async with AioTransport(StaticCredentials(stub.access(trust=trust))) as it:
            await it.list(SERVICES, "", ListOptions())
        without = stub.access(trust=TrustMaterial(authorities=authority.pem))
        async with AioTransport(StaticCredentials(without)) as it:
            with pytest.raises(TransportError):
                await it.list(SERVICES, "", ListOptions())

    assert left() == []


async def test_a_certificate_without_its_key_yet_leaves_the_former_in_use() -> None:
    authority = Authority("it")
    first, second = authority.client("one"), authority.client("two")
    async with serving(ok, context=tls_context(authority, require=True)) as stub:
        trust = TrustMaterial(authorities=authority.pem, certificate=first.certificate, key=first.key)
        credentials = Changing(stub.access(trust=trust))
        async with AioTransport(credentials) as it:
            await it.list(SERVICES, "", ListOptions())
            half = TrustMaterial(authorities=authority.pem, certificate=second.certificate, key=first.key)
            credentials.now = stub.access(trust=half)
            await it.list(SERVICES, "", ListOptions())

            assert it.statistics()["sessions"] == 1


@pytest.mark.parametrize(
    "trust",
    [
        TrustMaterial(authorities=b"nonsense"),
        TrustMaterial(authorities="ü".encode()),
        TrustMaterial(certificate=b"nonsense", key=b"nonsense"),
        TrustMaterial(proxy="socks5://127.0.0.1:1"),
    ],
    ids=["authority", "authority in no encoding", "key pair", "proxy"],
)
async def test_material_that_cannot_be_used_is_said_so(trust: TrustMaterial) -> None:
    async with AioTransport(StaticCredentials(Access(server="https://127.0.0.1:1", trust=trust))) as it:
        with pytest.raises(CredentialsError):
            await it.list(SERVICES, "", ListOptions())


async def test_the_proxy_of_the_environment_is_used_and_its_exceptions_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(ok) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        async with AioTransport(StaticCredentials(Access(server="http://cluster.example"))) as it:
            await it.list(SERVICES, "", ListOptions())
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with serving(ok) as stub, transport(stub) as it:
            await it.list(SERVICES, "", ListOptions())

    assert [asked.target for asked in proxy.asked] == ["http://cluster.example/api/v1/services"]


async def test_a_closed_transport_says_so() -> None:
    async with serving(ok) as stub:
        it = transport(stub)
        await it.list(SERVICES, "", ListOptions())
        await it.aclose()
        await it.aclose()
        with pytest.raises(ConfigurationError, match="closed"):
            await it.list(SERVICES, "", ListOptions())


def test_elsewhere_than_on_asyncio_it_says_so() -> None:
    it = AioTransport(StaticCredentials(Access(server="http://127.0.0.1:1")))

    async def main() -> None:
        with pytest.raises(ConfigurationError, match="asyncio"):
            await it.list(SERVICES, "", ListOptions())

    trio.run(main)


def test_a_time_out_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        AioTransport(StaticCredentials(Access(server="http://x")), open_timeout=timedelta(0))


async def test_cancelling_many_at_once_leaves_nothing_open() -> None:
    async with serving(silence) as stub, transport(stub) as it:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(it.list, SERVICES, "", ListOptions())
            while len(stub.asked) < 20:  # noqa: ASYNC110 - the stub's own tasks
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        assert it._session is not None
        assert it._session._users == 0

    assert not [task for task in asyncio.all_tasks() if "Transport" in repr(task)]


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """Every socket that a transport makes."""
    made: list[socket.socket] = []
    make = session._socket

    def record(address: tuple[Any, ...]) -> socket.socket:
        made.append(make(address))
        return made[-1]

    monkeypatch.setattr(session, "_socket", record)
    return made


@pytest.mark.parametrize("deaf", [False, True], ids=["polite server", "server that does not take part"])
async def test_every_socket_is_closed_when_aclose_returns(sockets: list[socket.socket], deaf: bool) -> None:
    authority = Authority("it")

    async def script(asked: Asked) -> None:
        await asked.begin()
        if deaf:
            cast("asyncio.ReadTransport", asked.writer.transport).pause_reading()
        try:
            await anyio.sleep_forever()
        finally:
            asked.writer.transport.abort()

    async with serving(script, context=tls_context(authority)) as stub:
        access = stub.access(trust=TrustMaterial(authorities=authority.pem))
        async with AioTransport(StaticCredentials(access)) as it:
            for _ in range(3):
                async with it.watch(SERVICES, "", WATCH):
                    pass

        assert [made.fileno() for made in sockets] == [-1, -1, -1]


async def test_aclose_ends_the_watches_of_former_pools_too(sockets: list[socket.socket]) -> None:
    async def script(asked: Asked) -> None:
        await asked.begin()
        await anyio.sleep_forever()

    async with serving(script) as old, serving(ok) as new:
        credentials = Changing(old.access())
        it = AioTransport(credentials)
        async with it.watch(SERVICES, "", WATCH) as stream:
            credentials.now = new.access()
            await it.list(SERVICES, "", ListOptions())
            await it.aclose()

            assert [made.fileno() for made in sockets] == [-1, -1]
            with pytest.raises((TransportError, anyio.EndOfStream)):
                await stream.receive()


async def test_a_server_that_moves_is_followed_to_its_new_address() -> None:
    async with serving(ok) as old, serving(ok) as new:
        credentials = Changing(old.access())
        async with AioTransport(credentials) as it:
            await it.list(SERVICES, "", ListOptions())
            credentials.now = new.access()
            await it.list(SERVICES, "", ListOptions())

    assert (len(old.asked), len(new.asked)) == (1, 1)
