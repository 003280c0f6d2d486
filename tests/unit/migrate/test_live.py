"""What two edges answered is compared as clients would see it, and only what is safe is sent."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ingresskit.graph import Request
from ingresskit.migrate import (
    Agreement,
    Discrepancy,
    Expectation,
    Limit,
    Prediction,
    Seen,
    answers_differ,
    live_plan,
    live_proof,
)
from ingresskit.models import ObjectKey, ObjectRef

_WEB = ObjectRef("Ingress", ObjectKey("a", "web"))


def expected(path: str = "/", host: str = "shop.test", **more: object) -> Expectation:
    request = Request(scheme="https", host=host, path=path, **more)  # type: ignore[arg-type]
    return Expectation(request=request, there=Prediction(ingress=_WEB), here=(), discrepancy=Discrepancy())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (Seen(status=200), Seen(status=200)),
        (Seen(status=302, location="/app"), Seen(status=302, location="https://shop.test/app")),
        (Seen(status=302, location="https://x.test"), Seen(status=302, location="https://x.test:443/")),
        (Seen(failure="no response in 1 seconds"), Seen(failure="TLS fails: x")),
    ],
    ids=["the same", "a path and a URL", "the usual port", "both fail"],
)
def test_answers_that_clients_see_alike(old: Seen, new: Seen) -> None:
    assert answers_differ(Request(scheme="https", host="shop.test"), old, new) == ""


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (Seen(status=200), Seen(status=404), "200 there, 404 here"),
        (Seen(status=200), Seen(failure="no response"), "200 there, no response here"),
        (
            Seen(status=302, location="/a"),
            Seen(status=302, location="/b"),
            "to /a there, to /b here",
        ),
        (Seen(status=200, backend="a"), Seen(status=200), "a there, no marker here"),
        (
            Seen(status=200, fields=(("X-A", "1"),)),
            Seen(status=200, fields=(("X-A", ""),)),
            "the header X-A '1' there, '' here",
        ),
    ],
)
def test_answers_that_differ_say_how(old: Seen, new: Seen, why: str) -> None:
    assert answers_differ(Request(scheme="https", host="shop.test"), old, new) == why


def test_only_what_can_be_sent_safely_is_sent() -> None:
    plan = live_plan(
        [
            expected(),
            expected(method="POST"),
            expected(client="192.0.2.1"),
            expected(headers={"content-length": str(2**40)}),
        ],
        schemes=frozenset({"https"}),
    )

    assert [item.request.method for item in plan.sent] == ["GET"]
    assert sum(plan.unsent.values()) == 3
    assert live_plan([expected(method="POST")], every_method=True).unsent == {}
    assert list(live_plan([expected()], schemes=frozenset({"http"})).unsent) == ["no address for https"]


def test_every_host_gets_its_turn_before_the_number_is_reached() -> None:
    wanted = [expected(f"/{number}", host) for host in ("a.test", "b.test") for number in range(5)]

    plan = live_plan(wanted, most=4)

    assert [(item.request.host, item.request.path) for item in plan.sent] == [
        ("a.test", "/0"),
        ("b.test", "/0"),
        ("a.test", "/1"),
        ("b.test", "/1"),
    ]
    assert plan.unsent == {"more than 4": 6}


def test_the_smallest_request_of_a_kind_is_shown_and_all_are_counted() -> None:
    ok, gone = (Seen(status=200),), (Seen(status=404),)

    found = live_proof(
        [(expected("/a/b/c"), ok, gone), (expected("/"), ok, gone), (expected("/x"), ok, ok)], {}
    )

    (shown,) = found.differences
    assert (shown.expected.request.path, shown.agreement) == ("/", Agreement.LOST)
    assert (found.asked, found.same, found.by_ingress) == (3, 1, {_WEB: (1, 2)})


def test_a_weight_explains_answers_that_vary_and_nothing_else_does() -> None:
    one, other = Seen(status=200, backend="a"), Seen(status=200, backend="b")
    weighted = Expectation(
        request=Request(scheme="https", host="shop.test"),
        there=Prediction(shares=(("a/a", Fraction(1, 2)), ("a/b", Fraction(1, 2)))),
        here=(),
        discrepancy=Discrepancy(),
    )

    assert live_proof([(weighted, (one, other), (other, other))], {}).differences == ()
    (shown,) = live_proof([(expected(), (one, other), (other, other))], {}).differences
    assert shown.agreement is Agreement.VARIES


def test_a_limit_that_these_requests_reach_is_named() -> None:
    limited = Expectation(
        request=Request(scheme="https", host="shop.test"),
        there=Prediction(limits=(Limit(requests=1, seconds=1, at_once=2, status=503),)),
        here=(),
        discrepancy=Discrepancy(),
    )

    (shown,) = live_proof([(limited, (Seen(status=503),), (Seen(status=200),))], {}).differences

    assert shown.reason == "a limit counts these requests: send fewer a second (--rate)"
