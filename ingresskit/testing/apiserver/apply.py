"""Server-side apply, and the book of who owns which field that it needs.

An applier says all it wants to be true. So three things can happen to a field: it is set; it was set
by the same applier before and is not any more, then it goes, unless somebody else owns it too; or
somebody else owns it with another value, then it is a conflict, unless forced.

Plain writes keep the same book, without ever conflicting: who changes a field takes it over.

Source: kubernetes.io/docs/reference/using-api/server-side-apply/; ``merge/update.go`` of
``structured-merge-diff``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

from ingresskit.testing.apiserver.fields import (
    Field,
    containers_of,
    describe,
    fields_of,
    from_wire,
    item_key,
    to_wire,
    value_at,
    value_text,
)
from ingresskit.testing.apiserver.manifests import Manifest, copied, look
from ingresskit.testing.apiserver.schema import Associative, Path, Schema, Set
from ingresskit.testing.apiserver.statuses import Cause, StatusError

__all__ = ["Writer", "apply", "record_update"]


_BEFORE = "before-first-apply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes, and when.

    Attributes:
        manager: ``fieldManager``.
        api_version: The version of the API it writes in.
        subresource: ``"status"``, or empty.
        time: A ``metav1.Time``.
    """

    manager: str
    api_version: str
    subresource: str = ""
    time: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    manager: str
    operation: str
    api_version: str
    subresource: str
    time: str
    fields: frozenset[Field]

    @property
    def owner(self) -> tuple[str, str, str, str]:
        # A plain writer that speaks two versions is two owners, as in the real book.
        return (self.manager, self.operation, self.subresource, self.api_version)

    def manifest(self) -> Manifest:
        said: Manifest = {
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            **({"time": self.time} if self.time else {}),
            "fieldsType": "FieldsV1",
            "fieldsV1": to_wire(self.fields),
        }
        return {**said, "subresource": self.subresource} if self.subresource else said


def _book(manifest: Manifest) -> list[_Entry]:
    return [
        _Entry(
            manager=str(item.get("manager", "")),
            operation=str(item.get("operation", "")),
            api_version=str(item.get("apiVersion", "")),
            subresource=str(item.get("subresource", "")),
            time=str(item.get("time", "")),
            fields=from_wire(item.get("fieldsV1") or {}),
        )
        for item in manifest["metadata"].get("managedFields") or ()
    ]


def _write_book(manifest: Manifest, book: Iterable[_Entry]) -> None:
    order = sorted(
        book,
        key=lambda entry: (entry.operation, entry.time, entry.manager, entry.api_version, entry.subresource),
    )
    said = [entry.manifest() for entry in order if entry.fields]
    if said:
        manifest["metadata"]["managedFields"] = said
    else:
        manifest["metadata"].pop("managedFields", None)


def record_update(
    old: Manifest | None,
    new: Manifest,
    schema: Schema,
    writer: Writer,
    *,
    unowned: frozenset[Field] = frozenset(),
) -> None:
    """Write into *new* who owns what after a plain write by *writer*; *new* is changed in place.

    A writer may empty the book, as migrations do, by sending ``managedFields: [{}]``.

    Args:
        old: The object before; ``None`` when it is created.
        new: The object after.
        schema: The shapes of the kind.
        writer: Who writes.
        unowned: Fields the server has chosen itself: nobody owns them.
    """
    sent = new["metadata"].get("managedFields")
    book = _book(old) if old is not None and sent != [{}] else []
    if old is not None and not book:
        # Of an object that nobody has applied to and nobody is known to have made, no book is kept.
        new["metadata"].pop("managedFields", None)
        return
    was, made = frozenset[Field](), frozenset[Field]()
    if old is not None:
        was, made = fields_of(old, schema), containers_of(old, schema)
    now = fields_of(new, schema)
    containers = containers_of(new, schema)
    # Who writes one half of an object owns nothing of the other.
    other_half = "spec" if writer.subresource == "status" else "status"
    changed = (
        frozenset(
            field
            for field in now
            if field[0][1] != other_half
            and (field not in was or value_at(old or {}, field, schema) != value_at(new, field, schema))
            # Nobody owns what is empty: it is there by itself.
            and value_at(new, field, schema) not in (None, {})
        )
        | frozenset(field for field in containers - made if field[0][1] != other_half and field not in was)
    ) - unowned
    mine = _Entry(
        manager=writer.manager,
        operation="Update",
        api_version=writer.api_version,
        subresource=writer.subresource,
        time=writer.time,
        fields=changed,
    )
    left = now | containers
    kept = [
        replace(entry, fields=(entry.fields & left) - (changed if entry.owner != mine.owner else frozenset()))
        for entry in book
    ]
    _write_book(new, _with(kept, mine, add=True))


def _with(book: list[_Entry], mine: _Entry, *, add: bool) -> list[_Entry]:
    """The book with the entry of one owner, whose time moves only when its fields do."""
    for place, entry in enumerate(book):
        if entry.owner == mine.owner:
            fields = entry.fields | mine.fields if add else mine.fields
            book[place] = entry if fields == entry.fields else replace(mine, fields=fields)
            return book
    return [*book, mine]


def apply(live: Manifest, applied: Manifest, schema: Schema, writer: Writer, *, force: bool) -> Manifest:
    """The object after *writer* applied *applied* to *live*, a new one.

    Args:
        live: The object there is, or ``{"metadata": {…}}`` with just the name when there is none.
        applied: What the applier wants; without kind and version.
        schema: The shapes of the kind.
        writer: Who applies.
        force: Take over the fields that others own with other values.

    Raises:
        StatusError: 409 with one cause for each field, when others own it and *force* is not given.
    """
    _check_keys(applied, schema)
    wanted = fields_of(applied, schema)
    merged = _merge(copied(live), applied, (), schema)
    mine = _Entry(
        manager=writer.manager,
        operation="Apply",
        api_version=writer.api_version,
        subresource=writer.subresource,
        time=writer.time,
        fields=wanted,
    )
    book = _book(live)
    if not book and "uid" in live["metadata"]:
        # Nobody is known to have made it; so that what is there is not taken for the applier's to remove:
        there = fields_of(live, schema) | containers_of(live, schema)
        book = [replace(mine, manager=_BEFORE, operation="Update", fields=there)]
    book.sort(key=lambda entry: (entry.operation, entry.time, entry.manager))
    before = next((entry.fields for entry in book if entry.owner[:3] == mine.owner[:3]), frozenset[Field]())
    others = [entry for entry in book if entry.owner[:3] != mine.owner[:3]]
    # Items of lists are there or not: two owners of one never disagree about it.
    changed = frozenset(
        field
        for field in wanted
        if field[-1][0] == "f" and value_at(live, field, schema) != value_at(merged, field, schema)
    )
    disputes = [(entry, sorted(entry.fields & changed)) for entry in others]
    disputes = [(entry, fields) for entry, fields in disputes if fields]
    if disputes and not force:
        raise _conflict(disputes)
    lost = frozenset(field for _, fields in disputes for field in fields)
    others = [replace(entry, fields=entry.fields - lost) for entry in others]
    owned_elsewhere = frozenset[Field]().union(*(entry.fields for entry in others))
    merged = _without(merged, before - wanted - owned_elsewhere, owned_elsewhere | wanted, schema)
    kept = {entry.owner: entry for entry in others}
    order = [
        replace(mine, time=entry.time if entry.fields == wanted else mine.time)
        if entry.owner[:3] == mine.owner[:3]
        else kept[entry.owner]
        for entry in book
    ]
    if not any(entry.owner[:3] == mine.owner[:3] for entry in book):
        order.append(mine)
    if _without_book(merged) == _without_book(live):
        # A write that changes nothing but who owns what is of no time.
        before_by_owner = {entry.owner: entry.fields for entry in book}
        order = [
            replace(entry, time="")
            if entry.owner[:3] == mine.owner[:3] and before_by_owner.get(entry.owner) != entry.fields
            else entry
            for entry in order
        ]
    _write_book(merged, [replace(entry, fields=_there(entry.fields, merged, schema)) for entry in order])
    return merged


def _there(fields: frozenset[Field], manifest: Manifest, schema: Schema) -> frozenset[Field]:
    return frozenset(field for field in fields if value_at(manifest, field, schema) is not None)


def _without_book(manifest: Manifest) -> Manifest:
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
    return {**manifest, "metadata": metadata}


def _check_keys(applied: Manifest, schema: Schema) -> None:
    """Let what is applied pass: no two items of a list have the same keys."""
    for path, shape in schema.items():
        items = look(applied, *path) if isinstance(shape, Associative) and "*" not in path else None
        if not isinstance(shape, Associative) or not isinstance(items, list):
            continue
        keys = [item_key(item, shape) for item in cast(list[Manifest], items)]
        if twice := [key for key in keys if keys.count(key) > 1]:
            name = applied["metadata"].get("name")
            why = f".{'.'.join(path)}: duplicate entries for key {twice[0]}"
            raise StatusError(500, "", f"failed to create typed patch object ({name}): {why}")


def _conflict(disputes: list[tuple[_Entry, list[Field]]]) -> StatusError:
    causes: list[Cause] = []
    lines: list[str] = []
    for entry, fields in disputes:
        whose = f'"{entry.manager}"' + (f' with subresource "{entry.subresource}"' if entry.subresource else "")
        # As the real one: the version, but only of plain writers.
        whose += f" using {entry.api_version}" if entry.operation == "Update" else ""
        names = [describe(field) for field in fields]
        message = f"conflict with {whose}"
        causes += [Cause(reason="FieldManagerConflict", message=message, field=name) for name in names]
        lines.append(f"conflicts with {whose}:\n" + "\n".join(f"- {name}" for name in names))
    if len(causes) == 1:
        text = f"1 conflict: {causes[0].message}: {causes[0].field}"
    else:
        text = f"{len(causes)} conflicts: " + "\n".join(lines)
    return StatusError(409, "Conflict", f"Apply failed with {text}", causes=causes)


def _merge(live: Any, applied: Any, path: Path, schema: Schema) -> Any:  # noqa: ANN401 - JSON in, JSON out
    shape = schema.get(path)
    if isinstance(applied, dict) and shape is None:
        merged: Manifest = cast(Manifest, live) if isinstance(live, dict) else {}
        for key, value in cast(Manifest, applied).items():
            merged[key] = _merge(merged.get(key), value, (*path, key), schema)
        return merged
    if isinstance(applied, list) and isinstance(shape, Associative):
        items: list[Manifest] = list(cast(list[Manifest], live)) if isinstance(live, list) else []
        places = {item_key(item, shape): place for place, item in enumerate(items)}
        for item in cast(list[Manifest], applied):
            place = places.get(item_key(item, shape))
            if place is None:
                items.append(copied(item))
            else:
                for key, value in item.items():
                    items[place][key] = _merge(items[place].get(key), value, (*path, "*", key), schema)
        return items
    if isinstance(applied, list) and isinstance(shape, Set):
        values: list[object] = list(cast(list[object], live)) if isinstance(live, list) else []
        return [*values, *(item for item in cast(list[object], applied) if item not in values)]
    return copied(applied)


def _without(manifest: Manifest, gone: frozenset[Field], kept: frozenset[Field], schema: Schema) -> Manifest:
    """The object without the fields *gone*; an item of a list stays while anybody owns anything in it."""
    for field in sorted(gone, key=len):
        if any(other[: len(field)] == field for other in kept):
            continue
        _drop(manifest, field, schema)
    return manifest


def _drop(manifest: Manifest, field: Field, schema: Schema) -> None:
    trail: list[tuple[Manifest, str]] = []
    value: Any = manifest
    path: Path = ()
    for sort, text in field[:-1]:
        if sort == "f":
            if not isinstance(value, dict) or text not in value:
                return
            holder = cast(Manifest, value)
            trail.append((holder, text))
            value = holder[text]
            path = (*path, text)
        else:
            shape = schema.get(path)
            found = [item for item in value if isinstance(shape, Associative) and item_key(item, shape) == text]
            if not found:
                return
            value = found[0]
            path = (*path, "*")
            trail.clear()
    sort, text = field[-1]
    shape = schema.get(path)
    if sort == "f":
        cast(Manifest, value).pop(text, None)
    elif isinstance(shape, Associative):
        value[:] = [item for item in value if item_key(item, shape) != text]
    else:
        value[:] = [item for item in value if value_text(item) != text]
    # A map or a list that the applier brought goes with the last thing in it.
    for holder, key in reversed(trail):
        if holder[key] or key in ("metadata", "spec"):
            return
        del holder[key]
