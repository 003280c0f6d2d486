from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ingresskit.graph import JudgedRequest, PathMatch, Request, Route, VirtualHost
from ingresskit.policies import (
    EVERY_REQUEST,
    CookieCondition,
    ExactValue,
    HeaderCondition,
    MethodCondition,
    QueryCondition,
    Selection,
    Share,
)
from ingresskit.render.inprocess import InProcessRenderer
from tests.unit.graph.graphs import graph, route

# Each match with how a naive reader would say it: few of all, so that rules and requests meet.
_PATHS: Mapping[str, PathMatch] = {
    "exact /a": PathMatch.exact("/a"),
    "prefix /": PathMatch.prefix("/"),
    "prefix /a": PathMatch.prefix("/a"),
    "prefix /a/b": PathMatch.prefix("/a/b"),
    "regex /a/[bc]": PathMatch.regex("/a/[bc]"),
    "regex .*c$": PathMatch.regex(".*c$"),
    "regex (?i)/A(/|$)": PathMatch.regex("(?i)/A(/|$)"),
}
_CONDITIONS = (
    HeaderCondition(name="h", value=ExactValue("1")),
    HeaderCondition(name="h", negated=True),
    CookieCondition(name="c"),
    QueryCondition(name="q", value=ExactValue("1")),
    MethodCondition(method="PUT"),
)
_selections = st.one_of(
    st.just(EVERY_REQUEST),
    st.builds(
        Selection,
        conditions=st.lists(st.sampled_from(_CONDITIONS), max_size=2, unique=True).map(tuple),
        share=st.sampled_from((None, None, Share(1, 4), Share(1, 2), Share(1, 1))),
    ),
)
_rules = st.lists(st.tuples(st.sampled_from(sorted(_PATHS)), _selections), max_size=8, unique=True)
_requests = st.builds(
    Request,
    host=st.just("a.test"),
    path=st.sampled_from(("/", "/a", "/a/", "/A/x", "/a/b", "/a/bc", "/a/b/c", "/a/cx", "/x/c", "/ab")),
    query=st.sampled_from(("", "?q=1", "?q=2")),
    method=st.sampled_from(("GET", "PUT")),
    headers=st.sampled_from(({}, {"h": "1"}, {"h": "2"}, {"cookie": "c=1"}, {"h": "1", "cookie": "c="})),
)


def naive_path(rule: str, path: str) -> tuple[int, ...] | None:
    """How well a rule takes a path, more is better; None: it does not."""
    kind, _, text = rule.partition(" ")
    elements = [item for item in path.split("/") if item]
    match kind, text:
        case "exact", _:
            return (2, 0, 0, 0) if path == text else None
        case "prefix", _:
            wanted = [item for item in text.split("/") if item]
            return (1, len(wanted), 0, 0) if elements[: len(wanted)] == wanted else None
        case _, "/a/[bc]":
            taken = path.startswith(("/a/b", "/a/c"))
            return (1, 1, 1, len(text)) if taken else None
        case _, ".*c$":
            return (1, 0, 1, len(text)) if path.endswith("c") else None
        case _:
            return (1, 1, 1, len(text)) if elements and elements[0].lower() == "a" else None


def naive_conditions(selection: Selection, request: Request) -> bool:
    headers = request.headers
    truth = {
        _CONDITIONS[0]: headers.get("h") == "1",
        _CONDITIONS[1]: "h" not in headers,
        _CONDITIONS[2]: "c=" in headers.get("cookie", ""),
        _CONDITIONS[3]: request.query == "?q=1",
        _CONDITIONS[4]: request.method == "PUT",
    }
    return all(truth[item] for item in selection.conditions)


def naive_rank(selection: Selection) -> tuple[int, ...]:
    """Method, headers, cookies, query parameters, shares, and last what demands nothing; more is better."""
    positive = [item for item in selection.conditions if not item.negated]
    counts = tuple(
        sum(type(item) is kind for item in positive)
        for kind in (MethodCondition, HeaderCondition, CookieCondition, QueryCondition)
    )
    return (*counts, int(selection.share is not None or bool(selection.conditions)))


def naive_winner(rules: Iterable[tuple[str, Selection]], request: Request, point: float) -> str | None:
    """Who takes a request, by asking every rule and sorting those that fit."""
    fitting = [
        ((rank, naive_rank(selection)), number, selection)
        for number, (rule, selection) in enumerate(rules)
        if (rank := naive_path(rule, request.path)) is not None and naive_conditions(selection, request)
    ]
    fitting.sort(key=lambda item: item[1])
    fitting.sort(key=lambda item: item[0], reverse=True)
    for _, number, selection in fitting:
        if selection.share is None:
            return str(number)
        point -= selection.share.weight / selection.share.total
        if point < 0:
            return str(number)
    return None


def _host(rules: Iterable[tuple[str, Selection]]) -> VirtualHost:
    made: list[Route] = [
        replace(route("Prefix /", name=str(number)), match=_PATHS[rule], selection=selection)
        for number, (rule, selection) in enumerate(rules)
    ]
    return VirtualHost(host="a.test", routes=tuple(sorted(made, key=lambda item: item.precedence)))


@given(_rules, st.lists(_requests, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_graph_and_table_agree_with_a_naive_matcher(
    rules: list[tuple[str, Selection]], requests: list[Request], chance: random.Random
) -> None:
    found = graph(_host(rules))
    table = InProcessRenderer().render(found)

    for request in requests:
        point = chance.choice((0.0, 0.2, 0.3, 0.6, 0.8, 0.999))
        expected = naive_winner(rules, request, point)

        rest, drawn = point, None
        for outcome in found.outcomes(request):
            rest -= float(outcome.probability)
            if rest < 0:
                drawn = outcome.route
                break
        chosen = table.find("a.test", request.path)
        if chosen is not None and chosen.is_variant:
            chosen = table.choose("a.test", request.path, JudgedRequest(request), point)

        assert (drawn.origin.subject.key.name if drawn else None) == expected, (request, point)
        assert (chosen.route if chosen else None) is drawn, (request, point)
