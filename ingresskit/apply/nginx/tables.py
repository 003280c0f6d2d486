"""The rows of an artifact, and those that differ between two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from ingresskit.apply.nginx.control import Row
from ingresskit.graph import Certificate
from ingresskit.render.nginx import NginxArtifact, Tables
from ingresskit.render.nginx.dynamic.rows import certificate_row

__all__ = ["all_rows", "changed_rows", "summary_of"]

T = TypeVar("T")


def all_rows(artifact: NginxArtifact) -> list[Row]:
    """Every row of *artifact*, by kind, then by key as it comes."""
    return changed_rows(None, artifact)


def changed_rows(old: NginxArtifact | None, new: NginxArtifact) -> list[Row]:
    """The rows to send to a program that serves *old* (``None``: nothing) so that it serves *new*.

    In the order in which each row is there before another points at it; those to remove come last.
    """
    before = (old.tables if old is not None else None) or Tables()
    after = new.tables or Tables()
    certificates = old.certificates if old is not None else dict[str, Certificate]()
    rows: list[Row] = []
    gone: list[Row] = []
    for kind, was, now in (
        ("b", before.backends, after.backends),
        ("h", before.hosts, after.hosts),
        ("n", before.server_names, after.server_names),
    ):
        rows += ((f"{kind}:{key}", row) for key, row in _new(was, now))
        gone += ((f"{kind}:{key}", None) for key in was if key not in now)
    rows[:0] = ((f"c:{key}", certificate_row(item)) for key, item in _new(certificates, new.certificates))
    gone += ((f"c:{key}", None) for key in certificates if key not in new.certificates)
    if old is None or before.settings != after.settings:
        rows.append(("s:all", after.settings))
    return [*rows, *gone]


def summary_of(old: NginxArtifact, new: NginxArtifact) -> str:
    """What differs, for people: ``"2 hosts, 14 backends"``; empty when nothing does."""
    before, after = old.tables or Tables(), new.tables or Tables()
    counts = {
        "hosts": _count(before.hosts, after.hosts),
        "backends": _count(before.backends, after.backends),
        "endpoints": _count(old.endpoints, new.endpoints),
        "certificates": _count(old.certificates, new.certificates),
        "server names": _count(before.server_names, after.server_names),
        "settings": int(before.settings != after.settings),
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _new(was: Mapping[str, T], now: Mapping[str, T]) -> Iterator[tuple[str, T]]:
    for key, item in now.items():
        known = was.get(key)
        if known is not item and known != item:
            yield key, item


def _count(was: Mapping[str, object], now: Mapping[str, object]) -> int:
    return sum(1 for _ in _new(was, now)) + sum(1 for key in was if key not in now)
