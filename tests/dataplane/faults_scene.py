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
    for item in Path("/proc").iterdir():
        if item.name.isdigit() and int(item.name) != os.getpid():
            try:
                words = (item / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in words:
                with suppress(ProcessLookupError):
                    os.kill(int(item.name), signal.SIGKILL)


def proxies(plan: Plan) -> set[int]:
    """The processes that run for *plan*, the controller not among them."""
    found: set[int] = set()
    for item in Path("/proc").iterdir():
        if item.name.isdigit():
            try:
                words = (item / "cmdline").read_bytes()
            except OSError:
                continue
            if plan.state_dir.encode() in words and b"controller_process" not in words:
                found.add(int(item.name))
    return found


def script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)


def stub(folder: Path, plan: Plan, body: str) -> Path:
    """The real program behind a line of shell that runs first, at each start and each check."""
    path = folder / "stub"
    path.write_text(f'#!/bin/bash\n{body}\nexec -a "$0" {KINDS[plan.plane].program} "$@"\n')
    path.chmod(0o700)
    return path
