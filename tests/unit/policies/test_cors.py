"""Which pages may read responses, and what is refused before anybody relies on it."""

from __future__ import annotations

import re

import pytest

from ingresskit.policies import Cors
from ingresskit.policies.kinds.cors import parse_cors_headers, parse_cors_methods, parse_cors_origins


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("*", ("*",)),
        ("https://a.test", ("https://a.test",)),
        (" HTTPS://A.test:8443 ,null,https://A.test:8443", ("https://a.test:8443", "null")),
        ("https://*.a.test, *", ("*",)),
        ("chrome-extension://abc", ("chrome-extension://abc",)),
    ],
)
def test_origins_are_read_in_lower_case_and_each_once(text: str, origins: tuple[str, ...]) -> None:
    assert parse_cors_origins(text) == origins


@pytest.mark.parametrize(
    "text",
    [
        *("", "a.test", "https://", "https://a.test/", "https://a.test/x", "https://a*.test", "https://*"),
        *("https://*.*.test", "https://a.test,", "https://a .test", "https://a.test\nX: y", "https://a.test:"),
        *("https://u@a.test", "https://(a|b).test", ",".join(["https://a.test"] * 65)),
    ],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_cors_origins(text)


@pytest.mark.parametrize("text", ["", "GET,", "G T", "GET\r\nX: y", "GET;"])
def test_what_is_no_method_or_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_cors_methods(text)
    with pytest.raises(ValueError, match="must be"):
        parse_cors_headers(text)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"methods": ("GET",)}, "needs cors-origins too"),
        ({"origins": ("*",), "credentials": True}, "named sites"),
        ({"origins": ("https://a.test", "null"), "credentials": True}, "named sites"),
    ],
    ids=str,
)
def test_a_permission_that_nobody_can_want_is_refused(values: dict[str, object], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Cors.build(values)


def test_a_star_in_a_name_stands_for_one_label() -> None:
    pattern = re.compile(Cors(origins=("https://*.a.test", "x+y://b")).pattern)

    assert all(map(pattern.fullmatch, ("https://x-1.a.test", "x+y://b")))
    others = ("https://a.test", "https://.a.test", "https://x.y.a.test", "https://x.aatest", "xxy://b")
    assert not any(map(pattern.fullmatch, others))
