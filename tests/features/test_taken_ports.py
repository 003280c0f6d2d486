"""A port that another program holds: one sentence says so, on each renderer, and no traceback."""

from __future__ import annotations

import os
import shutil
from socket import create_server

import pytest

from ingresskit.testing.planes import state_folder
from tests.features.reference_process import EXAMPLES, ReferenceController, wait_until

HELLO = EXAMPLES / "manifests" / "hello"


def controller(renderer: str, *flags: str) -> ReferenceController:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    if renderer != "inprocess" and shutil.which(renderer, path=path) is None:
        pytest.skip(f"there is no {renderer} here")
    return ReferenceController(f"--manifests={HELLO}", f"--renderer={renderer}", "--https=off", *flags)


@pytest.mark.parametrize("renderer", ["inprocess", "haproxy", "nginx"])
def test_without_its_admin_port_it_ends_with_one_line(renderer: str) -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        with controller(renderer, f"--admin=127.0.0.1:{port}") as running:
            status = running.wait()

    assert status == 1
    assert f"the admin server cannot listen at 127.0.0.1:{port}" in running.log.seen[-1]
    assert "Traceback" not in "\n".join(running.log.seen)


def test_without_its_port_the_in_process_proxy_ends_with_one_line() -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        with controller("inprocess", f"--http=127.0.0.1:{port}") as running:
            status = running.wait()

    assert status == 1
    assert f"cannot listen at 127.0.0.1:{port}: " in running.log.seen[-1]
    assert "Traceback" not in "\n".join(running.log.seen)


@pytest.mark.parametrize("renderer", ["haproxy", "nginx"])
def test_a_program_waits_for_its_port_and_readiness_says_so(renderer: str) -> None:
    with state_folder() as folder, create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        with controller(renderer, f"--http=127.0.0.1:{port}", f"--state-dir={folder}") as running:
            wait_until(lambda: f"cannot listen at 127.0.0.1:{port}" in running.admin("/readyz").text)
            ready, alive = running.admin("/readyz").status, running.admin("/healthz").status
            taken.close()
            wait_until(lambda: running.admin("/readyz").status == 200)
            reply = running.get("unknown.example")
            ended = running.stop()

    assert (ready, alive) == (503, 200)
    assert reply.status == 404
    assert ended == 0
    assert "Traceback" not in "\n".join(running.log.seen)
