"""The pipeline over a folder of manifests, without a cluster or a proxy: render, check, explain.

``python -m ingresskit check DIR`` ends with 0 when nothing is refused, with 1 when something is, and
with 2 (and one line on the error output) when it cannot tell: a flag is wrong, or the folder is not there.
With ``--strict`` it ends with 1 for warnings too, and when there are Ingresses and none is of this controller.
Notes about the folder as a whole and the counts stand on the error output, the Diagnostics on the other.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ingresskit._offline import RENDERERS, Offline, diagnostic_lines, explanation_lines, graph_lines
from ingresskit.arguments import (
    OneLineParser,
    TranslationArguments,
    add_translation_arguments,
    checked,
    translate_options,
)
from ingresskit.controller.admin.answers import dump_explanation
from ingresskit.diagnostics import Severity
from ingresskit.errors import ConfigurationError, SourceError
from ingresskit.filters import explain
from ingresskit.graph import Request

__all__ = ["main"]

_DESCRIPTION = "Carry a folder of manifests through the pipeline, without a cluster or a proxy."


class _Flags(TranslationArguments):
    command: str
    folder: Path
    renderer: str
    output: str
    strict: bool
    url: str
    method: str
    header: list[tuple[str, str]]
    client: str | None
    json: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after the program's name; ``None``: those of this process.

    Returns:
        The exit status: 0; 1 when an object was refused a part of what it asks for (``render`` and
        ``check``); 2 for a folder that is not there or a value that cannot be.

    Raises:
        SystemExit: With 2 for a flag that is wrong, with 0 after ``--help``.
    """
    parser = _parser()
    flags = parser.parse_args(argv, namespace=_Flags())
    try:
        offline = Offline.load(flags.folder, translate_options(flags), flags.renderer)
        match flags.command:
            case "render":
                return _render(offline, flags)
            case "check":
                return _check(offline, flags)
            case _:
                return _explain(offline, flags)
    except (ConfigurationError, SourceError) as exc:
        print(f"{parser.prog}: {exc}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # `… | head` has read enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _render(offline: Offline, flags: _Flags) -> int:
    if flags.output == "json":
        sys.stdout.write(offline.graph.to_json().decode())
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
    request = Request.of(flags.url, method=flags.method, headers=dict(flags.header), client=flags.client)
    explanation = explain(offline.graph, request, offline.claims)
    if flags.json:
        print(json.dumps(dump_explanation(explanation), indent=2))
    else:
        print(*explanation_lines(offline, explanation), sep="\n")
    sys.stdout.flush()
    _print_notes(offline)
    return 0


def _parser() -> OneLineParser:
    parser = OneLineParser(prog="python -m ingresskit", description=_DESCRIPTION, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="render|check|explain")

    render = commands.add_parser("render", help="print what would be served", allow_abbrev=False)
    _add_shared(render)
    add = render.add_argument
    add("--output", choices=["text", "json"], default="text", help="(%(default)s)")

    check = commands.add_parser("check", help="print what is wrong with the objects", allow_abbrev=False)
    _add_shared(check)
    check.add_argument("--strict", action="store_true", help="end with 1 for warnings too")

    explained = commands.add_parser(
        "explain", help="say which rule takes a request, and why", allow_abbrev=False
    )
    _add_shared(explained)
    add = explained.add_argument
    add("url", metavar="URL", help="as a client would ask for it: http://shop.example/cart")
    add("--method", default="GET", metavar="METHOD", help="(%(default)s)")
    add("--header", type=checked(_header), action="append", default=[], metavar="NAME:VALUE")
    add("--client", type=checked(_client), metavar="ADDR", help="the client's address")
    add("--json", action="store_true", help="print JSON")
    return parser


def _add_shared(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes: the folder, and what decides how it is translated."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="a folder of YAML and JSON manifests")
    text = "whose limits count: inprocess, haproxy or nginx (%(default)s)"
    parser.add_argument("--renderer", type=checked(_renderer), default="inprocess", metavar="NAME", help=text)
    add_translation_arguments(parser)


def _renderer(text: str) -> str:
    if text not in RENDERERS:
        raise ValueError(f"{text!r} is not known; there are {', '.join(RENDERERS[:-1])} and {RENDERERS[-1]}")
    return text


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise ValueError(f"{text!r} is not a header field such as 'X-Tenant: blue'")
    return name, value.strip()


def _client(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None


if __name__ == "__main__":
    sys.exit(main())
