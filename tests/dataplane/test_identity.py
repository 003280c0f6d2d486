"""Whatever the proxy: who the client is, whom that is believed from, and what endpoints are told."""

from __future__ import annotations

import pytest

from tests.dataplane.stage import HOST, Stage, trusting
from tests.unit.proxy.conftest import get, reply
from tests.unit.proxy.test_client_identity import V2

pytestmark = pytest.mark.anyio


async def test_endpoint_is_told_who_asks(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)
    client = await stage.connect()

    await client.ask(get(host=f"{HOST}:8080"))

    seen = endpoint.seen[0]
    assert seen.value("host") == f"{HOST}:8080"
    assert seen.value("x-forwarded-for") == "127.0.0.1"
    assert seen.value("x-real-ip") == "127.0.0.1"
    assert seen.value("x-forwarded-proto") == "http"
    assert seen.value("x-forwarded-host") == f"{HOST}:8080"
    assert seen.value("x-forwarded-port") == "8080"


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
        "X-Forwarded-User: 6.6.6.6",
        "Keep-Alive: 6.6.6.6",
        "Proxy-Connection: 6.6.6.6",
        "Proxy-Authorization: 6.6.6.6",
        "TE: 6.6.6.6",
        "Trailer: 6.6.6.6",
        "HTTP2-Settings: 6.6.6.6",
    ],
)
async def test_what_a_stranger_may_not_say_does_not_arrive(stage: Stage, field: str) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)
    client = await stage.connect()

    answer = await client.ask(get(fields=[field, "Connection: close"]))

    if answer.status == 200:
        assert b"6.6.6.6" not in endpoint.seen[0].head
        assert endpoint.seen[0].value("x-forwarded-for") == "127.0.0.1"
    else:  # names that some servers read as others may be refused outright
        assert answer.status == 400
        assert "_" in field.partition(":")[0]


async def test_every_name_that_a_field_may_have_arrives(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)
    client = await stage.connect()
    names = ["x-amz-meta-a.b", "x!y", "x~y", "x#$%&'*+^`|y", ".hidden"]

    answer = await client.ask(get(fields=[f"{name}: {place}" for place, name in enumerate(names)]))

    assert answer.status == 200
    assert [endpoint.seen[0].value(name) for name in names] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    "name",
    [
        *("x_plain", "X.Real.IP", "x!forwarded-for", "X-Forwarded.For", "Proxy~Connection", "X.Scheme"),
        *("X.Original.URL", "x~original-uri", "X-Original.Method", "X.Auth.Request.Redirect", "X.Sent.From"),
        *("X.Code", "x!format", "X.Service-Name", "Ingresskit.Delegate"),
    ],
)
async def test_names_that_could_be_taken_for_others_do_not_arrive(trusting_stage: Stage, name: str) -> None:
    endpoint = await trusting_stage.endpoint()
    await trusting_stage.serve(endpoint)
    client = await trusting_stage.connect()

    answer = await client.ask(get(fields=[f"{name}: 6.6.6.6"]))

    assert answer.status == 200
    assert b"6.6.6.6" not in endpoint.seen[0].head


@pytest.mark.parametrize("name", ["x y", 'x"y', "x(y)", "x/y", "x@y", "x\xe9", "x[y]"])
async def test_what_cannot_be_a_name_is_not_passed_on(stage: Stage, name: str) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)
    client = await stage.connect()

    answer = await client.ask(get(fields=[f"{name}: 6.6.6.6"]))

    assert answer.status == 400 or b"6.6.6.6" not in endpoint.seen[0].head


@pytest.mark.parametrize(
    ("annotations", "arrives"),
    [
        ({"request-headers-set": "X-Team: shop"}, {"x-team": "shop", "x.team": None}),
        ({"request-headers-remove": "X-Team"}, {"x-team": None, "x.team": None}),
        ({"request-headers-set": "X.Team: shop"}, {"x-team": None, "x.team": "shop", "x!team": None}),
        ({"request-headers-remove": "x!team"}, {"x-team": None, "x.team": None, "x!team": None}),
    ],
    ids=lambda value: str(value) if "request" in str(value) else "",
)
async def test_what_a_route_sets_or_removes_goes_in_every_spelling(
    stage: Stage, annotations: dict[str, str], arrives: dict[str, str | None]
) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, annotations=annotations)
    client = await stage.connect()

    await client.ask(get(fields=["X-Team: forged", "X.Team: forged", "X!Team: forged", "X-Kept: 1"]))

    seen = endpoint.seen[0]
    assert {name: seen.value(name) for name in arrives} == arrives
    assert seen.value("x-kept") == "1"


@pytest.mark.parametrize(
    "listed", ["X-Forwarded-For, x-real-ip, X-Forwarded-Host", "x-forwarded-proto", "X-Forwarded-For,", "HOST"]
)
async def test_connection_field_cannot_take_away_what_the_proxy_sets(stage: Stage, listed: str) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)
    client = await stage.connect()

    answer = await client.ask(get(fields=[f"Connection: {listed}", "X-Mine: 1"]))

    if answer.status == 400:  # a proxy that cannot tell such fields from others may refuse the request
        return
    seen = endpoint.seen[0]
    assert seen.value("x-forwarded-for") == "127.0.0.1"
    assert seen.value("x-real-ip") == "127.0.0.1"
    assert seen.value("x-forwarded-proto") == "http"
    assert seen.value("x-forwarded-host") == HOST
    assert seen.value("host") == HOST


async def test_fields_named_by_connection_end_here_in_any_case(stage: Stage) -> None:
    endpoint = await stage.endpoint(
        reply(fields=["Connection: X-Inner, keep-alive", "x-inner: 1", "Keep-Alive: 5"])
    )
    await stage.serve(endpoint)
    client = await stage.connect()

    answer = await client.ask(get(fields=["Connection: keep-alive, x-HOP", "X-Hop: 1", "X-Stays: 2"]))

    if answer.status == 400:  # as above
        return
    assert endpoint.seen[0].value("x-hop") is None
    assert endpoint.seen[0].value("x-stays") == "2"
    assert answer.value("x-inner") is None
    assert answer.value("keep-alive") in (None, "timeout=75")


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
    ],
)
async def test_trusted_proxy_is_believed(
    trusting_stage: Stage, fields: list[str], client_address: str, chain: str
) -> None:
    endpoint = await trusting_stage.endpoint()
    await trusting_stage.serve(endpoint)
    client = await trusting_stage.connect()

    await client.ask(get(fields=fields))

    seen = endpoint.seen[0]
    assert seen.value("x-real-ip") == client_address
    assert ", ".join(seen.values("x-forwarded-for")) == chain


async def test_trusted_proxy_says_how_the_client_came(trusting_stage: Stage) -> None:
    endpoint = await trusting_stage.endpoint()
    await trusting_stage.serve(endpoint)
    client = await trusting_stage.connect()

    await client.ask(get(fields=["X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example"]))
    await client.ask(get(fields=["X-Forwarded-Proto: gopher", "X-Forwarded-Host: a b"]))

    first, second = endpoint.seen
    assert first.value("x-forwarded-proto") == "https"
    assert first.value("x-forwarded-host") == "shop.example"
    assert first.value("x-forwarded-port") == "443"
    assert second.value("x-forwarded-proto") == "http"
    assert second.value("x-forwarded-host") == HOST
    assert second.value("x-forwarded-port") == "80"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (["X-Forwarded-Proto: https,http"], ("https", HOST, "443")),
        (["X-Forwarded-Proto: http , https"], ("http", HOST, "80")),
        (["X-Forwarded-Proto: HTTPS, http, http"], ("https", HOST, "443")),
        (["X-Forwarded-Proto: wss,https"], ("http", HOST, "80")),
        (["X-Forwarded-Port: 8444, 80"], ("http", HOST, "8444")),
        (["X-Forwarded-Host: shop.example:81, inner"], ("http", "shop.example:81", "80")),
    ],
)
async def test_of_lists_of_trusted_proxies_the_first_element_is_the_clients(
    trusting_stage: Stage, fields: list[str], said: tuple[str, ...]
) -> None:
    endpoint = await trusting_stage.endpoint()
    await trusting_stage.serve(endpoint)
    client = await trusting_stage.connect()

    await client.ask(get(fields=fields))

    seen = endpoint.seen[0]
    assert tuple(seen.value(f"x-forwarded-{name}") for name in ("proto", "host", "port")) == said


@pytest.mark.parametrize(("proto", "status"), [("https,http", 200), ("http,https", 308), ("https", 200)])
async def test_redirects_do_not_loop_behind_proxies_that_append(
    trusting_stage: Stage, proto: str, status: int
) -> None:
    await trusting_stage.serve(await trusting_stage.endpoint(), annotations={"tls-redirect": "true"})
    client = await trusting_stage.connect()

    assert (await client.ask(get(fields=[f"X-Forwarded-Proto: {proto}"]))).status == status


@pytest.mark.parametrize(
    ("host", "fields", "port"),
    [
        pytest.param(HOST, [], "80", id="the public port where nobody names one"),
        pytest.param(f"{HOST}:", [], "80", id="a colon names none"),
        pytest.param(f"{HOST}:0", [], "80", id="0 is none"),
        pytest.param(f"{HOST}:8081", [], "8081", id="the one in Host"),
        pytest.param(HOST, ["X-Forwarded-Proto: https"], "443", id="that of TLS behind a proxy"),
        pytest.param(f"{HOST}:8081", ["X-Forwarded-Port: 9090"], "9090", id="a trusted proxy's before Host"),
        pytest.param(f"{HOST}:8081", ["X-Forwarded-Port: 0"], "8081", id="no port of a trusted proxy"),
    ],
)
async def test_endpoint_is_told_the_port_that_the_client_used(
    trusting_stage: Stage, host: str, fields: list[str], port: str
) -> None:
    endpoint = await trusting_stage.endpoint()
    await trusting_stage.serve(endpoint)
    client = await trusting_stage.connect()

    await client.ask(get(host=host, fields=fields))

    assert endpoint.seen[0].value("x-forwarded-port") == port


@pytest.mark.parametrize(("host", "port"), [(HOST, "443"), (f"{HOST}:8444", "8444")])
async def test_endpoint_is_told_the_public_port_of_tls(stage: Stage, host: str, port: str) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)
    client = await stage.connect(tls=trusting())

    await client.ask(get(host=host))

    assert endpoint.seen[0].value("x-forwarded-port") == port


@pytest.mark.parametrize(
    ("header", "fields", "port"),
    [
        (b"PROXY TCP4 8.8.8.8 10.0.0.1 5555 81\r\n", [], "81"),
        # Of a connection without TLS: an earlier proxy took the request at a port of its own.
        (b"PROXY TCP4 10.9.9.9 10.0.0.1 5555 81\r\n", ["X-Forwarded-Proto: https"], "8081"),
    ],
    ids=["before Host", "of another scheme"],
)
async def test_load_balancer_says_which_port_the_client_used(
    balanced_stage: Stage, header: bytes, fields: list[str], port: str
) -> None:
    endpoint = await balanced_stage.endpoint()
    await balanced_stage.serve(endpoint)
    client = await balanced_stage.connect()

    await client.ask(header + get(host=f"{HOST}:8081", fields=fields))

    # Not every proxy believes X-Forwarded-Proto beside the PROXY protocol.
    if endpoint.seen[0].value("x-forwarded-proto") == ("https" if fields else "http"):
        assert endpoint.seen[0].value("x-forwarded-port") == port


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(V2 + b"\x20\x00\x00\x00", id="version 2, local"),
        pytest.param(b"PROXY UNKNOWN\r\n", id="version 1, unknown"),
    ],
)
@pytest.mark.parametrize(("host", "port"), [(HOST, "80"), (f"{HOST}:8081", "8081")])
async def test_load_balancer_that_names_no_addresses_names_no_port(
    balanced_stage: Stage, header: bytes, host: str, port: str
) -> None:
    endpoint = await balanced_stage.endpoint()
    await balanced_stage.serve(endpoint)
    client = await balanced_stage.connect()

    assert (await client.ask(header + get(host=host))).status == 200

    assert endpoint.seen[0].value("x-forwarded-port") == port


async def test_redirects_lead_to_the_public_port_unless_the_listener_is_named(stage: Stage) -> None:
    await stage.serve(await stage.endpoint(), annotations={"tls-redirect": "true"})
    client = await stage.connect()
    assert stage.plane.https is not None
    plain, secure = stage.plane.http[1], stage.plane.https[1]

    hosts = (HOST, f"{HOST}:80", f"{HOST}:8081", f"{HOST}:{plain}")
    locations = [(await client.ask(get("/a?b", host=host))).value("location") for host in hosts]

    public = f"https://{HOST}/a?b"
    assert locations == [public, public, public, f"https://{HOST}:{secure}/a?b"]


@pytest.mark.parametrize(
    ("allowed", "field", "status"),
    [
        ("127.0.0.0/8", "X: y", 200),
        ("192.0.2.0/24", "X: y", 403),
        ("192.0.2.0/24", "X-Forwarded-For: 192.0.2.7", 200),
        ("192.0.2.0/24", "X-Forwarded-For: 192.0.2.7, 8.8.8.8", 403),
        ("2001:db8::/32", "X-Forwarded-For: 2001:db8::1", 200),
        ("2001:db8::/32", "X-Forwarded-For: 192.0.2.7", 403),
    ],
)
async def test_only_allowed_clients_are_let_in(
    trusting_stage: Stage, allowed: str, field: str, status: int
) -> None:
    endpoint = await trusting_stage.endpoint()
    await trusting_stage.serve(endpoint, annotations={"allow-sources": allowed})
    client = await trusting_stage.connect()

    assert (await client.ask(get(fields=[field]))).status == status
    assert len(endpoint.seen) == (status == 200)


@pytest.mark.parametrize(
    ("denied", "field", "status"),
    [
        pytest.param("8.8.8.0/24", "X-Forwarded-For: 8.8.8.8", 403, id="denied"),
        pytest.param("8.8.8.0/25", "X-Forwarded-For: 8.8.8.128", 200, id="just beside"),
        pytest.param("2001:db8::/33", "X-Forwarded-For: 2001:db8::9", 403, id="denied IPv6"),
        pytest.param("2001:db8::/33", "X-Forwarded-For: 2001:db8:8000::9", 200, id="just beside IPv6"),
        pytest.param("8.8.8.8", "X-Forwarded-For: ::ffff:8.8.8.8", 403, id="mapped into IPv6"),
        pytest.param("0.0.0.0/0", "X-Forwarded-For: 2001:db8::9", 200, id="all of the other family"),
        pytest.param("0.0.0.0/0, ::/0", "X-Forwarded-For: 2001:db8::9", 403, id="everybody"),
    ],
)
async def test_denied_clients_are_kept_out(trusting_stage: Stage, denied: str, field: str, status: int) -> None:
    endpoint = await trusting_stage.endpoint()
    await trusting_stage.serve(endpoint, annotations={"deny-sources": denied})
    client = await trusting_stage.connect()

    assert (await client.ask(get(fields=[field]))).status == status
    assert len(endpoint.seen) == (status == 200)


async def test_stranger_cannot_pass_for_an_allowed_client(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, annotations={"allow-sources": "192.0.2.0/24"})
    client = await stage.connect()

    answer = await client.ask(get(fields=["X-Forwarded-For: 192.0.2.7", "X-Real-IP: 192.0.2.7"]))

    assert answer.status == 403
    assert endpoint.seen == []


@pytest.mark.parametrize(
    ("header", "address"),
    [
        pytest.param(b"PROXY TCP4 8.8.8.8 10.0.0.1 5555 80\r\n", "8.8.8.8", id="version 1"),
        pytest.param(b"PROXY TCP6 2001:db8::9 2001:db8::1 5555 80\r\n", "2001:db8::9", id="version 1, IPv6"),
        pytest.param(
            V2 + b"\x21\x11\x00\x0c" + bytes([8, 8, 8, 8, 10, 0, 0, 1]) + b"\x15\xb3\x00\x50",
            "8.8.8.8",
            id="version 2",
        ),
    ],
)
async def test_load_balancer_says_who_the_client_is(balanced_stage: Stage, header: bytes, address: str) -> None:
    endpoint = await balanced_stage.endpoint()
    await balanced_stage.serve(endpoint)
    client = await balanced_stage.connect()

    assert (await client.ask(header + get(fields=["X-Forwarded-For: 6.6.6.6"]))).status == 200

    assert endpoint.seen[0].value("x-forwarded-for") == address
    assert endpoint.seen[0].value("x-real-ip") == address


async def test_connection_without_the_header_of_the_load_balancer_is_not_served(balanced_stage: Stage) -> None:
    endpoint = await balanced_stage.endpoint()
    await balanced_stage.serve(endpoint)
    client = await balanced_stage.connect()

    await client.send(get())
    try:
        ended = await client.rest()
    except ConnectionError:
        ended = b""

    assert ended == b"" or ended.startswith(b"HTTP/1.1 400 ")
    assert endpoint.seen == []
