"""What rendering for nginx costs with thousands of Ingresses, as a ratio to nginx's own reading of the result.

    python benchmarks/nginx_render.py [--ingresses 5000] [--rounds 5] [--program nginx]

CPU seconds of one process each: for all hosts at once, for one changed host, for one changed endpoint, and
for ``nginx -t`` on the files of the static mode. Each Ingress has a host, two paths and a Service of its own;
every third has a time-out, every fifth an allow list, every seventh header fields.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ingresskit.graph import RouteGraph
from ingresskit.models import KubeObject, Snapshot
from ingresskit.render.nginx import Mode, NginxArtifact, NginxRenderer, NginxSettings
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import Translator

__all__ = ["main"]


def objects_of(count: int) -> dict[tuple[str, int], KubeObject]:
    made: dict[tuple[str, int], KubeObject] = {("class", 0): ingress_class()}
    for number in range(count):
        annotations = {
            **({"read-timeout": "30s"} if number % 3 == 0 else {}),
            **({"allow-sources": "10.0.0.0/8, 192.168.0.0/16"} if number % 5 == 0 else {}),
            **({"request-headers-set": "X-Team: shop"} if number % 7 == 0 else {}),
        }
        name = f"s{number}"
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        made["service", number] = service(name)
        made["slice", number] = endpoint_slice(name, address)
        made["ingress", number] = ingress(
            f"i{number}", {f"h{number}.example.com": {"/": name, "/api": name}}, annotations=annotations
        )
    return made


def cpu_seconds(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def reading_seconds(artifact: NginxArtifact, state: Path, program: str) -> float:
    """What ``nginx -t`` takes on the files of *artifact*."""
    for item in artifact.files():
        path = state / "current" / item.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(item.content)
    (state / "temp").mkdir(exist_ok=True)
    argv = [program, "-t", "-q", "-e", "stderr", "-p", f"{state}/current/", "-c", "nginx.conf"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(ingresses: int, rounds: int, program: str, state: Path) -> dict[str, list[float]]:
    """CPU seconds of each step, one value a round."""
    settings = NginxSettings(state=str(state))
    objects, translator = objects_of(ingresses), Translator()

    def graph() -> RouteGraph:
        return translator.translate(Snapshot.of(objects.values())).graph

    seconds: dict[str, list[float]] = {}
    for number in range(rounds):
        renderer = NginxRenderer(settings, mode=Mode.STATIC)

        def render(current: RouteGraph, renderer: NginxRenderer = renderer) -> NginxArtifact:
            return renderer.render(renderer.restrict(current).graph)

        artifact: list[NginxArtifact] = []
        whole = graph()
        seconds.setdefault("all hosts", []).append(cpu_seconds(lambda: artifact.append(render(whole))))  # noqa: B023 - used at once
        seconds.setdefault("nginx -t", []).append(reading_seconds(artifact[0], state, program))
        objects["ingress", 7] = ingress("i7", {"h7.example.com": {"/": "s7", f"/v{number}": "s7"}})
        host = graph()
        seconds.setdefault("one host", []).append(cpu_seconds(lambda: render(host)))  # noqa: B023 - used at once
        objects["slice", 9] = endpoint_slice("s9", f"10.200.0.{number + 1}")
        endpoint = graph()
        seconds.setdefault("one endpoint", []).append(cpu_seconds(lambda: render(endpoint)))  # noqa: B023 - used at once
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="What rendering for nginx costs.")
    parser.add_argument("--ingresses", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", default=os.environ.get("NGINX", "nginx"))
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ik-") as folder:
        seconds = measure(flags.ingresses, flags.rounds, flags.program, Path(folder))
    peer = statistics.median(seconds["nginx -t"])
    for what, values in seconds.items():
        median = statistics.median(values)
        print(f"{what:14} {1000 * median:8.1f} ms of CPU, {median / peer:.3f} times what nginx -t takes")


if __name__ == "__main__":
    main()
