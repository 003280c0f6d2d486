from __future__ import annotations

import os
import signal
import stat
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from ingresskit.apply import ProcessSettings, ProxyProcess, find_program
from ingresskit.errors import ApplyError, ConfigurationError
from ingresskit.testing import pace

pytestmark = pytest.mark.anyio

DEADLINE = pace.within(20.0)
GRACE = timedelta(seconds=5)
QUICK = ProcessSettings(restart_first=timedelta(milliseconds=10), restart_ceiling=timedelta(milliseconds=50))

SLEEP = ["sleep", "600"]


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]
    except OSError:
        return False


async def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - other processes cannot be waited for
        await anyio.sleep(0.005)


@asynccontextmanager
async def watched(process: ProxyProcess) -> AsyncGenerator[None]:
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.run)
            try:
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    await process.stop(grace=GRACE)
                tasks.cancel_scope.cancel()


async def test_it_runs_until_it_is_stopped(tmp_path: Path) -> None:
    process = ProxyProcess("proxy", SLEEP, state=tmp_path)
    async with watched(process):
        await process.start()
        pid = process.pid
        assert pid is not None
        assert alive(pid)
        assert os.getsid(pid) == pid
        await process.stop(grace=GRACE)

    assert not alive(pid)
    assert process.pid is None
    assert process.problem == ""
    assert not (tmp_path / "proxy.pid").exists()


async def test_one_that_ends_is_started_again_and_says_why(tmp_path: Path) -> None:
    process = ProxyProcess("proxy", SLEEP, state=tmp_path, settings=QUICK)
    async with watched(process):
        await process.start()
        first = process.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await wait_until(lambda: process.pid not in (None, first))

        assert process.restarts == 1
        assert process.problem == ""


async def test_the_last_words_of_a_program_are_its_problem(tmp_path: Path) -> None:
    dying = script(tmp_path / "dying", "echo 'cannot bind\033[2J' >&2; exit 3")
    settings = ProcessSettings(restart_first=timedelta(hours=1), restart_ceiling=timedelta(hours=1))
    process = ProxyProcess("proxy", [str(dying)], state=tmp_path, settings=settings)
    async with watched(process):
        await process.start()
        await wait_until(lambda: process.problem != "")

    assert process.problem == "proxy ended with status 3 after 'cannot bind\\\\x1b[2J'"


async def test_restarts_wait_longer_and_longer(tmp_path: Path) -> None:
    dying = script(tmp_path / "dying", "exit 1")
    process = ProxyProcess("proxy", [str(dying)], state=tmp_path, settings=QUICK)
    async with watched(process):
        await process.start()
        begun = anyio.current_time()
        await wait_until(lambda: process.restarts >= 6)
        took = anyio.current_time() - begun

    assert took >= 0.01 + 0.02 + 0.04 + 0.05 + 0.05


async def test_what_is_left_of_a_killed_program_is_ended_before_it_starts_again(tmp_path: Path) -> None:
    workers = tmp_path / "workers"
    master = script(tmp_path / "master", f"sleep 600 & echo $! >> {workers}; wait")
    process = ProxyProcess("proxy", [str(master)], state=tmp_path, settings=QUICK)
    async with watched(process):
        await process.start()
        await wait_until(lambda: workers.exists() and workers.read_text().endswith("\n"))
        worker = int(workers.read_text())
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        await wait_until(lambda: len(workers.read_text().splitlines()) == 2)

        assert not alive(worker)


async def test_it_outlives_its_controller_and_is_adopted(tmp_path: Path) -> None:
    before = ProxyProcess("proxy", SLEEP, state=tmp_path)
    await before.start()
    pid = before.pid
    before.leave()
    after = ProxyProcess("proxy", SLEEP, state=tmp_path, settings=QUICK)
    async with watched(after):
        assert await after.adopt()
        assert after.pid == pid


async def test_a_program_that_is_watched_can_be_left(tmp_path: Path) -> None:
    process = ProxyProcess("proxy", SLEEP, state=tmp_path, settings=QUICK)
    async with watched(process):
        await process.start()
        pid = process.pid
        assert pid is not None
        process.leave()
        heir = ProxyProcess("proxy", SLEEP, state=tmp_path, settings=QUICK)
        assert await heir.adopt()
        await heir.stop(grace=GRACE)
        await wait_until(lambda: not alive(pid))

    assert process.pid is None
    assert process.problem == ""


async def test_an_adopted_program_that_ends_is_started_again(tmp_path: Path) -> None:
    before = ProxyProcess("proxy", SLEEP, state=tmp_path)
    await before.start()
    pid = before.pid
    assert pid is not None
    before.leave()
    after = ProxyProcess("proxy", SLEEP, state=tmp_path, settings=QUICK)
    async with watched(after):
        await after.adopt()
        os.kill(pid, signal.SIGKILL)
        await wait_until(lambda: after.pid not in (None, pid))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"pid": 1, "began": "1"}', '{"pid": "x", "began": "1"}', '{"pid": 4194304, "began": "1"}'],
)
async def test_a_pid_file_that_means_nothing_adopts_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "proxy.pid").write_text(text)

    assert not await ProxyProcess("proxy", SLEEP, state=tmp_path).adopt()


async def test_a_number_that_is_another_process_by_now_is_not_adopted(tmp_path: Path) -> None:
    (tmp_path / "proxy.pid").write_text(f'{{"pid": {os.getpid()}, "began": "1"}}')

    assert not await ProxyProcess("proxy", SLEEP, state=tmp_path).adopt()


async def test_one_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    stubborn = script(tmp_path / "stubborn", f"trap '' TERM; touch {ready}; while :; do sleep 1; done")
    process = ProxyProcess("proxy", [str(stubborn)], state=tmp_path)
    async with watched(process):
        await process.start()
        pid = process.pid
        assert pid is not None
        await wait_until(ready.exists)
        await process.stop(grace=timedelta(milliseconds=100))

        assert not alive(pid)


async def test_a_signal_reaches_it_and_several_tasks_may_wait_for_its_end(tmp_path: Path) -> None:
    process = ProxyProcess("proxy", SLEEP, state=tmp_path, settings=QUICK)
    async with watched(process):
        await process.start()
        pid = process.pid
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.wait_ended)
            tasks.start_soon(process.wait_ended)
            await anyio.wait_all_tasks_blocked()
            process.send(signal.SIGTERM)
        await wait_until(lambda: process.pid not in (None, pid))


async def test_a_program_that_does_not_run_takes_no_signal(tmp_path: Path) -> None:
    with pytest.raises(ApplyError, match="proxy does not run"):
        ProxyProcess("proxy", SLEEP, state=tmp_path).send(signal.SIGHUP)


async def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ApplyError, match=r"no program at /nowhere/haproxy"):
        await ProxyProcess("proxy", ["/nowhere/haproxy"], state=tmp_path).start()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-such-program-anywhere", "on the path"),
        ("/etc/passwd", "may not be executed"),
        ("/etc", "may not be executed"),
    ],
)
def test_what_cannot_be_run_is_said(name: str, message: str) -> None:
    with pytest.raises(ApplyError, match=message):
        find_program(name)


async def test_a_file_that_is_no_program_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF garbage")
    broken.chmod(0o700)

    with pytest.raises(ApplyError, match="could not be started"):
        await ProxyProcess("proxy", [str(broken)], state=tmp_path).start()


async def test_output_is_kept_short_and_read_from_a_mark(tmp_path: Path) -> None:
    process = ProxyProcess("proxy", SLEEP, state=tmp_path)
    output = process.output
    output.path.write_text("old line\n" * 1_000_000)
    mark = output.mark()
    with output.path.open("a") as file:
        file.write("[emerg] new\n\n")

    assert output.since(mark) == ("[emerg] new",)
    output.trim()
    assert output.path.stat().st_size == 256 * 1024
    assert output.since(mark)[-1] == "[emerg] new"


def test_times_must_be_positive() -> None:
    with pytest.raises(ConfigurationError):
        ProcessSettings(restart_first=timedelta(0))
