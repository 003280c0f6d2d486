from __future__ import annotations

import gzip
from datetime import timedelta

import anyio
import pytest

from ingresskit.controller.admin import AdminServer, AdminSettings
from ingresskit.errors import ConfigurationError
from ingresskit.graph import to_json
from tests.unit.controller.client import admin_over, exchange
from tests.unit.controller.doubles import ingress, web

pytestmark = pytest.mark.anyio

SHOP = ingress("shop", "shop.test", "/cart", annotations={"ingresskit.dev/connect-timeout": "3s"})
PATHS = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/status",
    "/api/graph",
    "/api/hosts",
    "/api/diagnostics",
    "/api/explain?url=http://shop.test/cart",
    "/api/config",
    "/",
    "/app.js",
    "/data.js",
    "/dom.js",
    "/views.js",
    "/style.css",
    "/icon.svg",
)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_every_path_answers_and_head_says_the_same_without_a_body() -> None:
    async with admin_over(SHOP, *web()) as admin:
        for path in PATHS:
            got = await admin.get(path)
            head = await admin.get(path, method="HEAD")

            assert (path, got.status, head.status) == (path, 200, 200)
            assert head.body == b""
            assert head.headers["content-type"] == got.headers["content-type"]
            assert got.headers["x-content-type-options"] == "nosniff"
            assert "frame-ancestors 'none'" in got.headers["content-security-policy"]
            assert got.headers["cache-control"] in ("no-store", "no-cache")


async def test_what_is_not_there_is_404_in_json() -> None:
    async with admin_over() as admin:
        reply = await admin.get("/api/secrets")

    assert reply.status == 404
    assert reply.json == {
        "error": {"status": 404, "title": "Not Found", "message": "no resource at /api/secrets"}
    }


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_can_be_changed(method: str) -> None:
    async with admin_over() as admin:
        reply = await admin.get("/api/graph", method=method)

    assert reply.status == 405
    assert reply.headers["allow"] == "GET, HEAD"


async def test_the_answer_to_a_request_with_a_body_arrives() -> None:
    async with admin_over() as admin, await anyio.connect_tcp(*admin.address) as stream:
        body = b"x" * 100_000
        await stream.send(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        answer = await stream.receive()

    assert answer.startswith(b"HTTP/1.1 405 ")


async def test_readiness_waits_for_the_first_configuration() -> None:
    async with admin_over(SHOP, start=False) as admin:
        ready, live = await admin.get("/readyz"), await admin.get("/healthz")
        graph = await admin.get("/api/graph")
        explained = await admin.get("/api/explain?url=http://shop.test/")

    assert (ready.status, live.status, graph.status, explained.status) == (503, 200, 503, 503)
    assert ready.json == {"status": "unavailable", "problems": ["the controller has not started"]}


async def test_the_graph_is_that_of_the_translator_and_has_a_tag() -> None:
    async with admin_over(SHOP, *web()) as admin:
        first = await admin.get("/api/graph")
        again = await admin.get("/api/graph", headers={"if-none-match": first.headers["etag"]})
        small = await admin.get("/api/graph", headers={"accept-encoding": "gzip"})
        admin.source.apply(ingress("blog", "blog.test"))
        await admin.live()
        changed = await admin.get("/api/graph", headers={"if-none-match": first.headers["etag"]})
        outcome = admin.controller.outcome

    assert [host["host"] for host in first.json["virtualHosts"]] == ["shop.test"]
    assert (again.status, again.body) == (304, b"")
    body = gzip.decompress(small.body) if small.headers.get("content-encoding") == "gzip" else small.body
    assert body == first.body
    assert changed.status == 200
    assert outcome is not None
    assert changed.body == to_json(outcome.graph)


async def test_hosts_are_told_with_their_holders_and_since_when() -> None:
    async with admin_over(SHOP, *web()) as admin:
        [held] = (await admin.get("/api/hosts")).json["hosts"]
        explained = (await admin.get("/api/explain?url=http%3A%2F%2Fshop.test%2Fcart")).json["holder"]

    assert (held["host"], held["namespace"], held["reserved"], held["released"]) == (
        "shop.test",
        "shop",
        False,
        None,
    )
    assert held["since"] is not None
    assert held["why"] == "it claimed the host first, and still claims it"
    assert explained == held


async def test_diagnostics_name_object_field_and_reason() -> None:
    async with admin_over(SHOP) as admin:
        [item] = (await admin.get("/api/diagnostics")).json["diagnostics"]

    assert item["subject"] == {"kind": "Ingress", "namespace": "shop", "name": "shop"}
    assert item["reason"] == "ServiceNotFound"
    assert item["field"].startswith("spec.rules[0].http.paths[0].backend")
    assert item["severity"] == "error"


async def test_explain_names_the_rule_that_wins_and_the_near_misses() -> None:
    objects = [SHOP, ingress("late", "shop.test", "/cartography"), *web()]
    async with admin_over(*objects) as admin:
        taken = (await admin.get("/api/explain?url=http%3A%2F%2Fshop.test%2Fcart%2F1")).json
        missed = (await admin.get("/api/explain?url=http://shop.test/car&method=HEAD")).json

    assert taken["route"]["origin"]["object"] == "Ingress shop/shop"
    assert (taken["host"], taken["path"], taken["virtualHost"]) == ("shop.test", "/cart/1", "shop.test")
    assert taken["status"] is None
    assert {miss["origin"]["object"] for miss in taken["nearMisses"]} == {"Ingress shop/late"}
    assert missed["status"] == 404
    assert missed["route"] is None
    members = {"host", "path", "virtualHost", "route", "status", "verdict", "holder", "order"}
    assert set(missed) == members | {"nearMisses", "nearMissCount"}
    assert set(missed["nearMisses"][0]) == {"origin", "host", "path", "reason", "message", "winner"}


async def test_explain_takes_repeated_headers_and_the_host_header_counts() -> None:
    query = "url=http://ignored.test/cart&header=Host:%20shop.test&header=X-A:%201&header=X-A:%202"
    async with admin_over(SHOP, *web()) as admin:
        reply = await admin.get(f"/api/explain?{query}&client=10.0.0.9")

    assert reply.json["virtualHost"] == "shop.test"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        pytest.param("", "'url' is missing", id="no url"),
        pytest.param("url=", "'url' is missing", id="empty url"),
        pytest.param("url=shop.test/cart", "not an http or https URL", id="no scheme"),
        pytest.param("url=http://[::1/", "is not", id="broken brackets"),
        pytest.param("url=http://a.test/&url=http://b.test/", "given 2 times", id="two urls"),
        pytest.param("url=http://a.test/&uri=1", "unknown parameter 'uri'", id="unknown parameter"),
        pytest.param("url=http://a.test/&method=GE%20T", "not a method", id="bad method"),
        pytest.param("url=http://a.test/&header=nocolon", "Name: value", id="header without colon"),
        pytest.param("url=http://a.test/&header=A:%0Ab", "Name: value", id="header with line break"),
        pytest.param("url=http://a.test/&client=10.0.0", "not an IPv4 or IPv6", id="bad client"),
        pytest.param("url=%ff", "not UTF-8", id="not text"),
        pytest.param("&".join(["header=A:b"] * 101), "more than 100", id="too many"),
    ],
)
async def test_a_bad_question_is_400_with_one_line(query: str, said: str) -> None:
    async with admin_over(SHOP) as admin:
        reply = await admin.get(f"/api/explain?{query}")

    message = reply.json["error"]["message"]
    assert reply.status == 400
    assert said in message
    assert "\n" not in message


async def test_status_counts_what_is_served() -> None:
    async with admin_over(SHOP, *web()) as admin:
        status = (await admin.get("/api/status")).json

    assert status["renderer"] == "inprocess"
    assert status["generation"] == {"seen": 1, "applied": 1}
    assert status["lastApply"]["kind"] == "dynamic"
    assert status["counts"]["routes"] == 1
    assert status["counts"]["endpoints"] == 2
    assert status["endpoints"] == {"unwell": 0, "examples": []}
    assert {item["kind"]: item["objects"] for item in status["caches"]} == {
        "EndpointSlice": 1,
        "Ingress": 1,
        "Service": 1,
    }


async def test_config_of_the_in_process_renderer_is_its_routing_table() -> None:
    async with admin_over(SHOP, *web()) as admin:
        config = (await admin.get("/api/config")).json

    assert config["kind"] == "routing-table"
    assert config["table"]["hosts"] == [{"host": "shop.test", "exact": [], "prefixes": ["/cart"]}]
    assert config["table"]["backends"] == {"shop/web:80": ["10.0.0.1:8080", "10.0.0.2:8080"]}


async def test_events_arrive_as_they_happen() -> None:
    async with admin_over(SHOP, *web()) as admin, await anyio.connect_tcp(*admin.address) as stream:
        await stream.send(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while b"event: hello" not in received:
            received += await stream.receive()
        admin.source.apply(ingress("blog", "blog.test"))
        while b"event: apply" not in received:
            received += await stream.receive()

    assert b"Content-Type: text/event-stream" in received or b"content-type: text/event-stream" in received
    assert b"event: graph\n" in received
    assert b'"applyKind": "dynamic"' in received


async def test_a_silent_event_stream_says_that_it_lives() -> None:
    settings = AdminSettings(heartbeat=timedelta(milliseconds=10))
    async with (
        admin_over(settings=settings) as admin,
        await anyio.connect_tcp(*admin.address) as stream,
    ):
        await stream.send(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while received.count(b": nothing happened\n\n") < 3:
            received += await stream.receive()


async def test_a_closed_event_stream_frees_its_place() -> None:
    async with admin_over(settings=AdminSettings(max_streams=1)) as admin:
        async with await anyio.connect_tcp(*admin.address) as stream:
            await stream.send(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            received = b""
            while b"event: hello" not in received:
                received += await stream.receive()
            refused = await admin.get("/api/events")
        status = 503
        while status == 503:
            status = (await admin.get("/api/events", method="HEAD")).status

    assert refused.status == 503
    assert refused.headers["retry-after"] == "10"
    assert status == 200


@pytest.mark.parametrize("host", ["localhost", "localhost:8580", "127.0.0.1:1", "[::1]:8580", "Admin.test"])
async def test_hosts_that_are_ours_are_answered(host: str) -> None:
    settings = AdminSettings(allowed_hosts=frozenset({"admin.test"}))
    async with admin_over(settings=settings) as admin:
        reply = await admin.get("/healthz", headers={"host": host})

    assert reply.status == 200


@pytest.mark.parametrize(
    "host", ["evil.test", "evil.test:8580", "localhost.evil.test", "127.0.0.1.evil.test", ""]
)
async def test_a_name_that_was_pointed_at_us_is_refused(host: str) -> None:
    async with admin_over() as admin:
        reply = await admin.get("/api/graph", headers={"host": host})

    assert reply.status == 403
    assert "virtualHosts" not in reply.body.decode()


async def test_a_request_that_cannot_be_read_is_answered_and_the_connection_closed() -> None:
    async with admin_over() as admin, await anyio.connect_tcp(*admin.address) as stream:
        await stream.send(b"GET / nonsense\r\n\r\n")
        answer = b"".join([part async for part in stream])

    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_request_head_that_is_too_long_is_431() -> None:
    async with admin_over(settings=AdminSettings(max_head_bytes=1000)) as admin:
        reply = await admin.get("/" + "a" * 5000)

    assert reply.status == 431


async def test_several_requests_share_a_connection() -> None:
    async with admin_over() as admin, await anyio.connect_tcp(*admin.address) as stream:
        await stream.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        answers = b""
        while answers.count(b'"status": "ok"') < 3:
            answers += await stream.receive()

    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 3


async def test_an_address_that_is_taken_is_one_clear_line() -> None:
    async with admin_over() as admin:
        second = AdminServer(admin.controller, port=admin.address[1])
        with pytest.raises(ConfigurationError, match=f"cannot listen at 127.0.0.1:{admin.address[1]}"):
            await second.run()


async def test_ipv6_works_too() -> None:
    async with admin_over(host="::1") as admin:
        reply = await exchange(admin.address, "/healthz", headers={"host": f"[::1]:{admin.address[1]}"})

    assert reply.status == 200


async def test_a_host_name_is_no_address_to_bind_to() -> None:
    async with admin_over() as admin:
        with pytest.raises(ConfigurationError, match="not an IPv4 or IPv6 address"):
            AdminServer(admin.controller, host="localhost")
