"""HAProxy's state, as types. Each function reads the response to one command."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["ListedCertificate", "Processes", "Worker", "read_crt_list", "read_info", "read_map_counts"]
__all__ += ["read_processes", "read_servers", "read_stat"]

_ENTRY_COUNT: Final = re.compile(r"(?:-?[0-9]+) \((?P<name>[^)]*)\) .* entry_cnt=(?P<count>[0-9]+)")
_CRT_LINE: Final = re.compile(r"(?P<file>[^ ]+):(?P<line>[0-9]+)(?: (?P<rest>.*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker process.

    Attributes:
        reloads: How many reloads of the master it has lived through.
    """

    pid: int
    reloads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """The processes of a master.

    Attributes:
        reloads: How often the master was reloaded, failures included.
        failed: How often in a row that failed.
        workers: Those that serve; one, unless a reload is under way.
        old_workers: Those of earlier generations that still finish what they began.
    """

    master: int
    reloads: int
    failed: int
    workers: tuple[Worker, ...]
    old_workers: tuple[Worker, ...]


def read_processes(answer: str) -> Processes:
    """The response to ``show proc``.

    Raises:
        ValueError: It is not one.
    """
    section = ""
    found: dict[str, list[Worker]] = {"workers": [], "old workers": []}
    master = reloads = failed = -1
    for line in answer.splitlines():
        words = line.split()
        if line.startswith("# "):
            section = line[2:].strip()
        elif len(words) > 2 and words[0].isdigit() and words[1] == "master":
            master, reloads = int(words[0]), int(words[2])
            failures = re.search(r"\[failed: ([0-9]+)\]", line)
            failed = int(failures[1]) if failures else 0
        elif len(words) > 2 and words[0].isdigit() and words[1] == "worker" and section in found:
            found[section].append(Worker(pid=int(words[0]), reloads=int(words[2])))
    if master < 0:
        raise ValueError(f"not a list of processes: {answer[:100]!r}")
    return Processes(
        master=master,
        reloads=reloads,
        failed=failed,
        workers=tuple(found["workers"]),
        old_workers=tuple(found["old workers"]),
    )


def read_info(answer: str) -> Mapping[str, str]:
    """The response to ``show info``, by name: ``{"CurrConns": "0", …}``."""
    pairs = (line.partition(": ") for line in answer.splitlines())
    return {name: value for name, colon, value in pairs if colon}


def read_map_counts(answer: str) -> Mapping[str, int]:
    """The response to ``show map``: how many rows each map has, by its name."""
    found = (_ENTRY_COUNT.fullmatch(line.strip()) for line in answer.splitlines())
    return {item["name"]: int(item["count"]) for item in found if item}


def read_stat(answer: str) -> Iterable[Mapping[str, str]]:
    """The response to ``show stat``: each row by its columns' names, ``pxname`` and ``svname`` first."""
    return csv.DictReader(answer.removeprefix("# ").splitlines())


def read_servers(answer: str) -> Mapping[str, Mapping[str, tuple[str, int]]]:
    """The response to ``show servers state``: by backend, then by server, its address and port."""
    lines = [line for line in answer.splitlines() if line]
    head = next((line.removeprefix("# ").split() for line in lines if line.startswith("# ")), None)
    servers: dict[str, dict[str, tuple[str, int]]] = {}
    for line in lines:
        words = line.split()
        if head is None or line.startswith("#") or len(words) != len(head):
            continue
        row = dict(zip(head, words, strict=True))
        servers.setdefault(row["be_name"], {})[row["srv_name"]] = (row["srv_addr"], int(row["srv_port"]))
    return servers


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedCertificate:
    """A line of a list of certificates.

    Attributes:
        file: The name of the certificate.
        line: Its number, which tells it from other lines with the same file.
        names: The TLS server names it is for, as written; empty: those in the certificate.
    """

    file: str
    line: int
    names: tuple[str, ...]


def read_crt_list(answer: str) -> tuple[ListedCertificate, ...]:
    """The response to ``show ssl crt-list -n LIST``, in its order."""
    listed: list[ListedCertificate] = []
    for text in answer.splitlines():
        if found := _CRT_LINE.fullmatch(text.strip()):
            names = re.sub(r"^\[[^\]]*\]\s*", "", found["rest"] or "").split()
            listed.append(ListedCertificate(file=found["file"], line=int(found["line"]), names=tuple(names)))
    return tuple(listed)
