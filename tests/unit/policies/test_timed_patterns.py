"""Regular expressions that need a time limit: what they may hold, and what becomes of them without engine."""

from __future__ import annotations

import importlib.util
import pickle
from datetime import timedelta

import pytest

from ingresskit.policies import Pattern, PatternRefused, TimedPattern, is_portable, path_pattern
from ingresskit.policies import timed_patterns as module
from ingresskit.policies.timed_patterns import parse_path_pattern


@pytest.mark.parametrize(
    ("text", "path", "groups"),
    [
        ("/(?!api/)(.*)", "/web/x", ("web/x",)),
        ("/(?!api/)(.*)", "/api/x", None),
        (r"/(\w+)/\1", "/a/a", ("a",)),
        ("/(?:ab)+(c)?", "/abab", ("",)),
        ("(?i)/(?=A)(.*)", "/aB", ("aB",)),
        ("/.*a.*b$", "/xaxb", ()),
        (r"/a\{(?=b)", "/a{b", ()),
    ],
)
def test_what_a_pattern_cannot_be_is_matched_with_a_time_limit(
    text: str, path: str, groups: tuple[str, ...] | None
) -> None:
    found = path_pattern(text)

    assert isinstance(found, TimedPattern)
    assert not is_portable(text)
    assert (found.groups(path), found.matches(path)) == (groups, groups is not None)
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - our own


def test_what_can_be_a_pattern_is_one() -> None:
    assert isinstance(path_pattern("/v[0-9]+/(.*)"), Pattern)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("/a(?R)", id="recursion"),
        pytest.param("/(?P<x>a)(?=b)", id="a named group"),
        pytest.param("/(?:abc){e<=1}", id="a fuzzy match"),
        pytest.param(r"/\L<words>(?=a)", id="a list"),
        pytest.param("/(?V1)(?=a)", id="a flag"),
        pytest.param("/a(?=b", id="a group without an end"),
        pytest.param(r"/(?=a)\9", id="a group that is not there"),
        pytest.param("/(?=\u00e4)", id="another script"),
        pytest.param("/(?=a)" + "a" * 1000, id="too many characters"),
    ],
)
def test_what_the_engine_knows_beyond_is_refused(text: str) -> None:
    with pytest.raises(PatternRefused):
        path_pattern(text)
    with pytest.raises(ValueError, match=r"^must be a regular expression for paths: this one "):
        parse_path_pattern(text)


def test_a_match_that_takes_longer_than_the_limit_is_none() -> None:
    pattern = TimedPattern("/(?=(a+)+b|x)?", timedelta(milliseconds=1))

    with pytest.raises(TimeoutError):
        pattern.matches("/" + "a" * 3000)


def test_without_the_engine_such_a_pattern_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> None:
        assert name == "regex"

    monkeypatch.setattr(module, "find_spec", none)

    with pytest.raises(PatternRefused, match="needs the package regex"):
        path_pattern("/(?!without-the-engine)")
    assert importlib.util.find_spec("regex") is not None
