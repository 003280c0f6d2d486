"""What a graph does with a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from ingresskit.filters import decide, explain
from ingresskit.graph import Redirect, Request, Respond, RouteGraph, Termination
from ingresskit.policies import (
    AllowedSources,
    BodyLimit,
    Cors,
    DeniedSources,
    PlainHttp,
    Policy,
    PolicySet,
    PrefixRewrite,
    Stage,
)
from ingresskit.policies.values import parse_networks
from tests.unit.graph.graphs import WEB, graph, host, route

ADDRESSES = AllowedSources(networks=parse_networks("10.0.0.0/8,2001:db8::/32"))


def world(*policies: Policy, tls: bool = False, action: Redirect | Respond | None = None) -> RouteGraph:
    return graph(host("a.test", route("Prefix /shop", policies=PolicySet(policies), action=action), tls=tls))


def asked(
    made: RouteGraph,
    url: str = "http://a.test/shop/cart?x=1",
    client: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int | None, Stage | None, Termination | None]:
    decision = decide(made, Request.of(url, client=client, headers=headers))
    reply = decision.reply
    return (None, None, None) if reply is None else (reply.status, decision.stage, reply.termination)


def test_a_forwarded_request_names_route_backend_and_path() -> None:
    decision = decide(world(PrefixRewrite(prefix="/v2")), Request.of("http://A.test./shop/%63art"))

    assert decision.reply is None
    assert (decision.host, decision.path, decision.forwarded) == ("a.test", "/shop/cart", "/v2/cart")
    assert [backend.key for backend in decision.backends] == [WEB]
    assert decision.route is not None
    assert decision.virtual_host is not None


@pytest.mark.parametrize(
    ("client", "status"),
    [
        ("10.1.2.3", None),
        ("::ffff:10.1.2.3", None),
        ("2001:db8::1", None),
        ("192.0.2.1", 403),
        ("not an address", 403),
        (None, None),
    ],
)
def test_addresses_decide_before_all_else(client: str | None, status: int | None) -> None:
    made = world(ADDRESSES, BodyLimit(max_bytes=1), tls=True)

    found = asked(made, "https://a.test/shop", client)

    assert found == ((403, Stage.ADDRESS, Termination.DENIED) if status else (None, None, None))
    if status:
        assert asked(made, client=client, headers={"content-length": "9"})[:2] == (403, Stage.ADDRESS)


@pytest.mark.parametrize(
    ("client", "status"),
    [
        ("192.0.2.1", 403),
        ("::ffff:192.0.2.1", 403),
        ("198.51.100.1", None),
        ("not an address", 403),
        (None, None),
    ],
)
def test_denied_addresses_are_kept_out(client: str | None, status: int | None) -> None:
    made = world(DeniedSources(networks=parse_networks("192.0.2.0/24")))

    assert asked(made, client=client)[0] == status


@pytest.mark.parametrize(
    ("method", "origin", "preflight", "status"),
    [
        ("OPTIONS", "https://b.test", True, 204),
        ("OPTIONS", "https://b.test", False, None),
        ("OPTIONS", "https://c.test", True, None),
        ("GET", "https://b.test", True, None),
    ],
)
def test_preflights_of_named_origins_are_answered(
    method: str, origin: str, preflight: bool, status: int | None
) -> None:
    made = world(Cors(origins=("https://b.test",)))
    headers = {"origin": origin, **({"access-control-request-method": "PUT"} if preflight else {})}
    request = Request.of("http://a.test/shop", method=method, headers=headers)

    reply = decide(made, request).reply

    assert (reply.status if reply else None) == status
    if status:
        assert "responds to the preflight itself" in explain(made, request).verdict


def test_plain_http_is_redirected_with_host_path_and_query() -> None:
    decision = decide(world(tls=True), Request.of("http://a.test:8080/shop?x=1"))

    assert decision.reply is not None
    assert (decision.reply.status, decision.reply.location) == (308, "https://a.test/shop?x=1")
    assert decision.reply.termination is None
    assert decide(world(tls=True), Request.of("http://a.test/shop"), tls_served=False).reply is None


def test_plain_http_that_is_refused_is_403() -> None:
    made = world(PlainHttp(allowed=False), tls=True)

    assert asked(made) == (403, Stage.PLAIN_HTTP, Termination.DENIED)
    assert asked(made, "https://a.test/shop") == (None, None, None)


@pytest.mark.parametrize(("length", "status"), [("1024", None), ("1025", 413), ("0", None)])
def test_a_body_over_the_limit_is_413(length: str, status: int | None) -> None:
    made = world(BodyLimit(max_bytes=1024))

    assert asked(made, headers={"content-length": length})[0] == status
    # A redirect needs no body.
    redirecting = world(BodyLimit(max_bytes=1024), action=Redirect(location="/x", status=302))
    assert asked(redirecting, headers={"content-length": length})[:2] == (302, Stage.ACTION)


def test_a_body_over_the_limit_is_413_although_no_endpoint_is_there() -> None:
    made = world(BodyLimit(max_bytes=1))
    empty = replace(made, backends={key: replace(item, endpoints=()) for key, item in made.backends.items()})

    assert asked(empty) == (503, Stage.UPSTREAM, Termination.NO_ENDPOINT)
    assert asked(empty, headers={"content-length": "2"})[:2] == (413, Stage.BODY)


@pytest.mark.parametrize(
    ("url", "status", "termination"),
    [
        ("http://a.test/other", 404, Termination.NO_ROUTE),
        ("http://b.test/shop", 404, Termination.NO_ROUTE),
        ("http://a.test/shop/%00", 400, Termination.BAD_REQUEST),
    ],
)
def test_what_no_rule_takes_says_why(url: str, status: int, termination: Termination) -> None:
    decision = decide(world(), Request.of(url))

    assert decision.reply is not None
    assert (decision.reply.status, decision.reply.termination) == (status, termination)
    assert (decision.virtual_host is not None) == (url == "http://a.test/other")
    assert bool(decision.fault) == (status == 400)


def test_what_is_no_host_is_400() -> None:
    decision = decide(world(), Request(host="a b"))

    assert decision.reply is not None
    assert (decision.reply.status, decision.host) == (400, "a b")
    assert "the host 'a b'" in decision.fault


def test_a_closed_route_responds_itself() -> None:
    made = world(action=Respond(status=503))

    assert asked(made) == (503, Stage.ACTION, Termination.UNAVAILABLE)
