"""A service that decides which requests are let in: the same on every plane, on programs by their delegate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping

import pytest

from ingresskit.models import ConfigMap, ObjectKey, ObjectMeta, Snapshot
from ingresskit.policies import IngressNginxDialect, NativeDialect, PolicyRegistry
from ingresskit.render.nginx import Mode
from ingresskit.testing import ingress, ingress_class, load_scenarios, service
from ingresskit.testing.loopback import open_loopback
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from ingresskit.testing.scenario import Scenario
from ingresskit.translate import TranslateOptions, translate
from tests.dataplane.conftest import EVERY_PLANE, opened
from tests.dataplane.delegated import open_delegated_haproxy
from tests.dataplane.haproxy_plane import HAPROXY, PROGRAM
from tests.dataplane.nginx_plane import NGINX_DYNAMIC, NGINX_STATIC, open_delegated_nginx
from tests.dataplane.stage import HOST, OPTIONS, Stage, slices
from tests.unit.proxy.conftest import LONG, FakeEndpoint, Seen, get, reply

pytestmark = pytest.mark.anyio

_NGINX = "nginx.ingress.kubernetes.io/"
_MODES = {NGINX_STATIC.name: Mode.STATIC, NGINX_DYNAMIC.name: Mode.DYNAMIC}
SETTINGS = ObjectKey("ops", "settings")
ANN = "Cookie: session=ann"
EVE = "Cookie: session=eve"


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    if request.param == HAPROXY.name:
        with state_folder() as folder:
            settings = PlaneSettings(state_dir=folder)
            async with open_delegated_haproxy(settings, program=PROGRAM) as (made, _, _):
                yield made
    elif request.param in _MODES:
        with state_folder() as folder:
            async with open_delegated_nginx(PlaneSettings(state_dir=folder), _MODES[request.param]) as plane:
                yield plane
    else:
        async with opened(request.param) as plane:
            yield plane


@pytest.mark.parametrize(
    "scenario", [item for item in load_scenarios() if str(item).startswith("external-auth")], ids=str
)
async def test_scenario_is_answered_as_it_says(plane: Plane, scenario: Scenario) -> None:
    assert plane.missing(scenario) == ()
    async with open_loopback(scenario.translate().graph) as world:
        await plane.serve(world.graph)
        assert await world.run(scenario, http=plane.http, https=plane.https) == ()


async def gate(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Lets ann in; the cookies of others name the status that they get."""
    session = (request.value("cookie") or "").removeprefix("session=")
    if session == "ann":
        fields = ["X-User: ann", "X-Forwarded-Groups: staff", "Set-Cookie: seen=1", "Set-Cookie: fresh=2"]
        writer.write(reply(b"welcome", status="202 Accepted", fields=fields))
    elif session == "silent":
        await asyncio.Event().wait()
    elif session == "cut":
        writer.close()
    else:
        status = session if session.isdecimal() else "401"
        fields = ['WWW-Authenticate: Bearer realm="shop"', "Set-Cookie: seen=0", "Location: https://evil.test/"]
        writer.write(reply(b"who?", status=f"{status} Whatever", fields=fields))


async def serve(
    stage: Stage,
    endpoint: FakeEndpoint,
    annotations: Mapping[str, str],
    *,
    settings: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    paths: tuple[str, ...] = ("/",),
    host: str = HOST,
) -> None:
    """Serve an Ingress with annotations of ingress-nginx (``nginx:``) and native ones."""
    written = {name.replace("nginx:", _NGINX): text for name, text in annotations.items()}
    snapshot = Snapshot.of(
        [
            ingress_class(),
            ingress(
                "web", {host: dict.fromkeys(paths, "web")}, annotations={"tls-redirect": "false", **written}
            ),
            service("web"),
            *slices("web", [endpoint.port]),
            ConfigMap(metadata=ObjectMeta(namespace="default", name="headers"), data=headers or {}),
            ConfigMap(metadata=ObjectMeta(namespace="ops", name="settings"), data=settings or {}),
        ]
    )
    dialects = [IngressNginxDialect(settings=SETTINGS), NativeDialect()] if settings is not None else []
    registry = PolicyRegistry(dialects or [IngressNginxDialect(), NativeDialect()])
    options = TranslateOptions(destinations=OPTIONS.destinations, policies=registry)
    await stage.plane.serve(translate(snapshot, options).graph)


async def test_who_is_let_in_reaches_the_endpoint_with_what_the_service_says(stage: Stage) -> None:
    auth, endpoint = await stage.endpoint(gate), await stage.endpoint()
    await serve(
        stage,
        endpoint,
        {
            "nginx:auth-url": f"http://127.0.0.1:{auth.port}/check?of=$namespace&url=$scheme://$host$request_uri",
            "nginx:auth-response-headers": "X-User, X-Forwarded-Groups, X-Absent",
            "nginx:auth-proxy-set-headers": "default/headers",
        },
        headers={"X-Tenant": "$http_x_asked", "X-Fixed": "1"},
    )
    client = await stage.connect()

    forged = ["X-User: eve", "x.user: eve", "X_User: eve", "X-Absent: eve", "X-Forwarded-Groups: eve"]
    said = ["X-Original-URL: eve", "X-Original-Method: eve", "X-Fixed: eve", "X-Asked: a b", "If-None-Match: x"]
    answer = await client.ask(
        get("/cart?a=b&c=d", fields=[ANN, *forged, *said, "X-Request-ID: 0123456789abcdef"])
    )

    assert answer.status == 200
    assert answer.values("set-cookie") == ["seen=1", "fresh=2"]
    seen = endpoint.seen[0]
    assert (seen.values("x-user"), seen.values("x-forwarded-groups")) == (["ann"], ["staff"])
    assert (seen.values("x-absent"), seen.values("x.user"), seen.values("x_user")) == ([], [], [])
    asked = auth.seen[0]
    assert asked.line == f"GET /check?of=default&url=http://{HOST}/cart?a=b%26c=d HTTP/1.1".encode()
    wanted = {
        "host": "127.0.0.1",
        "cookie": "session=ann",
        "x-original-url": f"http://{HOST}/cart?a=b&c=d",
        "x-original-method": "GET",
        "x-sent-from": "nginx-ingress-controller",
        "x-real-ip": "127.0.0.1",
        "x-forwarded-for": "127.0.0.1",
        "x-auth-request-redirect": "/cart?a=b&c=d",
        "x-tenant": "a b",
        "x-fixed": "1",
        "x-request-id": "0123456789abcdef",
    }
    assert {name: asked.value(name) for name in wanted} == wanted
    assert (asked.values("if-none-match"), asked.values("x-forwarded-proto")) == ([], [])
    assert seen.value("x-request-id") == "0123456789abcdef"


async def test_what_the_service_says_no_to_gets_no_further(stage: Stage) -> None:
    auth, endpoint = await stage.endpoint(gate), await stage.endpoint()
    await serve(
        stage,
        endpoint,
        {
            "external-auth-url": f"http://127.0.0.1:{auth.port}/check",
            "external-auth-timeout": "300ms",
            "external-auth-response-headers": "X-User",
        },
    )
    client = await stage.connect()

    found: dict[str, int] = {}
    for session in ("eve", "401", "403", "302", "200x", "404", "500", "503", "cut", "silent"):
        answer = await client.ask(get(fields=[f"Cookie: session={session}"]))
        found[session] = answer.status
        challenge = ['Bearer realm="shop"'] if answer.status == 401 else []
        assert answer.values("www-authenticate") == challenge
        assert answer.values("set-cookie") == answer.values("location") == []
        assert b"who?" not in answer.body

    assert found == {
        "eve": 401,
        "401": 401,
        "403": 403,
        "302": 500,
        "200x": 401,
        "404": 500,
        "500": 500,
        "503": 500,
        "cut": 500,
        "silent": 500,
    }
    assert endpoint.seen == []


async def test_a_service_that_is_not_there_lets_nobody_in(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    for url in (
        f"http://127.0.0.1:{await stage.closed_port()}/",
        f"https://127.0.0.1:{endpoint.port}/",
        "http://no-such-name.invalid/",
    ):
        await serve(stage, endpoint, {"external-auth-url": url, "external-auth-timeout": "2s"})
        client = await stage.connect()
        assert (await client.ask(get(fields=[ANN]))).status == 500
    # The one that speaks no TLS saw the beginning of it, and no request.
    assert endpoint.seen == []


async def test_a_client_without_credentials_is_sent_to_sign_in_with_the_way_back(stage: Stage) -> None:
    auth, endpoint = await stage.endpoint(gate), await stage.endpoint()
    base = {"nginx:auth-url": f"http://127.0.0.1:{auth.port}/"}
    signin = "https://sign.test/start"
    back = f"http://{HOST}%2Fcart%3Fa%3Db%26c%3Dhttps%3A%2F%2Fevil.test%2F"
    for more, location in (
        ({"nginx:auth-signin": signin}, f"{signin}?rd={back}"),
        ({"nginx:auth-signin": f"{signin}?a=b"}, f"{signin}?a=b&rd={back}"),
        (
            {"nginx:auth-signin": signin, "nginx:auth-signin-redirect-param": "back"},
            f"{signin}?back={back}",
        ),
        (
            {"nginx:auth-signin": "https://$host/start?rd=$escaped_request_uri"},
            f"https://{HOST}/start?rd={back.removeprefix(f'http://{HOST}')}",
        ),
    ):
        await serve(stage, endpoint, {**base, **more})
        client = await stage.connect()
        sent = await client.ask(get("/cart?a=b&c=https://evil.test/", fields=[EVE]))
        refused = await client.ask(get(fields=["Cookie: session=403"]))

        assert (sent.status, sent.value("location")) == (302, location)
        assert sent.values("set-cookie") == ["seen=0"]
        assert refused.status == 403
    assert endpoint.seen == []


async def test_cookies_of_the_service_go_with_errors_only_where_that_is_asked_for(stage: Stage) -> None:
    auth = await stage.endpoint(gate)
    endpoint = await stage.endpoint(reply(status="404 Not Found"))
    for always, cookies, refused in (("false", [], []), ("true", ["seen=1", "fresh=2"], ["seen=0"])):
        await serve(
            stage,
            endpoint,
            {"nginx:auth-url": f"http://127.0.0.1:{auth.port}/", "nginx:auth-always-set-cookie": always},
        )
        client = await stage.connect()
        answer, other = await client.ask(get(fields=[ANN])), await client.ask(get(fields=[EVE]))

        assert (answer.status, answer.values("set-cookie")) == (404, cookies)
        assert (other.status, other.values("set-cookie")) == (401, refused)


async def test_bodies_wait_for_the_verdict_and_the_service_gets_none(stage: Stage) -> None:
    auth, endpoint = await stage.endpoint(gate), await stage.endpoint()
    await serve(
        stage,
        endpoint,
        {"nginx:auth-url": f"http://127.0.0.1:{auth.port}/", "nginx:proxy-body-size": "4m"},
    )
    body = b"x" * 1_000_000
    client = await stage.connect()
    await client.send(
        get(
            method="POST",
            fields=[ANN, f"Content-Length: {len(body)}", "Expect: 100-continue", "Range: bytes=1-"],
        )
    )
    await client.send(body)
    posted = await client.answer()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:70_000], body[70_000:90_000]))
    chunked = await client.ask(
        get(method="PUT", fields=[ANN, "Transfer-Encoding: chunked"]) + chunks + b"0\r\n\r\n"
    )

    assert (posted.status, chunked.status) == (200, 200)
    assert [(seen.line[:4], len(seen.body)) for seen in endpoint.seen] == [
        (b"POST", 1_000_000),
        (b"PUT ", 90_000),
    ]
    assert [(seen.line, seen.body, seen.values("content-length")) for seen in auth.seen] == [
        (b"GET / HTTP/1.1", b"", [])
    ] * 2
    assert [seen.value("x-original-method") for seen in auth.seen] == ["POST", "PUT"]
    assert [seen.values(name) for seen in auth.seen for name in ("expect", "range", "transfer-encoding")] == [
        []
    ] * 6
    refused = await (await stage.connect()).ask(
        get(method="POST", fields=[EVE, "Content-Length: 5000000000", "Expect: 100-continue"])
    )
    assert refused.status == 413


async def test_a_tunnel_opens_for_those_who_are_let_in(stage: Stage) -> None:
    async def upgrade(_request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        fields = b"Connection: Upgrade\r\nUpgrade: websocket\r\n%b" % accepted
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n%b\r\n\r\n" % fields)
        writer.write((await reader.readexactly(5)).upper())

    auth, endpoint = await stage.endpoint(gate), await stage.endpoint(upgrade)
    await serve(stage, endpoint, {"nginx:auth-url": f"http://127.0.0.1:{auth.port}/"})
    handshake = ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"]  # RFC 6455, 1.3
    asked = ["Connection: Upgrade", "Upgrade: websocket", *handshake]
    refused = await (await stage.connect()).ask(get(fields=[EVE, *asked]))
    client = await stage.connect()
    open_ = await client.ask(get(fields=[ANN, *asked]))
    await client.send(b"hello")

    assert (refused.status, open_.status) == (401, 101)
    async with asyncio.timeout(LONG):
        assert await client.reader.readexactly(5) == b"HELLO"
    assert [seen.values("upgrade") for seen in auth.seen] == [[], []]


async def test_order_of_effects_and_rules_that_ask_nobody(stage: Stage) -> None:
    auth, endpoint = await stage.endpoint(gate), await stage.endpoint()
    await serve(
        stage,
        endpoint,
        {"nginx:enable-cors": "true", "nginx:denylist-source-range": "192.0.2.0/24"},
        settings={"global-auth-url": f"http://127.0.0.1:{auth.port}/", "no-auth-locations": "/public"},
        paths=("/", "/public", "=/.well-known/acme-challenge/token"),
    )
    client = await stage.connect()

    preflight = await client.ask(get(method="OPTIONS", fields=["Origin: https://a.test"]))
    statuses = [
        (await client.ask(get(path))).status
        for path in (
            "/public/x",
            "/publicity",
            "/.well-known/acme-challenge/token",
            "/.well-known/acme-challenge/x",
        )
    ]

    assert preflight.status == 204
    assert statuses == [200, 401, 200, 401]
    assert len(auth.seen) == 2


async def test_an_ingress_may_opt_out_of_the_service_of_all(stage: Stage) -> None:
    auth, endpoint = await stage.endpoint(gate), await stage.endpoint()
    settings = {"global-auth-url": f"http://127.0.0.1:{auth.port}/"}
    await serve(stage, endpoint, {"nginx:enable-global-auth": "false"}, settings=settings)
    client = await stage.connect()

    assert (await client.ask(get())).status == 200
    assert auth.seen == []


async def test_what_only_the_service_says_is_dropped_also_where_nobody_asks_it(stage: Stage) -> None:
    auth, endpoint = await stage.endpoint(gate), await stage.endpoint()
    await serve(
        stage,
        endpoint,
        {
            "nginx:auth-url": f"http://127.0.0.1:{auth.port}/",
            "nginx:auth-response-headers": "X-User",
            "nginx:satisfy": "any",
            "nginx:whitelist-source-range": "127.0.0.0/8",
        },
    )
    client = await stage.connect()

    assert (await client.ask(get(fields=["X-User: eve"]))).status == 200
    assert (auth.seen, endpoint.seen[0].values("x-user")) == ([], [])


async def test_a_client_that_may_ask_for_any_host_does_not_choose_the_service(stage: Stage) -> None:
    auth, endpoint = await stage.endpoint(gate), await stage.endpoint()
    await serve(stage, endpoint, {"nginx:auth-url": f"http://$host:{auth.port}/"}, host="")
    client = await stage.connect()

    assert (await client.ask(get(host="127.0.0.1", fields=[ANN]))).status == 503
    assert auth.seen == endpoint.seen == []


async def test_verdicts_are_kept_for_each_route_client_and_status(stage: Stage) -> None:
    async def once(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = (request.value("cookie") or "").removeprefix("session=")
        if session == "ann":
            fields = ["X-User: ann"]
        elif session == "bob":
            fields = ["X-User: bob", "Cache-Control: no-store"]
        else:
            fields = ["X-User: cat", "Set-Cookie: a=b"]
        writer.write(reply(fields=fields, status="401 No" if session == "eve" else "200 OK"))

    auth, endpoint = await stage.endpoint(once), await stage.endpoint()
    await serve(
        stage,
        endpoint,
        {
            "nginx:auth-url": f"http://127.0.0.1:{auth.port}/",
            "nginx:auth-cache-key": "$cookie_session",
            "nginx:auth-cache-duration": "200 10m",
            "nginx:auth-response-headers": "X-User",
        },
        paths=("/", "/other"),
    )
    client = await stage.connect()
    counts: dict[str, int] = {}
    for session, place in (("ann", "/"), ("bob", "/"), ("cat", "/"), ("eve", "/"), ("ann", "/other")):
        before = len(auth.seen)
        for _ in range(2):
            await client.ask(get(place, fields=[f"Cookie: session={session}"]))
        counts[f"{session} {place}"] = len(auth.seen) - before

    assert counts == {"ann /": 1, "bob /": 2, "cat /": 2, "eve /": 2, "ann /other": 1}
    assert [seen.values("x-user") for seen in endpoint.seen] == [
        *[["ann"]] * 2,
        *[["bob"]] * 2,
        *[["cat"]] * 2,
        *[["ann"]] * 2,
    ]


async def test_a_no_is_never_the_page_of_an_error(stage: Stage) -> None:
    auth, endpoint = await stage.endpoint(gate), await stage.endpoint()
    await serve(
        stage,
        endpoint,
        {
            "external-auth-url": f"http://127.0.0.1:{auth.port}/",
            "external-auth-timeout": "300ms",
            "error-pages": "401,403,500,503",
            "fallback-service": "web",
        },
    )
    client = await stage.connect()
    statuses = [
        (await client.ask(get(fields=[f"Cookie: session={session}"]))).status
        for session in ("eve", "403", "500", "silent", "ann")
    ]

    assert statuses == [401, 403, 500, 500, 200]
    assert len(endpoint.seen) == 1


async def test_addresses_and_limits_come_before_the_question(stage: Stage) -> None:
    auth, endpoint = await stage.endpoint(gate), await stage.endpoint()
    url = {"nginx:auth-url": f"http://127.0.0.1:{auth.port}/"}
    for more, status in (
        ({"nginx:denylist-source-range": "127.0.0.0/8"}, 403),
        ({"nginx:whitelist-source-range": "192.0.2.0/24"}, 403),
        ({"nginx:proxy-body-size": "1"}, 413),
        ({"nginx:permanent-redirect": "https://other.test/"}, 301),
    ):
        await serve(stage, endpoint, {**url, **more})
        client = await stage.connect()
        request = get(method="POST", fields=[ANN, "Content-Length: 2"]) + b"xx"
        assert (await client.ask(request)).status == status
    assert auth.seen == endpoint.seen == []
