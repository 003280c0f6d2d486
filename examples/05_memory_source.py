"""Objects that your program makes: apply and delete them, and wait until a change is live.

python examples/05_memory_source.py
"""

import anyio

from ingresskit import Ingress, InProcessApplier, InProcessRenderer, MemorySource
from ingresskit.controller import Controller
from ingresskit.models import decode
from ingresskit.proxy import Proxy
from ingresskit.render.inprocess import RoutingTable


def redirect(name: str, target: str) -> Ingress:
    """An Ingress that sends the host ``name.example`` somewhere else."""
    backend = {"service": {"name": name, "port": {"number": 80}}}
    annotations = {"kubernetes.io/ingress.class": "ingresskit", "ingresskit.dev/redirect": target}
    return decode(
        Ingress,
        {
            "metadata": {"name": name, "namespace": "web", "annotations": annotations},
            "spec": {
                "rules": [
                    {
                        "host": f"{name}.example",
                        "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
                    }
                ]
            },
        },
    )


async def wait_live(controller: Controller[RoutingTable], source: MemorySource) -> None:
    snapshot = source.snapshot()
    outcome = await controller.wait_applied(snapshot.revision if snapshot else 0)
    print("live:", {host.host: host.routes[0].action for host in outcome.graph.virtual_hosts})


async def main() -> None:
    source = MemorySource([redirect("old", "https://new.example")])
    async with Proxy() as proxy, anyio.create_task_group() as tasks:
        controller = Controller(source=source, renderer=InProcessRenderer(), applier=InProcessApplier(proxy))
        tasks.start_soon(controller.run)
        listener = await proxy.listen("127.0.0.1", 0)
        print("listening at", listener.address)
        await wait_live(controller, source)
        source.apply(redirect("blog", "https://words.example"))
        await wait_live(controller, source)
        source.delete(Ingress, "web", "old")
        await wait_live(controller, source)
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main)
