"""What a change costs at several sizes of a cluster: CPU time of each step of a pass, and memory.

    python benchmarks/scale.py [--sizes 100 1000 10000] [--renderers inprocess haproxy]

Every Ingress has a host with three paths, a Service with three endpoints and, every tenth, a certificate.
Each size has a process of its own. The figures are the least of several runs, in milliseconds of CPU; what a
running program does with a plan is not in them, nor is the API server.
"""

from __future__ import annotations

import argparse
import functools
import gc
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ingresskit.apply.inprocess import swap_plan
from ingresskit.controller.outcome import restrict
from ingresskit.graph import RouteGraph, diff
from ingresskit.models import NO_CLAIMS, KubeObject, Secret, Snapshot
from ingresskit.render import Renderer
from ingresskit.render.haproxy import HaproxyRenderer
from ingresskit.render.inprocess import InProcessRenderer, RoutingTable
from ingresskit.render.nginx import Capabilities, Mode, NginxRenderer, NginxSettings
from ingresskit.sources import MemorySource
from ingresskit.status import OwnershipJudge
from ingresskit.testing import EPOCH, endpoint_slice, ingress, ingress_class, service, tls_secret
from ingresskit.translate import Translator

TIMES = 5
STEPS = ("translate", "restrict", "diff", "render", "plan", "ownership")


def _nginx(mode: Mode) -> Renderer[Any]:
    settings = NginxSettings(state="/run/ik", https=("0.0.0.0:8443",))
    return NginxRenderer(settings, Capabilities(lua=True), mode=mode)


RENDERERS: Mapping[str, Callable[[], Renderer[Any]]] = {
    "inprocess": InProcessRenderer,
    "haproxy": HaproxyRenderer,
    "nginx-dynamic": lambda: _nginx(Mode.DYNAMIC),
    "nginx-static": lambda: _nginx(Mode.STATIC),
}


def objects(size: int) -> Iterator[KubeObject]:
    """What the cluster holds."""
    yield ingress_class()
    for number in range(size):
        name = f"app-{number}"
        tls = {f"cert-{number}": [f"{name}.test"]} if number % 10 == 0 else {}
        if tls:
            yield certificate(number, "a")
        yield ingress(name, {f"{name}.test": {"/": name, "/api": name, "=/login": name}}, tls=tls)
        yield service(name)
        yield endpoint_slice(name, *(f"10.{last}.{number // 250}.{number % 250 + 1}" for last in range(3)))


@functools.cache
def _made(salt: str) -> Secret:
    return tls_secret("*.test", name="shared", salt=salt)


def certificate(number: int, salt: str) -> Secret:
    """One certificate under many names: to make thousands would take minutes."""
    made = _made(salt)
    return Secret(metadata=replace(made.metadata, name=f"cert-{number}"), data=made.data)


def changes(turn: int) -> Mapping[str, KubeObject]:
    """One object for each kind of change, another in each turn."""
    paths = {"/": "app-11", "/api": "app-11", f"/turn-{turn}": "app-11"}
    return {
        "an endpoint": endpoint_slice("app-1", "10.0.0.1", "10.0.0.2", f"10.9.0.{turn + 1}"),
        "a new Ingress": ingress(f"new-{turn}", {f"new-{turn}.test": {"/": "app-1"}}),
        "a changed path": ingress("app-11", {"app-11.test": paths}),
        "a renewed certificate": certificate(20, "ba"[turn % 2]),
    }


@dataclass(frozen=True, slots=True)
class _Pass:
    """What a pass leaves for the next one."""

    graph: RouteGraph
    artifact: object


class _Stopwatch:
    """Milliseconds of CPU since the lap before, by step."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._begun = time.process_time()

    def lap(self, step: str) -> None:
        """*step* is over; what follows is the next one's."""
        now = time.process_time()
        self.spent[step] = (now - self._begun) * 1000
        self._begun = time.process_time()


class Pipeline:
    """A source and what a controller does with its snapshots, step by step."""

    def __init__(self, size: int, renderer: Renderer[Any]) -> None:
        self.source = MemorySource(objects(size))
        self._renderer = renderer
        self._translator = Translator()
        self._judge = OwnershipJudge()
        self._record = NO_CLAIMS
        self._last = _Pass(RouteGraph(), None)

    def run(self) -> Mapping[str, float]:
        """Make one pass: milliseconds of CPU by step."""
        watch = _Stopwatch()
        snapshot = replace(self.source.snapshot() or Snapshot(), claims=self._record)
        found = self._translator.translate(snapshot, now=EPOCH)
        self._record = found.claims
        watch.lap("translate")
        restricted = restrict(found, self._renderer)
        watch.lap("restrict")
        diff(self._last.graph, restricted.graph)
        watch.lap("diff")
        artifact = self._renderer.render(restricted.graph)
        watch.lap("render")
        if isinstance(artifact, RoutingTable):
            before = self._last.artifact if isinstance(self._last.artifact, RoutingTable) else None
            swap_plan(before, artifact)
            watch.lap("plan")
        self._judge.judge(snapshot)
        watch.lap("ownership")
        self._last = _Pass(restricted.graph, artifact)
        return watch.spent


def resident() -> float:
    """MB of resident memory of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS:"))) / 1024


def measure(size: int, renderer: str) -> list[str]:
    """The lines of the report about one size."""
    empty = resident()
    begun = time.process_time()
    pipeline = Pipeline(size, RENDERERS[renderer]())
    made = time.process_time() - begun
    first = pipeline.run()
    pipeline.run()
    gc.collect()
    grown = resident() - empty
    gc.freeze()
    rows = {"the first pass": first}
    for turn in range(TIMES):
        for name, item in changes(turn).items():
            pipeline.source.apply(item)
            spent = pipeline.run()
            known = rows.setdefault(name, spent)
            rows[name] = {step: min(known[step], value) for step, value in spent.items()}
    lines = [f"{renderer}, {size} Ingresses: {grown:.0f} MB more, objects made in {made:.1f} s"]
    lines += [_line(name, spent) for name, spent in rows.items()]
    return lines


def _line(name: str, spent: Mapping[str, float]) -> str:
    figures = (f"{spent[step]:11.2f}" if step in spent else f"{'-':>11}" for step in STEPS)
    return f"  {name:22}{''.join(figures)}{sum(spent.values()):11.2f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--renderers", nargs="+", choices=RENDERERS, default=list(RENDERERS))
    arguments = parser.parse_args()
    print(f"{datetime.now(UTC):%Y-%m-%d}; ms of CPU")
    print(f"  {'':22}" + "".join(f"{step:>11}" for step in (*STEPS, "all")))
    for renderer in arguments.renderers:
        for size in arguments.sizes:
            # A process of its own: memory is not given back.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print("\n".join(pool.apply(measure, (size, renderer))), flush=True)


if __name__ == "__main__":
    main()
