from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingresskit.policies import Algorithm, RedirectStatus
from ingresskit.policies.values import (
    parse_boolean,
    parse_byte_size,
    parse_choice,
    parse_duration,
    parse_header_names,
    parse_headers,
    parse_integer,
    parse_location,
    parse_networks,
    parse_path_prefix,
    parse_weights,
)

parse_0_to_10 = parse_integer(0, 10)
parse_algorithm = parse_choice(Algorithm)
parse_status = parse_choice(RedirectStatus)

PARSERS: dict[str, Callable[[str], object]] = {
    "boolean": parse_boolean,
    "byte size": parse_byte_size,
    "choice": parse_algorithm,
    "duration": parse_duration,
    "header names": parse_header_names,
    "headers": parse_headers,
    "integer": parse_0_to_10,
    "location": parse_location,
    "networks": parse_networks,
    "path prefix": parse_path_prefix,
    "weights": parse_weights,
}

GOOD: list[tuple[Callable[[str], object], str, object]] = [
    (parse_boolean, "true", True),
    (parse_boolean, " False\n", False),
    (parse_0_to_10, "0", 0),
    (parse_0_to_10, "10", 10),
    (parse_0_to_10, "007", 7),
    (parse_algorithm, "round-robin", Algorithm.ROUND_ROBIN),
    (parse_status, " 301 ", RedirectStatus.MOVED_PERMANENTLY),
    (parse_duration, "1ms", timedelta(milliseconds=1)),
    (parse_duration, "1500ms", timedelta(seconds=1.5)),
    (parse_duration, "24h", timedelta(hours=24)),
    (parse_duration, "86400s", timedelta(hours=24)),
    (parse_duration, "\t5m ", timedelta(minutes=5)),
    (parse_byte_size, "0", 0),
    (parse_byte_size, "512", 512),
    (parse_byte_size, "512K", 512 * 1024),
    (parse_byte_size, "8m", 8 * 1024**2),
    (parse_byte_size, "1048576g", 1024**5),
    (parse_header_names, "X-One, x-two,X-One", ("X-One", "x-two")),
    (parse_header_names, "a" * 128, ("a" * 128,)),
    (parse_headers, "X-One: 1\nX-Two:  a b : c \n", (("X-One", "1"), ("X-Two", "a b : c"))),
    (parse_headers, "X-One: 1\r\nX-Two: 2\r\n", (("X-One", "1"), ("X-Two", "2"))),
    (parse_headers, "X-Empty:", (("X-Empty", ""),)),
    (parse_headers, "X: " + "v" * 4000, (("X", "v" * 4000),)),
    (parse_location, "/new?a=b#c", "/new?a=b#c"),
    (parse_location, "https://other.test:8443/x", "https://other.test:8443/x"),
    (parse_location, "http://[2001:db8::1]/", "http://[2001:db8::1]/"),
    (parse_location, "/" + "x" * 1999, "/" + "x" * 1999),
    (parse_path_prefix, "/", "/"),
    (parse_path_prefix, "/v2/", "/v2"),
    (parse_path_prefix, "/a.b/..c/.d/e;f", "/a.b/..c/.d/e;f"),
    (parse_networks, "10.0.0.0/8", (ip_network("10.0.0.0/8"),)),
    (
        parse_networks,
        "2001:db8::1 , 192.0.2.1,10.0.0.0/8,192.0.2.1/32",
        (ip_network("10.0.0.0/8"), ip_network("192.0.2.1/32"), ip_network("2001:db8::1/128")),
    ),
    (parse_networks, "0.0.0.0/0,::/0", (ip_network("0.0.0.0/0"), ip_network("::/0"))),
    (parse_weights, "web-v2=10, web-v1 = 90", (("web-v2", 10), ("web-v1", 90))),
    (parse_weights, "a=0,b=1000000", (("a", 0), ("b", 1_000_000))),
]

BAD: dict[Callable[[str], object], tuple[str, ...]] = {
    parse_boolean: (
        "",
        "yes",
        "on",
        "1",
        "truetrue",
        "true\nfalse",
        "\uff54rue",
    ),
    parse_0_to_10: (
        "",
        "11",
        "-1",
        "+1",
        "1.0",
        "1e0",
        "\u0661",
        "\u00b2",
        "1_0",
        "9" * 5000,
    ),
    parse_algorithm: (
        "",
        "Round-Robin",
        "round_robin",
        "ROUND_ROBIN",
        "random\nrandom",
    ),
    parse_duration: (
        "",
        "5",
        "0s",
        "0ms",
        "1.5s",
        "-5s",
        "1h30m",
        "25h",
        "86400001ms",
        "5S",
        "\u0665s",
        "5 s",
        "5s5s",
        "5s\n6s",
        "9" * 5000 + "s",
        "1000000000ms",
    ),
    parse_byte_size: (
        "",
        "8mb",
        "-1",
        "1.5m",
        "8\u212a",
        "\u0668m",
        "8 m",
        "1048577g",
        "8m;",
    ),
    parse_header_names: (
        "",
        ",",
        "a,",
        "a b",
        "a\nb",
        "X_Y",
        "-x",
        "a" * 129,
        "x\u00e9",
        "a:b",
        "Host",
        "content-LENGTH",
        "X-Forwarded-For",
        "Connection",
        "Upgrade",
    ),
    parse_headers: (
        "",
        "X",
        ": v",
        "X Y: v",
        "X: a\n\nY: b",
        "X: a\nx: b",
        "X: " + "v" * 4001,
        "X: a\rY: b",
        "X: a\x00",
        "X: a\tb",
        "X: \u00e9",
        "X: a\u2028Y: b",
        "X: a\x0bY: b",
        "Host: a",
        "Transfer-Encoding: chunked",
        "x-forwarded-host: a",
        "Via: a",
    ),
    parse_location: (
        "",
        "new",
        "//evil.test/",
        "/\\evil.test",
        "ftp://a/",
        "javascript:alert(1)",
        "http://",
        "http:///x",
        "https://user@a.test/",
        "http://a.test:x/",
        "http://[::1",
        "/a b",
        "/a\r\nSet-Cookie: x=1",
        "/a\x00",
        "/\u00e9",
        '/"',
        "/<b>",
        "/" + "x" * 2000,
    ),
    parse_path_prefix: (
        "",
        "v2",
        "//",
        "/a//b",
        "/a/../b",
        "/..",
        "/./a",
        "/a/..;x/b",
        "/a/.;",
        "/a%2fb",
        "/a?b",
        "/a#b",
        "/a b",
        "/a\nb",
        "/a{b}",
        "/\u00e9",
        "/" + "x" * 1001,
    ),
    parse_networks: (
        "",
        ",",
        "10.0.0.0/8,",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "a.test",
        "10.0.0",
        "::/129",
        "10.0.0.0/0.0.0.255",
        "10.0.0.0/255.0.0.0",
        "fe80::1%eth0",
        "\u0661.1.1.1",
        "010.0.0.1",
    ),
    parse_weights: (
        "",
        "a",
        "a=",
        "=1",
        "a=-1",
        "a=1,a=2",
        "a=0",
        "a=0,b=0",
        "a=1000001",
        "a=\u0661",
        "a=1,",
        "A=1",
        "a_b=1",
        "-a=1",
        "a-=1",
        "1a=1",
        "a/b=1",
        "a=1\nb=1",
        "x" * 64 + "=1",
    ),
}


@pytest.mark.parametrize(("parse", "text", "expected"), GOOD)
def test_a_value_is_read(parse: Callable[[str], object], text: str, expected: object) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        pytest.param(parse, text, id=f"{parse.__name__} {ascii(text)[:40]}")
        for parse, texts in BAD.items()
        for text in texts
    ],
)
def test_a_text_outside_the_grammar_is_refused_with_the_rule(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match=r"^must ") as caught:
        parse(text)

    assert str(caught.value).isprintable()


def test_each_reserved_header_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="must not name Host: that header belongs to the proxy"):
        parse_headers("X-Fine: 1\nHost: other.test")


near_misses = st.text(
    st.characters(exclude_categories=[]) | st.sampled_from("0123456789kmghs=,:/.-\r\n \t"), max_size=30
)


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@given(text=near_misses)
def test_junk_is_refused_by_a_rule_and_by_nothing_else(parse: Callable[[str], object], text: str) -> None:
    rule = ""
    try:
        value = parse(text)
    except ValueError as exc:
        rule = str(exc)
    else:
        # Nothing that was let through can begin a line of its own anywhere.
        assert not any(control in str(part) for part in leaves(value) for control in ("\r", "\n", "\0"))
    assert not rule or (rule.startswith("must ") and rule.isprintable())


def leaves(value: object) -> list[object]:
    if not isinstance(value, tuple):
        return [value]
    return [leaf for item in cast("tuple[object, ...]", value) for leaf in leaves(item)]
