"""``check``, ``explain`` and ``render``: the pipeline over a folder of manifests, without a cluster or a proxy.

``check DIR`` ends with 0 when nothing is refused, with 1 when something is, and with 2 (and one line on the
error output) when it cannot tell: a flag is wrong, or the folder is not there.
With ``--strict`` it ends with 1 for warnings too, and when there are Ingresses and none is of this controller.
Notes about the folder as a whole and the counts stand on the error output, the Diagnostics on the other.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, assert_never

from ingresskit.app.dialects import (
    DialectArguments,
    add_dialect_arguments,
    check_dialects,
    with_dialects,
)
from ingresskit.app.offline import Offline, diagnostic_lines, explanation_lines, graph_lines
from ingresskit.app.parser import CommandParser
from ingresskit.app.renderers import GraphLimits, find_renderer
from ingresskit.arguments import add_translation_arguments, checked, translate_options
from ingresskit.controller.admin.shapes import dump_explanation
from ingresskit.diagnostics import Severity
from ingresskit.errors import ConfigurationError, SourceError
from ingresskit.filters import explain
from ingresskit.graph import Request, to_json

__all__ = ["Question", "answer"]

Question = Literal["check", "explain", "render"]

_DESCRIPTIONS: dict[Question, str] = {
    "check": "Print what is wrong with the objects of a folder of manifests.",
    "explain": "Show which rule takes a request, and why every near miss does not.",
    "render": "Print the route graph that a folder of manifests comes to.",
}


class _Flags(DialectArguments):
    folder: Path
    renderer: Callable[[], GraphLimits]
    output: str
    strict: bool
    url: str
    method: str
    header: list[tuple[str, str]]
    cookie: list[tuple[str, str]]
    client: str | None
    json: bool
    fail: bool


def answer(question: Question, argv: Sequence[str] | None, *, program: str) -> int:
    """Run one command.

    Args:
        question: Which.
        argv: The words after it; ``None``: those of this process.
        program: What messages begin with.

    Returns:
        The exit status: 0; 1 when an object was refused a part of what it asks for (``render`` and ``check``),
        or with ``--fail`` when the proxy itself responds with 400 or more (``explain``); 2 for a folder that is
        not there or a value that cannot be.

    Raises:
        SystemExit: With 2 for a flag that is wrong, with 0 after ``--help``.
    """
    parser = _parser(question, program)
    flags = parser.read(argv, _Flags())
    check_dialects(flags, parser)
    try:
        options = with_dialects(translate_options(flags), flags)
        offline = Offline.load(flags.folder, options, flags.renderer())
        match question:
            case "render":
                return _render(offline, flags)
            case "check":
                return _check(offline, flags)
            case "explain":
                return _explain(offline, flags)
            case _:
                assert_never(question)
    except (ConfigurationError, SourceError) as exc:
        print(f"{program}: {exc}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # `… | head` has read enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _render(offline: Offline, flags: _Flags) -> int:
    if flags.output == "json":
        sys.stdout.write(to_json(offline.graph).decode())
    else:
        print(*graph_lines(offline.graph), sep="\n")
    sys.stdout.flush()
    print(*diagnostic_lines(offline), sep="\n", end="\n" if offline.diagnostics else "", file=sys.stderr)
    _print_notes(offline)
    return int(offline.count(Severity.ERROR) > 0)


def _check(offline: Offline, flags: _Flags) -> int:
    for line in diagnostic_lines(offline):
        print(line)
    sys.stdout.flush()
    errors, warnings = offline.count(Severity.ERROR), offline.count(Severity.WARNING)
    _print_notes(offline)
    ingresses = "1 Ingress" if offline.ingresses == 1 else f"{offline.ingresses} Ingresses"
    counts = f"{ingresses}, {offline.ours} of this controller; errors: {errors}, warnings: {warnings}"
    print(counts, file=sys.stderr)
    unchecked = offline.ingresses > 0 and offline.ours == 0
    return int(errors > 0 or (flags.strict and (warnings > 0 or unchecked)))


def _print_notes(offline: Offline) -> None:
    for note in offline.notes:
        print(f"note: {note}", file=sys.stderr)


def _explain(offline: Offline, flags: _Flags) -> int:
    headers: dict[str, str] = {}
    for name, value in flags.header:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    request = Request.of(
        flags.url, method=flags.method, headers=headers, client=flags.client, cookies=dict(flags.cookie)
    )
    explanation = explain(offline.graph, request, offline.claims, effects=offline.effects)
    if flags.json:
        print(json.dumps(dump_explanation(explanation), indent=2))
    else:
        print(*explanation_lines(offline, explanation), sep="\n")
    sys.stdout.flush()
    _print_notes(offline)
    return int(flags.fail and (explanation.status or 0) >= 400)


def _parser(question: Question, program: str) -> CommandParser:
    parser = CommandParser(prog=program, description=_DESCRIPTIONS[question], allow_abbrev=False)
    parser.add_argument("folder", metavar="DIR", type=Path, help="a folder of YAML and JSON manifests")
    if question == "explain":
        parser.add_argument("url", metavar="URL", help="as a client asks for it: http://shop.example/cart")
    text = "whose limits count: inprocess, haproxy, nginx or one that is installed (%(default)s)"
    parser.add_argument(
        "--renderer", type=checked(find_renderer), default="inprocess", metavar="NAME", help=text
    )
    add = parser.add_argument
    match question:
        case "render":
            add("--output", choices=["text", "json"], default="text", help="(%(default)s)")
        case "check":
            add("--strict", action="store_true", help="end with 1 for warnings too")
        case "explain":
            add("--method", default="GET", metavar="METHOD", help="(%(default)s)")
            text = "a header field of the request; repeatable"
            add("--header", type=checked(_header), action="append", default=[], metavar="NAME:VALUE", help=text)
            text = "a cookie of the request; repeatable"
            add("--cookie", type=checked(_cookie), action="append", default=[], metavar="NAME=VALUE", help=text)
            add("--client", type=checked(_client), metavar="ADDR", help="the client's address")
            add("--json", action="store_true", help="print JSON")
            text = "end with 1 when the proxy itself responds with 400 or more, such as 404"
            add("--fail", action="store_true", help=text)
        case _:
            assert_never(question)
    add_translation_arguments(parser)
    add_dialect_arguments(parser)
    return parser


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise ValueError(f"{text!r} is not a header field such as 'X-Tenant: blue'")
    return name.lower(), value.strip()


def _cookie(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or ";" in value:
        raise ValueError(f"{text!r} is not a cookie such as 'canary=always'")
    return name, value


def _client(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None
