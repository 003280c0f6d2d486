"""Which rewrites a program does by itself, and which it leaves to the delegate."""

from __future__ import annotations

import pytest

from ingresskit.policies import (
    ConnectionUse,
    CookieRewrite,
    LocationRewrite,
    Policy,
    PolicySet,
    RegexRewrite,
    TextChange,
    UpstreamConnection,
    UpstreamHost,
)
from ingresskit.render.haproxy import HaproxyRenderer
from ingresskit.render.nginx.dynamic.renderer import DynamicRenderer
from ingresskit.render.nginx.static.renderer import StaticRenderer

TABLES = {
    "haproxy": HaproxyRenderer.handlers,
    "static": StaticRenderer.handlers,
    "dynamic": DynamicRenderer.handlers,
}

PLAIN, PATTERN = TextChange("/a", "/b"), TextChange("/a(.*)", "/$1", pattern=True)
CASES: dict[str, tuple[Policy, set[str]]] = {
    "another host": (UpstreamHost(host="inner.example"), {"haproxy", "static", "dynamic"}),
    "captures of the rule": (RegexRewrite(replacement="/$1"), {"dynamic"}),
    "captures of a pattern": (RegexRewrite(pattern="/a(.*)", replacement="/$1"), {"dynamic"}),
    "a pattern that looks ahead": (RegexRewrite(pattern="/(?!a)(.*)", replacement="/$1"), set()),
    "paths of cookies": (CookieRewrite(paths=(PLAIN,)), {"static", "dynamic"}),
    "patterns of cookies": (CookieRewrite(paths=(PATTERN,)), {"dynamic"}),
    "a domain that nginx reads as a word": (CookieRewrite(domains=(TextChange("off", "a.test"),)), {"dynamic"}),
    "redirects": (LocationRewrite(changes=(PLAIN,)), {"static", "dynamic"}),
    "redirects with variables": (LocationRewrite(changes=(TextChange("/", "$scheme://x/"),)), {"dynamic"}),
    "patterns of redirects": (LocationRewrite(changes=(PLAIN, PATTERN)), {"dynamic"}),
    "connections that are closed": (UpstreamConnection(use=ConnectionUse.CLOSE), {"static", "dynamic"}),
    "policies that ask for nothing": (UpstreamConnection(), {"haproxy", "static", "dynamic"}),
    "no redirects": (LocationRewrite(), {"haproxy", "static", "dynamic"}),
}


@pytest.mark.parametrize(("policy", "native"), CASES.values(), ids=CASES)
def test_what_a_program_does_exactly_it_does_by_itself(policy: Policy, native: set[str]) -> None:
    with_delegate = {name: table.judge(PolicySet([policy]), delegate=True) for name, table in TABLES.items()}
    alone = {name: table.judge(PolicySet([policy])) for name, table in TABLES.items()}

    assert {name for name, judgement in with_delegate.items() if not judgement.delegated} == native
    assert all(not judgement.losses for judgement in with_delegate.values())
    for name, judgement in alone.items():
        assert bool(judgement.losses) == (name not in native)
        assert (type(policy) in judgement.policies) == (name in native)
