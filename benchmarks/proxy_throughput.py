"""How many requests per second the in-process proxy passes on, as a ratio to nginx in the same run.

    python benchmarks/proxy_throughput.py [--rounds 3] [--case small|10k|1m] [--loop uvloop] [--vary] [--tls]
                                          [--http2]

Both proxies have one process on one core; the load generator (wrk) and the endpoint (nginx) share
another one. They are loaded in turn, the order changes each round, and the ratio is the median over
the rounds: only ratios survive a machine that other people use too. The ratio of CPU time per request
is printed beside it; it is the steadier one on a busy machine. Needs nginx, two cores, and wrk, or h2load for
--http2: clients of HTTP/2 then, with prior knowledge unless they speak TLS, and a
quarter of the connections with eight streams each.
Settings: keep-alive on both sides, no access log, a table of 10,000 hosts with 3 paths each, requests
of about 600 bytes with 11 header fields, all checks of the proxy on. Everything is on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ingresskit.testing import make_certificate

HOSTS = 10_000
CASES = {"small": 200, "10k": 10_240, "1m": 1_048_576}
FIELDS = {
    "Host": "shop-1234.example.com",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br",
    "Cookie": "session=0123456789abcdef0123456789abcdef; theme=dark",
    "Cache-Control": "max-age=0",
    "Referer": "https://shop-1234.example.com/index",
    "X-Requested-With": "XMLHttpRequest",
    "DNT": "1",
    "Pragma": "no-cache",
}

VARY = """
local requests, at = {}, 0
function init()
  for number = 1, 512 do
    wrk.headers["Cookie"] = "session=" .. string.format("%032x", number * 7919) .. "; theme=dark"
    wrk.headers["Referer"] = "https://shop-1234.example.com/items/" .. number
    requests[number] = wrk.format("GET", "/shop/items/" .. number)
  end
end
function request()
  at = at % 512 + 1
  return requests[at]
end
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3, help="of load per proxy and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--case", choices=tuple(CASES), default="small")
    parser.add_argument("--vary", action="store_true", help="no two requests in a row are alike")
    parser.add_argument("--tls", action="store_true", help="clients speak TLS to both proxies")
    parser.add_argument("--http2", action="store_true", help="clients speak HTTP/2 to both proxies")
    parser.add_argument("--serve", nargs=2, type=int, metavar=("PORT", "ENDPOINT"), help=argparse.SUPPRESS)
    parser.add_argument("--profile", default="", help="write a cProfile of the proxy to this file")
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve, loop=options.loop, tls=options.tls, profile=options.profile)
        return
    for program in ("nginx", "h2load" if options.http2 else "wrk"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is needed and is not on the PATH")
    measure(options)


def measure(options: argparse.Namespace) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("two cores are needed: one for the proxy, one for the load")
    proxy_core, load_core = cores[0], cores[1]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="proxy-throughput-")))
        folder.chmod(0o755)  # nginx started by root reads as another user
        endpoint, peer, ours = free_port(), free_port(), free_port()
        body = folder / "body"
        body.write_bytes(b"x" * CASES[options.case])
        stack.enter_context(nginx(folder / "endpoint", endpoint_configuration(folder, endpoint), load_core))
        peer_process = stack.enter_context(
            nginx(
                folder / "peer",
                peer_configuration(peer, endpoint, tls=options.tls, http2=options.http2),
                proxy_core,
            )
        )
        command = [sys.executable, __file__, "--serve", str(ours), str(endpoint), "--loop", options.loop]
        if options.tls:
            command.append("--tls")
        if options.profile:
            command += ["--profile", options.profile]
        our_process = stack.enter_context(running(command, proxy_core))
        for port in (endpoint, peer, ours):
            wait_for(port)
        options.script = folder / "vary.lua" if options.vary else None
        if options.script:
            options.script.write_text(VARY)
        contestants = [("nginx", peer, peer_process), ("ingresskit", ours, our_process)]
        load_once(contestants, options, load_core)
        ratios: list[float] = []
        cpu_ratios: list[float] = []
        for number in range(options.rounds):
            rates: dict[str, float] = {}
            costs: dict[str, float] = {}
            for name, port, process in contestants if number % 2 else reversed(contestants):
                before = cpu_seconds(process)
                rates[name], count = load(port, options, load_core)
                costs[name] = (cpu_seconds(process) - before) / count * 1e6
            ratios.append(rates["ingresskit"] / rates["nginx"])
            cpu_ratios.append(costs["ingresskit"] / costs["nginx"])
            told = ", ".join(
                f"{name} {rates[name]:,.0f}/s at {costs[name]:.0f} us of CPU" for name in sorted(rates)
            )
            print(f"round {number + 1}: {told}")
    print(
        json.dumps(
            {
                "case": options.case,
                "answer_bytes": CASES[options.case],
                "vary": options.vary,
                "tls": options.tls,
                "http2": options.http2,
                "loop": options.loop,
                "connections": options.connections,
                "seconds": options.seconds,
                "rounds": options.rounds,
                "python": sys.version.split()[0],
                "requests_per_second_to_nginx": round(statistics.median(ratios), 3),
                "cpu_per_request_to_nginx": round(statistics.median(cpu_ratios), 3),
            }
        )
    )


def load_once(contestants: list[tuple[str, int, int]], options: argparse.Namespace, core: int) -> None:
    """Warm up: the first requests make connections and fill caches."""
    warm = argparse.Namespace(**{**vars(options), "seconds": 1})
    for _, port, _ in contestants:
        load(port, warm, core)


def cpu_seconds(process: int) -> float:
    """CPU time of a process and its children so far."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(stat.parent.name) == process or int(fields[1]) == process:
                total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def load(port: int, options: argparse.Namespace, core: int) -> tuple[float, int]:
    """Requests per second, and how many there were."""
    if options.http2:
        return load_http2(port, options, core)
    command = ["wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds}s"]
    for name, value in FIELDS.items():
        command += ["-H", f"{name}: {value}"]
    if options.script:
        command += ["-s", str(options.script)]
    done = subprocess.run(
        [*command, f"http{'s' * options.tls}://127.0.0.1:{port}/shop/items/body"],
        capture_output=True,
        text=True,
        check=True,
        timeout=options.seconds + 30,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        sys.exit(f"the load met errors:\n{done.stdout}")
    found = re.search(r"Requests/sec:\s+([0-9.]+)", done.stdout)
    count = re.search(r"([0-9]+) requests in", done.stdout)
    assert found is not None, done.stdout
    assert count is not None, done.stdout
    return float(found[1]), int(count[1])


def load_http2(port: int, options: argparse.Namespace, core: int) -> tuple[float, int]:
    """The same over HTTP/2."""
    command = ["h2load", "-t1", f"-c{options.connections // 4}", "-m8", f"-D{options.seconds}"]
    for name, value in FIELDS.items():
        command += ["-H", f"{':authority' if name == 'Host' else name.lower()}: {value}"]
    done = subprocess.run(
        [*command, f"http{'s' * options.tls}://127.0.0.1:{port}/shop/items/body"],
        capture_output=True,
        text=True,
        check=True,
        timeout=options.seconds + 30,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    found = re.search(r"finished in .*?, ([0-9.]+) req/s", done.stdout)
    count = re.search(r"([0-9]+) succeeded, ([0-9]+) failed", done.stdout)
    assert found is not None, done.stdout
    assert count is not None, done.stdout
    if int(count[2]) or " 0 2xx" in done.stdout:
        sys.exit(f"the load met errors:\n{done.stdout}")
    return float(found[1]), int(count[1])


def serve(port: int, endpoint: int, *, loop: str, tls: bool, profile: str) -> None:
    """The proxy itself, until SIGTERM."""
    from ingresskit.graph import Backend, BackendKey, Endpoint, Forward, PathMatch, Route, WeightedBackend
    from ingresskit.models import ObjectKey, ObjectRef
    from ingresskit.policies import Origin
    from ingresskit.proxy import Proxy
    from ingresskit.render.inprocess import HostTable, RoutingTable, Target

    key = BackendKey("shop", "web", 80)
    origin = Origin(ObjectRef("Ingress", ObjectKey("shop", "web")), "spec")
    action = Forward(backends=(WeightedBackend(key),))

    def host_table(host: str) -> HostTable:
        prefixes = {
            path: Target(
                route=Route(match=PathMatch.prefix(path or "/"), action=action, origin=origin),
                host=host,
                matched=path,
            )
            for path in ("", "/shop", "/shop/items")
        }
        return HostTable(host=host, prefixes=prefixes)

    names = [f"shop-{number}.example.com" for number in range(HOSTS)]
    table = RoutingTable(
        hosts={name: host_table(name) for name in names},
        backends={key: Backend(key=key, endpoints=(Endpoint(address="127.0.0.1", port=endpoint),))},
    )

    async def run() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        async with Proxy() as proxy:
            proxy.swap(table)
            await proxy.listen("127.0.0.1", port, tls=tls)
            await stop.wait()

    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        if profile:
            import cProfile

            profiler = cProfile.Profile()
            profiler.runcall(runner.run, run())
            profiler.dump_stats(profile)
        else:
            runner.run(run())


COMMON = """
worker_processes 1; daemon off; pid nginx.pid; error_log error.log;
events {{ worker_connections 2048; }}
http {{
  access_log off; keepalive_requests 100000000;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  {more}
}}
"""


def endpoint_configuration(folder: Path, port: int) -> str:
    return COMMON.format(
        more=f"server {{ listen 127.0.0.1:{port}; root {folder}; location / {{ rewrite ^ /body break; }} }}"
    )


def peer_configuration(port: int, endpoint: int, *, tls: bool, http2: bool = False) -> str:
    listen = f"listen 127.0.0.1:{port}{' http2' * http2}"
    if tls:
        listen += " ssl; ssl_certificate peer.pem; ssl_certificate_key peer.pem"
    return COMMON.format(
        more=f"""
  upstream web {{ server 127.0.0.1:{endpoint}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    {listen};
    location / {{
      proxy_pass http://web; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Request-ID $request_id;
    }}
  }}"""
    )


@contextlib.contextmanager
def nginx(folder: Path, configuration: str, core: int) -> Iterator[int]:
    folder.mkdir()
    (folder / "nginx.conf").write_text(configuration)
    certificate = make_certificate("peer.example")
    (folder / "peer.pem").write_bytes(certificate.chain + certificate.private_key)
    with running(["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"], core) as process:
        yield process


@contextlib.contextmanager
def running(command: list[str], core: int) -> Iterator[int]:
    process = subprocess.Popen(command, preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > deadline:
            sys.exit(f"nothing listens on port {port}")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
