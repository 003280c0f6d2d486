"""A worker process of the reference controller, which logs in the form that its controller logs in.

Run as ``python -m ingresskit.app.worker FORM LEVEL``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ingresskit.app.logs import set_up_logging
from ingresskit.proxy.worker import main as run_worker

__all__ = ["main", "worker_program"]


def worker_program(log_format: str, log_level: str) -> tuple[str, ...]:
    """The program of a worker, and its arguments."""
    # Without the working folder on the path: who can write there would be who runs here.
    return (sys.executable, "-P", "-m", "ingresskit.app.worker", log_format, log_level)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a worker.

    Args:
        argv: The form and the level of its log; ``None``: the words of this process.
    """
    log_format, log_level = sys.argv[1:] if argv is None else argv
    set_up_logging(log_format, log_level)
    return run_worker()


if __name__ == "__main__":
    sys.exit(main())
