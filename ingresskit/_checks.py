"""Checks of settings that every room makes alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ingresskit.errors import ConfigurationError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["check_settings"]

_NO_EXCEPTIONS: Final[Mapping[str, int | timedelta]] = {}
_MOST_PORT: Final = 65535
_INSTANT: Final = timedelta.resolution


def check_settings(
    settings: DataclassInstance,
    least: Mapping[str, int | timedelta] = _NO_EXCEPTIONS,
    *,
    shortest: timedelta = _INSTANT,
) -> None:
    """Refuse numbers and times that cannot work.

    Every time must be more than zero, every whole number at least 1, every other number more than zero,
    and every number whose name ends in ``_port`` at most 65535. Fields of other types, booleans and
    ``None`` are not looked at.

    Args:
        settings: A dataclass, after it was initialised.
        least: The least value of fields for which those rules are wrong, by name.
        shortest: The least of all other times.

    Raises:
        ConfigurationError: A field is out of range; the message names the field, the rule and the value.
    """
    for item in fields(settings):
        value: object = getattr(settings, item.name)
        if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
            continue
        bound = least.get(item.name)
        if bound is None and isinstance(value, timedelta) and shortest > _INSTANT:
            bound = shortest
        rule = _broken_rule(value, bound, is_port=item.name.endswith("_port"))
        if rule:
            raise ConfigurationError(f"{item.name} must be {rule}, not {value}")


def _broken_rule(value: float | timedelta, least: int | timedelta | None, *, is_port: bool) -> str:
    match value, least:
        case timedelta(), timedelta() if value < least:
            return f"at least {least}" if least else "0 or more"
        case timedelta(), None if value <= timedelta(0):
            return "more than zero"
        case int() | float(), int() if value < least:
            return f"at least {least}" if least else "0 or more"
        case int(), None if value < 1:
            return "at least 1"
        case float(), None if value <= 0:
            return "more than zero"
        case int(), _ if is_port and value > _MOST_PORT:
            return f"at most {_MOST_PORT}"
        case _:
            return ""
