r"""nginx configuration as a tree, and the one writer that turns it into text.

Nothing else in ingresskit writes nginx's language. Text of a tenant is a value in the tree and comes
out as exactly one token, whatever it holds: quoted, with `\` and `"` escaped. What cannot be said that
way is refused with `TextRefused`.

nginx has no escape for ``$`` in places where it expands variables. There, the ``$`` of a text is written
as a variable that holds one (`DOLLAR`, defined in the main file). So the tree tells apart:

- ``str``: a token in a place where nothing is expanded (names of locations and servers, keys, sizes);
- `Value`: a token in a place where variables are expanded, made of texts and `Variable`s;
- `Variable` and `Condition`: a variable by its name, as ``map`` and ``if`` take it;
- `Directive`, `Block` and `Comment`, which are ours alone: their names and remarks never hold a value.

Source: ``ngx_conf_read_token`` and ``ngx_http_script_compile`` of nginx 1.22 and 1.30.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, assert_never

from ingresskit.policies import Origin

__all__ = [
    "DOLLAR",
    "LINE_END",
    "MAX_TOKEN_BYTES",
    "Argument",
    "Block",
    "Comment",
    "Condition",
    "Directive",
    "Node",
    "Part",
    "Prepared",
    "Span",
    "TextRefused",
    "Value",
    "Variable",
    "Written",
    "prepared",
    "text_fault",
    "token",
    "write",
]

MAX_TOKEN_BYTES: Final = 4000
"""Of a token as written: nginx reads through 4,096 bytes, and a longer token fails the whole file."""

# Never special to nginx, whatever stands around it.
_BARE = re.compile(r"[A-Za-z0-9_./:*^~=+@,%-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REMARK = re.compile(r"[\x20-\x7e]*")
_INDENT = [" " * (4 * depth) for depth in range(16)]


class TextRefused(ValueError):
    """Raised when a text cannot be a token of nginx. Its text is a clause: ``"has a control character"``."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of nginx, by its name without ``$``: letters, digits and ``_``."""

    name: str


@dataclass(frozen=True, slots=True)
class Condition:
    """What ``if`` asks: whether a variable is neither empty nor ``0``."""

    variable: Variable


class _LineEnd:
    """A line feed in the value of a variable or a body: the one control character that we write ourselves."""

    __slots__ = ()


LINE_END: Final = _LineEnd()
"""A part of a `Value`: the end of a line."""


class Value:
    """A token in a place where nginx expands variables. Immutable.

    Args:
        parts: Texts, which come out as they are, variables, and `LINE_END`, in order.
    """

    __slots__ = ("parts",)

    def __init__(self, *parts: Part) -> None:
        self.parts: tuple[Part, ...] = parts

    def __eq__(self, other: object) -> bool:
        return self.parts == other.parts if isinstance(other, Value) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.parts)

    def __repr__(self) -> str:
        return f"Value{self.parts!r}"


DOLLAR: Final = Variable("ik_dollar")
"""Holds a dollar sign; whoever writes a main file defines it there."""

Part = str | Variable | _LineEnd

Argument = str | Value | Variable | Condition


class Directive(NamedTuple):
    """``name arg …;``. What it was asked for by, when a user did."""

    name: str
    args: tuple[Argument, ...] = ()
    origin: Origin | None = None


class Comment(NamedTuple):
    """A remark of ours, one line of ASCII. Never a value."""

    text: str


class Block(NamedTuple):
    """``name arg … { body }``."""

    name: str
    args: tuple[Argument, ...]
    body: tuple[Node, ...]
    origin: Origin | None = None


class Prepared(NamedTuple):
    """Directives that were written before, each by `prepared`: ten thousand need not be written again."""

    lines: tuple[str, ...]


Node = Directive | Block | Comment | Prepared


class Span(NamedTuple):
    """Which lines of a file one user's object asked for; *first* and *last* are included and count from 1."""

    first: int
    last: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class Written:
    """What the writer gives.

    Attributes:
        content: The file, in ASCII or, where a text is not, UTF-8.
        spans: Sorted by the first line, outer ones before those inside.
    """

    content: bytes
    spans: tuple[Span, ...] = field(default=())


def token(argument: Argument) -> str:
    """*argument* as nginx reads it back: one token, whatever it holds.

    Raises:
        TextRefused: It has a control character, or is longer than `MAX_TOKEN_BYTES` when written.
    """
    if isinstance(argument, str):
        if _BARE.fullmatch(argument) and len(argument) <= MAX_TOKEN_BYTES:
            return argument
        return _quoted(_escaped(argument))
    if isinstance(argument, Value):
        return _quoted("".join(map(_part, argument.parts)))
    if isinstance(argument, Variable):
        return f"${_checked(argument)}"
    return f"(${_checked(argument.variable)})"


def text_fault(text: str) -> str:
    """Why *text* cannot be written where variables are expanded, as a clause; empty when it can."""
    if len(text) < 500 and text.isalnum():
        return ""
    try:
        token(Value(text))
    except TextRefused as exc:
        return str(exc)
    return ""


def write(nodes: Iterable[Node]) -> Written:
    """The text of *nodes*, one directive a line, and which lines were asked for by whom.

    Raises:
        TextRefused: A value cannot be written; see `token`.
        ValueError: A name or a comment is not one: our own mistake.
    """
    lines: list[str] = []
    spans: list[Span] = []
    _write(nodes, 0, lines, spans)
    lines.append("")
    return Written("\n".join(lines).encode("utf-8", "surrogateescape"), tuple(spans))


def prepared(directive: Directive, depth: int = 1) -> str:
    """The line of *directive*, which nobody in particular asked for, inside of so many blocks.

    Raises:
        TextRefused: A value cannot be written; see `token`.
    """
    return f"{_INDENT[depth]}{_head(directive.name, directive.args)};"


_DOLLAR: Final = f"${{{DOLLAR.name}}}"


def _write(nodes: Iterable[Node], depth: int, lines: list[str], spans: list[Span]) -> None:
    indent = _INDENT[depth]
    for node in nodes:
        match node:
            case Directive(name, args, origin):
                if origin is not None:
                    spans.append(Span(len(lines) + 1, len(lines) + 1, origin))
                lines.append(f"{indent}{_head(name, args)};")
            case Block(name, args, body, origin):
                place = len(spans)
                first = len(lines) + 1
                lines.append(f"{indent}{_head(name, args)} {{")
                _write(body, depth + 1, lines, spans)
                lines.append(f"{indent}}}")
                if origin is not None:
                    spans.insert(place, Span(first, len(lines), origin))
            case Prepared(written):
                lines.extend(written)
            case Comment(text):
                if not _REMARK.fullmatch(text):
                    raise ValueError(f"{text!r} is not a comment of ours")
                lines.append(f"{indent}# {text}" if text else "")
            case _:
                assert_never(node)


def _head(name: str, args: tuple[Argument, ...]) -> str:
    # Map keys stand where names of directives do, and so come through here as well.
    return " ".join([token(name), *map(token, args)]) if args else token(name)


def _part(part: Part) -> str:
    if isinstance(part, str):
        return _escaped(part).replace("$", _DOLLAR)
    return f"${{{_checked(part)}}}" if isinstance(part, Variable) else r"\n"


def _checked(variable: Variable) -> str:
    if not _NAME.fullmatch(variable.name):
        raise ValueError(f"{variable.name!r} is not the name of a variable")
    return variable.name


def _escaped(text: str) -> str:
    if _CONTROL.search(text):
        raise TextRefused("has a control character")
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _quoted(escaped: str) -> str:
    size = len(escaped) if escaped.isascii() else len(escaped.encode("utf-8", "surrogateescape"))
    if size > MAX_TOKEN_BYTES:
        raise TextRefused(f"is longer than {MAX_TOKEN_BYTES} bytes when it is written for nginx")
    return f'"{escaped}"'
