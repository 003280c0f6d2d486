"""The three kinds of patches that only edit JSON: merge, JSON and strategic merge patches.

Sources: RFC 7386, RFC 6902 with RFC 6901, and the directives of Kubernetes' strategic merge
(``$patch``, ``$retainKeys``, ``$deleteFromPrimitiveList``, ``$setElementOrder``).
"""

from __future__ import annotations

import re
from typing import Any, cast

from ingresskit.testing.apiserver.manifests import Manifest, copied, mapping_of
from ingresskit.testing.apiserver.schema import Associative, Path, Schema, Set
from ingresskit.testing.apiserver.statuses import StatusError, bad_request

__all__ = ["json_patch", "merge_patch", "strategic_merge_patch"]


def merge_patch(value: Any, patch: object) -> Any:  # noqa: ANN401 - JSON in, JSON out
    """*value* with a merge patch applied, a new one: ``null`` removes, maps merge, all else replaces."""
    if not isinstance(patch, dict):
        return copied(patch)
    merged: Manifest = copied(value) if isinstance(value, dict) else {}
    for key, item in cast(Manifest, patch).items():
        if item is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), item)
    return merged


def json_patch(value: Manifest, operations: object) -> Manifest:
    """*value* with a JSON patch applied, a new one: all of it, or an error.

    Raises:
        StatusError: 400 when it is no JSON patch, 422 when it cannot be done.
    """
    result: Any = copied(value)
    if not isinstance(operations, list):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        )
    if not all(isinstance(operation, dict) for operation in cast(list[object], operations)):
        raise bad_request("error decoding patch: an operation is no object")
    for operation in cast(list[Manifest], operations):
        try:
            result = _operate(result, operation)
        except (LookupError, TypeError, ValueError) as exc:
            raise StatusError(
                422, "Invalid", "the server rejected our request due to an error in our request", details={}
            ) from exc
    if not isinstance(result, dict):
        raise bad_request("the patch leaves no object")
    return mapping_of(cast(object, result))


def _operate(root: Any, operation: Manifest) -> Any:  # noqa: ANN401 - JSON in, JSON out
    path = _pointer(operation["path"])
    match operation["op"]:
        case "add":
            return _add(root, path, copied(operation.get("value")))
        case "remove":
            return _remove(root, path)[0] if _is_there(root, path) else root
        case "replace":
            if not path or not _is_there(root, path):
                return _add(root, path, copied(operation.get("value")))
            return _add(_remove(root, path)[0], path, copied(operation.get("value")))
        case "move":
            root, moved = _remove(root, _pointer(operation["from"]))
            return _add(root, path, moved)
        case "copy":
            return _add(root, path, copied(_find(root, _pointer(operation["from"]))))
        case "test":
            if _find(root, path) != operation.get("value"):
                raise ValueError(f"testing value {operation['path']} failed")
            return root
        case other:
            raise ValueError(f"unexpected kind: {other}")


def _is_there(root: Any, path: list[str]) -> bool:  # noqa: ANN401 - JSON
    """Whether something stands there: the real server removes and replaces what does not without a word."""
    holder = _find(root, path[:-1])
    return not path or not isinstance(holder, dict) or path[-1] in holder


def _pointer(text: str) -> list[str]:
    # What stands before the first slash counts for nothing, as on the real server.
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:]]


def _place(items: list[Any], step: str, *, end: bool = False) -> int:
    if end and step == "-":
        return len(items)
    if not re.fullmatch("0|[1-9][0-9]*", step) or int(step) >= len(items) + end:
        raise IndexError(f"index {step} is not in the list")
    return int(step)


def _find(root: Any, path: list[str]) -> Any:  # noqa: ANN401 - whatever stands there
    for step in path:
        root = cast(Any, root[_place(cast(list[object], root), step)] if isinstance(root, list) else root[step])
    return root


def _add(root: Any, path: list[str], value: object) -> Any:  # noqa: ANN401 - JSON in, JSON out
    if not path:
        return value
    holder = _find(root, path[:-1])
    if isinstance(holder, list):
        items = cast(list[object], holder)
        items.insert(_place(items, path[-1], end=True), value)
    else:
        holder[path[-1]] = value
    return root


def _remove(root: Any, path: list[str]) -> tuple[Any, Any]:  # noqa: ANN401 - JSON in, JSON out
    holder = _find(root, path[:-1])
    if isinstance(holder, list):
        items = cast(list[object], holder)
        return root, items.pop(_place(items, path[-1]))
    return root, holder.pop(path[-1])


def strategic_merge_patch(value: Manifest, patch: Manifest, schema: Schema) -> Manifest:
    """*value* with a strategic merge patch applied, a new one.

    Raises:
        StatusError: 500, an item has no merge key.
    """
    return _strategic(copied(value), patch, (), schema)


def _strategic(live: Manifest, patch: Manifest, path: Path, schema: Schema) -> Manifest:
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: copied(item) for key, item in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    if "$retainKeys" in patch:
        live = {key: item for key, item in live.items() if key in patch["$retainKeys"]}
    for key, item in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            field = key.partition("/")[2]
            live[field] = [old for old in live.get(field) or () if old not in item]
        elif key.startswith("$"):
            continue
        elif item is None:
            live.pop(key, None)
        elif isinstance(item, dict):
            old = live.get(key)
            below = cast(Manifest, old) if isinstance(old, dict) else {}
            live[key] = _strategic(below, cast(Manifest, item), (*path, key), schema)
        elif isinstance(item, list):
            order = patch.get(f"$setElementOrder/{key}")
            live[key] = _list(live.get(key), list(cast(list[object], item)), (*path, key), schema, order)
        else:
            live[key] = item
    for key, order in patch.items():
        field = key.partition("/")[2]
        if key.startswith("$setElementOrder/") and field in live and field not in patch:
            live[field] = _ordered(live[field], order, schema.get((*path, field)))
    return live


def _list(live: Any, patch: list[Any], path: Path, schema: Schema, order: Any) -> list[Any]:  # noqa: ANN401 - JSON
    shape = schema.get(path)
    items: list[Any] = list(cast(list[object], live)) if isinstance(live, list) else []
    if isinstance(shape, Set):
        merged = [*patch, *(item for item in items if item not in patch)]
        return _ordered(merged, order, shape)
    if not isinstance(shape, Associative) or not shape.merge_key:
        return list(copied(patch))
    if any(item == {"$patch": "replace"} for item in patch):
        return [copied(item) for item in patch if "$patch" not in item]
    added = 0
    for item in cast(list[Manifest], patch):
        key = item.get(shape.merge_key)
        if key is None:
            raise StatusError(500, "", f"map: {item} does not contain declared merge key: {shape.merge_key}")
        same = [place for place, old in enumerate(items) if old.get(shape.merge_key) == key]
        if item.get("$patch") == "delete":
            items = [old for old in items if old.get(shape.merge_key) != key]
        elif same:
            items[same[0]] = _strategic(items[same[0]], item, (*path, "*"), schema)
        else:
            # Before the old ones, in the order of the patch: so it is where no order is given.
            items.insert(added, _strategic({}, item, (*path, "*"), schema))
            added += 1
    return _ordered(items, order, shape)


def _ordered(items: list[Any], order: Any, shape: object) -> list[Any]:  # noqa: ANN401 - JSON
    if not isinstance(order, list):
        return items
    key = shape.merge_key if isinstance(shape, Associative) else ""

    def rank(item: Any) -> int:  # noqa: ANN401 - an item of JSON
        wanted = [mapping_of(entry).get(key) if key else entry for entry in cast(list[object], order)]
        value = item.get(key) if key else item
        return wanted.index(value) if value in wanted else len(wanted)

    return sorted(items, key=rank)
