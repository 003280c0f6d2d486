"""What requests cost with two worker processes, beside one worker process.

    python benchmarks/workers_throughput.py [--rounds 5] [--seconds 2] [--workers 2] [--limited]

Both pools serve the same table and are loaded in turn; the order changes each round. Printed are the medians of
the ratios of requests per second and of CPU time per request, and the resident and proportional memory of a
worker. On a machine with fewer free cores than workers, load generator and endpoint need, the rate says little:
CPU time per request then shows what a second worker costs. Needs wrk. Everything is on loopback.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread

from ingresskit.apply.workers import ListeningAddress, ListeningSockets, WorkerOptions, WorkerPool
from ingresskit.filters import BUILTIN_EFFECTS
from ingresskit.graph import PathMatch, Redirect, Route, VirtualHost
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import Origin, PolicySet, Rate, RateLimit
from ingresskit.proxy import ProxySettings
from ingresskit.render.inprocess import HostTable, RoutingTable, TargetMaker


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of load per pool and round")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--limited", action="store_true", help="the route has a rate limit, which is shared")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed")
    anyio.run(_measure, options)


async def _measure(options: argparse.Namespace) -> None:
    async with _pool(1) as one, _pool(options.workers) as many:
        ports = {one: await _open(one, options), many: await _open(many, options)}
        for pool in ports:
            while len(pool.pids) < pool.statistics().workers:  # noqa: ASYNC110 - other processes
                await anyio.sleep(0.05)
            await anyio.to_thread.run_sync(_load, ports[pool], options)
        rates: list[float] = []
        costs: list[float] = []
        for number in range(options.rounds):
            found: dict[WorkerPool, tuple[float, float]] = {}
            for pool in (one, many) if number % 2 else (many, one):
                before = sum(map(_cpu_seconds, pool.pids))
                rate, count = await anyio.to_thread.run_sync(_load, ports[pool], options)
                found[pool] = rate, (sum(map(_cpu_seconds, pool.pids)) - before) / count
            rates.append(found[many][0] / found[one][0])
            costs.append(found[many][1] / found[one][1])
            print(f"  {found[one][0]:.0f}/s and {found[many][0]:.0f}/s, {found[one][1] * 1e6:.1f} us of CPU")
        print(
            f"{options.workers} workers / 1: {statistics.median(rates):.2f} of the requests per second,"
            f" {statistics.median(costs):.3f} of the CPU time per request"
        )
        print("memory of a worker:", _memory(many.pids[0]))


def _pool(count: int) -> WorkerPool:
    return WorkerPool(ProxySettings(processes=count), options=WorkerOptions(count=count))


async def _open(pool: WorkerPool, options: argparse.Namespace) -> int:
    await pool.serve(_table(limited=options.limited))
    count = pool.statistics().workers
    sockets = await ListeningSockets.open([ListeningAddress("127.0.0.1", 0, tls=False)], count)
    await pool.listen(sockets)
    return sockets.addresses[0].port


def _table(*, limited: bool) -> RoutingTable:
    origin = Origin(ObjectRef("Ingress", ObjectKey("shop", "web")), "spec")
    policies = PolicySet()
    if limited:
        policies = PolicySet((RateLimit(owner="shop/web", rates=(Rate(1_000_000),)),))
    action = Redirect(location="/there")
    route = Route(match=PathMatch.prefix("/"), action=action, origin=origin, policies=policies)
    maker = TargetMaker(VirtualHost(host="*", routes=(route,)), BUILTIN_EFFECTS)
    return RoutingTable(hosts={"*": HostTable(host="*", prefixes={"": maker.target(route)})})


def _load(port: int, options: argparse.Namespace) -> tuple[float, int]:
    command = ["wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds}s", f"http://127.0.0.1:{port}/"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate, count = re.search(r"Requests/sec:\s+([0-9.]+)", output), re.search(r"([0-9]+) requests in", output)
    assert rate is not None, output
    assert count is not None, output
    return float(rate[1]), int(count[1])


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> str:
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return f"{lines['Rss'].strip()} resident, {lines['Pss'].strip()} in proportion"


if __name__ == "__main__":
    main()
