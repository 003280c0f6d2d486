from __future__ import annotations

import pytest

from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import Origin
from ingresskit.render.nginx import ConfigFile
from ingresskit.render.nginx.tree import (
    MAX_TOKEN_BYTES,
    Block,
    Comment,
    Directive,
    Span,
    TextRefused,
    Value,
    Variable,
    token,
    write,
)


def origin(name: str) -> Origin:
    return Origin(ObjectRef("Ingress", ObjectKey("default", name)), "spec.rules[0]")


@pytest.mark.parametrize(
    ("argument", "written"),
    [
        pytest.param("/foo", "/foo", id="a plain text is bare"),
        pytest.param("", '""', id="the empty text is a token"),
        pytest.param("a b", '"a b"', id="white space is quoted"),
        pytest.param('a"; } x', '"a\\"; } x"', id="a quote is escaped"),
        pytest.param("a\\", '"a\\\\"', id="a backslash is escaped"),
        pytest.param("$uri", '"$uri"', id="a dollar stays where nothing is expanded"),
        pytest.param(Value("$uri"), '"${ik_dollar}uri"', id="a dollar is a variable where variables are"),
        pytest.param(Value("a", Variable("uri")), '"a${uri}"', id="a variable is one"),
        pytest.param("#", '"#"', id="a comment is none"),
    ],
)
def test_a_value_is_written_as_one_token(argument: str | Value, written: str) -> None:
    assert token(argument) == written


@pytest.mark.parametrize("character", ["\n", "\r", "\0", "\x1b", "\x7f"])
def test_control_characters_are_refused(character: str) -> None:
    with pytest.raises(TextRefused, match="control character"):
        token(f"a{character}b")


def test_a_token_may_be_as_long_as_nginx_reads() -> None:
    assert len(token("a" * MAX_TOKEN_BYTES)) == MAX_TOKEN_BYTES
    for text in (
        "a" * (MAX_TOKEN_BYTES + 1),
        '"' * (MAX_TOKEN_BYTES // 2 + 1),
        "ü" * (MAX_TOKEN_BYTES // 2 + 1),
    ):
        with pytest.raises(TextRefused, match="longer than 4000 bytes"):
            token(text)


def test_a_variable_whose_name_is_none_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="not the name of a variable"):
        token(Value(Variable("x} $y")))


def test_a_comment_never_spans_lines() -> None:
    with pytest.raises(ValueError, match="not a comment"):
        write([Comment("a\nreturn 200;")])


def test_every_line_can_be_traced_to_who_asked_for_it() -> None:
    inner = Directive("return", ("404",), origin("inner"))
    written = write(
        [
            Comment("fixed"),
            Block(
                "server",
                (),
                (Directive("listen", ("80",)), Block("location", ("/",), (inner,))),
                origin("outer"),
            ),
        ]
    )
    file = ConfigFile(path="x.conf", content=written.content, spans=written.spans)

    assert written.content.decode().splitlines() == [
        "# fixed",
        "server {",
        "    listen 80;",
        "    location / {",
        "        return 404;",
        "    }",
        "}",
    ]
    assert written.spans == (Span(2, 7, origin("outer")), Span(5, 5, origin("inner")))
    assert [file.origin_of(line) for line in (1, 3, 5, 6)] == [
        None,
        origin("outer"),
        origin("inner"),
        origin("outer"),
    ]
