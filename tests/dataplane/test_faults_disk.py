"""A disk that is full, read-only or emptied costs no request and mends itself.

The ids F25 to F37 are those of `tests/faults/README.md`.
"""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

import anyio
import pytest

from tests.dataplane.controlled import at, controller, served, steady, until_served
from tests.dataplane.controller_process import Plan
from tests.dataplane.faults_scene import end_all_below, running

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


async def test_full_disk_loses_nothing_and_mends_itself(plan: Plan) -> None:
    """F25. The controller may write no file: as on a full disk, but also where nobody may mount one."""
    async with running(plan) as made:
        _, hard = resource.prlimit(made.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(made.process.pid, resource.RLIMIT_FSIZE, (0, hard))
        await made.tell(serve=1)
        await made.wait(lambda event: event["event"] == "apply")
        during = await steady(plan)
        resource.prlimit(made.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        await until_served(plan, 1)
        await made.serve(2)
        # What was told may have been that the one before is live.
        await until_served(plan, 2)

        assert during == 200
        assert await served(plan, 0, 1, 2) == [2]
    async with running(at(plan, 3)):
        assert await served(plan, 0, 1, 2, 3) == [3]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root may mount a small disk")
async def test_small_disk_that_fills_up_loses_nothing(plan: Plan) -> None:
    """F25, on a disk that is really full."""
    folder = Path(plan.state_dir)
    folder.mkdir(mode=0o700)
    mounted = await anyio.run_process(
        ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "none", str(folder)], check=False
    )
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    try:
        async with running(plan) as made:
            filler = folder / "filler"
            with filler.open("wb", buffering=0) as file:
                try:
                    while file.write(b"x" * 4096):
                        pass
                except OSError:
                    pass
            for state in range(1, 4):
                await made.tell(serve=state)
                await made.wait(lambda event: event["event"] == "apply")
                assert await steady(plan) == 200
            filler.unlink()
            await made.serve(4)

            assert await served(plan, 0, 1, 2, 3, 4) == [4]
            assert await steady(plan) == 200
    finally:
        end_all_below(folder)
        await anyio.run_process(["umount", "-l", str(folder)])


async def test_state_folder_that_cannot_be_written_is_one_clear_error(plan: Plan) -> None:
    """F26. Where the folder should be, there is something else; root would get by anything weaker."""
    Path(plan.state_dir).write_bytes(b"")
    async with controller(plan) as made:
        error = await made.wait(lambda event: event["event"] == "error")

        assert plan.state_dir in error["message"]
        assert "\n" not in error["message"]
        assert await made.ended() == 1


async def test_emptied_state_folder_is_made_again(plan: Plan) -> None:
    """F33: certificates and files that vanish after they were checked."""
    async with running(plan) as made:
        for item in Path(plan.state_dir).iterdir():
            if item.is_dir() and not item.is_symlink():
                for file in [*item.rglob("*.pem"), *item.rglob("*.map"), *item.rglob("*.conf")]:
                    file.unlink()
        await made.tell(serve=1)
        await until_served(plan, 1)

        assert await steady(plan) == 200
