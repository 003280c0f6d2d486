"""Paths that are made anew from parts of a path: every result is in normal form, or refused."""

from __future__ import annotations

import pytest

from ingresskit.filters import PathChanges, PathEdit, PatternEdit, decide
from ingresskit.graph import PathMatch, PathRefused, Request, Termination
from ingresskit.policies import PolicySet, RegexRewrite, UpstreamHost
from tests.unit.graph.graphs import graph, host, route

WIDE = PathMatch.regex("/shop(/|$)(.*)", host_wide=True)


@pytest.mark.parametrize(
    ("pattern", "replacement", "path", "query", "made"),
    [
        pytest.param("/a/(.*)", "/b/$1", "/a/x/y", "?q=1", ("/b/x/y", "?q=1"), id="a capture"),
        pytest.param("/(a+)/(.*)", "/$2/$1", "/aa/x", "", ("/x/aa", ""), id="two captures, turned round"),
        pytest.param("/a(x)?", "/b$1", "/a", "", ("/b", ""), id="a group that took no part"),
        pytest.param("/a", "/b$3", "/a", "", ("/b", ""), id="a place without a group"),
        pytest.param("/a/(.*)", "/$$1/$1", "/a/x", "", ("/$1/x", ""), id="a dollar sign"),
        pytest.param("/a/(.*)", "$1", "/a/x", "", ("/x", ""), id="a result without a slash in front"),
        pytest.param("/a(.*)", "/b/$1", "/a/x", "", ("/b/x", ""), id="two slashes become one"),
        pytest.param("/a/(.*)", "/b/$1", "/a/x%2Fy", "", ("/b/x%2Fy", ""), id="an escape stays one"),
        pytest.param("/b/", "/c", "/a/b/", "", ("/a/b/", ""), id="no match at the start"),
        pytest.param("/a/(.*)", "/b?p=$1", "/a/x", "", ("/b", "?p=x"), id="a query"),
        pytest.param(
            "/a/(.*)", "/b?p=$1", "/a/x", "?q=1", ("/b", "?p=x&q=1"), id="the client's query after it"
        ),
        pytest.param("/a/(.*)", "/b?p=$1", "/a/x", "?", ("/b", "?p=x"), id="an empty query of the client"),
        pytest.param(
            "/a/(.*)",
            "/b?p=$1",
            "/a/x&admin=1;z+%26",
            "",
            ("/b", "?p=x%26admin%3D1%3Bz%2B%26"),
            id="no forged value",
        ),
        pytest.param("/(?!api/)(.*)", "/web/$1", "/x", "", ("/web/x", ""), id="a look-ahead"),
        pytest.param("/(?!api/)(.*)", "/web/$1", "/api/x", "", ("/api/x", ""), id="a look-ahead that forbids"),
        pytest.param(r"/(\w+)/\1/(.*)", "/$2", "/a/a/x", "", ("/x", ""), id="a reference back"),
    ],
)
def test_a_path_is_made_of_what_the_groups_matched(
    pattern: str, replacement: str, path: str, query: str, made: tuple[str, str]
) -> None:
    edit = PatternEdit(pattern, replacement)

    found, asked = edit.rewritten(path, query.encode(), PathMatch.prefix("/"))

    assert (found, asked.decode()) == made


@pytest.mark.parametrize(
    ("pattern", "replacement", "path"),
    [
        pytest.param("/files(.*)", "/data/$1", "/files..", id="a dot element of a capture"),
        pytest.param("/files(.*)", "/data/$1", "/files../etc/passwd", id="one before other elements"),
        pytest.param("/files(.*)", "/data/$1", "/files..;x/etc", id="one with a parameter"),
        pytest.param("/files(.*)", "/data/$1", "/files..%2Fetc", id="one behind which a slash is escaped"),
        pytest.param("/(.)(.)", "/$1$2/etc", "/..x", id="one of two captures"),
        pytest.param("/(%2)(5)(.*)", "/$1E/$3", "/%25x", id="an escape of parts"),
        pytest.param("/(.)(.*)", "/$1/$2", "/%41", id="half of an escape"),
        pytest.param("/(?=(a+)+b|x)?(.*)", "/$2", "/" + "a" * 3000, id="a match that takes too long"),
    ],
)
def test_what_has_no_normal_form_afterwards_is_refused(pattern: str, replacement: str, path: str) -> None:
    with pytest.raises(PathRefused):
        PatternEdit(pattern, replacement).rewritten(path, b"", PathMatch.prefix("/"))


def test_without_a_pattern_that_of_the_rule_is_the_one() -> None:
    edit = PatternEdit(None, "/v2/$2")

    assert edit.rewritten("/SHOP/cart", b"?a", WIDE) == ("/v2/cart", b"?a")
    assert edit.rewritten("/shop", b"", WIDE) == ("/v2/", b"")
    assert edit.rewritten("/shop/cart", b"", PathMatch.prefix("/shop")) == ("/v2/", b"")


def test_changes_follow_one_another() -> None:
    both = PathChanges((PathEdit("/v2"), PatternEdit("/v2/(.*)", "/$1/v2")))

    assert both.rewritten("/shop/cart", b"", PathMatch.prefix("/shop")) == ("/cart/v2", b"")


def test_a_request_whose_path_leads_away_gets_400() -> None:
    policies = PolicySet([RegexRewrite(pattern="/files(.*)", replacement="/data/$1")])
    made = graph(host("a.test", route("Prefix /", policies=policies)))

    refused = decide(made, Request.of("http://a.test/files..%2Fetc"))
    fine = decide(made, Request.of("http://a.test/files/x"))

    assert refused.reply is not None
    assert (refused.reply.status, refused.reply.termination) == (400, Termination.BAD_REQUEST)
    assert fine.forwarded == "/data/x"


def test_the_host_for_endpoints_is_part_of_the_decision() -> None:
    policies = PolicySet([UpstreamHost(host="inner.example:8080")])
    made = graph(host("a.test", route("Prefix /", policies=policies)))

    assert decide(made, Request.of("http://a.test/")).upstream_host == "inner.example:8080"
