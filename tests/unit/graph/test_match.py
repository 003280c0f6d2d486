from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingresskit.graph import PathKind, PathMatch

elements = st.sampled_from(["a", "b", "ab", "a%2Fb"])
normal_paths = st.tuples(st.lists(elements, max_size=3), st.booleans()).map(
    lambda made: "/" + "/".join(made[0]) + ("/" if made[0] and made[1] else "")
)
matches = st.tuples(st.sampled_from(list(PathKind)), normal_paths).map(
    lambda made: PathMatch.exact(made[1]) if made[0] is PathKind.EXACT else PathMatch.prefix(made[1])
)


@pytest.mark.parametrize(
    ("match", "path", "taken"),
    [
        (PathMatch.prefix("/"), "/anything", True),
        (PathMatch.prefix("/foo"), "/foo", True),
        (PathMatch.prefix("/foo"), "/foo/", True),
        (PathMatch.prefix("/foo/"), "/foo", True),
        (PathMatch.prefix("/foo/"), "/foo/x", True),
        (PathMatch.prefix("/foo"), "/foobar", False),
        (PathMatch.prefix("/foo"), "/Foo", False),
        (PathMatch.prefix("/aaa/bb"), "/aaa/bbb", False),
        (PathMatch.prefix("/foo"), "/", False),
        (PathMatch.exact("/foo"), "/foo", True),
        (PathMatch.exact("/foo"), "/foo/", False),
        (PathMatch.exact("/foo/"), "/foo", False),
        (PathMatch.exact("/foo"), "/foo/x", False),
        (PathMatch.exact("/"), "/", True),
    ],
    ids=lambda value: str(value),
)
def test_which_paths_a_match_takes(match: PathMatch, path: str, taken: bool) -> None:
    assert match.matches(path) is taken


def test_exact_comes_first_and_then_the_longer_prefix() -> None:
    ordered = [PathMatch.exact("/a/b"), PathMatch.prefix("/a/b"), PathMatch.prefix("/a"), PathMatch.prefix("/")]

    for shuffled in itertools.permutations(ordered):
        assert sorted(shuffled, key=lambda match: match.precedence) == ordered


@given(matches, normal_paths)
def test_a_match_agrees_with_comparing_elements(match: PathMatch, path: str) -> None:
    wanted = [part for part in match.value.split("/") if part]
    given_ = [part for part in path.split("/") if part]
    naive = path == match.value if match.kind is PathKind.EXACT else given_[: len(wanted)] == wanted

    assert match.matches(path) is naive


@given(st.lists(matches, unique=True, max_size=6), normal_paths)
def test_of_the_matches_that_take_a_path_the_first_is_the_most_specific(
    held: list[PathMatch], path: str
) -> None:
    taking = [match for match in sorted(held, key=lambda match: match.precedence) if match.matches(path)]
    exact = [match for match in taking if match.kind is PathKind.EXACT]
    lengths = [match.value.rstrip("/").count("/") for match in taking if match.kind is PathKind.PREFIX]

    assert taking[: len(exact)] == exact
    assert lengths == sorted(lengths, reverse=True)
    assert len(set(lengths)) == len(lengths)
