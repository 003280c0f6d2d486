"""What it costs that a connection to an endpoint ends with an upload over HTTP/2, as a ratio in the same run.

    python benchmarks/haproxy_uploads.py [--rounds 5] [--requests 1000] [--bytes 1000]

One HAProxy runs under our program, one under the same without that rule, before the same endpoint (nginx).
curl sends so many uploads one after the other on one connection over TLS, to each in turn; the ratio is the
median over the rounds. A server of another machine would be farther away, and a connection to it dearer.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from haproxy_throughput import haproxy
from nginx_throughput import graph
from proxy_throughput import COMMON, free_port, nginx, wait_for

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

_RULE = "set-header Connection close if { fc_http_major 2 }"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--bytes", type=int, default=1000)
    parser.add_argument("--program", default="haproxy")
    options = parser.parse_args()
    for needed in (options.program, "nginx", "curl"):
        if shutil.which(needed) is None:
            sys.exit(f"{needed} is needed and is not on the PATH")
    measure(options)


def measure(options: argparse.Namespace) -> None:
    said = subprocess.run([options.program, "-v"], check=True, capture_output=True, text=True).stdout
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="haproxy-uploads-")))
        folder.chmod(0o755)
        endpoint, ports = free_port(), {"with": free_port(), "without": free_port()}
        (folder / "upload").write_bytes(b"x" * options.bytes)
        # To pass a request on, nginx reads all of it.
        passed = (
            f"location / {{ proxy_pass http://127.0.0.1:{endpoint}/read; }} location /read {{ return 200; }}"
        )
        text = COMMON.format(more=f"server {{ listen 127.0.0.1:{endpoint}; {passed} }}")
        stack.enter_context(nginx(folder / "endpoint", text, 1))
        for name, port in ports.items():
            path = render(folder / name, port, endpoint, Capabilities.of(said), rule=name == "with")
            stack.enter_context(haproxy(options.program, path, 0))
        for port in (endpoint, *ports.values()):
            wait_for(port)
        ratios: list[float] = []
        for number in range(options.rounds + 1):
            took = {
                name: upload(ports[name], folder / "upload", options.requests)
                for name in (sorted(ports) if number % 2 else sorted(ports, reverse=True))
            }
            if number:
                ratios.append(took["with"] / took["without"])
                print(f"round {number}: " + ", ".join(f"{name} {took[name]:.2f} s" for name in sorted(took)))
    print(
        json.dumps(
            {
                "haproxy": said.partition("\n")[0],
                "bytes": options.bytes,
                "time_with_the_rule_to_without": round(statistics.median(ratios), 2),
            }
        )
    )


def upload(port: int, body: Path, count: int) -> float:
    """Seconds that so many uploads took."""
    begun = time.perf_counter()
    fields = ("-H", "Host: shop-1.example.com", "-H", "Expect:")
    sent = ("-sk", "--http2", "--data-binary", f"@{body}", *fields, "-o", "/dev/null")
    subprocess.run(["curl", *sent, f"https://127.0.0.1:{port}/[1-{count}]"], check=True)
    return time.perf_counter() - begun


def render(folder: Path, port: int, endpoint: int, capabilities: Capabilities, *, rule: bool) -> Path:
    """The configuration in *folder*, with the rule or without; the path of the program."""
    artifact = HaproxyRenderer().render(graph(1, endpoint))
    settings = HaproxySettings(https=(Bind("127.0.0.1", port),), max_connections=1000)
    slots = {name: slot_name(SlotClass(), number) for number, name in enumerate(artifact.backends, 1)}
    text = program(
        settings,
        capabilities,
        needs=artifact.needs,
        pools={SlotClass(): 8},
        slots={slots[name]: item.servers for name, item in artifact.backends.items()},
    )
    if not rule:
        lines = text.splitlines(keepends=True)
        text = "".join(line for line in lines if _RULE not in line)
        assert len(text.splitlines()) == len(lines) - 1
    own = make_certificate("own.test")
    default = own.private_key + own.chain
    for file in configuration(artifact, program=text, slots=slots, default_certificate=default):
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
    return folder / PROGRAM


if __name__ == "__main__":
    main()
