"""What one change costs to translate, to compare and to render for the in-process proxy: CPU time.

    python benchmarks/translate.py [--ingresses 10000]

Every Ingress has a host, two paths and a Service with two endpoints; every tenth a certificate. The record
of host claims goes round as in a controller. Each figure is the least of several runs, in milliseconds.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ingresskit.graph import RouteGraph, diff
from ingresskit.models import NO_CLAIMS, KubeObject, Secret, Snapshot
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.sources import MemorySource
from ingresskit.testing import EPOCH, endpoint_slice, ingress, ingress_class, service, tls_secret
from ingresskit.translate import Translator

TIMES = 5
_CERTIFICATES = {salt: tls_secret("*.test", name="shared", salt=salt) for salt in "ab"}


def objects(ingresses: int) -> Iterable[KubeObject]:
    """What the cluster holds."""
    yield ingress_class()
    for number in range(ingresses):
        tls = {f"c{number}": [f"h{number}.test"]} if number % 10 == 0 else {}
        if tls:
            yield certificate(number, "a")
        yield ingress(f"i{number}", {f"h{number}.test": {"/": f"s{number}", "/api": f"s{number}"}}, tls=tls)
        yield service(f"s{number}")
        yield endpoint_slice(f"s{number}", "10.0.0.1", "10.0.0.2")


def certificate(number: int, salt: str) -> Secret:
    """One certificate under many names: to make thousands would take minutes."""
    made = _CERTIFICATES[salt]
    return Secret(metadata=replace(made.metadata, name=f"c{number}"), data=made.data)


def changes(turn: int) -> Mapping[str, KubeObject]:
    """One object for each kind of change, another in each turn."""
    paths = {"/": "s1", f"/turn-{turn}": "s1"}
    return {
        "an endpoint": endpoint_slice("s1", "10.0.0.1", f"10.0.1.{turn}"),
        "a path of an Ingress": ingress("i1", {"h1.test": paths}),
        "a new host": ingress(f"new-{turn}", {f"new-{turn}.test": {"/": "s1"}}),
        "a certificate": certificate(10, "ba"[turn % 2]),
        "a Service": service("s2", 81 - turn % 2),
    }


@dataclass
class Cluster:
    """A source with a translator and a renderer behind it."""

    source: MemorySource
    translator: Translator = field(default_factory=Translator)
    renderer: InProcessRenderer = field(default_factory=InProcessRenderer)
    record = NO_CLAIMS
    graph: RouteGraph = field(default_factory=RouteGraph)

    def translate(self) -> RouteGraph:
        """The graph of what the source holds now."""
        snapshot = replace(self.source.snapshot() or Snapshot(), claims=self.record)
        found = self.translator.translate(snapshot, now=EPOCH)
        self.record = found.claims
        return found.graph


def timed(action: Callable[[], object]) -> float:
    """Milliseconds of CPU of *action*."""
    begun = time.process_time()
    action()
    return (time.process_time() - begun) * 1000


def measure(ingresses: int) -> Iterable[tuple[str, list[float]]]:
    """For each change, the least time of each step: translate, diff, restrict, render."""
    cluster = Cluster(MemorySource(objects(ingresses)))
    first = timed(cluster.translate)
    graph, renderer = cluster.translate(), cluster.renderer
    cluster.renderer.render(cluster.renderer.restrict(graph).graph)
    yield "everything, once", [first]
    gc.collect()
    gc.freeze()
    best: dict[str, list[float]] = {}
    for turn in range(TIMES):
        for name, item in changes(turn).items():
            before = graph
            cluster.source.apply(item)
            spent = [timed(cluster.translate)]
            graph = cluster.translate()
            spent.append(timed(lambda old=before, new=graph: diff(old, new)))
            spent.append(timed(lambda new=graph: renderer.restrict(new)))
            reduced = renderer.restrict(graph).graph
            spent.append(timed(lambda new=reduced: renderer.render(new)))
            known = best.setdefault(name, spent)
            best[name] = [min(pair) for pair in zip(known, spent, strict=True)]
    yield from best.items()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ingresses", type=int, default=10_000)
    arguments = parser.parse_args()
    print(f"{arguments.ingresses} Ingresses, ms of CPU: translate, diff, restrict, render")
    for name, spent in measure(arguments.ingresses):
        print(f"{name:22}" + "".join(f"{value:10.2f}" for value in spent))


if __name__ == "__main__":
    main()
