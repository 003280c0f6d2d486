"""The order in which policies act: every stage once, with a reason, and the same for every filter."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from ingresskit.errors import ConfigurationError
from ingresskit.filters import (
    BUILTIN_EFFECTS,
    UNCHANGED,
    Effect,
    HeaderEdit,
    Memory,
    Reply,
    RequestView,
    chain_of,
    decide,
)
from ingresskit.graph import PathMatch, Redirect, Request, Respond
from ingresskit.policies import (
    NATIVE_ORDER,
    STAGE_REASONS,
    AllowedSources,
    BodyLimit,
    Order,
    PlainHttp,
    Policy,
    PolicySet,
    PrefixRewrite,
    RequestHeaders,
    ResponseHeaders,
    Stage,
    TlsRedirect,
)
from ingresskit.policies.values import parse_networks
from tests.unit.graph.graphs import graph, host, route

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
    sent = [
        chain.path.rewritten(path, b"", PathMatch.prefix("/shop"))[0]
        for path in ("/shop", "/shop/", "/shop/cart")
    ]
    assert sent == ["/v2", "/v2/", "/v2/cart"]
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

    made = route(f"Prefix {rule}", policies=policies)

    assert chain_of(host("a.test"), made).forwarded(path, made) == (sent, b"")


def test_edits_of_a_chain_are_one_pass_and_the_later_one_wins() -> None:
    first = HeaderEdit.of([("X-A", "1"), ("X-B", "1")], ["X-C"])

    merged = first.then(HeaderEdit.of([("X-A", "2")], ["X-D"]))

    assert merged.drop == {b"x-a", b"x-b", b"x-c", b"x-d"}
    assert merged.lines == b"X-B: 1\r\nX-A: 2\r\n"


def test_a_field_that_is_not_dropped_stands_beside_the_others() -> None:
    edit = HeaderEdit(fields=((b"Vary", b"Origin"),))

    assert edit
    assert not edit.drop
    assert UNCHANGED.then(edit).then(UNCHANGED) == edit


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(b"X-A", value) for value in (b"a\r\nX-B: c", b"a\nb", b"a\rb", b"\x00", b"\x7f")],
        *[(name, b"a") for name in (b"", b"X A", b"X:A", b"X\r\nA", b"X-A ")],
        *[(name, b"a") for name in (b"Host", b"content-length", b"Transfer_Encoding", b"Connection")],
    ],
)
def test_an_edit_cannot_change_where_a_message_ends(name: bytes, value: bytes) -> None:
    with pytest.raises(ValueError, match="a header field"):
        HeaderEdit(fields=((name, value),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate(Policy):
    open: bool = False


@dataclass(frozen=True, slots=True)
class GateFilter:
    stage: ClassVar[Stage] = Stage.AUTHENTICATION

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        return Reply(status=401)


def _gate(policy: Gate) -> Effect:
    return Effect() if policy.open else Effect(guards=(GateFilter(),), response=HeaderEdit.of([("X-G", "1")]))


def test_a_policy_of_a_third_party_has_its_place_in_the_order() -> None:
    effects = BUILTIN_EFFECTS.with_policy(Gate, _gate)
    made = route("Prefix /", policies=ALL.merged(PolicySet([Gate()])))

    chain = chain_of(host("a.test"), made, effects=effects)

    assert [item.stage for item in chain.secure] == [Stage.ADDRESS, Stage.AUTHENTICATION, Stage.BODY]
    assert chain.response.drop == {b"server", b"x-g"}
    assert Gate in effects.kinds
    assert Gate not in BUILTIN_EFFECTS.kinds


def test_a_graph_is_decided_with_the_policies_of_a_third_party() -> None:
    effects = BUILTIN_EFFECTS.with_policy(Gate, _gate)
    made = route("Prefix /", policies=PolicySet([Gate()]))
    served = graph(host("a.test", made))

    decision = decide(served, Request.of("https://a.test/"), effects=effects)

    assert (decision.reply and decision.reply.status, decision.stage) == (401, Stage.AUTHENTICATION)


def test_nothing_authenticates_the_challenge_of_acme() -> None:
    effects = BUILTIN_EFFECTS.with_policy(Gate, _gate)
    made = route("Prefix /.well-known/acme-challenge/", policies=PolicySet([Gate()]))

    assert chain_of(host("a.test"), made, effects=effects).plain == ()


def test_a_type_of_policy_has_one_compile_function() -> None:
    with pytest.raises(ConfigurationError, match="two compile functions for Gate"):
        BUILTIN_EFFECTS.with_policy(Gate, _gate).with_policy(Gate, _gate)
