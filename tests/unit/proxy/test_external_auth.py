"""A service that decides, as the proxy asks it: connections that are kept, names, TLS, what is logged."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from ingresskit.policies import Authorities, ExternalAuth, RequestHeaders
from ingresskit.policies.kinds.external_auth import parse_kept_verdicts
from ingresskit.policies.variables import parse_request_text, parse_request_url
from ingresskit.proxy import AccessRecord
from ingresskit.proxy.upstreams.names import Names
from tests.unit.proxy.conftest import LONG, FakeEndpoint, Seen, Stage, forward, get, reply
from tests.unit.proxy.test_tls import make_certificate

pytestmark = pytest.mark.anyio


def auth_at(service: FakeEndpoint | int, **fields: Any) -> ExternalAuth:  # noqa: ANN401 - handed on
    port = service if isinstance(service, int) else service.port
    return replace(ExternalAuth(url=parse_request_url(f"http://127.0.0.1:{port}/")), **fields)


async def ask(stage: Stage, policy: ExternalAuth, *requests: bytes, **settings: Any) -> list[int]:  # noqa: ANN401 - handed on
    """The statuses of these requests on one connection, one after the other."""
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port, policies=(policy,)), **settings)
    client = await stage.connect(proxy)
    return [(await client.ask(request)).status for request in requests]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nyes"


@pytest.mark.parametrize(
    ("response", "fields", "connections"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", {}, 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", {"keepalive": 0}, 4),
        (b"HTTP/1.1 204 No Content\r\n\r\n", {"keepalive_requests": 2}, 2),
        (b"HTTP/1.1 204 No Content\r\n\r\n", {"method": "POST"}, 4),
        (b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", {}, 4),
        (UNTIL_CLOSE, {}, 4),
        (reply(b"x" * 100_000), {}, 4),
    ],
    ids=["kept", "none wanted", "bounded", "cannot be repeated", "closed", "until it closes", "a large body"],
)
async def test_connections_are_kept_where_that_is_safe(
    stage: Stage, response: bytes, fields: dict[str, object], connections: int
) -> None:
    service = await stage.endpoint(response)

    assert await ask(stage, auth_at(service, **fields), *[get()] * 4) == [200] * 4
    assert service.connections == connections
    assert [seen.values("connection") for seen in service.seen] == [
        [] if fields.get("keepalive", 8) and fields.get("method", "GET") == "GET" else ["close"]
    ] * 4


@pytest.mark.parametrize("response", [reply(b"yes"), CHUNKED], ids=["of a known length", "chunked"])
async def test_a_connection_is_used_again_after_a_body(stage: Stage, response: bytes) -> None:
    service = await stage.endpoint(response)
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port, policies=(auth_at(service),)))
    client = await stage.connect(proxy)

    # The body is read beside the request that waits for the verdict only.
    async with asyncio.timeout(LONG):
        while len(service.seen) <= service.connections:
            assert (await client.ask(get())).status == 200

    assert service.seen[-1].line == b"GET / HTTP/1.1"


async def test_a_question_is_asked_again_where_the_kept_connection_was_closed(stage: Stage) -> None:
    async def once(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if service.connections == 1 and len(service.seen) == 2:
            writer.transport.abort()
        else:
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    service = await stage.endpoint(once)

    assert await ask(stage, auth_at(service), get("/1"), get("/2")) == [200, 200]
    assert (service.connections, len(service.seen)) == (2, 3)


async def test_no_connection_serves_another_client_after_one_that_authenticates_it(stage: Stage) -> None:
    service = await stage.endpoint(b"HTTP/1.1 204 No Content\r\n\r\n")

    requests = [get(fields=["Authorization: NTLM TlRMTVNTUAAB"]), get()]
    assert await ask(stage, auth_at(service), *requests) == [200, 200]
    assert service.connections == 2


@pytest.mark.parametrize("more", [b"more", b"HTTP/1.1 204 No Content\r\n\r\n"], ids=["a body", "a response"])
async def test_what_a_service_sends_unasked_is_nobody_s_verdict(stage: Stage, more: bytes) -> None:
    async def judge(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.value("cookie") == "ann":
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n" + more)
        else:
            writer.write(reply(status="403 Forbidden"))

    service = await stage.endpoint(judge)
    requests = [get(fields=["Cookie: ann"]), get(fields=["Cookie: eve"])] * 2

    assert await ask(stage, auth_at(service), *requests) == [200, 403, 200, 403]


async def test_an_idle_connection_is_closed_in_time(stage: Stage) -> None:
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        closed.set()

    service = await stage.endpoint(raw=serve)
    policy = auth_at(service, keepalive_timeout=timedelta(milliseconds=1))

    assert await ask(stage, policy, get()) == [200]
    async with asyncio.timeout(LONG):
        await closed.wait()


async def test_a_kept_verdict_does_not_outlive_a_change_of_the_policy(stage: Stage) -> None:
    service = await stage.endpoint(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    endpoint = await stage.endpoint()
    keyed = auth_at(
        service,
        cache_key=parse_request_text("$cookie_s"),
        cache_times=parse_kept_verdicts("200 1h"),
    )
    proxy = await stage.proxy(forward(endpoint.port, policies=(keyed,)))
    client = await stage.connect(proxy)
    request = get(fields=["Cookie: s=ann"])
    for _ in range(2):
        await client.ask(request)
    assert len(service.seen) == 1

    proxy.swap(forward(endpoint.port, policies=(keyed, RequestHeaders(remove=("X-A",)))))
    await client.ask(request)
    assert len(service.seen) == 1

    service.answer = reply(status="403 Forbidden")
    proxy.swap(forward(endpoint.port, policies=(replace(keyed, method="HEAD"),)))
    assert (await client.ask(request)).status == 403
    assert len(service.seen) == 2


async def test_the_service_learns_what_was_found_in_the_certificate_and_not_what_clients_say(
    stage: Stage,
) -> None:
    service = await stage.endpoint(b"HTTP/1.1 204 No Content\r\n\r\n")
    said = get(fields=["ssl-client-verify: SUCCESS", "X-Forwarded-User: eve", "X_Real_IP: 192.0.2.1"])

    await ask(stage, auth_at(service), said)
    await ask(stage, auth_at(service), said, trusted_proxies=(ip_network("127.0.0.0/8"),))

    assert [seen.values("ssl-client-verify") for seen in service.seen] == [[], ["SUCCESS"]]
    assert [seen.values("x-forwarded-user") for seen in service.seen] == [[], []]
    assert [seen.values("x-real-ip") for seen in service.seen] == [["127.0.0.1"]] * 2


async def test_what_a_trusted_proxy_passes_on_makes_room_for_what_the_service_says(stage: Stage) -> None:
    service = await stage.endpoint(b"HTTP/1.1 204 No Content\r\nX-Forwarded-User: ann\r\n\r\n")
    endpoint = await stage.endpoint()
    policy = auth_at(service, response_headers=("X-Forwarded-User", "X-Forwarded-Email"))
    proxy = await stage.proxy(
        forward(endpoint.port, policies=(policy,)), trusted_proxies=(ip_network("127.0.0.0/8"),)
    )
    client = await stage.connect(proxy)
    await client.ask(get(fields=["X-Forwarded-User: eve", "X-Forwarded-Email: eve", "X-Forwarded-Scheme: x"]))

    assert endpoint.seen[0].values("x-forwarded-user") == ["ann"]
    assert endpoint.seen[0].values("x-forwarded-email") == []
    assert endpoint.seen[0].values("x-forwarded-scheme") == ["x"]


@pytest.mark.parametrize("trust", ["of the system", "of the policy", "of another CA", "none"])
async def test_the_certificate_of_the_service_is_verified(
    stage: Stage, trust: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate("localhost")
    chain = tmp_path / "chain.pem"
    chain.write_bytes(certificate.chain + certificate.private_key)
    if trust == "of the system":
        monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    service = await stage.endpoint(b"HTTP/1.1 204 No Content\r\n\r\n", tls=context)
    policy = replace(auth_at(1), url=parse_request_url(f"https://localhost:{service.port}/"))
    if trust == "of the policy":
        policy = replace(policy, bundle=Authorities(certificates=certificate.chain))
    elif trust == "of another CA":
        policy = replace(policy, authorities=Authorities(certificates=make_certificate("localhost").chain))
    trusted = trust in ("of the system", "of the policy")

    assert await ask(stage, policy, get()) == [200 if trusted else 500]
    assert len(service.seen) == int(trusted)


async def test_the_log_names_the_service_once_and_no_credentials(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    port = await stage.closed_port()
    policy = replace(auth_at(port), url=parse_request_url(f"http://127.0.0.1:{port}/$cookie_s?t=$cookie_s"))
    with caplog.at_level(logging.WARNING):
        assert await ask(stage, policy, *[get(fields=["Cookie: s=s3cret"])] * 3) == [500] * 3

    assert caplog.text.count("a subrequest failed") == 1
    assert f"url=http://127.0.0.1:{port} " in caplog.text
    assert "s3cret" not in caplog.text + repr([vars(record) for record in caplog.records])


async def test_a_record_says_what_the_service_said(stage: Stage) -> None:
    service = await stage.endpoint(reply(status="404 Not Found"))
    records: list[AccessRecord] = []
    await ask(stage, auth_at(service), get(), access_log=records.append)

    assert [(record.status, record.detail) for record in records] == [
        (500, "the service that authenticates responded 404")
    ]


async def test_an_address_that_endpoints_may_not_have_is_not_asked(stage: Stage) -> None:
    service = await stage.endpoint(b"HTTP/1.1 204 No Content\r\n\r\n")

    def not_ours(_address: str) -> str:
        return "is not ours"

    assert await ask(stage, auth_at(service), get(), destination_fault=not_ours) == [500]
    assert service.connections == 0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_name_is_looked_up_once_for_all_and_again_after_a_while() -> None:
    calls: list[str] = []

    async def look_up(name: str) -> tuple[str, ...]:
        calls.append(name)
        await asyncio.sleep(0)
        if name == "none.test":
            raise OSError(name)
        return f"192.0.2.{len(calls)}", "192.0.2.9"

    clock = Clock()
    names = Names(clock, look_up)

    found = await asyncio.gather(*(names.addresses("a.test") for _ in range(3)))
    assert (calls, set(found)) == (["a.test"], {("192.0.2.1", "192.0.2.9")})

    hurried = asyncio.create_task(names.addresses("b.test"))
    await asyncio.sleep(0)
    hurried.cancel()
    assert await names.addresses("b.test") == ("192.0.2.2", "192.0.2.9")

    clock.now = 5.0
    assert await names.addresses("a.test") == ("192.0.2.3", "192.0.2.9")
    for _ in range(2):
        with pytest.raises(OSError, match=r"none\.test"):
            await names.addresses("none.test")
    assert calls == ["a.test", "b.test", "a.test", "none.test", "none.test"]
    assert await names.addresses("::1") == ("::1",)
