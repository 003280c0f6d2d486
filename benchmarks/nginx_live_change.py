"""How long a change takes to be live in nginx, with thousands of Ingresses there.

    python benchmarks/nginx_live_change.py [--ingresses 5000] [--changes 40] [--mode dynamic|static]

Objects in memory, `Controller`, a real nginx, sockets on 127.0.0.1. Each Ingress has a host and a Service of
its own. Each change is timed from the moment its objects are there to the first right answer through
nginx, on a new connection. In static mode each change is a reload, and the gap between reloads is taken
away, so that the time is that of one reload and not of waiting for it.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
from datetime import timedelta

import anyio
from haproxy_live_change import _KINDS, _Probe, _World

from ingresskit.apply.nginx import Nginx, NginxApplier, NginxProcessSettings
from ingresskit.controller import Controller, ControllerSettings
from ingresskit.policies.values import parse_networks
from ingresskit.render.nginx import Mode, NginxRenderer, NginxSettings
from ingresskit.sources import MemorySource
from ingresskit.testing.planes import free_port
from ingresskit.testing.traffic import open_endpoints
from ingresskit.translate import DestinationPolicy, TranslateOptions


async def measure(arguments: argparse.Namespace) -> None:
    http, https = ("127.0.0.1", free_port()), ("127.0.0.1", free_port())
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="ik-") as folder:
        settings = NginxSettings(
            state=folder, http=(f"127.0.0.1:{http[1]}",), https=(f"127.0.0.1:{https[1]}",), workers=2
        )
        process = NginxProcessSettings(
            program=arguments.program, reload_gap=timedelta(0), most_old_workers=1000
        )
        async with (
            open_endpoints(2) as pods,
            Nginx(settings, process) as nginx,
            anyio.create_task_group() as tasks,
        ):
            world = _World(pods.ports)
            source = MemorySource(world.first(arguments.ingresses))
            controller = Controller(
                source=source,
                renderer=NginxRenderer(settings, nginx.capabilities, mode=Mode(arguments.mode)),
                applier=NginxApplier(nginx),
                options=TranslateOptions(destinations=DestinationPolicy(allow=parse_networks("127.0.0.0/8"))),
                settings=ControllerSettings(settle_quiet=timedelta(0)),
            )
            begun = anyio.current_time()
            tasks.start_soon(controller.run)
            with anyio.fail_after(120):
                await controller.wait_applied(0)
            print(f"first configuration live after {anyio.current_time() - begun:.2f} s")
            gc.collect()
            gc.freeze()
            probe = _Probe(http, https)
            for number in range(arguments.changes):
                for kind in _KINDS:
                    change, right = world.change(kind, number, source)
                    begun = anyio.current_time()
                    change()
                    await probe.wait(right)
                    seconds.setdefault(kind, []).append(anyio.current_time() - begun)
                    await anyio.sleep(0.1)
            print(f"nginx {nginx.capabilities.version_text}, {arguments.mode}: {nginx.reloads} reloads")
            tasks.cancel_scope.cancel()
    for what, values in seconds.items():
        median = 1000 * statistics.median(values)
        print(f"{what:24} {len(values):4}  median {median:6.1f} ms  max {1000 * max(values):6.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ingresses", type=int, default=5000)
    parser.add_argument("--changes", type=int, default=40)
    parser.add_argument("--program", default="nginx")
    parser.add_argument("--mode", choices=[str(mode) for mode in Mode], default="dynamic")
    anyio.run(measure, parser.parse_args())


if __name__ == "__main__":
    main()
