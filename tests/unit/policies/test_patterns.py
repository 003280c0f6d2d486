from __future__ import annotations

import itertools
import pickle
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingresskit.policies import Pattern, PatternRefused
from ingresskit.policies.pattern_syntax import Alternatives, Atom, End, Item, Sequence, read_pattern

ACCEPTED = (
    "",
    "/",
    "/api(/|$)(.*)",
    "/v[0-9]+/x",
    r".*\.(png|jpg|gif)$",
    r"/(en|de|fr)/.*\.php$",
    "(.*)/x/(.*)",
    "(/[^/]+)?(/[^/]+)?/x",
    "/api/.*/items/[0-9]+$",
    "(?i)/Foo",
    "/foo/?(.*)",
    r"^/users/\d+/orders/[\w-]+$",
    "/[A-Z]{3}",
    "/a|/b",
    r"/a\.b\{c\}[\]\\-]",
    "/[^a-c]x",
    "/.*?/x$",
)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("/a(?=b)", "looks ahead or behind"),
        ("/(?<!a)b", "looks ahead or behind"),
        (r"(a)\1", "refers back to a group"),
        ("(a+)+b", "repeats a group"),
        ("(?:a|aa){2,}b", "repeats a group"),
        ("(?P<name>a)", "there are ( and (?:"),
        ("a++b", "possessive"),
        ("a**", "repeats a repeat"),
        ("/a?a?a?a?a?a?a?aaaaaaaa", "more than 100 ways"),
        ("(a|aa)(a|aa)(a|aa)(a|aa)(a|aa)(a|aa)(a|aa)b", "more than 100 ways"),
        (".*.*x", "several repeats without a limit"),
        (".*a+b", "several repeats without a limit"),
        ("[[:alpha:]]", "inside a class"),
        ("[b-a]", "a range in a class"),
        ("a{", "begins no count"),
        ("a{3,2}", "whose end is less"),
        ("a{1001}", "more than 1000 times"),
        ("a{999}b{999}c{999}", "add up to more than"),
        ("(a", "a ( without )"),
        ("a)", "a ) without ("),
        ("[a", "ends in the middle"),
        ("*a", "nothing before it"),
        ("a^", "not at its start"),
        ("a(?i)b", "(?i) elsewhere"),
        (r"\ba", r"the escape \b"),
        ("/ä", "not printable ASCII"),
        ("(" * 21 + ")" * 21, "more than 20 deep"),
        ("a" * 1001, "longer than 1000"),
    ],
)
def test_what_is_not_in_the_grammar_is_refused_with_the_rule(pattern: str, why: str) -> None:
    with pytest.raises(PatternRefused, match=re.escape(why)):
        Pattern(pattern)


@pytest.mark.parametrize("pattern", ACCEPTED)
def test_a_pattern_matches_as_python_would_match_its_text(pattern: str) -> None:
    expression = re.compile(pattern.replace("[\\]", "[]"), re.DOTALL | re.ASCII)
    made = Pattern(pattern)

    texts = ["/" + "".join(rest) for size in range(5) for rest in itertools.product("/aB0.x", repeat=size)]
    texts += ["/api", "/api/", "/apix", "/users/1/orders/x-1", "/a.b{c}-", "/FOO", "/en/index.php", "/x.png"]
    assert [text for text in texts if made.matches(text)] == [text for text in texts if expression.match(text)]


@pytest.mark.skipif(shutil.which("grep") is None, reason="needs grep")
@pytest.mark.parametrize("pattern", ACCEPTED)
def test_pcre_matches_the_same_paths(pattern: str) -> None:
    texts = ["/" + "".join(rest) for size in range(4) for rest in itertools.product("/aB0.x", repeat=size)]
    texts += ["/api", "/api/", "/apix", "/users/1/orders/x-1", "/a.b{c}-", "/FOO", "/en/index.php", "/x.png"]
    plain, flag = pattern.removeprefix("(?i)"), "(?i)" if pattern.startswith("(?i)") else ""
    for expression in (f"{flag}^(?:{plain.removeprefix('^')})", Pattern(pattern).pcre):
        found = subprocess.run(
            ["grep", "-P", expression],
            input="\n".join(texts) + "\n",
            capture_output=True,
            text=True,
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
            check=False,
        )
        if "not supported" in found.stderr or "-P" in found.stderr:
            pytest.skip("this grep has no PCRE")
        assert found.returncode in (0, 1), found.stderr
        assert found.stdout.splitlines() == [text for text in texts if Pattern(pattern).matches(text)]


@pytest.mark.parametrize(
    ("pattern", "literal", "elements"),
    [
        ("/api(/|$)(.*)", "/api", "/api"),
        ("/api/v[0-9]+", "/api/v", "/api"),
        ("/api", "/api", ""),
        ("/api$", "/api", "/api"),
        ("/api/x?", "/api/", "/api"),
        ("(?i)/Api/.*", "/Api/", "/Api"),
        (r"/a\.b/", "/a.b/", "/a.b"),
        ("/a|/b", "", ""),
        (".*", "", ""),
        ("/", "/", ""),
    ],
)
def test_the_literal_beginning_of_a_pattern(pattern: str, literal: str, elements: str) -> None:
    assert (Pattern(pattern).literal, Pattern(pattern).elements) == (literal, elements)


def test_a_pattern_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(Pattern("/a(/|$)"))).matches("/a/b")  # noqa: S301 - our own bytes


_atoms = st.sampled_from(("a", "b", "[ab]", ".", "[^a]", "/"))
_repeats = st.sampled_from(("", "", "*", "+", "?", "{1,3}", "{2}", "*?"))
_items = st.tuples(_atoms, _repeats).map("".join)
_patterns = st.recursive(
    st.lists(_items, min_size=1, max_size=3).map("".join),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        inner.map("({})?".format),
        inner.map("{}$".format),
    ),
    max_leaves=4,
)


@given(_patterns, st.lists(st.text("ab/", max_size=8), max_size=8))
def test_a_generated_pattern_matches_as_python_would(pattern: str, texts: list[str]) -> None:
    try:
        made = Pattern(pattern)
    except PatternRefused:
        return

    for text in texts:
        assert made.matches(text) is (re.compile(pattern).match(text) is not None), text


@given(_patterns, st.text("ab/", min_size=1, max_size=3), st.sampled_from(("", "a", "b", "/")))
def test_backtracking_through_an_accepted_pattern_takes_linear_time(pattern: str, unit: str, end: str) -> None:
    try:
        Pattern(pattern)
    except PatternRefused:
        return

    short, long = (_steps(pattern, unit * times + end) for times in (150, 300))
    # Twice the text, twice the steps, and what does not depend on it; squares would be four times.
    assert long <= 2.3 * short + 4000


def test_backtracking_through_a_refused_pattern_would_not() -> None:
    short, long = (_steps("a*[ab]*a*x", "a" * size) for size in (30, 60))

    assert long > 3 * short


def _steps(pattern: str, text: str) -> int:
    """How often a program that backtracks looks at the text before it gives up or succeeds."""
    counter = itertools.count()
    tree, _ = read_pattern(pattern)
    next(_group(tree, text, 0, counter), None)
    return next(counter)


def _group(group: Alternatives, text: str, at: int, counter: itertools.count[int]) -> Iterator[int]:
    for branch in group.branches:
        yield from _sequence(branch, text, at, counter)
    if group.optional:
        yield at


def _sequence(items: Sequence, text: str, at: int, counter: itertools.count[int]) -> Iterator[int]:
    if not items:
        yield at
        return
    for end in _item(items[0], text, at, counter):
        yield from _sequence(items[1:], text, end, counter)


def _item(item: Item, text: str, at: int, counter: itertools.count[int]) -> Iterator[int]:
    match item:
        case Atom():
            yield from _atom(item, text, at, counter)
        case Alternatives():
            yield from _group(item, text, at, counter)
        case End():
            next(counter)
            if at == len(text):
                yield at


def _atom(item: Atom, text: str, at: int, counter: itertools.count[int]) -> Iterator[int]:
    ends = [] if item.least else [at]
    end = at
    while end < len(text) and (item.most is None or end - at < item.most):
        next(counter)
        if not item.octets >> ord(text[end]) & 1:
            break
        end += 1
        if end - at >= item.least:
            ends.append(end)
    for found in ends if item.lazy else reversed(ends):
        next(counter)
        yield found
