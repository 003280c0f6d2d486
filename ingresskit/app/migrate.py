"""``migrate analyse`` and ``migrate prove``: what changes for whom when ingress-nginx is replaced.

Ends with 0 when nothing is different, lost or unknown, with 1 when something is, and with 2 (and one line on
the error output) when it cannot tell.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import anyio

from ingresskit.app.analyses import analysis_json, analysis_markdown, analysis_sarif, analysis_text
from ingresskit.app.controller_flags import controller_flags
from ingresskit.app.edges import Marker, edge_of, tls_context
from ingresskit.app.live import ask_both
from ingresskit.app.once import read_cluster, read_controller_flags
from ingresskit.app.parser import CommandParser
from ingresskit.app.proofs import report_of
from ingresskit.app.reading import first_snapshot
from ingresskit.app.renderers import GraphLimits, find_renderer
from ingresskit.arguments import checked
from ingresskit.errors import ConfigurationError, IngressKitError, SourceError
from ingresskit.graph import Request
from ingresskit.migrate import (
    ControllerFlags,
    Expectation,
    Expectations,
    LiveProof,
    Probes,
    Proof,
    analyse,
    live_plan,
    logged_requests,
    options_for,
    prove,
    read_flags,
)
from ingresskit.models import Ingress, KubeObject, ObjectKey
from ingresskit.policies.values import parse_integer
from ingresskit.sources import FileSource

__all__ = ["run_migrate"]

_COMMANDS: Final = ("analyse", "prove")
_MOST_LOGGED: Final = 1_000_000
_FIELD_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_FORMATS: Final = ("text", "json", "markdown", "sarif")


class _Flags(argparse.Namespace):
    folder: Path | None
    kubeconfig: Path | None
    context: str
    format: str
    all: bool
    renderer: Callable[[], GraphLimits]
    arg: list[str]
    access_log: Path | None
    requests: int
    header: list[tuple[str, str]]
    old: list[str]
    new: list[str]
    rate: int
    most: int
    timeout: int
    ca: Path | None
    insecure: bool
    every_method: bool
    backend_header: str
    backend_body: re.Pattern[str] | None
    compare_header: list[str]


def run_migrate(argv: Sequence[str], *, program: str) -> int:
    """Run ``migrate``.

    Args:
        argv: The words after it: the name of a question, then its flags.
        program: What messages begin with.

    Returns:
        The exit status.

    Raises:
        SystemExit: With 2 for a flag that is wrong, with 0 after ``--help``.
    """
    word = argv[0] if argv else ""
    if word not in _COMMANDS:
        if word in ("-h", "--help"):
            print(f"usage: {program} analyse|prove [DIR] [flags]\n\n{program} analyse --help lists the flags.")
            raise SystemExit(0)
        print(f"{program}: give one of {', '.join(_COMMANDS)}; see --help", file=sys.stderr)
        return 2
    parser = _parser(f"{program} {word}", prove=word == "prove")
    flags = parser.read(argv[1:], _Flags())
    if word == "prove" and bool(flags.old) != bool(flags.new):
        parser.error("--old and --new stand together")
    if word == "prove" and not flags.old and (wrong := _live_flag(flags)):
        parser.error(f"{wrong} is for requests that are sent: give --old and --new")
    if (flags.folder is None) == (flags.kubeconfig is None and not flags.context):
        parser.error("give a folder, or --kubeconfig or --context of a cluster")
    try:
        objects, controller = _read(flags)
        if word == "prove":
            return _proved(objects, controller, flags)
        found = analyse(objects, controller, restrict=flags.renderer().restrict)
    except (IngressKitError, ConfigurationError, SourceError) as exc:
        print(f"{program}: {exc}", file=sys.stderr)
        return 2
    if found.ours == 0:
        print("note: no Ingress is of ingress-nginx's class", file=sys.stderr)
    match flags.format:
        case "json":
            print(json.dumps(analysis_json(found), indent=2))
        case "sarif":
            print(analysis_sarif(found))
        case "markdown":
            print(*analysis_markdown(found, every=flags.all), sep="\n")
        case _:
            print(*analysis_text(found, every=flags.all), sep="\n")
    return int(not found.clean)


def _live_flag(flags: _Flags) -> str:
    """A flag that is of no use without edges; empty without one."""
    given = {
        "--ca": flags.ca,
        "--insecure": flags.insecure,
        "--every-method": flags.every_method,
        "--backend-header": flags.backend_header,
        "--backend-body": flags.backend_body,
        "--compare-header": flags.compare_header,
    }
    return next((name for name, value in given.items() if value), "")


def _read(flags: _Flags) -> tuple[list[KubeObject], ControllerFlags]:
    """The objects, and the flags of ingress-nginx."""
    if flags.folder is None:
        controller = read_flags(flags.arg)
        if not flags.arg:
            found = anyio.run(read_controller_flags, flags.kubeconfig, flags.context)
            if found is None:
                print(
                    "note: no Deployment or DaemonSet of ingress-nginx can be read; its defaults count unless "
                    "--arg says otherwise",
                    file=sys.stderr,
                )
            controller = found or controller
        options = options_for(controller, controller.configmap)
        named = (controller.values.get(f"{kind}-services-configmap", "") for kind in ("tcp", "udp"))
        parts = [text.partition("/") for text in named]
        configs = [
            ObjectKey(namespace, name) for namespace, slash, name in parts if namespace and slash and name
        ]
        read = partial(read_cluster, options, flags.kubeconfig, flags.context, configs=configs)
        snapshot = anyio.run(read)
    else:
        controller = read_flags(flags.arg) if flags.arg else controller_flags(flags.folder)
        snapshot = anyio.run(first_snapshot, FileSource(flags.folder))
    return [item for kind in snapshot.objects.values() for item in kind.values()], controller


def _proved(objects: list[KubeObject], controller: ControllerFlags, flags: _Flags) -> int:
    requests: list[Request] = []
    if flags.access_log is not None:
        ingresses = [item for item in objects if isinstance(item, Ingress)]
        try:
            with flags.access_log.open(encoding="utf-8", errors="replace") as lines:
                requests = list(islice(logged_requests(lines, ingresses), _MOST_LOGGED))
        except OSError as exc:
            raise SourceError(f"{flags.access_log}: {exc.strerror}") from None
    renderer = flags.renderer()
    probes = Probes(most_per_host=flags.requests, headers=dict(flags.header))
    if flags.old:
        expectations = Expectations(objects, controller, restrict=renderer.restrict, effects=renderer.effects)
        expected = [expectations.of(request) for request in expectations.requests(requests, probes)]
        found: Proof | LiveProof = _asked(expected, flags)
    else:
        found = prove(
            objects,
            controller,
            requests=requests,
            probes=probes,
            restrict=renderer.restrict,
            effects=renderer.effects,
        )
    report = report_of(found)
    match flags.format:
        case "json":
            print(report.json())
        case "sarif":
            print(report.sarif())
        case "markdown":
            print(*report.markdown(), sep="\n")
        case _:
            print(*report.text(), sep="\n")
    return int(bool(found.differences))


def _asked(expected: list[Expectation], flags: _Flags) -> LiveProof:
    """What both edges answer to the requests that may be sent."""
    context = tls_context(flags.ca, insecure=flags.insecure)
    marker = Marker(header=flags.backend_header, body=flags.backend_body, fields=tuple(flags.compare_header))
    old, new = (
        edge_of(name, words, timeout=flags.timeout, context=context, marker=marker)
        for name, words in (("old", flags.old), ("new", flags.new))
    )
    schemes = frozenset(old.addresses.keys() & new.addresses.keys())
    plan = live_plan(expected, schemes=schemes, every_method=flags.every_method, most=flags.most)
    return anyio.run(partial(ask_both, plan, old, new, rate=flags.rate))


def _parser(program: str, *, prove: bool) -> CommandParser:
    text = "Show what becomes of everything that ingress-nginx is told, and with which flags to run instead."
    if prove:
        text = "Compare what ingress-nginx does with requests, by a model of it, with what is done here."
    parser = CommandParser(prog=program, description=text, allow_abbrev=False)
    add = parser.add_argument
    text = "a folder of manifests: Ingresses, and the ConfigMap and Deployment of ingress-nginx"
    add("folder", metavar="DIR", type=Path, nargs="?", help=text)
    add("--kubeconfig", metavar="PATH", type=Path, help="of a cluster in place of the folder")
    add("--context", metavar="NAME", default="", help="the context of the kubeconfig (its current one)")
    text = (
        "a flag that ingress-nginx is run with, as in --arg=--ingress-class=edge; repeatable (the manifest's)"
    )
    add("--arg", action="append", default=[], metavar="FLAG", help=text)
    add("--format", choices=_FORMATS, default="text", help=f"{', '.join(_FORMATS)} (%(default)s)")
    if prove:
        _add_proof_arguments(add)
    else:
        add("--all", action="store_true", help="show values too that are the same or not needed")
    text = "whose limits count: inprocess, haproxy, nginx or one that is installed (%(default)s)"
    add("--renderer", type=checked(find_renderer), default="inprocess", metavar="NAME", help=text)
    return parser


def _add_proof_arguments(add: Callable[..., argparse.Action]) -> None:
    text = "requests of this log of ingress-nginx too: its default format, or JSON lines"
    add("--access-log", metavar="FILE", type=Path, help=text)
    text = "how many requests are made for each host at most (%(default)s)"
    add("--requests", type=checked(parse_integer(1, 100_000)), default=50, metavar="N", help=text)
    text = "a header field that every request has; repeatable"
    add("--header", type=checked(_header), action="append", default=[], metavar="'NAME: VALUE'", help=text)
    text = (
        "send the requests: ingress-nginx's address, which stands for the ports 80 and 443, or "
        "http://ADDRESS:PORT and https://ADDRESS:PORT; repeatable"
    )
    add("--old", action="append", default=[], metavar="ADDRESS", help=text)
    add("--new", action="append", default=[], metavar="ADDRESS", help="the same of the edge in its place")
    text = "requests a second to each edge (%(default)s)"
    add("--rate", type=checked(parse_integer(1, 10_000)), default=20, metavar="N", help=text)
    text = "how many requests are sent at most (%(default)s)"
    add("--most", type=checked(parse_integer(1, 1_000_000)), default=1000, metavar="N", help=text)
    text = "seconds for a request (%(default)s)"
    add("--timeout", type=checked(parse_integer(1, 600)), default=10, metavar="N", help=text)
    add("--ca", metavar="FILE", type=Path, help="authorities of the edges' certificates (the system's)")
    add("--insecure", action="store_true", help="take every certificate of the edges")
    text = "send POST and its kin too, which may change something: to both edges, with bodies of zeros"
    add("--every-method", action="store_true", help=text)
    text = "a header field of responses that names the backend"
    add("--backend-header", default="", metavar="NAME", help=text)
    text = "a pattern for bodies whose first group, or whole, names the backend"
    add("--backend-body", type=checked(_pattern), metavar="PATTERN", help=text)
    text = "a header field of responses that is compared; repeatable"
    add("--compare-header", action="append", default=[], metavar="NAME", help=text)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not _FIELD_NAME.fullmatch(name) or not value.isprintable() or not value.isascii():
        raise ValueError("must be a header field: 'NAME: VALUE'")
    return name.lower(), value.strip()


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as exc:
        raise ValueError(f"is not a regular expression: {exc}") from None
