"""The counts of a worker process as JSON, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import cast

from ingresskit.graph import Termination
from ingresskit.render.delegate.control import read_key
from ingresskit.traffic import BackendStatistics, EndpointHealth, EndpointStatistics, InProcessStatistics

__all__ = ["read_statistics", "write_statistics"]

_PLAIN = tuple(item.name for item in fields(InProcessStatistics) if item.type == "int")


def write_statistics(found: InProcessStatistics) -> dict[str, object]:
    """*found* as a JSON object."""
    return {
        **{name: getattr(found, name) for name in _PLAIN},
        "requests": {host: dict(classes) for host, classes in found.requests.items()},
        "statuses": dict(found.statuses),
        "terminations": dict(found.terminations),
        "upstream_failures": dict(found.upstream_failures),
        "shadowed": dict(found.shadowed),
        "durations": found.durations,
        "duration_sum": found.duration_sum,
        "first_bytes": found.first_bytes,
        "first_byte_sum": found.first_byte_sum,
        "backends": [(key, item.requests, item.failures, item.active) for key, item in found.backends.items()],
        "endpoints": {
            name: (item.requests, item.failures, item.active, item.ejections, str(item.health))
            for name, item in found.endpoints.items()
        },
    }


def read_statistics(payload: bytes | Mapping[str, object]) -> InProcessStatistics:
    """The counts in what `write_statistics` made.

    Raises:
        ValueError: It has none.
    """
    try:
        found: Mapping[str, object] = (
            cast("dict[str, object]", json.loads(payload)) if isinstance(payload, bytes) else payload
        )
        plain = {name: int(cast(int, found[name])) for name in _PLAIN}
        rows = cast("list[tuple[object, int, int, int]]", found["backends"])
        endpoints = cast("dict[str, tuple[int, int, int, int, str]]", found["endpoints"])
        classes = cast("dict[str, dict[str, int]]", found["requests"])
        return InProcessStatistics(
            **plain,
            unwell={},  # those of *endpoints*
            unwritten="",
            requests={host: _numbers(item) for host, item in classes.items()},
            statuses=_numbers(cast("dict[str, int]", found["statuses"])),
            terminations=_reasons(found["terminations"]),
            upstream_failures=_reasons(found["upstream_failures"]),
            shadowed={str(stage): int(n) for stage, n in cast("dict[str, int]", found["shadowed"]).items()},
            durations=tuple(map(int, cast("list[int]", found["durations"]))),
            duration_sum=float(cast(float, found["duration_sum"])),
            first_bytes=tuple(map(int, cast("list[int]", found["first_bytes"]))),
            first_byte_sum=float(cast(float, found["first_byte_sum"])),
            backends={
                read_key(key): BackendStatistics(requests=int(a), failures=int(b), active=int(c))
                for key, a, b, c in rows
            },
            endpoints={
                str(name): EndpointStatistics(
                    requests=int(a),
                    failures=int(b),
                    active=int(c),
                    ejections=int(ejections),
                    health=EndpointHealth(health),
                )
                for name, (a, b, c, ejections, health) in endpoints.items()
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise ValueError("not the counts of a worker") from exc


def _numbers(found: Mapping[str, int]) -> dict[int, int]:
    return {int(name): int(count) for name, count in found.items()}


def _reasons(found: object) -> dict[Termination, int]:
    return {Termination(name): int(count) for name, count in cast("dict[str, int]", found).items()}
