from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingresskit.graph import ANY_HOST, HostRefused, host_candidates, normalise_host, rule_host


@pytest.mark.parametrize(
    ("text", "host"),
    [
        (None, ANY_HOST),
        ("", ANY_HOST),
        ("Shop.Test", "shop.test"),
        ("*.Test", "*.test"),
        ("a", "a"),
        ("xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("1.2.3.x", "1.2.3.x"),
        ("a" * 63 + ".test", "a" * 63 + ".test"),
    ],
)
def test_the_host_of_a_rule_is_in_lower_case(text: str | None, host: str) -> None:
    assert rule_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "**.test",
        "a.*.test",
        "*a.test",
        "10.0.0.1",
        "[::1]",
        "a_b.test",
        "-a.test",
        "a-.test",
        "a..test",
        ".test",
        "a.test.",
        "a.test:80",
        "a test",
        "a.test\n",
        "\u00fc.test",
        "\u212a.test",
        "a" * 64 + ".test",
        "a." * 127 + "a",
    ],
    ids=ascii,
)
def test_what_is_no_host_of_a_rule_is_refused(text: str) -> None:
    with pytest.raises(HostRefused, match=r"^is "):
        rule_host(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Shop.Test", "shop.test"),
        ("shop.test:8080", "shop.test"),
        ("shop.test:", "shop.test"),
        ("shop.test.", "shop.test"),
        ("shop.test.:443", "shop.test"),
        ("10.0.0.1:80", "10.0.0.1"),
        ("[2001:DB8::1]:80", "[2001:db8::1]"),
        ("under_score.test", "under_score.test"),
    ],
)
def test_the_host_of_a_request_loses_port_and_one_trailing_dot(text: str, host: str) -> None:
    assert normalise_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..",
        ":80",
        "a:b",
        "a:80:90",
        "a:123456",
        "a b",
        "a/b",
        "a@b",
        "a,b",
        "a\r\nb",
        "a\n",
        "\u00fc.test",
        "::1",
        "[::1",
        "[]",
        "[x]",
        "a" * 256,
    ],
    ids=ascii,
)
def test_what_is_no_host_of_a_request_is_refused(text: str) -> None:
    with pytest.raises(HostRefused, match=r"^is not a host"):
        normalise_host(text)


@given(st.text("aZ0.-_:[]*\n ", max_size=12) | st.text(max_size=20))
def test_a_normal_host_is_its_own_normal_form(text: str) -> None:
    try:
        host = normalise_host(text)
    except HostRefused:
        return

    assert normalise_host(host) == host
    assert host.isascii()
    assert host == host.lower()


@pytest.mark.parametrize(
    ("host", "candidates"),
    [
        ("a.b.test", ["a.b.test", "*.b.test", "*"]),
        ("test", ["test", "*"]),
        ("[::1]", ["[::1]", "*"]),
    ],
)
def test_a_wildcard_takes_exactly_one_label(host: str, candidates: list[str]) -> None:
    assert list(host_candidates(host)) == candidates
