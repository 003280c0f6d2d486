"""Whatever the proxy: each policy does what its annotation says."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from ingresskit.models import Snapshot
from ingresskit.policies import PolicySet, PrefixRewrite
from ingresskit.testing import ingress, ingress_class, service
from ingresskit.translate import translate
from tests.dataplane.stage import HOST, OPTIONS, Stage, slices, trusting
from tests.unit.proxy.conftest import Answer, Seen, get, reply, until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(get(method="POST", fields=["Content-Length: 1025"]), id="by the length it says"),
        pytest.param(
            get(method="POST", fields=["Transfer-Encoding: chunked"])
            + b"401\r\n"
            + b"x" * 1025
            + b"\r\n0\r\n\r\n",
            id="by chunks",
        ),
    ],
)
async def test_body_over_the_limit_is_a_413(stage: Stage, request_bytes: bytes) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, annotations={"body-limit": "1k"})
    client = await stage.connect()

    answer = await client.ask(request_bytes)

    assert answer.status == 413
    assert endpoint.seen == []


async def test_body_at_the_limit_passes(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, annotations={"body-limit": "1k"})
    client = await stage.connect()

    answer = await client.ask(get(method="POST", fields=["Content-Length: 1024"]) + b"x" * 1024)

    assert (answer.status, endpoint.seen[0].body) == (200, b"x" * 1024)


async def test_without_a_limit_bodies_are_as_large_as_they_like(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint)
    client = await stage.connect()
    body = b"x" * 3_000_000

    answer = await client.ask(get(method="POST", fields=[f"Content-Length: {len(body)}"]) + body)

    assert (answer.status, len(endpoint.seen[0].body)) == (200, len(body))


async def test_headers_are_set_and_removed_as_the_route_says(stage: Stage) -> None:
    endpoint = await stage.endpoint(reply(fields=["X-Inner: inner", "X-Powered-By: inner", "X-Stays: 1"]))
    annotations = {
        "request-headers-set": "X-Tenant: shop\nX-Odd: 100% $host %[src] \"q\" 's' \\ { } ; # %{x}",
        "request-headers-remove": "Cookie",
        "response-headers-set": "X-Inner: outer\nX-Odd: 50%% ${x} %[src] \\n \"'",
        "response-headers-remove": "X-Powered-By",
    }
    await stage.serve(endpoint, annotations=annotations)
    client = await stage.connect()

    answer = await client.ask(get(fields=["X-TENANT: other", "x-tenant: third", "Cookie: a=b", "X-Mine: 1"]))

    seen = endpoint.seen[0]
    assert seen.values("x-tenant") == ["shop"]
    assert seen.value("x-odd") == "100% $host %[src] \"q\" 's' \\ { } ; # %{x}"
    assert (seen.value("cookie"), seen.value("x-mine")) == (None, "1")
    assert answer.values("x-inner") == ["outer"]
    assert answer.value("x-odd") == "50%% ${x} %[src] \\n \"'"
    assert (answer.value("x-powered-by"), answer.value("x-stays")) == (None, "1")


async def test_name_of_the_server_is_set_as_the_route_says(stage: Stage) -> None:
    endpoint = await stage.endpoint(reply(fields=["Server: inner"]))
    await stage.serve(endpoint, annotations={"response-headers-set": "Server: outer"})
    client = await stage.connect()

    assert (await client.ask(get())).values("server") == ["outer"]


@pytest.mark.parametrize("location", ["https://else.example/x?a=b%20c", "/here;v=1?$uri=%[src]"])
async def test_redirect_is_sent_as_it_is_written(stage: Stage, location: str) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, annotations={"redirect": location, "redirect-status": "302"})
    client = await stage.connect()

    answers = [await client.ask(get("/any?q")) for _ in range(2)]

    assert [(answer.status, answer.value("location")) for answer in answers] == [(302, location)] * 2
    assert endpoint.seen == []


@pytest.mark.parametrize(
    ("prefix", "sent", "forwarded"),
    [
        ("/v2", "/api", b"/v2"),
        ("/v2", "/api/", b"/v2/"),
        ("/v2", "/api//x?y=/api", b"/v2/x?y=/api"),
        ("/v2", "/api/a%2fb", b"/v2/a%2Fb"),
        ("/", "/api", b"/"),
        ("/", "/api/x", b"/x"),
        ("/$1;a=b", "/api/x", b"/$1;a=b/x"),
    ],
)
async def test_prefix_is_rewritten(stage: Stage, prefix: str, sent: str, forwarded: bytes) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, path="/api", annotations={"rewrite-prefix": prefix})
    client = await stage.connect()

    await client.ask(get(sent))

    assert endpoint.seen[0].line.split(b" ")[1] == forwarded


@pytest.mark.parametrize("whole", ["/v2", "/v2/", "/"])
@pytest.mark.parametrize("path", ["/", "/api"])
@pytest.mark.parametrize("sent", ["/api", "/api/", "/api/a%2fb?x=/y&z"])
async def test_the_whole_path_is_replaced_and_the_query_kept(
    stage: Stage, whole: str, path: str, sent: str
) -> None:
    endpoint = await stage.endpoint()
    objects = (ingress("web", {HOST: {path: "web"}}), service("web"), *slices("web", [endpoint.port]))
    graph = translate(Snapshot.of([ingress_class(), *objects]), OPTIONS).graph
    (host,) = graph.virtual_hosts
    (route,) = host.routes
    rewritten = replace(route, policies=PolicySet([PrefixRewrite(prefix="/other", whole=whole)]))
    graph = replace(graph, virtual_hosts=(replace(host, routes=(rewritten,)),))
    await stage.plane.serve(graph)
    client = await stage.connect()

    await client.ask(get(sent))

    query = sent.partition("?")[2]
    assert endpoint.seen[0].line.split(b" ")[1].decode() == whole + (f"?{query}" if query else "")


@pytest.mark.parametrize("algorithm", ["round-robin", "least-connections", "random", "client-hash", "ewma"])
async def test_every_endpoint_gets_requests_except_by_client_hash(stage: Stage, algorithm: str) -> None:
    endpoints = [await stage.endpoint() for _ in range(3)]
    await stage.serve(*endpoints, annotations={"load-balancing": algorithm})
    client = await stage.connect()

    for _ in range(90):
        assert (await client.ask(get())).status == 200

    counts = sorted(len(one.seen) for one in endpoints)
    match algorithm:
        case "round-robin":
            assert counts[0] >= 24  # each worker of the proxy takes turns of its own
        case "client-hash":
            assert counts == [0, 0, 90]
        case _:
            assert counts[0] > 0


async def test_busy_endpoint_is_spared_by_least_connections(stage: Stage) -> None:
    go_on = asyncio.Event()

    async def dawdle(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(reply())

    slow, fast = await stage.endpoint(dawdle), await stage.endpoint()
    await stage.serve(slow, fast, annotations={"load-balancing": "least-connections"})

    answers: list[asyncio.Task[Answer]] = []

    async def ask() -> None:
        """On a connection of its own; returns when it is answered, or waits at the slow endpoint."""
        client, waiting = await stage.connect(), len(slow.seen)
        answers.append(asyncio.ensure_future(client.ask(get())))
        await until(lambda: answers[-1].done() or len(slow.seen) > waiting)

    for _ in range(40):
        await ask()
        if slow.seen:
            break
    held = len(slow.seen)
    for _ in range(20):
        await ask()
    go_on.set()
    statuses = {(await answer).status for answer in answers}

    assert held
    assert len(slow.seen) - held <= 3  # workers of a proxy need not know of each other
    assert statuses == {200}


async def test_weights_share_out_requests(stage: Stage) -> None:
    old, new = await stage.endpoint(reply(b"old")), await stage.endpoint(reply(b"new"))
    await stage.serve_objects(
        ingress("web", {HOST: {"/": "old"}}, annotations={"traffic-split": "old=3, new=1, none=0"}),
        service("old"),
        service("new"),
        service("none"),
        *slices("old", [old.port]),
        *slices("new", [new.port]),
    )
    client = await stage.connect()

    bodies = Counter([(await client.ask(get())).body for _ in range(200)])

    assert set(bodies) == {b"old", b"new"}
    assert 20 <= bodies[b"new"] <= 90


async def test_services_without_endpoints_get_no_share(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(
        ingress("web", {HOST: {"/": "here"}}, annotations={"traffic-split": "here=1, gone=9"}),
        service("here"),
        service("gone"),
        *slices("here", [endpoint.port]),
    )
    client = await stage.connect()

    assert {(await client.ask(get())).status for _ in range(20)} == {200}


async def test_policies_of_one_path_do_not_leak_into_another(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    strict = {"request-headers-set": "X-Path: strict", "allow-sources": "192.0.2.0/24", "rewrite-prefix": "/x"}
    await stage.serve_objects(
        ingress("web", {HOST: {"/": "web"}}),
        ingress("strict", {HOST: {"/strict": "web"}}, created=1, annotations=strict),
        service("web"),
        *slices("web", [endpoint.port]),
    )
    client = await stage.connect()

    statuses = [
        (await client.ask(get(path))).status for path in ("/", "/strict", "/strictly", "/strict/x", "/")
    ]

    assert statuses == [200, 403, 200, 403, 200]
    assert [seen.line.split(b" ")[1] for seen in endpoint.seen] == [b"/", b"/strictly", b"/"]
    assert {seen.value("x-path") for seen in endpoint.seen} == {None}


LARGE = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9\r\n\r\n123456789".encode()


@pytest.mark.parametrize(
    ("annotations", "status"),
    [
        ({"allow-sources": "192.0.2.0/24", "tls-redirect": "true", "body-limit": "4"}, 403),
        ({"allow-sources": "192.0.2.0/24", "redirect": "/new"}, 403),
        ({"deny-sources": "127.0.0.0/8", "tls-redirect": "true", "body-limit": "4"}, 403),
        ({"tls-redirect": "true", "body-limit": "4"}, 308),
        ({"redirect": "/new", "body-limit": "4"}, 308),
        ({"body-limit": "4"}, 413),
        ({"body-limit": "4", "rewrite-prefix": "/x", "request-headers-set": "X-A: 1"}, 413),
    ],
    ids=[
        "addresses",
        "addresses before a redirect",
        "denied addresses",
        "the redirect to TLS",
        "the redirect of the route",
        "the body limit",
        "the body limit before what is forwarded",
    ],
)
async def test_what_refuses_a_request_first_is_the_same_everywhere(
    stage: Stage, annotations: dict[str, str], status: int
) -> None:
    await stage.serve(await stage.endpoint(), annotations=annotations)
    client = await stage.connect()

    assert (await client.ask(LARGE)).status == status


@pytest.mark.parametrize(
    ("annotations", "status"),
    [({"tls-redirect": "true", "body-limit": "4"}, 308), ({"body-limit": "4"}, 413), ({}, 503)],
    ids=["a redirect", "the body limit", "nothing else"],
)
async def test_that_there_is_no_endpoint_comes_last(
    stage: Stage, annotations: dict[str, str], status: int
) -> None:
    await stage.serve(annotations=annotations)
    client = await stage.connect()

    assert (await client.ask(LARGE)).status == status


async def test_browsers_are_told_to_use_the_host_over_tls_by_tls_only(stage: Stage) -> None:
    endpoint = await stage.endpoint(reply(fields=["Strict-Transport-Security: max-age=1"]))
    await stage.serve(
        endpoint,
        annotations={"hsts": "31536000", "hsts-include-subdomains": "true"},
    )
    plain, secure = await stage.connect(), await stage.connect(tls=trusting())

    over_plain = await plain.ask(get())
    over_tls = await secure.ask(get())

    assert over_plain.values("strict-transport-security") == []
    assert over_tls.values("strict-transport-security") == ["max-age=31536000; includeSubDomains"]


async def test_what_a_route_sets_wins_over_what_its_host_promises(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    own = "Strict-Transport-Security: max-age=7"
    await stage.serve(endpoint, annotations={"hsts": "31536000", "response-headers-set": own})
    client = await stage.connect(tls=trusting())

    answer = await client.ask(get())

    assert answer.values("strict-transport-security") == ["max-age=7"]
