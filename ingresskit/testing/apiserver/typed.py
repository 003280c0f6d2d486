"""Reading an object as its kind has it: wrong types are refused, what nobody declared is left out.

This is what makes a server strict. Who tests what a controller does about objects it cannot read writes
them past it; see `ObjectAccess`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ingresskit.testing.apiserver.declared import KINDS, METADATA, ListOf, MapOf, One, Struct, Type, structs
from ingresskit.testing.apiserver.manifests import Manifest

__all__ = ["Mistyped", "Reading", "read", "settle"]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)")
_MICRO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[-+]\d\d:\d\d)")
_ZEROS: Mapping[str, object] = {"str": "", "int": 0, "bool": False, "time": None, "micro": None, "bytes": ""}


class Mistyped(ValueError):
    """Raised when a value is not of the type of its field."""

    def __init__(self, path: str, found: object, wanted: str) -> None:
        kinds = {"dict": "object", "list": "array", "str": "text", "bool": "bool", "int": "number"}
        super().__init__(
            f"field {path} is to be {wanted}, not {kinds.get(type(found).__name__, 'that number')}"
        )


@dataclass(slots=True)
class Reading:
    """What was read.

    Attributes:
        manifest: The object, as the server writes it.
        unknown: The paths of the fields that its kind does not have, sorted; they are not in it.
    """

    manifest: Manifest
    unknown: list[str] = field(default_factory=list[str])


def read(manifest: Manifest, api_version: str, kind: str) -> Reading:
    """*manifest* as its kind has it; as it is for kinds whose fields are not known.

    Raises:
        Mistyped: A value is not of the type of its field.
    """
    name = KINDS.get((api_version, kind))
    if name is None:
        return Reading(manifest)
    unknown: list[str] = []
    struct = {**structs()[name], "metadata": METADATA}
    body = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind")}
    found = _struct(body, struct, "", unknown)
    head: Manifest = {key: manifest[key] for key in ("kind", "apiVersion") if key in manifest}
    return Reading({**head, "metadata": found.pop("metadata"), **found}, sorted(unknown))


def settle(manifest: Manifest) -> None:
    """Make nothing of the empty lists in *manifest* that are always there: so the server keeps them.

    Only after it was noted who owns what: who wrote an empty list owns it.
    """
    for key, value in manifest.items():
        if value == []:
            manifest[key] = None


def _struct(value: object, struct: Struct, path: str, unknown: list[str]) -> Manifest:
    if not isinstance(value, dict):
        raise Mistyped(path, value, "an object")
    given = cast(Manifest, value)
    unknown += [_below(path, key) for key in given if key not in struct]
    found: Manifest = {}
    for key, declared in struct.items():
        item, kind = given.get(key), declared.type
        read_as = _empty(kind) if item is None else _value(item, kind, _below(path, key), unknown)
        if item is None and declared.empty == "pointer":
            continue
        if declared.empty == "omit" and read_as in (None, "", 0, False, [], {}) and not _is_struct(kind):
            continue
        found[key] = read_as
    return found


def _value(value: Any, kind: Type, path: str, unknown: list[str]) -> object:  # noqa: ANN401 - JSON
    match kind:
        case ListOf(of=of):
            if not isinstance(value, list):
                raise Mistyped(path, value, "an array")
            items = enumerate(cast(list[object], value))
            return [
                _empty(of) if item is None else _value(item, of, f"{path}[{place}]", unknown)
                for place, item in items
            ]
        case MapOf(of=of):
            if not isinstance(value, dict):
                raise Mistyped(path, value, "an object")
            pairs = cast(Manifest, value).items()
            return {
                key: _empty(of) if item is None else _value(item, of, _below(path, key), unknown)
                for key, item in pairs
            }
        case One(name="any"):
            return value
        case One(name=name) if name in structs():
            return _struct(value, structs()[name], path, unknown)
        case One(name=name):
            return _plain(value, name, path)


def _plain(value: object, kind: str, path: str) -> object:
    number = isinstance(value, int) and not isinstance(value, bool)
    match kind:
        case "int":
            right = number
        case "intstr":
            right = number or isinstance(value, str)
        case "bool":
            right = isinstance(value, bool)
        case "time":
            right = isinstance(value, str) and _TIME.fullmatch(value) is not None
        case "micro":
            right = isinstance(value, str) and _MICRO.fullmatch(value) is not None
        case "bytes":
            right = isinstance(value, str) and _is_base64(value)
        case _:
            right = isinstance(value, str)
    if not right:
        raise Mistyped(path, value, {"intstr": "a number or text", "str": "text"}.get(kind, kind))
    return value


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _empty(kind: Type) -> object:
    if isinstance(kind, One):
        return _struct({}, structs()[kind.name], "", []) if kind.name in structs() else _ZEROS.get(kind.name)
    return None


def _is_struct(kind: Type) -> bool:
    return isinstance(kind, One) and kind.name in structs()


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
