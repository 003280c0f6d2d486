"""API objects as JSON says them: reading, writing, copying and looking into them.

The API server keeps objects as plain dictionaries, because it has to give back what it was given,
also fields this library has no model for. `Manifest` is the one type of this package with ``Any``
inside: tests index deep into objects, and a recursive JSON type would make each step a cast.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias, cast

__all__ = [
    "Manifest",
    "copied",
    "decode",
    "duplicates",
    "encode",
    "items_of",
    "look",
    "mapping_of",
    "micro_timestamp",
    "timestamp",
]

Manifest: TypeAlias = dict[str, Any]
"""An API object, or a part of one, as JSON says it."""


def encode(value: object) -> bytes:
    """The JSON of *value* as UTF-8 on one line, keys in the order they have."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def decode(body: bytes) -> object:
    """What the JSON in *body* says.

    Raises:
        ValueError: It is not UTF-8, or not JSON.
    """
    return cast(object, json.loads(body.decode("utf-8")))


def duplicates(body: bytes) -> list[str]:
    """The keys that stand twice in one object of the JSON in *body*; none when it is not JSON."""
    twice: list[str] = []

    def pairs(items: list[tuple[str, object]]) -> Manifest:
        found = dict(items)
        if len(found) < len(items):
            keys = [key for key, _ in items]
            twice.extend(key for key in found if keys.count(key) > 1)
        return found

    try:
        json.loads(body.decode("utf-8"), object_pairs_hook=pairs)
    except ValueError:
        return []
    return twice


def copied(value: Any) -> Any:  # noqa: ANN401 - any JSON in, the same JSON out
    """A copy that shares no list and no dictionary with *value*."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in cast(Manifest, value).items()}
    if isinstance(value, list):
        return [copied(item) for item in cast(list[object], value)]
    return value


def look(value: object, *path: str) -> Any:  # noqa: ANN401 - whatever stands there
    """What stands at *path* in nested dictionaries; ``None`` where a step is missing."""
    for step in path:
        if not isinstance(value, Mapping):
            return None
        value = cast(Mapping[str, object], value).get(step)
    return value


def mapping_of(value: object) -> Manifest:
    """*value* if it is a dictionary, else an empty one: for fields whose shape is checked elsewhere."""
    return cast(Manifest, value) if isinstance(value, dict) else {}


def items_of(value: object) -> Iterator[tuple[int, Manifest]]:
    """The dictionaries in a list with their places; nothing when *value* is no list."""
    if isinstance(value, list):
        for place, item in enumerate(cast(list[object], value)):
            if isinstance(item, dict):
                yield place, cast(Manifest, item)


def timestamp(now: datetime | None = None) -> str:
    """A ``metav1.Time``: UTC, whole seconds, ``"2025-11-30T12:00:00Z"``."""
    return (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(now: datetime | None = None) -> str:
    """A ``metav1.MicroTime``: UTC, microseconds, ``"2025-11-30T12:00:00.000000Z"``."""
    return (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
