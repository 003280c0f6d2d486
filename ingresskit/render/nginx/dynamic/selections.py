"""Targets of hosts with variants or regular expressions, as ``lua/ingresskit/selections.lua`` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from ingresskit.graph import PathKind, PathMatch, Route
from ingresskit.policies import (
    AnyValue,
    Condition,
    CookieCondition,
    ExactValue,
    HeaderCondition,
    MethodCondition,
    Pattern,
    PatternValue,
    QueryCondition,
    Selection,
    ValueMatch,
)

__all__ = ["is_mixed", "mixed_members", "variants_target"]


def is_mixed(routes: Sequence[Route]) -> bool:
    """Whether there is a variant or a regular expression among *routes*."""
    return any(route.selection or route.match.kind is PathKind.REGEX for route in routes)


def variants_target(routes: Sequence[Route], places: Sequence[int]) -> dict[str, object]:
    """The target of a path with variants.

    Args:
        routes: Those of the path, in the order in which they are asked.
        places: The place of the target of each.
    """
    return {
        "variants": [[place, _selection(route.selection)] for route, place in zip(routes, places, strict=True)]
    }


def mixed_members(patterns: Sequence[tuple[PathMatch, int]]) -> dict[str, object]:
    """The member ``mixed`` of the row of a host.

    ``wide`` has host-wide patterns, ``patterns`` the others by the path elements that they begin with, in lower
    case; each as ``[PCRE, place]`` in the order in which they are asked.
    """
    wide: list[list[object]] = []
    own: dict[str, list[list[object]]] = {}
    for match, place in patterns:
        row: list[object] = [Pattern(match.value).pcre, place]
        (wide if match.host_wide else own.setdefault(match.elements.lower(), [])).append(row)
    members: dict[str, object] = {}
    if wide:
        members["wide"] = wide
    if own:
        members["patterns"] = own
    return members


def _selection(selection: Selection) -> dict[str, object]:
    members: dict[str, object] = {}
    if selection.conditions:
        members["conditions"] = [_condition(condition) for condition in selection.conditions]
    if selection.share is not None:
        members["share"] = selection.share.probability
    return members


def _condition(condition: Condition) -> dict[str, object]:
    members: dict[str, object]
    match condition:
        case HeaderCondition(name=name, value=value):
            members = {"on": "header", "name": name, **_value(value)}
        case CookieCondition(name=name, value=value):
            members = {"on": "cookie", "name": name, **_value(value)}
        case QueryCondition(name=name, value=value):
            members = {"on": "query", "name": name, **_value(value)}
        case MethodCondition(method=method):
            members = {"on": "method", "is": method}
        case _:
            assert_never(condition)
    if condition.negated:
        members["negated"] = True
    return members


def _value(value: ValueMatch) -> dict[str, object]:
    match value:
        case ExactValue(text=text):
            return {"is": text}
        case PatternValue(pattern=pattern):
            return {"matches": pattern.pcre}
        case AnyValue():
            return {}
        case _:
            assert_never(value)
