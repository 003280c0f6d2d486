from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from ingresskit.errors import ConfigurationError
from ingresskit.policies import (
    AnyValue,
    Condition,
    CookieCondition,
    ExactValue,
    HeaderCondition,
    MethodCondition,
    Pattern,
    PatternValue,
    QueryCondition,
    Selection,
    Share,
    Variant,
)


@dataclass
class Asked:
    method: bytes = b"GET"
    query: bytes = b""
    fields: Mapping[bytes, bytes] = field(default_factory=dict[bytes, bytes])

    def field(self, name: bytes) -> bytes | None:
        return self.fields.get(name)


def header(text: str) -> Asked:
    name, _, value = text.partition(": ")
    return Asked(fields={name.encode(): value.encode()})


@pytest.mark.parametrize(
    ("condition", "request_", "holds"),
    [
        (HeaderCondition(name="X-A"), header("x-a: 1"), True),
        (HeaderCondition(name="X-A"), header("x-b: 1"), False),
        (HeaderCondition(name="X-A", negated=True), header("x-b: 1"), True),
        (HeaderCondition(name="x-a", value=ExactValue("always")), header("x-a: always"), True),
        (HeaderCondition(name="x-a", value=ExactValue("always")), header("x-a: Always"), False),
        (HeaderCondition(name="x-a", value=ExactValue("never"), negated=True), Asked(), True),
        (HeaderCondition(name="x-a", value=PatternValue(Pattern("v[0-9]$"))), header("x-a: v1"), True),
        (HeaderCondition(name="x-a", value=PatternValue(Pattern("v[0-9]$"))), header("x-a: v12"), False),
        (CookieCondition(name="c", value=ExactValue("always")), header("cookie: a=1; c=always"), True),
        (CookieCondition(name="c", value=ExactValue("always")), header("cookie: xc=always"), False),
        (CookieCondition(name="c", value=ExactValue("2")), header("cookie: c=1; c=2"), False),
        (CookieCondition(name="c", value=AnyValue()), header("cookie: c="), True),
        (CookieCondition(name="c"), header("cookie: c"), False),
        (CookieCondition(name="c"), Asked(), False),
        (QueryCondition(name="q", value=ExactValue("a b")), Asked(query=b"?q=a+b"), True),
        (QueryCondition(name="q", value=ExactValue("a b")), Asked(query=b"?x=1&%71=a%20b"), True),
        (QueryCondition(name="q", value=ExactValue("2")), Asked(query=b"?q=1&q=2"), False),
        (QueryCondition(name="q"), Asked(query=b"?q"), True),
        (QueryCondition(name=""), Asked(query=b""), False),
        (MethodCondition(method="POST"), Asked(method=b"POST"), True),
        (MethodCondition(method="POST"), Asked(method=b"post"), False),
        (MethodCondition(method="POST", negated=True), Asked(method=b"GET"), True),
    ],
    ids=lambda value: str(value) if isinstance(value, HeaderCondition | CookieCondition) else "",
)
def test_when_a_condition_holds(condition: Condition, request_: Asked, holds: bool) -> None:
    assert condition.holds(request_) is holds


def test_the_order_is_method_header_cookie_query_share_and_last_what_demands_nothing() -> None:
    ordered = [
        Selection(conditions=(MethodCondition(method="PUT"),)),
        Selection(conditions=(HeaderCondition(name="a"), HeaderCondition(name="b"))),
        Selection(conditions=(HeaderCondition(name="a"),)),
        Selection(conditions=(CookieCondition(name="a"), HeaderCondition(name="a", negated=True))),
        Selection(conditions=(QueryCondition(name="a"),)),
        Selection(conditions=(HeaderCondition(name="a", negated=True),), share=Share(1, 2)),
        Selection(),
    ]

    mixed = ordered[::-1]
    mixed.sort(key=lambda item: item.precedence)
    assert mixed == ordered


def taken(variant: Variant, request: Asked) -> list[Share | None]:
    """The shares of the selections whose conditions hold; None for all requests."""
    return [
        item.share
        for item in variant.selections
        if all(condition.holds(request) for condition in item.conditions)
    ]


@pytest.mark.parametrize(
    ("head", "share"),
    [
        ("x-canary: always", [None, Share(10)]),
        ("x-canary: never", []),
        ("x-canary: maybe", [Share(10)]),
        ("cookie: canary=always", [None, Share(10)]),
        ("cookie: canary=never", []),
        ("x-other: 1", [Share(10)]),
    ],
)
def test_a_canary_by_header_cookie_and_weight(head: str, share: list[Share | None]) -> None:
    variant = Variant.canary(header="X-Canary", cookie="canary", weight=10)

    assert taken(variant, header(head)) == share


def test_a_header_that_says_never_beats_a_cookie_that_says_always() -> None:
    variant = Variant.canary(header="X-Canary", cookie="canary", weight=10)
    both = Asked(fields={b"x-canary": b"never", b"cookie": b"canary=always"})

    assert taken(variant, both) == []


def test_a_canary_with_a_value_of_its_own_knows_no_never() -> None:
    variant = Variant.canary(header="X-Canary", header_value=ExactValue("blue"), weight=10)

    assert taken(variant, header("x-canary: blue")) == [None, Share(10)]
    assert taken(variant, header("x-canary: never")) == [Share(10)]


def test_a_canary_by_pattern() -> None:
    variant = Variant.canary(header="X-Canary", header_value=PatternValue(Pattern("(?i)v2")))

    assert taken(variant, header("x-canary: V2.1")) == [None]
    assert taken(variant, header("x-canary: v1")) == []


def test_a_share_has_a_total_and_a_text() -> None:
    assert Share(250, 1000).probability == 0.25
    assert str(Selection(conditions=(HeaderCondition(name="a"),), share=Share(1, 3))) == (
        "header a is present and 1 of 3 requests"
    )
    with pytest.raises(ConfigurationError):
        Selection(share=Share(2, 1))


def test_a_selection_can_be_pickled() -> None:
    (made, *_) = Variant.canary(header="x", header_value=PatternValue(Pattern("a"))).selections

    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - our own bytes
