"""Who the client is, whom that is believed from, and what endpoints are told."""

from __future__ import annotations

import ipaddress

import pytest

from ingresskit.policies import AllowedSources, RequestHeaders, ResponseHeaders, TlsRedirect
from ingresskit.policies.values import parse_networks
from ingresskit.proxy.message.fields import CLIENT, ORDINARY, REQUEST_KINDS
from tests.unit.proxy.conftest import Stage, forward, get, reply

pytestmark = pytest.mark.anyio

TRUSTED = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.0.0.0/8"))


async def test_endpoint_is_told_who_asks(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.ask(get("/", host="Web.Example:8080"))

    seen = endpoint.seen[0]
    assert seen.value("host") == "web.example:8080"
    assert seen.value("x-forwarded-for") == "127.0.0.1"
    assert seen.value("x-real-ip") == "127.0.0.1"
    assert seen.value("x-forwarded-proto") == "http"
    assert seen.value("x-forwarded-host") == "web.example:8080"
    assert seen.value("x-forwarded-port") == "8080"
    assert len(seen.value("x-request-id") or "") == 32


@pytest.mark.parametrize(
    "field",
    [
        "X-Forwarded-For: 6.6.6.6",
        "x-forwarded-for: 6.6.6.6",
        "X_Forwarded_For: 6.6.6.6",
        "X-Forwarded_For: 6.6.6.6",
        "X-Real-IP: 6.6.6.6",
        "X_Real_Ip: 6.6.6.6",
        "Forwarded: for=6.6.6.6",
        "X-Forwarded-Proto: 6.6.6.6",
        "X-Forwarded-Host: 6.6.6.6",
        "X-Forwarded-Port: 6.6.6.6",
        "X-Forwarded-Prefix: /6.6.6.6",
        "X-Forwarded-Client-Cert: 6.6.6.6",
        "X-Forwarded: for=6.6.6.6",
        "X-Forwarded-User: 6.6.6.6",
        "Keep-Alive: 6.6.6.6",
        "Proxy-Connection: 6.6.6.6",
        "Proxy-Authorization: 6.6.6.6",
        "TE: 6.6.6.6",
        "Trailer: 6.6.6.6",
        "HTTP2-Settings: 6.6.6.6",
        "Content_Length: 6.6.6.6",
        "Proxy: http://6.6.6.6",
        "X.Forwarded.For: 6.6.6.6",
        "X-Real!IP: 6.6.6.6",
        "Transfer.Encoding: 6.6.6.6",
        "Client-Cert: :6.6.6.6:",
        "Client-Cert-Chain: :6.6.6.6:",
        "SSL-Client-Verify: 6.6.6.6",
        "ssl-client-subject-dn: CN=6.6.6.6",
        "X-SSL-Client-Cert: 6.6.6.6",
        "X-Client-Cert: 6.6.6.6",
        "X-Scheme: 6.6.6.6",
    ],
)
async def test_what_a_stranger_may_not_say_does_not_arrive(stage: Stage, field: str) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    assert (await client.ask(get(fields=[field]))).status == 200

    assert b"6.6.6.6" not in endpoint.seen[0].head
    assert endpoint.seen[0].value("x-forwarded-for") == "127.0.0.1"


def test_names_that_are_made_up_do_not_keep_others_from_being_remembered() -> None:
    for number in range(10_000):
        assert REQUEST_KINDS[b"x-made-up-%d" % number] == ORDINARY

    assert REQUEST_KINDS[b"X-FORWARDED-for"] == CLIENT
    assert b"X-FORWARDED-for" in REQUEST_KINDS
    assert len(REQUEST_KINDS) <= 4096


@pytest.mark.parametrize("field", ["X.Mine: 1", "X~Mine: 1", "Sec-Token!: 1", "Proxy: 1", "Proxy-Status: 1"])
async def test_names_of_endpoints_are_their_own_business(stage: Stage, field: str) -> None:
    endpoint = await stage.endpoint(reply(fields=[field]))
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)
    name = field.partition(":")[0]

    assert (await client.ask(get(fields=["X.Mine: 1"]))).value(name) == "1"
    assert endpoint.seen[0].value("x.mine") == "1"


@pytest.mark.parametrize(
    "listed", ["X-Forwarded-For, x-real-ip, HOST, X-Request-ID", "x-forwarded-proto", "X-Forwarded-For,"]
)
async def test_connection_field_cannot_take_away_what_the_proxy_sets(stage: Stage, listed: str) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.ask(get(fields=[f"Connection: {listed}", "X-Mine: 1"]))

    seen = endpoint.seen[0]
    assert seen.value("x-forwarded-for") == "127.0.0.1"
    assert seen.value("x-real-ip") == "127.0.0.1"
    assert seen.value("x-forwarded-proto") == "http"
    assert seen.value("host") == "web.example"
    assert seen.value("x-request-id")
    assert seen.value("connection") is None


async def test_fields_named_by_connection_end_here_in_any_case(stage: Stage) -> None:
    endpoint = await stage.endpoint(
        reply(fields=["Connection: X-Inner, keep-alive", "x-inner: 1", "Keep-Alive: 5"])
    )
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    answer = await client.ask(
        get(fields=["Connection: keep-alive, x-HOP, X.Dot", "X-Hop: 1", "x.dot: 1", "X-Stays: 2"])
    )

    assert endpoint.seen[0].value("x-hop") is None
    assert endpoint.seen[0].value("x.dot") is None
    assert endpoint.seen[0].value("x-stays") == "2"
    assert answer.value("x-inner") is None
    assert answer.value("keep-alive") is None


async def test_decent_request_id_is_kept_and_another_replaced(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    client = await stage.connect(proxy)

    await client.ask(get(fields=["X-Request-ID: abc-123"]))
    await client.ask(get(fields=["X-Request-ID: <script>"]))

    assert endpoint.seen[0].value("x-request-id") == "abc-123"
    assert len(endpoint.seen[1].value("x-request-id") or "") == 32


@pytest.mark.parametrize(
    ("fields", "client_address", "chain"),
    [
        pytest.param(["X-Forwarded-For: 8.8.8.8"], "8.8.8.8", "8.8.8.8, 127.0.0.1", id="one stranger"),
        pytest.param(
            ["X-Forwarded-For: 6.6.6.6, 8.8.8.8, 10.1.1.1"],
            "8.8.8.8",
            "6.6.6.6, 8.8.8.8, 10.1.1.1, 127.0.0.1",
            id="the right-most stranger",
        ),
        pytest.param(
            ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 8.8.8.8"],
            "8.8.8.8",
            "6.6.6.6, 8.8.8.8, 127.0.0.1",
            id="over two fields",
        ),
        pytest.param(
            ["X-Forwarded-For: 10.1.1.1"], "10.1.1.1", "10.1.1.1, 127.0.0.1", id="trusted all the way"
        ),
        pytest.param(
            ["X-Forwarded-For: 8.8.8.8, junk"], "127.0.0.1", "8.8.8.8, junk, 127.0.0.1", id="nonsense ends it"
        ),
        pytest.param(
            ["X-Forwarded-For: [2001:db8::1]:99"],
            "2001:db8::1",
            "[2001:db8::1]:99, 127.0.0.1",
            id="IPv6 with port",
        ),
        pytest.param(
            ["X-Forwarded-For: ::ffff:8.8.8.8"], "8.8.8.8", "::ffff:8.8.8.8, 127.0.0.1", id="IPv4 within IPv6"
        ),
        pytest.param(
            ['Forwarded: for=8.8.8.8;proto=https, for="10.1.1.1"'], "8.8.8.8", "127.0.0.1", id="Forwarded"
        ),
        pytest.param(["Forwarded: for=_hidden"], "127.0.0.1", "127.0.0.1", id="Forwarded, obfuscated"),
    ],
)
async def test_trusted_proxy_is_believed(
    stage: Stage, fields: list[str], client_address: str, chain: str
) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port), trusted_proxies=TRUSTED)
    client = await stage.connect(proxy)

    await client.ask(get(fields=fields))

    seen = endpoint.seen[0]
    assert seen.value("x-real-ip") == client_address
    assert seen.value("x-forwarded-for") == chain
    if fields[0].startswith("Forwarded"):
        assert (seen.value("forwarded") or "").endswith(", for=127.0.0.1;proto=http")


async def test_trusted_proxy_says_how_the_client_came(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port), trusted_proxies=TRUSTED)
    client = await stage.connect(proxy)

    fields = ["X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example", "X-Forwarded-Prefix: /eu"]
    await client.ask(get(fields=[*fields, "Client-Cert: :MIIB:"]))
    await client.ask(
        get(fields=["X-Forwarded-Proto: gopher", "X-Forwarded-Host: a b", "X-Forwarded-Port: 70000"])
    )

    first, second = endpoint.seen
    assert first.value("x-forwarded-proto") == "https"
    assert first.value("x-forwarded-host") == "shop.example"
    assert first.value("x-forwarded-port") == "443"
    assert first.value("x-forwarded-prefix") == "/eu"
    assert first.value("client-cert") == ":MIIB:"
    assert second.value("x-forwarded-proto") == "http"
    assert second.value("x-forwarded-host") == "web.example"
    assert second.value("x-forwarded-port") == "80"


@pytest.mark.parametrize(
    ("allowed", "field", "status"),
    [
        ("127.0.0.0/8", "X: y", 200),
        ("192.0.2.0/24", "X: y", 403),
        ("192.0.2.0/24", "X-Forwarded-For: 192.0.2.7", 200),
        ("192.0.2.0/24", "X-Forwarded-For: 192.0.2.7, 8.8.8.8", 403),
        ("192.0.2.0/24", "X-Forwarded-For: ::ffff:192.0.2.7", 200),
        ("2001:db8::/32", "X-Forwarded-For: 2001:db8::1", 200),
        ("2001:db8::/32", "X-Forwarded-For: 192.0.2.7", 403),
    ],
)
async def test_only_allowed_clients_are_let_in(stage: Stage, allowed: str, field: str, status: int) -> None:
    endpoint = await stage.endpoint()
    table = forward(endpoint.port, policies=[AllowedSources(networks=parse_networks(allowed))])
    proxy = await stage.proxy(table, trusted_proxies=TRUSTED)
    client = await stage.connect(proxy)

    assert (await client.ask(get(fields=[field]))).status == status


async def test_stranger_cannot_pass_for_an_allowed_client(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(
        forward(endpoint.port, policies=[AllowedSources(networks=parse_networks("192.0.2.0/24"))])
    )
    client = await stage.connect(proxy)

    answer = await client.ask(get(fields=["X-Forwarded-For: 192.0.2.7", "X-Real-IP: 192.0.2.7"]))

    assert answer.status == 403


async def test_headers_are_set_and_removed_as_the_route_says(stage: Stage) -> None:
    endpoint = await stage.endpoint(reply(fields=["Server: inner", "X-Powered-By: inner"]))
    table = forward(
        endpoint.port,
        policies=[
            RequestHeaders(set=(("X-Tenant", "shop"),), remove=("Cookie",)),
            ResponseHeaders(set=(("Server", "outer"),), remove=("X-Powered-By",)),
        ],
    )
    proxy = await stage.proxy(table)
    client = await stage.connect(proxy)

    spellings = ["X-TENANT: other", "X.Tenant: other", "x_tenant: other", "X-Tenants: other"]
    answer = await client.ask(get(fields=[*spellings, "Cookie: a=b", "Connection: X-Tenant"]))

    assert endpoint.seen[0].values("x-tenant") == ["shop"]
    assert endpoint.seen[0].head.count(b"other") == 1
    assert endpoint.seen[0].value("cookie") is None
    assert answer.values("server") == ["outer"]
    assert answer.value("x-powered-by") is None


V2 = b"\r\n\r\n\x00\r\nQUIT\n"


@pytest.mark.parametrize(
    ("header", "address"),
    [
        pytest.param(b"PROXY TCP4 8.8.8.8 10.0.0.1 5555 80\r\n", "8.8.8.8", id="version 1"),
        pytest.param(b"PROXY TCP6 2001:db8::9 2001:db8::1 5555 80\r\n", "2001:db8::9", id="version 1, IPv6"),
        pytest.param(b"PROXY UNKNOWN\r\n", "127.0.0.1", id="version 1, unknown"),
        pytest.param(
            V2 + b"\x21\x11\x00\x0c" + bytes([8, 8, 8, 8, 10, 0, 0, 1]) + b"\x15\xb3\x00\x50",
            "8.8.8.8",
            id="version 2",
        ),
        pytest.param(
            V2 + b"\x21\x11\x00\x0f" + bytes([8, 8, 8, 8, 10, 0, 0, 1]) + b"\x15\xb3\x00\x50\x04\x00\x00",
            "8.8.8.8",
            id="version 2 with more",
        ),
        pytest.param(V2 + b"\x20\x00\x00\x00", "127.0.0.1", id="version 2, from the peer itself"),
    ],
)
async def test_load_balancer_says_who_the_client_is(stage: Stage, header: bytes, address: str) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port), trusted_proxies=TRUSTED, proxy_protocol=True)
    client = await stage.connect(proxy)

    assert (await client.ask(header + get(fields=["X-Forwarded-For: 6.6.6.6"]))).status == 200

    if address != "127.0.0.1":
        assert endpoint.seen[0].value("x-forwarded-for") == address
        assert endpoint.seen[0].value("x-forwarded-port") == "80"


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"", id="none"),
        pytest.param(b"PROXY TCP4 8.8.8.8 10.0.0.1 5555\r\n", id="version 1, a port is missing"),
        pytest.param(b"PROXY TCP4 2001:db8::9 10.0.0.1 5555 80\r\n", id="version 1, wrong family"),
        pytest.param(b"PROXY TCP4 8.8.8.8 10.0.0.1 5555 99999\r\n", id="version 1, wrong port"),
        pytest.param(b"PROXY " + b"x" * 200 + b"\r\n", id="version 1, too long"),
        pytest.param(V2 + b"\x31\x11\x00\x00", id="another version"),
        pytest.param(V2 + b"\x21\x11\x00\x04\x01\x02\x03\x04", id="version 2, too short"),
        pytest.param(V2 + b"\x21\x11\xff\xff", id="version 2, too long"),
    ],
)
async def test_wrong_proxy_header_ends_the_connection(stage: Stage, header: bytes) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port), trusted_proxies=TRUSTED, proxy_protocol=True)
    client = await stage.connect(proxy)

    await client.send(header + get())

    assert await client.is_closed()
    assert endpoint.seen == []


async def test_proxy_header_of_a_stranger_is_no_request(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    networks = (ipaddress.ip_network("10.0.0.0/8"),)
    proxy = await stage.proxy(forward(endpoint.port), trusted_proxies=networks, proxy_protocol=True)
    stranger = await stage.connect(proxy)
    honest = await stage.connect(proxy)

    assert (await stranger.ask(b"PROXY TCP4 8.8.8.8 10.0.0.1 5555 80\r\n" + get())).status == 400
    assert (await honest.ask(get())).status == 200
    assert endpoint.seen[0].value("x-forwarded-for") == "127.0.0.1"


@pytest.mark.parametrize(("fields", "records"), [([], 1), (["X-Forwarded-Proto: http"], 0)])
async def test_redirects_of_a_proxy_that_does_not_say_the_scheme_are_reported_once(
    stage: Stage, caplog: pytest.LogCaptureFixture, fields: list[str], records: int
) -> None:
    proxy = await stage.proxy(
        forward(1, policies=[TlsRedirect(enabled=True)]), trusted_proxies=TRUSTED, public_https_port=443
    )
    client = await stage.connect(proxy)

    statuses = [(await client.ask(get(fields=fields))).status for _ in range(3)]

    assert statuses == [308, 308, 308]
    assert len([record for record in caplog.records if "may loop" in record.message]) == records
