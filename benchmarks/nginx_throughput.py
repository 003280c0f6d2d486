"""How many requests per second nginx passes on in dynamic mode, as a ratio to plain nginx in the same run.

    python benchmarks/nginx_throughput.py [--rounds 5] [--hosts 10000] [--asked 512] [--case small|10k|1m]

One nginx is what `NginxRenderer` and `NginxApplier` make of a graph with so many hosts, of which so many are
asked for in turn; the other one is written by hand and has one route, to the same endpoint. Each has one
worker, on one core; the load generator (wrk) and the endpoint (nginx) share another. They are loaded in
turn, the order changes each round, and the ratio is the median over the rounds: only ratios survive a
machine that other people use too. Keep-alive on both sides, no access log, everything on loopback.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import anyio
from proxy_throughput import (
    CASES,
    cpu_seconds,
    endpoint_configuration,
    free_port,
    load,
    load_once,
    nginx,
    peer_configuration,
    wait_for,
)

from ingresskit.apply import Dynamic
from ingresskit.apply.nginx import Nginx, NginxApplier, NginxProcessSettings
from ingresskit.graph import (
    Backend,
    BackendKey,
    Endpoint,
    Forward,
    PathMatch,
    Route,
    RouteGraph,
    VirtualHost,
    WeightedBackend,
)
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import Origin
from ingresskit.render.nginx import Mode, NginxRenderer, NginxSettings

ASK = """
local requests, at = {}, 0
function init()
  for number = 1, ASKED do
    wrk.headers["Host"] = "shop-" .. number .. ".example.com"
    requests[number] = wrk.format("GET", "/shop/items/body")
  end
end
function request()
  at = at % ASKED + 1
  return requests[at]
end
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3, help="of load per proxy and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--asked", type=int, default=512, help="hosts that are asked for")
    parser.add_argument("--case", choices=tuple(CASES), default="small")
    parser.add_argument("--program", default="nginx")
    options = parser.parse_args()
    for program in (options.program, "wrk"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is needed and is not on the PATH")
    options.tls = False
    anyio.run(measure, options)


async def measure(options: argparse.Namespace) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("two cores are needed: one for the proxy, one for the load")
    proxy_core, load_core = cores[0], cores[1]
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nginx-throughput-")))
        await anyio.Path(folder).chmod(0o755)  # nginx started by root reads as another user
        endpoint, peer, ours = free_port(), free_port(), free_port()
        (folder / "body").write_bytes(b"x" * CASES[options.case])
        options.script = folder / "ask.lua"
        options.script.write_text(ASK.replace("ASKED", str(options.asked)))
        stack.enter_context(nginx(folder / "endpoint", endpoint_configuration(folder, endpoint), load_core))
        peer_process = stack.enter_context(
            nginx(folder / "peer", peer_configuration(peer, endpoint, tls=False), proxy_core)
        )
        settings = NginxSettings(state=str(folder / "state"), http=(f"127.0.0.1:{ours}",), workers=1)
        process = NginxProcessSettings(program=options.program, reload_gap=timedelta(0))
        os.sched_setaffinity(0, {proxy_core})  # what is started from here on runs there
        running = await stack.enter_async_context(Nginx(settings, process))
        renderer = NginxRenderer(settings, running.capabilities, mode=Mode.DYNAMIC)
        applier = NginxApplier(running)
        small = renderer.render(graph(1, endpoint))
        await applier.apply(applier.plan(None, small))
        large = renderer.render(graph(options.hosts, endpoint))
        plan = applier.plan(small, large)
        assert isinstance(plan, Dynamic), plan
        begun = anyio.current_time()
        await applier.apply(plan)
        pushed = anyio.current_time() - begun
        os.sched_setaffinity(0, set(cores))
        assert running.pid is not None
        contestants = [("nginx", peer, peer_process), ("ingresskit", ours, running.pid)]
        for port in (endpoint, peer, ours):
            wait_for(port)
        load_once(contestants, options, load_core)
        ratios: list[float] = []
        cpu_ratios: list[float] = []
        for number in range(options.rounds):
            rates: dict[str, float] = {}
            costs: dict[str, float] = {}
            for name, port, pid in contestants if number % 2 else reversed(contestants):
                before = cpu_seconds(pid)
                rates[name], count = load(port, options, load_core)
                costs[name] = (cpu_seconds(pid) - before) / count * 1e6
            ratios.append(rates["ingresskit"] / rates["nginx"])
            cpu_ratios.append(costs["ingresskit"] / costs["nginx"])
            told = ", ".join(
                f"{name} {rates[name]:,.0f}/s at {costs[name]:.0f} us of CPU" for name in sorted(rates)
            )
            print(f"round {number + 1}: {told}")
        version = running.capabilities.version_text
    print(
        json.dumps(
            {
                "nginx": version,
                "hosts": options.hosts,
                "asked": options.asked,
                "case": options.case,
                "push_of_all_hosts_ms": round(pushed * 1000, 1),
                "requests_per_second_to_plain_nginx": round(statistics.median(ratios), 3),
                "cpu_per_request_to_plain_nginx": round(statistics.median(cpu_ratios), 3),
            }
        )
    )


def graph(hosts: int, endpoint: int) -> RouteGraph:
    key = BackendKey("shop", "web", 80)
    origin = Origin(ObjectRef("Ingress", ObjectKey("shop", "web")), "spec")
    action = Forward(backends=(WeightedBackend(key),))
    routes = tuple(
        Route(match=PathMatch.prefix(path), action=action, origin=origin)
        for path in ("/shop/items", "/shop", "/")
    )
    names = sorted(f"shop-{number}.example.com" for number in range(1, hosts + 1))
    return RouteGraph(
        virtual_hosts=tuple(VirtualHost(host=name, routes=routes) for name in names),
        backends={key: Backend(key=key, endpoints=(Endpoint(address="127.0.0.1", port=endpoint),))},
    )


if __name__ == "__main__":
    main()
