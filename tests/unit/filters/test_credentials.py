"""Passwords: what is asked to be verified, and what a graph decides."""

from __future__ import annotations

import base64
import pickle
from typing import cast

import pytest

from ingresskit.filters import (
    BUILTIN_EFFECTS,
    AnyOf,
    BasicAuthFilter,
    Memory,
    Reply,
    RequestView,
    Verification,
    chain_of,
    decide,
    explain,
)
from ingresskit.filters.passwords import refuse_password, verify_password
from ingresskit.graph import Request
from ingresskit.models import ObjectMeta, Secret
from ingresskit.policies import (
    AllowedSources,
    BasicAuth,
    DeniedSources,
    PolicySet,
    Satisfaction,
    Satisfy,
    Stage,
)
from ingresskit.policies.passwords import load_password_users
from ingresskit.policies.values import parse_networks
from tests.unit.graph.graphs import graph, host, route

SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
BCRYPT = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
USERS = load_password_users(
    Secret(
        metadata=ObjectMeta(namespace="shop", name="users"), data={"auth": f"ann:{SHA}\nbob:{BCRYPT}".encode()}
    )
)
BASIC = BasicAuth(users=USERS)
NEAR, FAR = (AllowedSources(networks=parse_networks(text)) for text in ("127.0.0.0/8", "192.0.2.0/24"))
ANY = Satisfy(mode=Satisfaction.ANY)


def basic(name: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


class Asked:
    def __init__(self, value: str) -> None:
        self._value = value.encode()

    def field(self, name: bytes) -> bytes | None:
        return self._value if name == b"authorization" else None


def guard() -> BasicAuthFilter:
    (effect,) = BUILTIN_EFFECTS.of([BASIC])
    (found,) = effect.guards
    assert isinstance(found, BasicAuthFilter)
    return found


def question(name: str) -> Verification:
    outcome = guard().request(cast(RequestView, Asked(basic(name, "secret"))), cast(Memory, None))
    assert isinstance(outcome, Verification)
    return outcome


def test_a_name_that_nobody_has_costs_what_one_of_a_user_costs() -> None:
    stored = {question(name).stored for name in ("ann", "bob")}
    unknown = [question(f"nobody {number}") for number in range(40)]

    assert {item.function for item in unknown} == {refuse_password}
    assert {item.stored for item in unknown} == stored
    assert question("nobody 1") == question("nobody 1")
    assert question("ann").function is verify_password


def test_neither_users_nor_passwords_are_shown() -> None:
    shown = repr((BASIC, guard(), question("ann")))

    assert not [word for word in ("ann", "secret", SHA, BCRYPT) if word in shown.replace("refuse_password", "")]
    assert pickle.loads(pickle.dumps(guard())) == guard()  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("policies", "field", "client", "status", "stage"),
    [
        pytest.param([BASIC], "", None, 401, Stage.AUTHENTICATION, id="nobody"),
        pytest.param([BASIC], basic("bob", "x"), None, 401, Stage.AUTHENTICATION, id="a wrong password"),
        pytest.param([BASIC], basic("bob", "secret"), None, 200, None, id="a right one"),
        pytest.param([BASIC, FAR], "", "127.0.0.1", 403, Stage.ADDRESS, id="addresses first"),
        pytest.param([BASIC, FAR, ANY], "", "127.0.0.1", 401, Stage.AUTHENTICATION, id="none of both"),
        pytest.param([BASIC, FAR, ANY], basic("ann", "secret"), "127.0.0.1", 200, None, id="the password"),
        pytest.param([BASIC, NEAR, ANY], "", "127.0.0.1", 200, None, id="the address"),
        pytest.param([BASIC, NEAR, ANY], "", None, 200, None, id="an address that is not known"),
        pytest.param([FAR, ANY], "", "127.0.0.1", 403, Stage.ADDRESS, id="nothing beside the address"),
        pytest.param(
            [BASIC, DeniedSources(networks=NEAR.networks), ANY],
            basic("ann", "secret"),
            "127.0.0.1",
            403,
            Stage.ADDRESS,
            id="an address that is kept out",
        ),
    ],
)
def test_a_graph_decides_as_a_proxy_does(
    policies: list[BasicAuth | AllowedSources | DeniedSources | Satisfy],
    field: str,
    client: str | None,
    status: int,
    stage: Stage | None,
) -> None:
    made = graph(host("a.test", route("Prefix /", policies=PolicySet(policies))))
    request = Request(host="a.test", headers={"authorization": field} if field else {}, client=client)

    decision = decide(made, request)

    # Where all guards let it go on, an endpoint is looked for, and there is none.
    passed = decision.stage is Stage.UPSTREAM
    found = (None, 200) if passed or decision.reply is None else (decision.stage, decision.reply.status)
    assert found == (stage, status)


def test_an_explanation_names_the_stage_and_the_question() -> None:
    made = graph(host("a.test", route("Prefix /", policies=PolicySet([BASIC, FAR, ANY]))))
    request = Request(host="a.test", client="127.0.0.1")

    explanation, reply = explain(made, request), decide(made, request).reply

    assert (explanation.status, explanation.order) == (401, (Stage.AUTHENTICATION, Stage.HEADERS))
    assert isinstance(reply, Reply)
    assert reply.fields == ((b"WWW-Authenticate", b'Basic realm="Restricted", charset="UTF-8"'),)


def test_credentials_are_one_guard_with_addresses_where_any_suffices() -> None:
    made = host("a.test", route("Prefix /", policies=PolicySet([BASIC, FAR, ANY])))

    (only,) = chain_of(made, made.routes[0]).plain

    assert isinstance(only, AnyOf)
    assert only.stage is Stage.AUTHENTICATION
