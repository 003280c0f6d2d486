"""What idle keep-alive connections take, and that they give it back."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ingresskit.proxy.limits.trimming import Trimming
from ingresskit.testing import pace

BENCHMARK = Path(__file__).resolve().parents[3] / "benchmarks" / "connection_memory.py"
COUNT = 350
FIGURES = re.compile(
    r"connections: (-?\d+) bytes each; (-?\d+) the second time; (-?\d+) left, (-?\d+) the second time"
)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("tls", "most"), [pytest.param(False, 6 * 1024, id="plain"), pytest.param(True, 30 * 1024, id="TLS")]
)
def test_an_idle_connection_takes_no_more_than_is_promised(loop: str, tls: bool, most: int) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    argv = [sys.executable, str(BENCHMARK), "--loop", loop, "--connections", str(COUNT), *["--tls"] * tls]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=pace.within(120.0), check=False)

    assert result.returncode == 0, result.stderr
    found = FIGURES.search(result.stdout)
    assert found is not None, result.stdout
    each, again, _, left = map(int, found.groups())
    # What is left of the first round serves the second one: it does not grow.
    assert each <= most
    assert again <= most * 1.1
    assert left <= 6 * 1024


class _Timer:
    def cancel(self) -> None:
        pass


class _Loop:
    def __init__(self) -> None:
        self.asked = 0

    def call_later(self, _delay: float, _callback: object) -> _Timer:
        self.asked += 1
        return _Timer()


def test_memory_is_given_back_once_for_many_that_end_together() -> None:
    loop = _Loop()
    trimming = Trimming(loop)  # type: ignore[arg-type]  # all of a loop that it uses
    trimming.most = 1000
    for count in range(999, -1, -1):
        if count * 2 < trimming.most:
            trimming.fell(count)

    assert loop.asked == 1
    assert trimming.most == 256
