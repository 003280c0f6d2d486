"""The demonstration: every command line it prints works, with the real curl."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingresskit.testing import pace
from tests.features.reference_process import ReferenceController

_SHOP = r'"service": "demo/shop"'
_API = r'"service": "demo/api"'
# For each line, what its answer must hold.
EXPECTED = {
    "a host, and three pods that take turns: ask again": _SHOP,
    "Prefix /api takes whole elements": _API,
    "and so not this one": _SHOP,
    "Exact /status takes this path only": _API,
    "a wildcard host takes one label": _SHOP,
    "an exact host wins over it": _API,
    "headers set and removed, the prefix rewritten": r'X-Served-By: ingresskit[\s\S]*"path": "/v2/cart"',
    "a redirect (301)": r"^HTTP/1.1 301 [\s\S]*Location: https://shop.example/new",
    "a Service without endpoints (503)": r"^HTTP/1.1 503 ",
    "an Ingress of another class (404)": r"^HTTP/1.1 404 ",
    "plain HTTP is sent to HTTPS (308)": r"^HTTP/1.1 308 [\s\S]*https://secure.demo.localhost:\d+/cart",
    "TLS": _SHOP + r'[\s\S]*"x-forwarded-proto": "https"',
    "another server name, another certificate": _API,
    "why /apis is not taken by /api": r"Prefix /api takes whole elements between slashes",
    "what is wrong with the manifests": r'"reason": "NoEndpoints"',
    "the dashboard, for a browser": r"<title>.*ingresskit",
}


@pytest.fixture(scope="module")
def demo() -> Iterator[ReferenceController]:
    with ReferenceController("--demo") as controller:
        controller.wait_ready().output.wait_for("the dashboard")
        controller.output.wait_for(f":{controller.admin_port}/")
        yield controller


def printed(demo: ReferenceController) -> dict[str, str]:
    lines = demo.output.seen
    demo.output.wait_for(f"curl http://127.0.0.1:{demo.admin_port}/")
    return {
        line.removeprefix("# "): lines[number + 1] for number, line in enumerate(lines) if line.startswith("# ")
    }


def run(command: str) -> str:
    words = [*shlex.split(command), "--silent", "--show-error", "--max-time", "20"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=pace.within(30))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("title", EXPECTED)
def test_a_printed_line_works(demo: ReferenceController, title: str) -> None:
    answer = run(printed(demo)[title])

    assert re.search(EXPECTED[title], answer), answer


def test_nothing_is_printed_that_is_not_tried_here(demo: ReferenceController) -> None:
    assert printed(demo).keys() == EXPECTED.keys()


def test_pods_take_turns(demo: ReferenceController) -> None:
    pods = {re.search(r'"pod": "(\S+)"', demo.get("shop.demo.localhost").text) for _ in range(6)}

    assert {found[1] for found in pods if found} == {"shop-1", "shop-2", "shop-3"}


def test_a_pod_that_is_not_ready_gets_nothing(demo: ReferenceController) -> None:
    answers = " ".join(demo.get("shop.demo.localhost", "/api").text for _ in range(6))

    assert set(re.findall(r'"pod": "(\S+)"', answers)) == {"api-blue-1", "api-green-1"}


def test_a_header_policy_reaches_the_pod(demo: ReferenceController) -> None:
    command = printed(demo)["headers set and removed, the prefix rewritten"]

    answer = run(f"{command} -H 'X-Tenant: mine' -H 'Cookie: secret'")

    assert '"x-tenant": "blue"' in answer
    assert "secret" not in answer


def test_a_certificate_is_for_its_own_name_only(demo: ReferenceController) -> None:
    command = printed(demo)["TLS"].replace("secure.demo", "unknown.demo")

    done = subprocess.run(
        [*shlex.split(command), "--silent", "--max-time", "20"], capture_output=True, check=False, timeout=30
    )

    assert done.returncode == 60  # curl: the peer's certificate cannot be authenticated


def test_the_demo_stays_below_80_mebibytes(demo: ReferenceController) -> None:
    for title, command in printed(demo).items():
        assert run(command), title
    status = Path(f"/proc/{demo.process.pid}/status").read_text(encoding="ascii")

    kibibytes = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])

    assert kibibytes < 80 * 1024


def test_two_demos_run_side_by_side(demo: ReferenceController) -> None:
    with ReferenceController("--demo") as second:
        second.wait_ready()

        assert second.get("shop.demo.localhost").json["service"] == "demo/shop"
    assert demo.get("shop.demo.localhost").status == 200
