"""The order in which policies act: every stage once, with a reason, and the same for every filter."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from ingresskit.errors import ConfigurationError
from ingresskit.filters import chain_of
from ingresskit.graph import Redirect, Respond
from ingresskit.policies import (
    NATIVE_ORDER,
    STAGE_REASONS,
    AllowedSources,
    BodyLimit,
    Order,
    PlainHttp,
    PolicySet,
    PrefixRewrite,
    RequestHeaders,
    ResponseHeaders,
    Stage,
    TlsRedirect,
)
from ingresskit.policies.values import parse_networks
from tests.unit.graph.graphs import host, route

ALL = PolicySet(
    [
        AllowedSources(networks=parse_networks("10.0.0.0/8")),
        BodyLimit(max_bytes=1024),
        PrefixRewrite(prefix="/v2"),
        RequestHeaders(set=(("X-A", "1"),), remove=("X-B",)),
        ResponseHeaders(remove=("Server",)),
        TlsRedirect(enabled=True),
    ]
)


def test_every_stage_has_a_reason() -> None:
    assert set(STAGE_REASONS) == set(Stage) == set(NATIVE_ORDER.stages)


@pytest.mark.parametrize("stages", [list(Stage)[1:], [*Stage, Stage.RATE], [Stage.RATE] * len(Stage)])
def test_an_order_holds_every_stage_exactly_once(stages: list[Stage]) -> None:
    with pytest.raises(ConfigurationError, match="every stage exactly once"):
        Order(stages)


def test_the_native_order_asks_addresses_then_tls_then_the_action_then_the_body() -> None:
    chain = chain_of(host("a.test"), route("Prefix /", policies=ALL, action=Redirect(location="/")))

    assert [item.stage for item in chain.plain] == [
        Stage.ADDRESS,
        Stage.TLS_REDIRECT,
        Stage.ACTION,
        Stage.BODY,
    ]
    assert [item.stage for item in chain.secure] == [Stage.ADDRESS, Stage.ACTION, Stage.BODY]


def test_another_order_moves_the_filters() -> None:
    order = Order([Stage.BODY, *(stage for stage in Stage if stage is not Stage.BODY)])

    chain = chain_of(host("a.test"), route("Prefix /", policies=ALL), order)

    assert [item.stage for item in chain.plain] == [Stage.BODY, Stage.ADDRESS, Stage.TLS_REDIRECT]


def test_a_route_brings_the_order_of_its_dialect() -> None:
    order = Order([Stage.BODY, *(stage for stage in Stage if stage is not Stage.BODY)])
    brought = replace(route("Prefix /", policies=ALL), order=order)

    chain = chain_of(host("a.test"), brought)

    assert [item.stage for item in chain.plain] == [Stage.BODY, Stage.ADDRESS, Stage.TLS_REDIRECT]


def test_a_route_without_policies_has_no_filters_and_no_edits() -> None:
    chain = chain_of(host("a.test"), route("Prefix /"))

    assert (chain.plain, chain.secure, chain.path) == ((), (), None)
    assert not chain.request
    assert not chain.response


def test_plain_http_that_is_refused_is_not_redirected() -> None:
    policies = PolicySet([PlainHttp(allowed=False), TlsRedirect(enabled=True)])

    chain = chain_of(host("a.test", tls=True), route("Prefix /", policies=policies))

    assert [item.stage for item in chain.plain] == [Stage.PLAIN_HTTP]
    assert chain.secure == ()


@pytest.mark.parametrize(
    "action",
    [None, Redirect(location="/", status=301), Respond(status=503)],
    ids=["forward", "redirect", "503"],
)
def test_a_chain_passes_between_processes(action: Redirect | Respond | None) -> None:
    chain = chain_of(host("a.test", tls=True), route("Prefix /shop", policies=ALL, action=action))

    assert pickle.loads(pickle.dumps(chain)) == chain  # noqa: S301 - our own


def test_edits_merge_what_is_set_and_removed() -> None:
    chain = chain_of(host("a.test"), route("Prefix /shop", policies=ALL))

    assert chain.path is not None
    assert [chain.path.apply(path) for path in ("/shop", "/shop/", "/shop/cart")] == ["/v2", "/v2/", "/v2/cart"]
    assert chain.request.drop == {b"x-a", b"x-b"}
    assert chain.request.fields == ((b"X-A", b"1"),)
    assert chain.response.drop == {b"server"}
    assert chain.response.fields == ()


@pytest.mark.parametrize(
    ("rule", "path", "sent"),
    [("/", "/", "/"), ("/", "/a/b", "/a/b"), ("/shop", "/shop", "/"), ("/shop", "/shop/cart", "/cart")],
)
def test_the_prefix_of_everything_strips_the_matched_part(rule: str, path: str, sent: str) -> None:
    policies = PolicySet([PrefixRewrite(prefix="/")])

    chain = chain_of(host("a.test"), route(f"Prefix {rule}", policies=policies))

    assert chain.path is not None
    assert chain.path.apply(path) == sent
