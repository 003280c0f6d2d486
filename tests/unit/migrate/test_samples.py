"""Samples of a pattern are texts that it takes."""

from __future__ import annotations

import pytest

from ingresskit.migrate.samples import matching_texts
from ingresskit.policies import Pattern


@pytest.mark.parametrize(
    "text",
    ["/api(/|$)(.*)", "/v[0-9]+/x", "/(en|de)/?", "(?i)/Foo.*", r"/\d{2,4}\.html$", "/a?b", "/", "^/x"],
)
def test_every_sample_is_taken(text: str) -> None:
    found = matching_texts(text)

    assert found
    assert [sample for sample in found if not Pattern(text).matches(sample)] == []


def test_each_alternative_has_a_sample() -> None:
    assert {"/en", "/de"} <= set(matching_texts("/(en|de)"))


def test_what_is_no_pattern_has_no_samples() -> None:
    assert matching_texts("/a(?=b)") == ()
