"""Sets of fields: what ``metadata.managedFields`` says about who owns what.

A field is a path of steps: ``("f", name)`` into a map, ``("k", keys)`` to the item of an associative
list, ``("v", value)`` to an item of a set; keys and values are JSON text, so that paths can be compared.
The item of a list is a field of its own, beside what is in it: owning it is what keeps it there.

Source: ``sigs.k8s.io/structured-merge-diff`` (``fieldpath``), the format ``FieldsV1``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TypeAlias, cast

from ingresskit.testing.apiserver.manifests import Manifest, mapping_of
from ingresskit.testing.apiserver.schema import Associative, Path, Schema, Set

__all__ = [
    "Field",
    "Step",
    "containers_of",
    "describe",
    "fields_of",
    "from_wire",
    "item_key",
    "to_wire",
    "value_at",
    "value_text",
]

Step: TypeAlias = tuple[str, str]
Field: TypeAlias = tuple[Step, ...]

_UNOWNED = frozenset(
    {"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields",
     "name", "namespace", "resourceVersion", "selfLink", "uid"}
)  # fmt: skip


def value_text(value: object) -> str:
    """The value as a step names it: JSON with sorted keys."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def item_key(item: Manifest, shape: Associative) -> str:
    """What tells *item* apart in its list, as JSON text with the keys sorted."""
    defaults = shape.defaults or {}
    return value_text(
        {key: item.get(key, defaults.get(key)) for key in shape.keys if key in item or key in defaults}
    )


def fields_of(manifest: Manifest, schema: Schema) -> frozenset[Field]:
    """The leaves of an object, without what nobody owns: kind, version, name and what the server fills in."""
    found: set[Field] = set()
    for key, value in manifest.items():
        if key in ("kind", "apiVersion"):
            continue
        if key == "metadata":
            value = {name: item for name, item in value.items() if name not in _UNOWNED}
            if not value:
                continue
        _collect(value, (key,), (("f", key),), schema, found)
    return frozenset(found)


def containers_of(manifest: Manifest, schema: Schema) -> frozenset[Field]:
    """The maps and lists that are merged item by item, as fields of their own: who made them owns them, too.

    Without the parts every object has.
    """
    found: set[Field] = set()

    def walk(value: object, path: Path, field: Field) -> None:
        shape = schema.get(path)
        if isinstance(value, dict) and value and shape is None:
            if path not in ((), ("metadata",), ("spec",), ("status",)):
                found.add(field)
            for key, item in cast(Manifest, value).items():
                walk(item, (*path, key), (*field, ("f", key)))
        elif isinstance(value, list) and value and isinstance(shape, Associative | Set):
            found.add(field)

    walk({key: value for key, value in manifest.items() if key not in ("kind", "apiVersion")}, (), ())
    return frozenset(field for field in found if field[0] != ("f", "metadata") or field[1][1] not in _UNOWNED)


def _collect(value: object, path: Path, field: Field, schema: Schema, found: set[Field]) -> None:
    shape = schema.get(path)
    if isinstance(value, dict) and value and shape is None:
        for key, item in cast(Manifest, value).items():
            _collect(item, (*path, key), (*field, ("f", key)), schema, found)
    elif isinstance(value, list) and value and isinstance(shape, Associative):
        for item in cast(list[Manifest], value):
            step = (*field, ("k", item_key(item, shape)))
            found.add(step)
            for key, inner in item.items():
                _collect(inner, (*path, "*", key), (*step, ("f", key)), schema, found)
    elif isinstance(value, list) and value and isinstance(shape, Set):
        found.update((*field, ("v", value_text(item))) for item in cast(list[object], value))
    else:
        found.add(field)


def value_at(manifest: Manifest, field: Field, schema: Schema) -> object:
    """What stands at *field*, or ``None``; for the item of a list whether it is there."""
    value: object = manifest
    path: Path = ()
    last = ""
    for sort, text in field:
        last = sort
        if sort == "f":
            value = mapping_of(value).get(text)
            path = (*path, text)
        else:
            value = _item(value, sort, text, schema.get(path))
            path = (*path, "*")
        if value is None:
            return None
    return True if last == "k" else value


def _item(value: object, sort: str, text: str, shape: object) -> object:
    for item in cast(list[object], value) if isinstance(value, list) else []:
        if sort == "k" and isinstance(shape, Associative) and isinstance(item, dict):
            if item_key(cast(Manifest, item), shape) == text:
                return mapping_of(cast(object, item))
        elif sort == "v" and value_text(item) == text:
            return item
    return None


def to_wire(fields: Iterable[Field]) -> Manifest:
    """The set as ``fieldsV1``; a field with others below it is marked by a dot."""
    tree: Manifest = {}
    # Deepest first: whether there are others below is known when a field comes.
    for field in sorted(fields, key=lambda field: (-len(field), field)):
        place = tree
        for sort, text in field:
            place = place.setdefault(f"{sort}:{text}", {})
        if place or field[-1][0] == "k":
            place["."] = {}
    return tree


def from_wire(tree: Mapping[str, object]) -> frozenset[Field]:
    """The set that ``fieldsV1`` says."""
    found: set[Field] = set()

    def walk(place: Mapping[str, object], field: Field) -> None:
        inner = [key for key in place if key != "."]
        if field and ("." in place or not inner):
            found.add(field)
        for key in inner:
            sort, _, text = key.partition(":")
            walk(cast(Mapping[str, object], place[key]), (*field, (sort, text)))

    walk(tree, ())
    return frozenset(found)


def describe(field: Field) -> str:
    """The field as messages name it: ``.spec.ports[port=80,protocol="TCP"].name``."""
    text = ""
    for sort, step in field:
        if sort == "f":
            text += f".{step}"
        elif sort == "k":
            keys = cast(Manifest, json.loads(step))
            text += "[" + ",".join(f"{key}={value_text(value)}" for key, value in keys.items()) + "]"
        else:
            text += f"[={step}]"
    return text
