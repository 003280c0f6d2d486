"""Reading parsed JSON and YAML of which nothing is known yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

__all__ = ["as_list", "as_map", "as_text"]


def as_map(value: object) -> Mapping[str, object]:
    """*value* if it is a map, else an empty one."""
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def as_list(value: object) -> Sequence[object]:
    """*value* if it is a list, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else ()


def as_text(value: object) -> str:
    """*value* if it is text, else empty text."""
    return value if isinstance(value, str) else ""
