from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import pytest

from ingresskit.graph import (
    Outcome,
    PathMatch,
    PathRefused,
    Redirect,
    Request,
    Route,
    RouteGraph,
    Withholding,
    digest,
    solves_http01,
    to_json,
    withhold,
)
from ingresskit.policies import (
    AllowedSources,
    HeaderCondition,
    MethodCondition,
    PatternRefused,
    PolicySet,
    Selection,
    Share,
    Variant,
)
from tests.unit.graph.graphs import graph, host, origin, route

CANARY = Variant.canary(header="x-canary", cookie="canary", weight=10)


def variants(path: str, name: str, variant: Variant = CANARY) -> list[Route]:
    return [replace(route(path, name=name), selection=selection) for selection in variant.selections]


def pattern(text: str, *, host_wide: bool = False) -> Route:
    return replace(route("Prefix /", name=text), match=PathMatch.regex(text, host_wide=host_wide))


def asked(path: str = "/", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(host="a.test", path=path, headers=named)


def shares(found: RouteGraph, request: Request) -> dict[str, Fraction]:
    """Which part of such requests goes to which Ingress; "" for those that nothing takes."""
    parts: dict[str, Fraction] = {}
    for outcome in found.outcomes(request):
        name = outcome.route.origin.subject.key.name if outcome.route else ""
        parts[name] = parts.get(name, Fraction(0)) + outcome.probability
    return parts


SHOP = graph(host("a.test", route("Prefix /", name="main"), *variants("Prefix /", "canary")))


@pytest.mark.parametrize(
    ("request_", "parts"),
    [
        (asked(), {"canary": Fraction(1, 10), "main": Fraction(9, 10)}),
        (asked(x_canary="always"), {"canary": Fraction(1)}),
        (asked(x_canary="never"), {"main": Fraction(1)}),
        (asked(cookie="canary=always"), {"canary": Fraction(1)}),
        (asked(cookie="canary=never"), {"main": Fraction(1)}),
        (asked(x_canary="never", cookie="canary=always"), {"main": Fraction(1)}),
    ],
    ids=["no header", "always", "never", "cookie always", "cookie never", "header before cookie"],
)
def test_a_canary_takes_what_it_asks_for(request_: Request, parts: dict[str, Fraction]) -> None:
    assert shares(SHOP, request_) == parts


def test_resolve_gives_the_route_with_the_largest_part() -> None:
    assert SHOP.resolve(asked()) is SHOP.resolve("a.test", "/") is SHOP.virtual_hosts[0].routes[-1]
    assert SHOP.resolve(asked(x_canary="always")) is SHOP.virtual_hosts[0].routes[0]


def test_a_canary_of_everything_takes_everything() -> None:
    all_of_it = Variant.canary(weight=3, total=3)
    found = graph(host("a.test", route("Prefix /", name="main"), *variants("Prefix /", "canary", all_of_it)))

    assert shares(found, asked()) == {"canary": Fraction(1)}


def test_two_canaries_take_their_shares_side_by_side() -> None:
    found = graph(
        host(
            "a.test",
            route("Prefix /", name="main"),
            *variants("Prefix /", "one", Variant.canary(header="one", weight=10)),
            *variants("Prefix /", "two", Variant.canary(header="two", weight=20)),
        )
    )

    tenth = Fraction(1, 10)
    assert shares(found, asked()) == {"one": tenth, "two": 2 * tenth, "main": 7 * tenth}
    assert shares(found, asked(one="never")) == {"two": 2 * tenth, "main": 8 * tenth}
    assert shares(found, asked(two="always")) == {"two": Fraction(1)}


def test_shares_beyond_everything_are_cut() -> None:
    most = Variant.canary(weight=80)
    found = graph(host("a.test", *variants("Prefix /", "one", most), *variants("Prefix /", "two", most)))

    assert shares(found, asked()) == {"one": Fraction(4, 5), "two": Fraction(1, 5)}


def test_what_a_path_of_variants_only_leaves_goes_to_the_wider_path() -> None:
    put = Selection(conditions=(MethodCondition(method="PUT"),))
    narrow = replace(route("Prefix /api", name="put"), selection=put)
    found = graph(host("a.test", route("Prefix /", name="main"), narrow))

    assert shares(found, replace(asked("/api/x"), method="PUT")) == {"put": Fraction(1)}
    assert shares(found, asked("/api/x")) == {"main": Fraction(1)}
    assert shares(graph(host("a.test", narrow)), asked("/api/x")) == {"": Fraction(1)}
    assert graph(host("a.test", narrow)).outcomes(asked("/api"))[0] == Outcome(
        host("a.test", narrow), None, Fraction(1)
    )


def test_more_conditions_come_first() -> None:
    one = Selection(conditions=(HeaderCondition(name="a"),))
    two = Selection(conditions=(HeaderCondition(name="a"), HeaderCondition(name="b")))
    found = graph(
        host(
            "a.test",
            replace(route("Prefix /", name="one"), selection=one),
            replace(route("Prefix /", name="two"), selection=two),
        )
    )

    assert shares(found, asked(a="1", b="2")) == {"two": Fraction(1)}
    assert shares(found, asked(a="1")) == {"one": Fraction(1)}


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("/api/v1/x", "/api/v[0-9]+"),
        ("/api/vx", "Prefix/api"),
        ("/api/v1/users", "Prefix/api/v1/users"),
        ("/api/v2/exact", "Exact/api/v2/exact"),
        ("/API/v1", "Prefix/"),
        ("/files/x.php", "/files/.*\\.php$"),
        ("/files/x.php/y", "Prefix/"),
    ],
)
def test_a_pattern_counts_by_the_elements_that_it_begins_with(path: str, taken: str) -> None:
    found = graph(
        host(
            "a.test",
            "Prefix /",
            "Prefix /api",
            "Prefix /api/v1/users",
            "Exact /api/v2/exact",
            pattern("/api/v[0-9]+"),
            pattern(r"/files/.*\.php$"),
        )
    )

    assert list(shares(found, asked(path))) == [taken]


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("/foo/bar", "/foo/bar"),
        ("/FOO/BAR/x", "/foo/bar"),
        ("/foo/bazar", "/foo/ba[rz]"),
        ("/foobar", "/foo"),
        ("/else", "Prefix/"),
    ],
)
def test_on_a_host_of_patterns_the_longest_wins_in_any_case(path: str, taken: str) -> None:
    wide = [pattern(text, host_wide=True) for text in ("/foo", "/foo/ba[rz]", "/foo/bar")]
    # As long as the other, and later in the alphabet.
    found = graph(host("a.test", "Prefix /", *wide, pattern("/foo/bar", host_wide=True)))
    if path.lower().startswith("/foo/bar"):
        taken = "/foo/ba[rz]"  # three characters longer

    assert list(shares(found, asked(path))) == [taken]


def test_a_pattern_that_is_not_in_the_grammar_is_refused() -> None:
    with pytest.raises(PatternRefused):
        PathMatch.regex("/a(?P<x>b)")


def test_a_path_that_takes_too_long_to_be_matched_is_refused() -> None:
    match = PathMatch.regex("/(?=(a+)+b|x)?")

    assert match.matches("/x")
    with pytest.raises(PathRefused, match="takes too long"):
        match.matches("/" + "a" * 3000)


@pytest.mark.parametrize(
    ("text", "solves"),
    [
        ("/.well-known/acme-challenge/4T-oken", True),
        ("(?i)/\\.well-known/acme-challenge/token$", True),
        ("/.well-known/acme-challenge/.*", False),
        ("/.well-known/acme-challenge/x|/admin", False),
    ],
)
def test_only_a_pattern_for_one_path_solves_a_challenge(text: str, solves: bool) -> None:
    assert solves_http01(pattern(text)) is solves


def test_variants_and_patterns_are_dumped_and_told_apart() -> None:
    wide = pattern("/x", host_wide=True)
    found = graph(host("a.test", wide, route("Prefix /", name="main"), *variants("Prefix /", "canary")))
    first, header, cookie, share, main = json.loads(to_json(found))["virtualHosts"][0]["routes"]

    assert first["match"] == {"type": "RegularExpression", "path": "(?i)/x", "hostWide": True}
    assert header["conditions"] == [{"header": "x-canary", "exact": "always"}]
    assert cookie["conditions"] == [
        {"cookie": "canary", "exact": "always"},
        {"header": "x-canary", "exact": "never", "negated": True},
    ]
    assert share["share"] == {"weight": 10, "total": 100}
    assert not {"conditions", "share"} & set(main)
    assert digest(found) != digest(graph(host("a.test", wide, route("Prefix /", name="main"))))


def test_without_a_canary_that_a_proxy_refuses_its_main_route_serves() -> None:
    subject = origin("canary").subject
    reduced = withhold(SHOP, {subject: Withholding.CHANGE})

    assert shares(reduced, asked(x_canary="always")) == {"main": Fraction(1)}
    assert reduced.virtual_hosts[0].routes == SHOP.virtual_hosts[0].routes[-1:]


def test_a_canary_whose_change_is_refused_stays_what_it_was() -> None:
    moved = [
        replace(item, action=Redirect(location="/new")) if item.selection else item
        for item in SHOP.virtual_hosts[0].routes
    ]
    now = graph(host("a.test", *moved))
    subject = origin("canary").subject

    assert withhold(now, {subject: Withholding.CHANGE}, SHOP).virtual_hosts == SHOP.virtual_hosts


def test_a_variant_that_protects_is_closed_rather_than_left_out() -> None:
    guarded = PolicySet([AllowedSources()])
    closed = [
        replace(item, policies=guarded) if item.selection else item for item in SHOP.virtual_hosts[0].routes
    ]
    subject = origin("canary").subject

    reduced = withhold(graph(host("a.test", *closed)), {subject: Withholding.CONTENT})

    (outcome,) = reduced.outcomes(asked(x_canary="always"))
    assert outcome.route is not None
    assert outcome.route.action != SHOP.virtual_hosts[0].routes[0].action
    assert shares(reduced, asked(x_canary="always")) == {"canary": Fraction(1)}
    assert Share(10).probability == 0.1
