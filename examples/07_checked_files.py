"""Files for a proxy that has a checker and a reload command: nothing it would refuse ever reaches it.

The checker here is Python's own of JSON, and the reload is a copy.

    python examples/07_checked_files.py
"""

import json
import sys
import tempfile
from pathlib import Path

import anyio

from ingresskit import Controller, MemorySource, RenderedFile, Renderer, Rendering, RouteGraph
from ingresskit.apply import DirectoryApplier
from ingresskit.controller import ApplyKind
from ingresskit.models import Ingress, decode


class HostsRenderer(Renderer[Rendering]):
    """Writes the names of the hosts, as JSON."""

    name = "hosts"

    def render(self, graph: RouteGraph) -> Rendering:
        """One file."""
        hosts = [host.host for host in graph.virtual_hosts]
        return Rendering((RenderedFile.text("hosts.json", json.dumps(hosts) + "\n"),))


def ingress(name: str) -> Ingress:
    annotations = {"kubernetes.io/ingress.class": "ingresskit"}
    rule = {"host": f"{name}.example"}
    metadata = {"name": name, "namespace": "web", "annotations": annotations}
    return decode(Ingress, {"metadata": metadata, "spec": {"rules": [rule]}})


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        applier = DirectoryApplier(
            Path(folder),
            check=[sys.executable, "-m", "json.tool", "{folder}/hosts.json"],
            reload=["cp", "{folder}/hosts.json", f"{folder}/what-the-proxy-read.json"],
        )
        source = MemorySource([ingress("one")])
        controller = Controller(source=source, renderer=HostsRenderer(), applier=applier)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(controller.run)
            await controller.wait_applied(1)
            source.apply(ingress("two"))
            await controller.wait_applied(2)
            tasks.cancel_scope.cancel()
        print(await anyio.Path(folder, "what-the-proxy-read.json").read_text(), end="")
        print(f"{controller.statistics().applies[ApplyKind.RELOAD]} reloads")


if __name__ == "__main__":
    anyio.run(main)
