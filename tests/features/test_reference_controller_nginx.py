"""The reference controller with nginx carrying the traffic."""

from __future__ import annotations

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
    shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None,
    reason="nginx is not installed",
)


def test_the_demo_is_served_by_nginx_and_drained(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with ReferenceController("--demo", "--renderer=nginx", f"--access-log={log}") as controller:
        controller.wait_ready()
        reply = controller.get("shop.demo.localhost", "/api/v1")
        unknown = controller.get("nobody.demo.localhost")
        status = controller.admin("/api/status").json
        config = controller.admin("/api/config").json
        wait_until(lambda: log.read_text().count("\n") >= 2)
        lines = log.read_text().splitlines()
        wait_until(lambda: "proxy_connections_total" in controller.admin("/metrics").text)
        ended = controller.stop()

    assert reply.json["service"] == "demo/api"
    assert unknown.status == 404
    assert status["renderer"] == "nginx"
    listed = cast("list[dict[str, str | None]]", config["files"])
    files = {str(item["path"]): item["content"] or "" for item in listed}
    assert "worker_processes" in files["nginx.conf"]
    assert not any("PRIVATE KEY" in content for content in files.values())
    assert '"path": "/api/v1", "status": 200' in lines[0]
    assert '"backend": "demo/api:80"' in lines[0]
    assert '"status": 404' in lines[1]
    assert '"termination": "no_route"' in lines[1]
    assert ended == 0


def test_a_controller_that_is_killed_leaves_nginx_serving_and_the_next_one_takes_it_over(
    tmp_path: Path,
) -> None:
    state = f"--state-dir={tmp_path}"
    with ReferenceController("--demo", "--renderer=nginx", state) as first:
        first.wait_ready()
        port = first.http_port
        first.stop(signal.SIGKILL)
        # The pods of the demo are in the controller, and gone with it; that nginx answers is the point.
        orphaned = first.get("elsewhere.demo.localhost")
    with ReferenceController("--demo", "--renderer=nginx", state, f"--http=127.0.0.1:{port}") as second:
        second.wait_ready()
        adopted = second.wait_record("program adopted")
        served = second.get("shop.demo.localhost")
        ended = second.stop()

    assert orphaned.status == 404
    assert adopted["program"] == "nginx"
    assert served.status == 200
    assert ended == 0


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("/nowhere/nginx", "no program at /nowhere/nginx"),
        ("/etc/passwd", "/etc/passwd may not be executed"),
        ("/bin/true", "/bin/true does not report a version of nginx"),
    ],
    ids=["missing", "no program", "another program"],
)
def test_a_program_that_cannot_be_used_ends_it_with_one_clear_line(program: str, said: str) -> None:
    done = print_or_serve(f"--proxy-binary={program}", "--admin=off")

    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]


def test_print_config_shows_what_nginx_would_read_and_no_key() -> None:
    done = print_or_serve("--print-config", "--allow-endpoint=127.0.0.0/8")

    assert "==> nginx.conf <==" in done.stdout
    assert "PRIVATE KEY" not in done.stdout


def print_or_serve(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            str(EXAMPLES / "reference_controller.py"),
            f"--manifests={MANIFESTS}",
            "--renderer=nginx",
            *flags,
        ],
        capture_output=True,
        text=True,
        timeout=pace.within(60),
        check=False,
    )


def test_the_log_of_nginx_can_be_had_on_the_output() -> None:
    with ReferenceController("--demo", "--renderer=nginx", "--access-log=-") as controller:
        controller.wait_ready()
        controller.get("shop.demo.localhost", "/api/v1")
        line = controller.output.wait_for('"path": "/api/v1", "status": 200')
        controller.stop()

    assert '"backend": "demo/api:80"' in line
