"""Which requests are served at all: the grammars, and what `decide` makes of them."""

from __future__ import annotations

import pytest

from ingresskit.filters import decide
from ingresskit.graph import Request
from ingresskit.models import Snapshot
from ingresskit.policies import Pattern
from ingresskit.policies.kinds.requests import exact_pattern, parse_methods, parse_patterns, search_pattern
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import translate


@pytest.mark.parametrize(
    ("text", "value", "found"),
    [
        ("bot", "GoodBot/2", True),
        ("^bot", "GoodBot/2", False),
        ("^good", "GoodBot/2", True),
        ("^a|b", "xb", True),
        (".*bot.*", "a bot b", True),
        ("bot$", "a bot b", False),
        (r"x\.*", "a x..", True),
    ],
)
def test_a_pattern_is_found_anywhere_in_either_case(text: str, value: str, found: bool) -> None:
    try:
        pattern = Pattern(search_pattern(text))
    except ValueError:
        assert "^" in text[1:] or "|" in text  # an anchor inside an alternative is not in the grammar
        return

    assert pattern.matches(value) is found


def test_a_text_is_the_whole_value_in_either_case() -> None:
    pattern = Pattern(exact_pattern("a.b (x)"))

    assert pattern.matches("A.B (X)")
    assert not pattern.matches("a.b (x) y")
    assert not pattern.matches("acb (x)")


@pytest.mark.parametrize("text", ["", "\n \n", "a(?=b)", "(a+)+", "x\n" * 65, "[", "a" * 2000])
def test_patterns_outside_the_grammar_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be regular expressions"):
        parse_patterns(text)


@pytest.mark.parametrize("text", ["", "get", "GET;POST", "GET,,POST", "A" * 21, ",".join("ABCDEFGHIJKLMNOPQ")])
def test_methods_outside_the_grammar_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_methods(text)


def test_get_brings_head_along() -> None:
    graph = translate(
        Snapshot.of(
            [
                ingress_class(),
                ingress("web", {"a.test": {"/": "web"}}, annotations={"allow-methods": "GET"}),
                service("web"),
                endpoint_slice("web", "10.0.0.1"),
            ]
        )
    ).graph

    replies = {
        method: decide(graph, Request(host="a.test", method=method)).reply
        for method in ("GET", "HEAD", "POST", "get")
    }
    assert replies["GET"] is None
    assert replies["HEAD"] is None
    assert [reply.status if reply else 0 for reply in (replies["POST"], replies["get"])] == [405, 405]
