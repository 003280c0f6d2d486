"""What endpoints say of their own place is changed, and nothing else of a response."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ingresskit.filters import chain_of
from ingresskit.graph import JudgedRequest, Request
from ingresskit.policies import CookieRewrite, LocationRewrite, Policy, PolicySet, TextChange
from ingresskit.policies.text_changes import (
    parse_domain_changes,
    parse_location_changes,
    parse_path_changes,
    pattern_source,
)
from tests.unit.graph.graphs import host, route


class _Response:
    """An endpoint's response, as filters see it."""

    status = 200

    def __init__(self, *fields: tuple[str, str]) -> None:
        self._fields = fields

    def field(self, name: bytes) -> bytes | None:
        return b", ".join(self.values(name)) or None

    def values(self, name: bytes) -> tuple[bytes, ...]:
        return tuple(value.encode() for key, value in self._fields if key.lower().encode() == name)


class _View(JudgedRequest):
    """A request of a client for a.test over TLS, with a port."""

    host = "a.test"
    path = "/"
    https = True
    length = None
    secure_location = None
    client = None


def changed(policy: Policy, *fields: tuple[str, str]) -> list[tuple[str, str]] | None:
    """The fields that the policy puts in place of some of these; ``None``: it changes nothing."""
    (item,) = chain_of(host("a.test"), route("Prefix /", policies=PolicySet([policy]))).rewrites
    view = _View(Request.of("https://a.test/", headers={"host": "a.test:8443"}))
    edit = item.response(view, _Response(*fields))  # type: ignore[arg-type]
    if not edit:
        return None
    assert edit.drop == {name.lower() for name, _ in edit.fields}
    return [(name.decode(), value.decode()) for name, value in edit.fields]


def cookies(policy: Policy, *values: str) -> Iterator[str]:
    found = changed(policy, *(("Set-Cookie", value) for value in values))
    return iter(values) if found is None else (value for _, value in found)


@pytest.mark.parametrize(
    ("cookie", "made"),
    [
        ("a=1; Domain=inner.test; Path=/", "a=1; Domain=shop.example; Path=/"),
        ("a=1; DOMAIN=.Inner.TEST", "a=1; DOMAIN=shop.example"),
        ("a=1;domain = inner.test ;Secure", "a=1;domain = shop.example ;Secure"),
        ("a=1; Domain=x.inner.test", "a=1; Domain=x.inner.test"),
        ("domain=inner.test; Path=/", "domain=inner.test; Path=/"),
        ("a=1; Domain=second.test", "a=1; Domain=b.example"),
    ],
)
def test_the_domain_of_a_cookie_is_replaced_as_a_whole(cookie: str, made: str) -> None:
    policy = CookieRewrite(domains=parse_domain_changes("inner.test shop.example\n.second.test .b.example"))

    assert list(cookies(policy, cookie)) == [made]


@pytest.mark.parametrize(
    ("cookie", "made"),
    [
        ("a=1; Path=/two/x; HttpOnly", "a=1; Path=/x; HttpOnly"),
        ("a=1; path=/two", "a=1; path=/two"),
        ("a=/two/; Secure", "a=/two/; Secure"),
        ("a=1; Path=/Two/x", "a=1; Path=/Two/x"),
    ],
)
def test_the_beginning_of_the_path_of_a_cookie_is_replaced(cookie: str, made: str) -> None:
    assert list(cookies(CookieRewrite(paths=parse_path_changes("/two/ /")), cookie)) == [made]


def test_all_cookies_stay_apart_and_those_that_do_not_change_stay_as_they_are() -> None:
    policy = CookieRewrite(domains=parse_domain_changes("a b"), paths=parse_path_changes("/x /y"))

    made = list(cookies(policy, "one=1; Domain=a; Path=/x", "two=2; Expires=Thu, 01 Jan 2099 00:00:00 GMT"))

    assert made == ["one=1; Domain=b; Path=/y", "two=2; Expires=Thu, 01 Jan 2099 00:00:00 GMT"]
    assert changed(policy, ("Set-Cookie", "two=2"), ("X-Other", "/x")) is None


def test_a_pattern_replaces_the_whole_text() -> None:
    change = TextChange(pattern_source("~*^/app([0-9])"), "/all/$1", pattern=True)

    assert list(cookies(CookieRewrite(paths=(change,)), "a=1; Path=/APP7/x")) == ["a=1; Path=/all/7"]


@pytest.mark.parametrize(
    ("lines", "field", "made"),
    [
        ("http://inner:8080/ /", ("Location", "http://inner:8080/x?a=b"), "/x?a=b"),
        ("http://inner/ $scheme://$host/", ("Location", "http://inner/x"), "https://a.test/x"),
        ("http://$host/ https://$http_host/", ("Location", "http://a.test/x"), "https://a.test:8443/x"),
        ("/a /b\n/a/x /c", ("Location", "/a/x"), "/b/x"),
        ("/a /b", ("Refresh", "5; URL=/a/x"), "5; URL=/b/x"),
        ("/a /b", ("Location", "/c/a"), None),
        ("/a /b", ("Refresh", "5"), None),
        ("/a /b", ("Content-Location", "/a"), None),
    ],
)
def test_redirects_are_changed_by_their_beginning(lines: str, field: tuple[str, str], made: str | None) -> None:
    policy = LocationRewrite(changes=parse_location_changes(lines))

    assert changed(policy, field) == (None if made is None else [(field[0], made)])


@pytest.mark.parametrize(
    "text", ["", "/a", "/a b", "/a /b /c", "\n".join(["/a /b"] * 17), "/a;b /c", '/a /"', "~/a /b"]
)
def test_what_is_no_pair_of_paths_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be lines of two paths"):
        parse_path_changes(text)


@pytest.mark.parametrize("text", ["/a $uri", "/a /$1", "~x /b", "off off", "/a /\\b", "javascript:x /a"])
def test_what_is_no_pair_of_urls_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be lines of two URLs"):
        parse_location_changes(text)


@pytest.mark.parametrize("text", ["a b/c", "a b;c", "a"])
def test_what_is_no_pair_of_domains_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be lines of two domains"):
        parse_domain_changes(text)
