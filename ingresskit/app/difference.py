"""``diff OLD NEW``: what differs between two folders of manifests, or between a folder and a cluster.

Ends with 0 when nothing differs, with 1 when something does, and with 2 (and one line on the error output)
when it cannot tell: a flag is wrong, a folder is not there, or the cluster cannot be read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import anyio

from ingresskit.app.dialects import (
    DialectArguments,
    add_dialect_arguments,
    check_dialects,
    with_dialects,
)
from ingresskit.app.once import read_cluster
from ingresskit.app.parser import CommandParser
from ingresskit.app.reading import first_snapshot
from ingresskit.app.renderers import GraphLimits, find_renderer
from ingresskit.arguments import add_translation_arguments, checked, translate_options
from ingresskit.errors import ConfigurationError, IngressKitError, SourceError
from ingresskit.graph import Endpoint, Request, RouteGraph
from ingresskit.migrate import Difference, RequestChange, Verdict, compare
from ingresskit.models import Endpoints, EndpointSlice, Snapshot
from ingresskit.policies.values import parse_integer
from ingresskit.sources import FileSource
from ingresskit.translate import TranslateOptions, translate

__all__ = ["run_diff"]

_CLUSTER = "cluster"


class _Flags(DialectArguments):
    old: str
    new: str
    renderer: Callable[[], GraphLimits]
    json: bool
    requests: int
    kubeconfig: Path | None
    context: str


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two, carried through the pipeline."""

    graph: RouteGraph
    renderer: GraphLimits


def run_diff(argv: Sequence[str] | None, *, program: str) -> int:
    """Run ``diff``.

    Args:
        argv: The words after it; ``None``: those of this process.
        program: What messages begin with.

    Returns:
        The exit status: 0 when nothing differs, 1 when something does, 2 when that cannot be told.

    Raises:
        SystemExit: With 2 for a flag that is wrong, with 0 after ``--help``.
    """
    parser = _parser(program)
    flags = parser.read(argv, _Flags())
    check_dialects(flags, parser)
    if _CLUSTER not in (flags.old, flags.new) and (flags.kubeconfig or flags.context):
        parser.error("--kubeconfig and --context are for the word cluster in place of a folder")
    try:
        options = with_dialects(translate_options(flags), flags)
        snapshots = [_snapshot(name, options, flags) for name in (flags.old, flags.new)]
        old, new = (_side(item, options, flags) for item in snapshots)
    except (IngressKitError, ConfigurationError, SourceError) as exc:
        print(f"{program}: {exc}", file=sys.stderr)
        return 2
    graphs = [old.graph, new.graph]
    if not all(item.by_key(EndpointSlice) or item.by_key(Endpoints) for item in snapshots):
        print(
            "note: without EndpointSlices on both sides, every Service is taken to have an endpoint",
            file=sys.stderr,
        )
        graphs = [_with_endpoints(graph) for graph in graphs]
    found = compare(*graphs, effects=new.renderer.effects, most_requests=flags.requests)
    if flags.json:
        print(json.dumps(_json(found), indent=2))
    else:
        for line in _lines(found):
            print(line)
    return int(bool(found))


def _side(snapshot: Snapshot, options: TranslateOptions, flags: _Flags) -> _Side:
    renderer = flags.renderer()
    translation = translate(snapshot, options, now=datetime.now(UTC))
    return _Side(renderer.restrict(translation.graph).graph, renderer)


def _with_endpoints(graph: RouteGraph) -> RouteGraph:
    """*graph* with one endpoint, the same, behind every backend."""
    endpoints = (Endpoint(address="192.0.2.1", port=80),)
    backends = {key: replace(item, endpoints=endpoints, note="") for key, item in graph.backends.items()}
    return replace(graph, backends=backends)


def _snapshot(name: str, options: TranslateOptions, flags: _Flags) -> Snapshot:
    if name == _CLUSTER and not Path(name).exists():
        return anyio.run(read_cluster, options, flags.kubeconfig, flags.context)
    return anyio.run(first_snapshot, FileSource(Path(name)))


def _lines(found: Difference) -> Iterator[str]:
    for node in found.nodes:
        yield str(node)
    if found.requests:
        yield ""
        yield "requests that are answered differently:"
    for change in found.requests:
        yield f"  {_shown(change.request)}"
        yield f"    before: {_joined(change.before)}"
        yield f"    after:  {_joined(change.after)}"
    if found.nodes and not found.requests:
        yield ""
        yield f"none of {found.asked} requests is answered differently"


def _shown(request: Request) -> str:
    more = [f"{name}: {value}" for name, value in request.headers.items()]
    if request.client is not None:
        more.append(f"from {request.client}")
    url = f"{request.scheme}://{request.host}{request.path}{request.query}"
    noted = f" ({'; '.join(more)})" if more else ""
    return f"{request.method} {url}{noted}"


def _joined(verdicts: tuple[Verdict, ...]) -> str:
    return "; ".join(map(str, verdicts))


def _json(found: Difference) -> dict[str, object]:
    return {
        "parts": [
            {"part": item.part, "name": item.name, "change": item.kind, "details": list(item.details)}
            for item in found.nodes
        ],
        "requests": [_request(item) for item in found.requests],
        "asked": found.asked,
    }


def _request(change: RequestChange) -> dict[str, object]:
    request = change.request
    return {
        "method": request.method,
        "url": f"{request.scheme}://{request.host}{request.path}{request.query}",
        "headers": dict(request.headers),
        "client": request.client,
        "before": [str(item) for item in change.before],
        "after": [str(item) for item in change.after],
    }


def _parser(program: str) -> CommandParser:
    text = "Show what differs between two folders of manifests, and which requests are answered differently."
    parser = CommandParser(prog=program, description=text, allow_abbrev=False)
    add = parser.add_argument
    add("old", metavar="OLD", help="a folder of manifests, or the word cluster")
    add("new", metavar="NEW", help="the same")
    text = "whose limits count: inprocess, haproxy, nginx or one that is installed (%(default)s)"
    add("--renderer", type=checked(find_renderer), default="inprocess", metavar="NAME", help=text)
    add("--json", action="store_true", help="print JSON")
    text = "how many requests are shown of each host (%(default)s)"
    add("--requests", type=checked(parse_integer(0, 1000)), default=5, metavar="N", help=text)
    add("--kubeconfig", metavar="PATH", type=Path, help="of the cluster ($KUBECONFIG, ~/.kube/config)")
    add("--context", metavar="NAME", default="", help="the context of the kubeconfig (its current one)")
    add_translation_arguments(parser)
    add_dialect_arguments(parser)
    return parser
