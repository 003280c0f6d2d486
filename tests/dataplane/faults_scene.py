"""A controller in a process of its own, its proxy beside it, and what tests of faults do to both."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.dataplane.controlled import Controlled, controller
from tests.dataplane.controller_process import Plan
from tests.dataplane.planes import KINDS


@asynccontextmanager
async def running(plan: Plan) -> AsyncGenerator[Controlled]:
    """A controller whose first state is served."""
    Path(plan.state_dir).mkdir(mode=0o700, exist_ok=True)
    async with controller(plan) as made:
        await made.wait_applied()
        yield made


def end_all_below(folder: Path) -> None:
    """End what still runs with *folder* on its command line: proxies that outlived a killed controller."""
    for pid in _started_with(str(folder), but="pytest"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def proxies(plan: Plan) -> set[int]:
    """The processes of the proxy that runs for *plan*, the controller not among them."""
    return _started_with(plan.state_dir, but="controller_process")


def _started_with(text: str, *, but: str) -> set[int]:
    """Processes that have *text* on their command line and not *but*, and all that belong to their sessions.

    A worker of nginx has a command line of its own making, and the session that its master was started in.
    """
    found: set[int] = set()
    sessions: dict[int, int] = {}
    for item in Path("/proc").iterdir():
        if not item.name.isdigit() or int(item.name) == os.getpid():
            continue
        try:
            words = (item / "cmdline").read_text(errors="replace")
            fields = (item / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            sessions[int(item.name)] = int(fields[3])
            if text in words and but not in words:
                found.add(int(item.name))
    leaders = found & set(sessions.values())
    return found | {pid for pid, session in sessions.items() if session in leaders}


def script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)


def stub(folder: Path, plan: Plan, body: str) -> Path:
    """The real program behind a line of shell that runs first, at each start and each check."""
    path = folder / "stub"
    path.write_text(f'#!/bin/bash\n{body}\nexec -a "$0" {KINDS[plan.plane].program} "$@"\n')
    path.chmod(0o700)
    return path
