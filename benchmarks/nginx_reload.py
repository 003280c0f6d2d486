"""How many requests a reload of nginx in its static mode costs, beside the same traffic without reloads.

    python benchmarks/nginx_reload.py [--reloads 50] [--program nginx --program /opt/nginx-1.30/sbin/nginx]

Clients that keep their connections and pause before each request are the ones that meet a reload: nginx closes
idle connections of its old workers, and a request may be on its way on one. They ask for one host while
endpoints change, and every change is a reload; then for as long while nothing changes. A real nginx of each
program, endpoints and clients in processes of their own, on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import tempfile
from datetime import timedelta
from typing import NamedTuple

import anyio

from ingresskit.apply.nginx import Nginx, NginxApplier, NginxProcessSettings
from ingresskit.graph import RouteGraph
from ingresskit.models import KubeObject, Snapshot
from ingresskit.render.nginx import Mode, NginxArtifact, NginxRenderer, NginxSettings
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.testing.planes import free_port
from ingresskit.testing.traffic import TrafficReport, TrafficSettings, open_endpoints, open_traffic
from ingresskit.translate import DestinationPolicy, TranslateOptions, translate

__all__ = ["main"]

_HOST = "shop.test"
_OPTIONS = TranslateOptions(destinations=DestinationPolicy(allow=(ipaddress.ip_network("127.0.0.0/8"),)))


class Measured(NamedTuple):
    version: str
    reloads: int
    reloading: TrafficReport
    quiet: TrafficReport


def graph_of(ports: tuple[int, ...], number: int) -> RouteGraph:
    """One host whose endpoint is another one each time."""
    port = ports[number % len(ports)]
    objects: list[KubeObject] = [
        ingress_class(),
        ingress("shop", {_HOST: {"/": f"shop:{port}"}}),
        service("shop", {"http": port}),
        endpoint_slice("shop", "127.0.0.1", ports={"http": port}),
    ]
    return translate(Snapshot.of(objects), _OPTIONS).graph


async def measure(program: str, reloads: int, clients: int) -> Measured:
    """Serve one host with *program* while so many *clients* ask, reload so often, and then not at all."""
    with tempfile.TemporaryDirectory(prefix="ik-") as state:
        http = ("127.0.0.1", free_port())
        settings = NginxSettings(state=state, http=(f"{http[0]}:{http[1]}",), workers=2)
        process = NginxProcessSettings(program=program, reload_gap=timedelta(0), most_old_workers=1000)
        async with open_endpoints(2) as endpoints, Nginx(settings, process) as nginx:
            renderer = NginxRenderer(settings, nginx.capabilities, mode=Mode.STATIC)
            applier, live = NginxApplier(nginx), None

            async def serve(number: int, live: NginxArtifact | None) -> NginxArtifact:
                artifact = renderer.render(graph_of(tuple(endpoints.ports), number))
                await applier.apply(applier.plan(live, artifact))
                return artifact

            live = await serve(0, live)
            traffic = TrafficSettings(
                http=http, hosts=(_HOST,), busy=0, thinkers=clients, tunnels=0, handshakers=0, think=0.2
            )
            began = anyio.current_time()
            async with open_traffic(traffic) as asking:
                for number in range(1, reloads + 1):
                    live = await serve(number, live)
                    await anyio.sleep(0.15)
                reloading = await asking.stop()
            seconds = anyio.current_time() - began
            async with open_traffic(traffic) as asking:
                await anyio.sleep(seconds)
                quiet = await asking.stop()
            return Measured(nginx.capabilities.version_text, nginx.reloads, reloading, quiet)


def main() -> None:
    parser = argparse.ArgumentParser(description="What a reload of nginx costs.")
    parser.add_argument("--reloads", type=int, default=50)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--program", action="append", default=[])
    flags = parser.parse_args()
    for program in flags.program or [os.environ.get("NGINX", "nginx")]:
        found = anyio.run(measure, program, flags.reloads, flags.clients)
        for what, report in (("reloading", found.reloading), ("quiet", found.quiet)):
            share = 100 * report.failed / max(1, report.requests)
            print(
                f"nginx {found.version} {what:10} {report.requests:6} requests, {report.failed:4} failed"
                f" ({share:.2f} %), {report.reconnects} connections closed properly"
            )
        print(f"nginx {found.version}: {found.reloading.failed / max(1, found.reloads):.2f} failed a reload")


if __name__ == "__main__":
    main()
