"""Regular expressions that may match anywhere in a text, as a pattern that stands at its start."""

from __future__ import annotations

import re

import pytest

from ingresskit.policies import Pattern
from ingresskit.policies.kinds.requests import search_pattern
from ingresskit.policies.patterns import anywhere

TEXTS = ("a", "b", "xa", "xb", "ab", "xaby", "xv2y", "v2", "|", "x|y", "", "a|b", "(b", "cd", "xcd", "acd")


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a|b",
        "^a|b",
        "a|^b",
        "^a$|^b$",
        "^(a|b)$",
        "x[|]y",
        r"a\|b",
        "(a|b)cd",
        "(a|b)?cd|v2$",
        ".*v2",
        "v2.*",
        "^.*v2",
        "[^|]b|v",
    ],
)
def test_it_matches_where_a_search_finds_it(text: str) -> None:
    pattern, lazy = Pattern(anywhere(text)), Pattern(anywhere(text, lazy=True))

    for subject in TEXTS:
        found = re.search(text, subject) is not None
        assert (pattern.matches(subject), lazy.matches(subject)) == (found, found), subject


def test_programs_are_kept_out_by_alternatives_that_are_tied_to_the_start() -> None:
    pattern = Pattern(search_pattern("^curl|bot"))

    assert [pattern.matches(item) for item in ("curl/8", "my-bot", "x curl")] == [True, True, False]
