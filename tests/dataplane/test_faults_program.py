"""The program is not there, dies, hangs or lies, or cannot have its port.

The ids F25 to F37 are those of `tests/faults/README.md`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from tests.dataplane.controlled import controller, served, steady, until_served
from tests.dataplane.controller_process import Plan
from tests.dataplane.faults_scene import proxies, running, script, stub
from tests.dataplane.planes import KINDS

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


@pytest.mark.parametrize("fault", ["missing", "not executable", "a folder", "something else", "too old"])
async def test_program_that_cannot_be_used_is_one_clear_error(plan: Plan, fault: str, tmp_path: Path) -> None:
    program = tmp_path / "proxy"
    if fault == "not executable":
        shutil.copy(KINDS[plan.plane].program, program)
        program.chmod(0o600)
    elif fault == "a folder":
        program.mkdir()
    elif fault == "something else":
        script(program, "echo hello; exit 0")
    elif fault == "too old":
        script(
            program, 'echo "nginx version: nginx/1.2.3" >&2; echo "HAProxy version 1.5.3 2014/09/29"; exit 0'
        )
    Path(plan.state_dir).mkdir(mode=0o700)
    async with controller(replace(plan, program=str(program))) as made:
        error = await made.wait(lambda event: event["event"] == "error")

        assert str(program) in error["message"]
        assert await made.ended() == 1


# F30 to F33: stubs


async def test_proxy_that_dies_at_every_start_comes_back_when_it_can(plan: Plan, tmp_path: Path) -> None:
    """F30. It is tried again with a growing wait, and the controller lives on."""
    broken = tmp_path / "broken"
    program = stub(tmp_path, plan, f'[ ! -e "{broken}" ] || exit 1')
    async with running(replace(plan, program=str(program))) as made:
        broken.touch()
        for pid in proxies(plan):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await anyio.sleep(1)
        down = await steady(plan)
        broken.unlink()
        await until_served(plan, 0)
        await made.tell(serve=1)
        await until_served(plan, 1)

        assert down != 200
        assert made.process.returncode is None


async def test_checker_that_fails_whatever_it_is_given_blames_nobody(plan: Plan, tmp_path: Path) -> None:
    """F30. The old state serves; no object is kept back for what is not its doing."""
    if not KINDS[plan.plane].reloading(1):
        pytest.skip("nothing in a cluster makes it read its file again")
    broken = tmp_path / "broken"
    program = stub(tmp_path, plan, f'[ ! -e "{broken}" ] || exit 1')
    async with running(replace(plan, program=str(program), kind="reload")) as made:
        broken.touch()
        await made.tell(serve=1)
        failed = await made.wait(lambda event: event["event"] == "apply")
        during = (await steady(plan), await served(plan, 0, 1))
        broken.unlink()
        await until_served(plan, 1)

        assert not failed["ok"]
        assert during == (200, [0])
        assert not [line for event in made.events if event["event"] == "diagnostics" for line in event["lines"]]


async def test_object_that_the_checker_refuses_is_kept_back_alone(plan: Plan) -> None:
    """F37. Found within 30 seconds; the rest of the same change is live, and the next change too."""
    if KINDS[plan.plane].poison is None:
        pytest.skip("nothing that comes of an object is checked")
    async with running(replace(plan, kind="poison")) as made:
        began = time.monotonic()
        await made.tell(serve=1)
        await until_served(plan, 1)
        took = time.monotonic() - began
        told = await made.wait(lambda event: event["event"] == "diagnostics")
        await made.tell(serve=2)
        await until_served(plan, 2)

        assert took < 30
        assert await steady(plan) == 200
    blamed = [line for line in told["lines"] if line.startswith("ProxyRefused ")]
    assert blamed
    assert all("default/poison" in line for line in blamed)


async def test_proxy_that_does_not_react_is_noticed_and_tried_again(plan: Plan) -> None:
    """F31, F32. It says nothing and does nothing, so what it is told is not live, and nobody may say so."""
    plan = replace(plan, kind="reload")
    async with running(plan) as made:
        stopped = proxies(plan)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            await made.tell(serve=1)
            failed = await made.wait(lambda event: event["event"] == "apply", seconds=90)
        finally:
            for pid in stopped:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        await until_served(plan, 1, seconds=60)

        assert not failed["ok"]
        assert await steady(plan) == 200


async def test_port_that_is_taken_is_one_clear_error(plan: Plan) -> None:
    """F33. The checker of the proxy does not see it."""
    Path(plan.state_dir).mkdir(mode=0o700)
    with socket.create_server(plan.http):
        async with controller(plan) as made:
            event = await made.wait(lambda event: event["event"] in ("error", "apply"), seconds=60)

    said = event["message"] if event["event"] == "error" else event["reason"]
    assert event["event"] == "error" or not event["ok"]
    assert str(plan.http[1]) in said


async def test_port_that_becomes_free_is_taken(plan: Plan) -> None:
    """F33. What cannot be had at first is tried again, by whoever starts the controller or by itself."""
    Path(plan.state_dir).mkdir(mode=0o700)
    with socket.create_server(plan.http):
        async with controller(plan) as made:
            await made.wait(lambda event: event["event"] in ("error", "apply"), seconds=60)
    async with running(plan):
        assert await served(plan, 0) == [0]
