from __future__ import annotations

from typing import cast

import pytest

from ingresskit.sources.files_yaml import YamlFault, load_yaml


def value(text: str) -> object:
    """What ``v`` is in a map whose text follows it."""
    (document,) = load_yaml(f"v: {text}\n".encode())
    assert isinstance(document, dict)
    return cast("dict[str, object]", document)["v"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z", id="a time stays text"),
        pytest.param("2024-01-01", "2024-01-01", id="a date stays text"),
        pytest.param("12:30", "12:30", id="no numbers to the base of 60"),
        pytest.param("on", True, id="on is a boolean"),
        pytest.param("No", False, id="No is a boolean"),
        pytest.param("y", "y", id="a single letter is text"),
        pytest.param("'on'", "on", id="quotes make text"),
        pytest.param('"80"', "80", id="quoted digits are text"),
        pytest.param("!!str 80", "80", id="a text tag makes text"),
        pytest.param("! 80", "80", id="the non-specific tag makes text"),
        pytest.param("!!int 80", 80, id="a number tag on a number"),
        pytest.param("~", None, id="tilde is null"),
        pytest.param("", None, id="nothing is null"),
        pytest.param("0x1F", 31, id="hexadecimal"),
        pytest.param("0777", 511, id="octal of YAML 1.1"),
        pytest.param("0o777", 511, id="octal of YAML 1.2"),
        pytest.param("1_000", 1000, id="underscores between digits"),
        pytest.param("-0b101", -5, id="negative binary"),
        pytest.param("1e3", 1000.0, id="a float without a point"),
        pytest.param("-.INF", float("-inf"), id="infinity"),
        pytest.param("1.2.3", "1.2.3", id="a version is text"),
        pytest.param("10.0.0.1", "10.0.0.1", id="an address is text"),
        pytest.param("=", "=", id="an equals sign is text"),
        pytest.param("<<", "<<", id="the merge sign is text where a value stands"),
        pytest.param("|\n  a\n  b\n", "a\nb\n", id="a block of text"),
    ],
)
def test_a_scalar_reads_as_kubectl_reads_it(text: str, expected: object) -> None:
    found = value(text)

    assert found == expected
    assert type(found) is type(expected)


def test_keys_that_are_not_text_become_text() -> None:
    assert load_yaml(b"{80: a, on: b, ~: c, 1.5: d, 1: e}") == [
        {"80": "a", "true": "b", "null": "c", "1.5": "d", "1": "e"}
    ]


def test_a_merged_map_gives_way_to_what_the_map_says() -> None:
    (document,) = load_yaml(b"base: &base {a: 1, b: 2}\nmine: {b: 3, <<: *base}\n")

    assert document == {"base": {"a": 1, "b": 2}, "mine": {"a": 1, "b": 3}}


def test_of_several_merged_maps_the_first_wins() -> None:
    assert load_yaml(b"{<<: [{a: 1}, {a: 2, b: 2}]}") == [{"a": 1, "b": 2}]


def test_an_alias_repeats_what_it_names() -> None:
    assert load_yaml(b"a: &x [1, two]\nb: *x\n") == [{"a": [1, "two"], "b": [1, "two"]}]


def test_an_anchor_can_be_named_again() -> None:
    assert load_yaml(b"- &x 1\n- *x\n- &x 2\n- *x\n") == [[1, 1, 2, 2]]


def test_an_anchor_ends_with_its_document() -> None:
    with pytest.raises(YamlFault, match="names nothing"):
        load_yaml(b"--- &x 1\n--- *x\n")


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        pytest.param("a: 1\nb: 2\na: 3\n", 2, "has the key 'a' twice in one map", id="a key twice"),
        pytest.param("{1: a, '1': b}", 0, "has the key '1' twice in one map", id="a key twice as text"),
        pytest.param("<<: {}\n<<: {}\n", 1, "has the key '<<' twice", id="the merge key twice"),
        pytest.param("? [a]\n: 1", 0, "a list or a map as the key", id="a list as a key"),
        pytest.param("a: &x [*x]", 0, "inside what it names", id="an alias inside itself"),
        pytest.param("a: *x", 0, "names nothing", id="an alias to nothing"),
        pytest.param("<<: 3", 0, "neither a map nor a list of maps", id="merging a number"),
        pytest.param("a: !!binary aGk=", 0, "has the tag", id="binary"),
        pytest.param("!!python/name:os.system ''", 0, "has the tag", id="a Python object"),
        pytest.param("!!set {a}", 0, "has the tag", id="a set"),
        pytest.param("a: !!int x", 0, "has the tag", id="a number tag on text"),
        pytest.param(
            "a: 0x_", 0, "tagged as a number, which it is not", id="a hexadecimal number without digits"
        ),
        pytest.param("a: " + "9" * 5000, 0, "more than 64 digits", id="a number too long to be one"),
        pytest.param("a: [", 0, "is not YAML", id="an open bracket"),
        pytest.param("a: 1\nb: 'x", 1, "is not YAML", id="an open quote"),
        pytest.param("a: 1\n\tb: 2", 1, "is not YAML", id="a tab for indentation"),
        pytest.param("a: 1\nb: \x01", 1, "is not YAML", id="a control character"),
        pytest.param("- " * 200, 0, "nested more than 100", id="nested block lists"),
        pytest.param("[" * 100_000, 0, "nested more than 100", id="nested flow lists"),
        pytest.param("{a: " * 100_000, 0, "nested more than 100", id="nested flow maps"),
    ],
)
def test_what_no_manifest_may_be_is_refused_with_its_line(text: str, line: int, rule: str) -> None:
    with pytest.raises(YamlFault, match=rule) as caught:
        load_yaml(text.encode())

    assert caught.value.line == line


def test_a_billion_laughs_are_refused_before_they_are_written_out() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 30)]

    with pytest.raises(YamlFault, match="aliases repeat too much"):
        load_yaml("\n".join(levels).encode())


def test_a_long_text_repeated_often_is_refused() -> None:
    text = "a: &a " + "x" * 1_000_000 + "\nb: [" + ", ".join(["*a"] * 100) + "]"

    with pytest.raises(YamlFault, match="too large"):
        load_yaml(text.encode())
