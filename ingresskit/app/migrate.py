"""``migrate analyse`` and ``migrate prove``: what changes for whom when ingress-nginx is replaced.

Ends with 0 when nothing is different, lost or unknown, with 1 when something is, and with 2 (and one line on
the error output) when it cannot tell.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import anyio

from ingresskit import __version__
from ingresskit.app.controller_flags import controller_flags
from ingresskit.app.offline import first_snapshot
from ingresskit.app.once import read_cluster
from ingresskit.app.parser import CommandParser
from ingresskit.app.renderers import GraphLimits, find_renderer
from ingresskit.arguments import checked
from ingresskit.errors import ConfigurationError, IngressKitError, SourceError
from ingresskit.graph import Request
from ingresskit.migrate import (
    Analysis,
    Comparison,
    ControllerFlags,
    Finding,
    Outcome,
    Probes,
    Proof,
    analyse,
    logged_requests,
    options_for,
    prove,
    read_flags,
)
from ingresskit.models import Ingress, KubeObject
from ingresskit.policies.values import parse_integer
from ingresskit.sources import FileSource

__all__ = ["run_migrate"]

_COMMANDS: Final = ("analyse", "prove")
_MOST_LOGGED: Final = 1_000_000
_NOTHING_LOST: Final = frozenset({Outcome.SAME, Outcome.UNNEEDED})
_LEVELS: Final = {
    Outcome.LOST: "error",
    Outcome.DIFFERENT: "warning",
    Outcome.UNKNOWN: "warning",
    Outcome.UNNEEDED: "note",
    Outcome.SAME: "none",
}


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
            print(json.dumps(_json(found), indent=2))
        case "sarif":
            print(json.dumps(_sarif(found), indent=2))
        case "markdown":
            print(*_markdown(found, every=flags.all), sep="\n")
        case _:
            print(*_text(found, every=flags.all), sep="\n")
    return int(not found.clean)


def _read(flags: _Flags) -> tuple[list[KubeObject], ControllerFlags]:
    """The objects, and the flags of ingress-nginx."""
    if flags.folder is None:
        controller = read_flags(flags.arg)
        options = options_for(controller, controller.configmap)
        snapshot = anyio.run(read_cluster, options, flags.kubeconfig, flags.context)
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
    found = prove(
        objects,
        controller,
        requests=requests,
        probes=Probes(most_per_host=flags.requests),
        restrict=renderer.restrict,
        effects=renderer.effects,
    )
    if flags.format == "json":
        print(json.dumps(_proof_json(found), indent=2))
    else:
        print(*_proof_text(found), sep="\n")
    return int(bool(found.differences))


def _proof_text(found: Proof) -> Iterator[str]:
    for item in found.differences:
        yield f"{item.agreement}: {_request(item.request)}{_details(item.request)}: {item.why}"
        yield f"  there: {_predicted(item)}"
        yield f"  here:  {'; '.join(map(str, item.here))}"
        yield f"  because: {item.reason or 'nothing that is reported explains it'}"
    if found.differences:
        yield ""
    yield f"{found.asked} requests, {found.same} answered alike; differences: {len(found.differences)}"
    for ingress, (same, other) in found.by_ingress.items():
        if other:
            yield f"  {ingress}: {same} alike, {other} not"


def _details(request: Request) -> str:
    more = [f"{name}: {value}" for name, value in request.headers.items()]
    more += [] if request.client is None else [f"from {request.client}"]
    return f" ({'; '.join(more)})" if more else ""


def _predicted(item: Comparison) -> str:
    there = item.there
    if there.status is not None:
        return f"{there.status}{f' to {there.location}' if there.location else ''}"
    return f"{there.service} gets {there.path}"


def _proof_json(found: Proof) -> dict[str, object]:
    return {
        "asked": found.asked,
        "same": found.same,
        "differences": [
            {
                "agreement": item.agreement,
                "request": _request(item.request),
                "headers": dict(item.request.headers),
                "client": item.request.client,
                "why": item.why,
                "there": _predicted(item),
                "here": [str(verdict) for verdict in item.here],
                "because": item.reason,
            }
            for item in found.differences
        ],
        "ingresses": {
            str(ref): {"same": same, "other": other} for ref, (same, other) in found.by_ingress.items()
        },
    }


def _shown(items: Iterable[Finding], *, every: bool) -> list[Finding]:
    return [item for item in items if every or item.outcome not in _NOTHING_LOST]


def _text(found: Analysis, *, every: bool) -> Iterator[str]:
    for item in _shown(found.findings, every=every):
        value = f" = {_one_line(item.value)!r}" if item.value else ""
        why = f": {item.message}" if item.message else ""
        yield f"{item.outcome}: {item.subject}, {item.field}{value}{why}"
        if item.example is not None:
            yield f"  for example {_request(item.example)}"
    yield ""
    for closed, why in found.closed.items():
        yield f"closed: {closed} responds 503: {why}"
    if found.closed:
        yield ""
    yield from _summary(found)


def _summary(found: Analysis) -> Iterator[str]:
    counts = ", ".join(f"{count} {outcome}" for outcome, count in found.counts().items())
    yield f"{found.ingresses} Ingresses, {found.ours} of ingress-nginx; values: {counts}"
    yield ""
    yield "annotations in use:"
    for name, outcomes in found.by_annotation().items():
        yield f"  {name}: {_counted(outcomes)}"
    yield ""
    yield "run with:"
    for proposal in found.proposals:
        yield f"  {proposal.flag}  # {proposal.why}"


def _counted(outcomes: Mapping[Outcome, int]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())


def _markdown(found: Analysis, *, every: bool) -> Iterator[str]:
    yield "# Leaving ingress-nginx"
    yield ""
    yield f"{found.ingresses} Ingresses, {found.ours} of ingress-nginx."
    yield from _table("", ("outcome", "values"), found.counts().items())
    values = (
        (
            *(item.outcome, item.subject, item.field, item.value, item.message),
            "" if item.example is None else _request(item.example),
        )
        for item in _shown(found.findings, every=every)
    )
    yield from _table("Values", ("outcome", "object", "field", "value", "why", "example"), values)
    for title, counts in (("annotation", found.by_annotation()), ("namespace", found.by_namespace())):
        rows = ((name, _counted(outcomes)) for name, outcomes in counts.items())
        yield from _table(f"{title.capitalize()}s", (title, "outcomes"), rows)
    yield ""
    yield "## Run with"
    yield ""
    for proposal in found.proposals:
        yield f"- `{proposal.flag}`: {proposal.why}"


def _table(title: str, names: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """A table of Markdown, under *title* where there is one."""
    if title:
        yield ""
        yield f"## {title}"
    yield ""
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(_cell(str(cell)) for cell in row)} |"


def _cell(text: str) -> str:
    return _one_line(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def _one_line(text: str) -> str:
    shown = " ".join(text.split())
    return shown if shown.isprintable() else shown.encode("unicode_escape").decode("ascii")


def _request(request: Request) -> str:
    return f"{request.method} {request.scheme}://{request.host}{request.path}{request.query}"


def _json(found: Analysis) -> dict[str, object]:
    return {
        "ingresses": found.ingresses,
        "ours": found.ours,
        "counts": dict(found.counts()),
        "annotations": {name: dict(counts) for name, counts in found.by_annotation().items()},
        "namespaces": {name: dict(counts) for name, counts in found.by_namespace().items()},
        "findings": [
            {
                "outcome": item.outcome,
                "kind": item.subject.kind,
                "namespace": item.subject.key.namespace,
                "name": item.subject.key.name,
                "field": item.field,
                "value": item.value,
                "risk": item.risk,
                "message": item.message,
                "example": None if item.example is None else _request(item.example),
            }
            for item in found.findings
        ],
        "closed": [{"ingress": str(ref), "why": why} for ref, why in found.closed.items()],
        "flags": [{"flag": item.flag, "why": item.why} for item in found.proposals],
    }


def _sarif(found: Analysis) -> dict[str, object]:
    """Source: SARIF 2.1.0 (OASIS), sections 3.13 to 3.27."""
    shown = _shown(found.findings, every=False)
    rules = dict.fromkeys(item.name or "field" for item in shown)
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "ingresskit",
                        "version": __version__,
                        "rules": [{"id": name} for name in rules],
                    }
                },
                "results": [
                    {
                        "ruleId": item.name or "field",
                        "level": _LEVELS[item.outcome],
                        "message": {"text": f"{item.outcome}: {item.message or item.field}"},
                        "locations": [
                            {
                                "logicalLocations": [
                                    {"fullyQualifiedName": f"{item.subject}, {item.field}", "kind": "object"}
                                ]
                            }
                        ],
                    }
                    for item in shown
                ],
            }
        ],
    }


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
    if prove:
        add("--format", choices=["text", "json"], default="text", help="text or json (%(default)s)")
        text = "requests of this log of ingress-nginx too: its default format, or JSON lines"
        add("--access-log", metavar="FILE", type=Path, help=text)
        text = "how many requests are made for each host at most (%(default)s)"
        add("--requests", type=checked(parse_integer(1, 100_000)), default=50, metavar="N", help=text)
    else:
        text = "text, json, markdown or sarif (%(default)s)"
        add("--format", choices=["text", "json", "markdown", "sarif"], default="text", help=text)
        add("--all", action="store_true", help="show values too that are the same or not needed")
    text = "whose limits count: inprocess, haproxy, nginx or one that is installed (%(default)s)"
    add("--renderer", type=checked(find_renderer), default="inprocess", metavar="NAME", help=text)
    return parser
