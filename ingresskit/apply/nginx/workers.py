"""The worker processes of an nginx master, as the system knows them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Workers", "workers_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Process ids of workers.

    Attributes:
        serving: They take connections.
        leaving: They finish what they have, and then end.
    """

    serving: frozenset[int] = frozenset()
    leaving: frozenset[int] = frozenset()


def workers_of(master: int | None) -> Workers:
    """The workers of a master; none when it does not run.

    A worker says in its title what it does. Source: ``ngx_setproctitle`` in ngx_process_cycle.c.
    """
    serving: set[int] = set()
    leaving: set[int] = set()
    if master is not None:
        for pid in _children(master):
            title = _title(pid)
            if "worker process is shutting down" in title:
                leaving.add(pid)
            elif "worker process" in title:
                serving.add(pid)
    return Workers(serving=frozenset(serving), leaving=frozenset(leaving))


def _children(master: int) -> list[int]:
    with suppress(OSError):
        text = Path(f"/proc/{master}/task/{master}/children").read_text(encoding="ascii")
        return [int(word) for word in text.split()]
    return []


def _title(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    return ""
