"""How slow this machine is just now, and how long a test may therefore wait.

A deadline that is generous on a quiet machine is none on one with ten times more work than cores. Every wait of
the tests goes through `within`, and so does the time-out of each test, which pytest-timeout enforces.
"""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path

__all__ = ["patience", "within"]

# What `_work` takes on a quiet core of 2024: a machine that needs longer gets longer.
_QUIET_SECONDS = 0.02
_MOST = 20.0


def patience() -> float:
    """How many times longer than on a quiet machine something may take now: 1 to 20.

    The measured speed of one core, times the processes that want to run for each core. The speed is measured
    once in each process; the load is what the system says now and over the last minute, read anew each time.
    """
    load = max(os.getloadavg()[0], _running()) / len(os.sched_getaffinity(0))
    return min(max(1.0, _slowness()) * max(1.0, load), _MOST)


def within(seconds: float) -> float:
    """A deadline that is *seconds* on a quiet machine, and as much longer as this one is slower now."""
    return seconds * patience()


def _running() -> int:
    # Linux: "2.10 1.95 1.80 3/512 4711", three that run or want to. Other systems have the average only.
    try:
        return int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return 0


@cache
def _slowness() -> float:
    # Processor time, not the clock: what other processes take is in the load already.
    began = time.process_time()
    _work()
    return (time.process_time() - began) / _QUIET_SECONDS


def _work() -> None:
    numbers: dict[int, int] = {}
    for number in range(200_000):
        numbers[number % 1000] = number * number
