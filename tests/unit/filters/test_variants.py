from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from ingresskit.filters import Miss, chain_of, decide, decide_all, explain
from ingresskit.graph import PathMatch, Request, RouteGraph
from ingresskit.policies import AllowedSources, PolicySet, PrefixRewrite, Stage, Variant
from ingresskit.testing import Ask, ask_graph, possible_answers
from tests.unit.graph.graphs import WEB, backend, forward, graph, host, route

CANARY_KEY = WEB._replace(service="canary")


def shop(variant: Variant) -> RouteGraph:
    main = route("Prefix /", name="main")
    others = [
        replace(route("Prefix /", name="canary", action=forward(CANARY_KEY)), selection=selection)
        for selection in variant.selections
    ]
    return replace(
        graph(host("a.test", main, *others)),
        backends={WEB: backend(WEB, "10.0.0.1"), CANARY_KEY: backend(CANARY_KEY, "10.0.0.2")},
    )


def test_all_decisions_are_given_with_their_parts() -> None:
    found = shop(Variant.canary(weight=10))

    canary, main = decide_all(found, Request(host="a.test"))

    assert (canary.probability, main.probability) == (Fraction(1, 10), Fraction(9, 10))
    assert [item.key for item in canary.backends] == [CANARY_KEY]
    assert decide(found, Request(host="a.test")) == main


def test_explain_says_what_happens_to_the_other_part() -> None:
    found = explain(shop(Variant.canary(weight=10)), Request(host="a.test"))

    assert found.verdict.startswith("Prefix / of a.test (Ingress shop/main, spec.rules[0]) takes it")
    assert "Of such requests, 0.1 take another way: Prefix / (10 of 100 requests) of a.test" in found.verdict


def test_explain_says_which_condition_did_not_hold() -> None:
    found = explain(shop(Variant.canary(header="x-canary")), Request(host="a.test"))

    (miss,) = found.near_misses
    assert miss.reason == Miss.CONDITION
    assert miss.message == "it takes only requests of which this holds: header x-canary is 'always'"
    assert miss.path == "Prefix / (header x-canary is 'always')"


def test_explain_says_that_a_pattern_does_not_match() -> None:
    wanted = replace(route("Prefix /"), match=PathMatch.regex("/api/v[0-9]"))
    found = explain(graph(host("a.test", wanted)), Request(host="a.test", path="/api/x"))

    (miss,) = found.near_misses
    assert miss.message == "/api/x does not begin with a match of the regular expression /api/v[0-9]"


def test_the_oracle_knows_every_answer_that_is_right() -> None:
    found = shop(Variant.canary(header="x-canary", weight=10))

    by_weight = possible_answers(found, Ask(host="a.test"))
    by_header = possible_answers(found, Ask(host="a.test", headers={"X-Canary": "always"}))

    assert [sorted(item.services) for item in by_weight] == [["shop/web"], ["shop/canary"]]
    assert by_weight[0] == ask_graph(found, Ask(host="a.test"))
    assert [sorted(item.services) for item in by_header] == [["shop/canary"]]


def test_policies_of_a_host_apply_to_its_routes() -> None:
    nobody = PolicySet([AllowedSources.build({"networks": ()})])
    guarded = replace(host("a.test", "Prefix /"), policies=PolicySet([AllowedSources.build(_NETWORKS)]))
    free = replace(guarded, routes=(replace(guarded.routes[0], policies=nobody),))

    assert [item.stage for item in chain_of(guarded, guarded.routes[0]).secure] == [Stage.ADDRESS]
    assert chain_of(free, free.routes[0]).secure == ()
    decision = decide(graph(guarded), Request(host="a.test", client="192.0.2.1"))
    assert decision.reply is not None
    assert decision.reply.status == 403


def test_a_prefix_rewrite_of_a_pattern_replaces_the_elements_that_it_begins_with() -> None:
    policies = PolicySet([PrefixRewrite(prefix="/v2")])
    pattern = replace(route("Prefix /", policies=policies), match=PathMatch.regex("(?i)/api/x[0-9]"))

    decision = decide(graph(host("a.test", pattern)), Request(host="a.test", path="/API/x1/y"))

    assert decision.forwarded == "/v2/x1/y"


_NETWORKS = {"networks": AllowedSources.annotations()["networks"].parse("10.0.0.0/8")}
