"""What rendering for HAProxy costs: CPU time, beside the in-process renderer on the same graphs.

    python benchmarks/haproxy_render.py [--ingresses 5000]

Every Ingress has a host, two paths and a Service with two endpoints; every third has a policy. Each
figure is the least of several runs, in milliseconds and as a multiple of the in-process renderer's.
CPU time, because it hardly depends on what else the machine does; the multiple, because it hardly
depends on the machine.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterable

from ingresskit.graph import RouteGraph
from ingresskit.models import KubeObject, Snapshot
from ingresskit.render.haproxy import HaproxyArtifact, HaproxyRenderer, MapName, map_text
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import Translator

TIMES = 5


class Cluster:
    """Objects that change, translated by one translator."""

    def __init__(self, ingresses: int) -> None:
        self._held: dict[tuple[str, str], KubeObject] = {}
        self._translator = Translator()
        self.put(ingress_class())
        for number in range(ingresses):
            policy = {"read-timeout": "30s"} if number % 3 == 0 else {}
            paths = {"/": f"s{number}", "/api": f"s{number}"}
            self.put(
                ingress(f"i{number}", {f"h{number}.test": paths}, annotations=policy),
                service(f"s{number}"),
                endpoint_slice(f"s{number}", "10.0.0.1", "10.0.0.2"),
            )

    def put(self, *objects: KubeObject) -> None:
        """Add objects, or replace those of the same name."""
        self._held.update(((item.kind, item.metadata.name), item) for item in objects)

    def graph(self) -> RouteGraph:
        """What they amount to; shares with the one before all that did not change."""
        return self._translator.translate(Snapshot.of(self._held.values())).graph

    def changes(self) -> Iterable[tuple[str, RouteGraph, RouteGraph]]:
        """What changes, the graph before and the one after."""
        before = self.graph()
        self.put(endpoint_slice("s1", "10.0.0.1", "10.0.0.3"))
        after = self.graph()
        yield "an endpoint", before, after
        self.put(ingress("new", {"new.test": {"/": "s1"}}))
        yield "a new host", after, self.graph()
        before = self.graph()
        self.put(ingress("i1", {"h1.test": {"/": "s2"}}, annotations={"body-limit": "1m"}))
        yield "a path and a policy", before, self.graph()


def least(action: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> float:
    """Seconds of CPU of *action*, the least of several runs, each after *prepare*."""
    spent: list[float] = []
    for _ in range(TIMES):
        prepare()
        gc.collect()
        began = time.process_time()
        action()
        spent.append(time.process_time() - began)
    return min(spent)


def report(what: str, ours: float, peer: float) -> None:
    print(f"{what:24} {ours * 1000:8.2f} ms {ours / peer:6.1f} x in-process ({peer * 1000:.2f} ms)")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ingresses", type=int, default=5000)
    cluster = Cluster(parser.parse_args().ingresses)
    graph = cluster.graph()
    report(
        "everything, at first",
        least(lambda: HaproxyRenderer().render(graph)),
        least(lambda: InProcessRenderer().render(graph)),
    )
    for what, before, after in cluster.changes():
        ours, peer = HaproxyRenderer(), InProcessRenderer()
        report(
            what,
            least(lambda: ours.render(after), lambda: ours.render(before)),  # noqa: B023 - used at once
            least(lambda: peer.render(after), lambda: peer.render(before)),  # noqa: B023 - used at once
        )
    artifact: HaproxyArtifact = HaproxyRenderer().render(graph)
    spent = least(lambda: [map_text(artifact, name, {}) for name in MapName])
    print(f"{'the text of all maps':24} {spent * 1000:8.2f} ms")


if __name__ == "__main__":
    main()
