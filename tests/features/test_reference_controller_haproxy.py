"""The reference controller with HAProxy carrying the traffic."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from ingresskit.testing import pace
from tests.features.reference_process import EXAMPLES, ReferenceController, wait_until

MANIFESTS = EXAMPLES / "manifests" / "demo"

pytestmark = pytest.mark.skipif(
    shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None,
    reason="HAProxy is not installed",
)


def test_the_demo_is_served_by_haproxy_and_drained(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with ReferenceController("--demo", "--renderer=haproxy", f"--access-log={log}") as controller:
        controller.wait_ready()
        reply = controller.get("shop.demo.localhost", "/api/v1")
        unknown = controller.get("nobody.demo.localhost")
        status = controller.admin("/api/status").json
        config = controller.admin("/api/config").json
        wait_until(lambda: log.read_text().count("\n") >= 2)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        wait_until(lambda: 'requests_total{class="2xx"} 1.0' in controller.admin("/metrics").text)
        ended = controller.stop()

    assert reply.json["service"] == "demo/api"
    assert unknown.status == 404
    assert status["renderer"] == "haproxy"
    listed = cast("list[dict[str, str | None]]", config["files"])
    files = {str(item["path"]): item["content"] or "" for item in listed}
    assert "frontend" in files["haproxy.cfg"]
    assert "shop.demo.localhost" in files["maps/hosts.map"]
    assert {name for name, content in files.items() if not content} >= {
        name for name in files if name.endswith(".pem")
    }
    assert [(line["host"], line["status"], line["backend"]) for line in lines] == [
        ("shop.demo.localhost", 200, "demo/api:80"),
        ("nobody.demo.localhost", 404, None),
    ]
    assert ended == 0


def test_a_controller_that_is_killed_leaves_haproxy_serving_and_the_next_one_takes_it_over(
    tmp_path: Path,
) -> None:
    state = f"--state-dir={tmp_path}"
    with ReferenceController("--demo", "--renderer=haproxy", state) as first:
        first.wait_ready()
        port = first.http_port
        first.stop(signal.SIGKILL)
        # The pods of the demo are in the controller, and gone with it; that HAProxy answers is the point.
        orphaned = first.get("elsewhere.demo.localhost")
    with ReferenceController("--demo", "--renderer=haproxy", state, f"--http=127.0.0.1:{port}") as second:
        second.wait_ready()
        adopted = second.wait_record("program adopted")
        served = second.get("shop.demo.localhost")
        ended = second.stop()

    assert orphaned.status == 404
    assert adopted["program"] == "haproxy"
    assert served.status == 200
    assert ended == 0


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("/nowhere/haproxy", "no program at /nowhere/haproxy"),
        ("/etc/passwd", "/etc/passwd may not be executed"),
        ("/bin/true", "is not a version of HAProxy"),
    ],
    ids=["missing", "no program", "another program"],
)
def test_a_program_that_cannot_be_used_ends_it_with_one_clear_line(program: str, said: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(EXAMPLES / "reference_controller.py"),
            f"--manifests={MANIFESTS}",
            "--renderer=haproxy",
            f"--proxy-binary={program}",
            "--admin=off",
        ],
        capture_output=True,
        text=True,
        timeout=pace.within(60),
        check=False,
    )

    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]


def test_print_config_shows_the_program_and_no_key() -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(EXAMPLES / "reference_controller.py"),
            f"--manifests={MANIFESTS}",
            "--renderer=haproxy",
            "--print-config",
            "--allow-endpoint=127.0.0.0/8",
        ],
        capture_output=True,
        text=True,
        timeout=pace.within(60),
        check=False,
    )

    assert "==> haproxy.cfg <==" in done.stdout
    assert "shop.demo.localhost" in done.stdout
    assert "PRIVATE KEY" not in done.stdout
