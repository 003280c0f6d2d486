"""The rules of policies stand in the order in which policies act."""

from __future__ import annotations

import itertools
import re

import pytest

from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import NATIVE_ORDER, Cors, Origin, Policy, PolicySet, Stage
from ingresskit.render.haproxy import Bind, Capabilities, HaproxySettings, Needs, SlotClass, program
from ingresskit.render.haproxy.policies import TABLE, Draft
from ingresskit.render.policies import Support

SETTINGS = HaproxySettings(http=(Bind("127.0.0.1", 80),), https=(Bind("127.0.0.1", 443),))
TEXT = program(SETTINGS, Capabilities(), needs=Needs(), pools={SlotClass(): 1})

# Some policies are a part of the slot class and have no rules.
WITH_RULES = {item.policy: item.words for item in TABLE if f"# {item.words}" in TEXT and item.words}


def place(kind: type[Policy]) -> int:
    """Where the rules of a policy begin; an action of the route stands where it is chosen."""
    if kind.stage is Stage.ACTION:
        return TEXT.index("# The route may share requests among backends")
    return TEXT.index(f"# {WITH_RULES[kind]}")


PAIRS = [
    pytest.param(one, two, id=f"{one.__name__} {two.__name__}")
    for one, two in itertools.combinations(sorted(WITH_RULES, key=lambda kind: kind.__name__), 2)
    if one.stage is not two.stage
]


@pytest.mark.parametrize(("one", "two"), PAIRS)
def test_rules_stand_in_the_order_of_the_stages(one: type[Policy], two: type[Policy]) -> None:
    first, second = sorted((one, two), key=lambda kind: NATIVE_ORDER.place(kind.stage))

    # Rules for the response and those of a backend come after all rules of the frontend for the request.
    assert place(first) < place(second)


@pytest.mark.parametrize("kind", WITH_RULES, ids=lambda kind: kind.__name__)
def test_the_action_of_the_route_is_taken_between_the_stages_around_it(kind: type[Policy]) -> None:
    action = TEXT.index("# The route may share requests among backends")

    assert (place(kind) < action) == (NATIVE_ORDER.place(kind.stage) < NATIVE_ORDER.place(Stage.ACTION))


def test_a_request_leaves_before_the_rules_of_policies_that_it_does_not_have() -> None:
    frontend = TEXT[: TEXT.index("http-response")]
    found = re.findall(
        r"http-request (?:allow unless \{ var\(txn\.flags\) -m sub ([A-Za-z ]+) \}|.*)", frontend
    )
    leaving = [item.split() for item in found if item]

    late = [item for item in TABLE.handlers() if any(item.flag in flags for flags in leaving)]
    assert leaving == [[item.flag for item in late[number:]] for number in range(len(late))]
    assert {item.stage for item in late} == {Stage.BODY, Stage.REWRITE, Stage.HEADERS}


def test_no_two_policies_have_the_same_flag() -> None:
    flags = [item.flag for item in TABLE if item.flag]

    assert len(set(flags)) == len(flags)
    assert all(re.fullmatch("[A-Za-z]", flag) for flag in flags)


def cors_rows(policy: Cors) -> dict[str, str]:
    draft = Draft()
    TABLE.contribute(PolicySet((policy,)), draft)
    return {end: value for _, end, value in draft.rows}


def test_origins_of_a_route_are_rows_and_no_patterns() -> None:
    rows = cors_rows(Cors(origins=("https://a.test", "https://*.b.test:8443", "null"), every_options=True))

    assert {name for name in rows if not name.startswith("cors/")} == {
        "cors",
        "cors-options",
        "cors-origin/https://a.test",
        "cors-origin/null",
        "cors-below/https://b.test:8443",
    }
    assert rows["cors"] == "some"
    assert cors_rows(Cors(origins=("*",)))["cors"] == "all"


def test_fields_that_find_no_room_are_left_to_the_delegate() -> None:
    fits, long = (
        Cors(origins=("*",), headers=tuple(f"X-{number}-{'a' * 100}" for number in range(count)))
        for count in (10, 20)
    )

    assert not list(TABLE.losses(fits))
    (loss,) = TABLE.losses(long)
    assert loss.support is Support.DELEGATED


def test_rules_of_a_feature_are_there_only_while_a_route_needs_it() -> None:
    with_cors = program(
        SETTINGS,
        Capabilities(),
        needs=Needs(features={"cors": Origin(ObjectRef("Ingress", ObjectKey("a", "b")), "x")}),
        pools={SlotClass(): 1},
    )

    assert "cors" not in TEXT
    assert "txn.cors_origin" in with_cors
