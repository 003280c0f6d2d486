"""What `import ingresskit` costs: CPU time, best of five, and as a multiple of `import asyncio`.

    python benchmarks/import_time.py

Each import has a fresh interpreter. CPU time, because it hardly depends on what else the machine does;
the multiple, because it hardly depends on the machine. The promise is 0.25 s and 40 MB.
"""

from __future__ import annotations

import subprocess
import sys

STATEMENTS = (
    "import asyncio",
    "import ingresskit",
    "from ingresskit import Renderer, Rendering, RouteGraph, reconcile",
    "from ingresskit import *",
)
TIMES = 5
_PROBE = """\
import time
before = time.process_time()
{statement}
spent = time.process_time() - before
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(spent, peak)
"""


def measure(statement: str) -> tuple[float, float]:
    """Seconds of CPU and MB of peak memory, interpreter included: the least of several runs."""
    code = _PROBE.format(statement=statement)
    runs = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
        for _ in range(TIMES)
    ]
    return min(float(spent) for spent, _ in runs), min(int(peak) for _, peak in runs) / 1024


def main() -> None:
    results = {statement: measure(statement) for statement in STATEMENTS}
    unit = results["import asyncio"][0]
    for statement, (spent, peak) in results.items():
        print(f"{statement:66} {spent * 1000:7.1f} ms {spent / unit:6.2f} x asyncio {peak:6.1f} MB")


if __name__ == "__main__":
    main()
