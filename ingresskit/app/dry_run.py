"""``check``, ``explain``, ``render``, ``routes``, ``certs`` and ``status``: of manifests, or of a controller.

Of manifests they run the pipeline without a cluster or a proxy. With ``--url`` they ask a controller that
runs, through its admin API.

``check DIR`` ends with 0 when nothing is refused, with 1 when something is, and with 2 (and one line on the
error output) when it cannot tell: a flag is wrong, there are no manifests, or the controller cannot be asked.
With ``--strict`` it ends with 1 for warnings too, and when there are Ingresses and none is of this controller.
Notes about the folder as a whole and the counts stand on the error output, the Diagnostics on the other.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Literal, assert_never

from ingresskit import __version__
from ingresskit.app.asking import ask, ask_why
from ingresskit.app.ci import Finding, print_findings
from ingresskit.app.dialects import (
    DialectArguments,
    add_dialect_arguments,
    check_dialects,
    with_dialects,
)
from ingresskit.app.listings import print_listing
from ingresskit.app.offline import Offline, diagnostic_lines, explanation_lines, graph_lines
from ingresskit.app.parser import CommandParser
from ingresskit.app.reading import Assumptions
from ingresskit.app.remote import AdminApi, ApiError, read_admin_url
from ingresskit.app.renderers import GraphLimits, find_renderer
from ingresskit.app.shown import written
from ingresskit.arguments import (
    add_translation_arguments,
    checked,
    read_duration,
    read_name,
    translate_options,
)
from ingresskit.controller.admin.shapes import dump_diagnostic, dump_explanation
from ingresskit.diagnostics import Severity
from ingresskit.errors import ConfigurationError, SourceError
from ingresskit.filters import explain
from ingresskit.graph import Request, to_json
from ingresskit.graph.dump import dump

__all__ = ["Question", "answer"]

Question = Literal["check", "explain", "render", "routes", "certs", "status"]

_DESCRIPTIONS: dict[Question, str] = {
    "check": "Print what is wrong with the objects of a folder of manifests.",
    "explain": "Show which rule takes a request, and why every near miss does not.",
    "render": "Print the route graph that a folder of manifests comes to.",
    "routes": "List the routes, in the order in which they are tried.",
    "certs": "List the certificates, the first that expires first.",
    "status": "Print how a controller is that runs.",
}
_OUTPUTS: dict[Question, tuple[str, ...]] = {
    "check": ("table", "json", "yaml", "sarif", "github"),
    "render": ("text", "table", "json", "yaml"),
}


class _Flags(DialectArguments):
    words: list[str]
    server: str | None
    token_file: Path | None
    within: timedelta
    assume_class: list[str]
    assume_endpoints: bool
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
    words = sys.argv[1:] if argv is None else argv
    remote = question == "status" or any(word == "--url" or word.startswith("--url=") for word in words)
    parser = _parser(question, program, remote=remote)
    flags = parser.read(words, _Flags())
    paths, url = _places(question, flags, parser, remote=remote)
    try:
        if remote:
            return _ask(question, flags, url)
        check_dialects(flags, parser)
        options = with_dialects(translate_options(flags), flags)
        assume = Assumptions(classes=tuple(flags.assume_class), endpoints=flags.assume_endpoints)
        offline = Offline.load(paths, options, flags.renderer(), assume)
        match question:
            case "render":
                return _render(offline, flags)
            case "check":
                return _check(offline, flags)
            case "explain":
                return _explain(offline, flags, url)
            case "routes" | "certs":
                status = print_listing(question, dump(offline.graph), flags.output, flags.within)
                _print_notes(offline)
                return status
            case "status":
                raise AssertionError("a status is always that of a controller")
            case _:
                assert_never(question)
    except (ConfigurationError, SourceError, ApiError) as exc:
        print(f"{program}: {exc}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # `… | head` has read enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _places(question: Question, flags: _Flags, parser: CommandParser, *, remote: bool) -> tuple[list[str], str]:
    """The paths of manifests, and of ``explain`` the URL that stands behind them."""
    paths = list(flags.words)
    url = paths.pop() if question == "explain" and len(paths) > (0 if remote else 1) else ""
    if question == "explain" and not url:
        parser.error(
            f"the following arguments are required: {'URL' if remote or paths else 'DIR, URL'}; see --help"
        )
    if remote and paths:
        parser.error(f"--url and {paths[0]} are two sources; give one of them")
    if not remote and not paths:
        parser.error("the following arguments are required: DIR, or --url URL of a controller that runs")
    if paths.count("-") > 1:
        parser.error("the standard input can be read once")
    return paths, url


def _ask(question: Question, flags: _Flags, url: str) -> int:
    api = AdminApi(flags.server or "", flags.token_file)
    output = "json" if question == "explain" and flags.json else flags.output
    if question == "explain":
        status = ask_why(api, _request(flags, url), url, output=output)
        return int(flags.fail and (status or 0) >= 400)
    return ask(question, api, output=output, strict=flags.strict, within=flags.within)


def _render(offline: Offline, flags: _Flags) -> int:
    match flags.output:
        case "json":
            sys.stdout.write(to_json(offline.graph).decode())
        case "yaml":
            sys.stdout.write(written(dump(offline.graph), "yaml"))
        case _:
            print(*graph_lines(offline.graph), sep="\n")
    sys.stdout.flush()
    print(*diagnostic_lines(offline), sep="\n", end="\n" if offline.diagnostics else "", file=sys.stderr)
    _print_notes(offline)
    return int(offline.count(Severity.ERROR) > 0)


def _check(offline: Offline, flags: _Flags) -> int:
    if flags.output == "table":
        for line in diagnostic_lines(offline):
            print(line)
        sys.stdout.flush()
    else:
        findings = [
            Finding(
                dump_diagnostic(item), offline.files.get(item.subject, ""), offline.places.get(item.subject, "")
            )
            for item in offline.diagnostics
        ]
        print_findings(findings, flags.output, __version__)
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


def _request(flags: _Flags, url: str) -> Request:
    headers: dict[str, str] = {}
    for name, value in flags.header:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Request.of(
        url, method=flags.method, headers=headers, client=flags.client, cookies=dict(flags.cookie)
    )


def _explain(offline: Offline, flags: _Flags, url: str) -> int:
    explanation = explain(offline.graph, _request(flags, url), offline.claims, effects=offline.effects)
    output = "json" if flags.json else flags.output
    if output == "table":
        print(*explanation_lines(offline, explanation), sep="\n")
    else:
        sys.stdout.write(written(dump_explanation(explanation), output))
    sys.stdout.flush()
    _print_notes(offline)
    return int(flags.fail and (explanation.status or 0) >= 400)


def _parser(question: Question, program: str, *, remote: bool) -> CommandParser:
    parser = CommandParser(prog=program, description=_DESCRIPTIONS[question], allow_abbrev=False)
    add = parser.add_argument
    what, text = "DIR", "folders and files of YAML and JSON manifests, or - for the standard input"
    if question == "explain":
        what, text = "DIR … URL", f"{text}; last the URL as a client asks for it: http://shop.example/cart"
    add("words", metavar=what, nargs="*", help=text)
    text = "the admin API of a controller that runs, in place of manifests: http://127.0.0.1:8580"
    add("--url", dest="server", type=checked(read_admin_url), metavar="URL", help=text, required=remote)
    add("--token-file", type=Path, metavar="FILE", help="whose first line is sent to it as the bearer token")
    choices = _OUTPUTS.get(question, ("table", "json", "yaml"))
    add("-o", "--output", choices=choices, default=choices[0], help="how to print it (%(default)s)")
    parser.set_defaults(within=timedelta(), strict=False, assume_class=[], assume_endpoints=False)
    match question:
        case "check":
            add("--strict", action="store_true", help="end with 1 for warnings too")
        case "certs":
            text = "end with 1 for certificates that expire within this time: 720h (those that have expired)"
            add("--within", type=checked(read_duration), metavar="TIME", help=text)
        case "explain":
            add("--method", default="GET", metavar="METHOD", help="of the request (%(default)s)")
            text = "a header field of the request; repeatable"
            add("--header", type=checked(_header), action="append", default=[], metavar="NAME:VALUE", help=text)
            text = "a cookie of the request; repeatable"
            add("--cookie", type=checked(_cookie), action="append", default=[], metavar="NAME=VALUE", help=text)
            add("--client", type=checked(_client), metavar="ADDR", help="the client's address")
            add("--json", action="store_true", help="the same as --output json")
            text = "end with 1 when the proxy itself responds with 400 or more, such as 404"
            add("--fail", action="store_true", help=text)
        case "render" | "routes" | "status":
            pass
        case _:
            assert_never(question)
    if not remote:
        text = "whose limits count: inprocess, haproxy, nginx or one that is installed (%(default)s)"
        add("--renderer", type=checked(find_renderer), default="inprocess", metavar="NAME", help=text)
        text = "a class that is taken to be ours, whatever the manifests say of it; repeatable"
        add("--assume-class", type=checked(read_name), action="append", metavar="NAME", help=text)
        add("--assume-endpoints", action="store_true", help="give each Service without endpoints one")
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
