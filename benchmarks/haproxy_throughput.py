"""How many requests per second HAProxy passes on under our program, as a ratio to a plain one in the same run.

    python benchmarks/haproxy_throughput.py [--rounds 5] [--hosts 10000] [--asked 512] [--case small|10k|1m]

One HAProxy is started on what `HaproxyRenderer` makes of a graph with so many hosts, of which so many are
asked for in turn; the other one is written by hand and has one backend, with the same endpoint. Each has
one thread, on one core; the load generator (wrk) and the endpoint (nginx) share another. They are loaded in
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
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

from nginx_throughput import ASK, graph
from proxy_throughput import (
    CASES,
    cpu_seconds,
    endpoint_configuration,
    free_port,
    load,
    load_once,
    nginx,
    wait_for,
)

from ingresskit.render.haproxy import (
    PROGRAM,
    Bind,
    Capabilities,
    HaproxyRenderer,
    HaproxySettings,
    SlotClass,
    configuration,
    program,
    slot_name,
)
from ingresskit.testing.certificates import make_certificate

PLAIN = """\
global
    maxconn 1000
    tune.bufsize 32768
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option forwardfor
frontend plain
    bind 127.0.0.1:{port}
    default_backend endpoint
backend endpoint
    server endpoint 127.0.0.1:{endpoint}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3, help="of load per proxy and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--asked", type=int, default=512, help="hosts that are asked for")
    parser.add_argument("--case", choices=tuple(CASES), default="small")
    parser.add_argument("--program", default="haproxy")
    options = parser.parse_args()
    for needed in (options.program, "nginx", "wrk"):
        if shutil.which(needed) is None:
            sys.exit(f"{needed} is needed and is not on the PATH")
    options.tls = False
    measure(options)


def measure(options: argparse.Namespace) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("two cores are needed: one for the proxy, one for the load")
    proxy_core, load_core = cores[0], cores[1]
    said = subprocess.run([options.program, "-v"], check=True, capture_output=True, text=True).stdout
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="haproxy-throughput-")))
        folder.chmod(0o755)  # nginx started by root reads as another user
        endpoint, peer, ours = free_port(), free_port(), free_port()
        (folder / "body").write_bytes(b"x" * CASES[options.case])
        options.script = folder / "ask.lua"
        options.script.write_text(ASK.replace("ASKED", str(options.asked)))
        stack.enter_context(nginx(folder / "endpoint", endpoint_configuration(folder, endpoint), load_core))
        plain = folder / "plain.cfg"
        plain.write_text(PLAIN.format(port=peer, endpoint=endpoint))
        rendered = render(folder / "ours", ours, endpoint, options.hosts, Capabilities.of(said))
        contestants = [
            ("haproxy", peer, stack.enter_context(haproxy(options.program, plain, proxy_core))),
            ("ingresskit", ours, stack.enter_context(haproxy(options.program, rendered, proxy_core))),
        ]
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
            ratios.append(rates["ingresskit"] / rates["haproxy"])
            cpu_ratios.append(costs["ingresskit"] / costs["haproxy"])
            told = ", ".join(
                f"{name} {rates[name]:,.0f}/s at {costs[name]:.0f} us of CPU" for name in sorted(rates)
            )
            print(f"round {number + 1}: {told}")
    print(
        json.dumps(
            {
                "haproxy": said.partition("\n")[0],
                "hosts": options.hosts,
                "asked": options.asked,
                "case": options.case,
                "requests_per_second_to_plain_haproxy": round(statistics.median(ratios), 3),
                "cpu_per_request_to_plain_haproxy": round(statistics.median(cpu_ratios), 3),
            }
        )
    )


def render(folder: Path, port: int, endpoint: int, hosts: int, capabilities: Capabilities) -> Path:
    """The configuration of so many hosts in *folder*; the path of the program."""
    artifact = HaproxyRenderer().render(graph(hosts, endpoint))
    settings = HaproxySettings(http=(Bind("127.0.0.1", port),), max_connections=1000)
    slots = {name: slot_name(SlotClass(), number) for number, name in enumerate(artifact.backends, 1)}
    text = program(
        settings,
        capabilities,
        needs=artifact.needs,
        pools={SlotClass(): 256},
        slots={slots[name]: item.servers for name, item in artifact.backends.items()},
    )
    own = make_certificate("own.test")
    for file in configuration(
        artifact, program=text, slots=slots, default_certificate=own.private_key + own.chain
    ):
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
    return folder / PROGRAM


@contextlib.contextmanager
def haproxy(binary: str, path: Path, core: int) -> Generator[int]:
    """HAProxy on one core, and so with one thread; the id of its process."""
    log = path.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [binary, "-db", "-f", str(path)],
            stdout=output,
            stderr=output,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
