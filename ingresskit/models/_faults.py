"""What is wrong with an object, in words: the sentences of `ingresskit.errors.DecodeError`.

No sentence ever repeats a value, for the value may belong to a Secret; keys and names are quoted,
with whatever is not printable escaped and long ones cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from ingresskit.errors import DecodeError

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = ["fault_of", "json_type", "printable", "translated"]

_TIME = "must be a time, such as 2026-01-31T12:00:00Z"
_CLAUSES: Mapping[str, str] = {
    "missing": "is missing",
    "string_type": "must be text (in YAML, put it in quotes)",
    "string_pattern_mismatch": "must be a name: not empty, without spaces, control characters, / and %",
    "string_too_long": "must be a name of at most 253 characters",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "finite_number": "must be a whole number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be a map",
    "dataclass_type": "must be a map",
    "dataclass_exact_type": "must be a map",
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_from_date_parsing": _TIME,
    "datetime_object_invalid": _TIME,
}
# Maps whose keys are the user's own.
_MAPS = frozenset({"annotations", "data", "labels", "topology"})
# What pydantic adds to the place of a fault in a key rather than in its value.
_KEY = "[key]"
_LONGEST = 100


def fault_of(tree: Mapping[str, object], kind: str, field: str, reason: str, location: str) -> DecodeError:
    """The error about a field of an object, naming the object as far as *tree* tells its name."""
    metadata = tree.get("metadata")
    meta = cast("Mapping[str, object]", metadata if isinstance(metadata, Mapping) else {})
    name, namespace = meta.get("name"), meta.get("namespace")
    return DecodeError(
        kind=kind,
        namespace=printable(namespace) if isinstance(namespace, str) else "",
        name=printable(name) if isinstance(name, str) else "",
        field=field,
        reason=reason,
        location=location,
    )


def translated(kind: str, exc: ValidationError, tree: Mapping[str, object], location: str) -> DecodeError:
    """The error that says what pydantic found first, and how much more there is."""
    errors = exc.errors(include_url=False, include_context=False, include_input=False)
    field = _field_path(errors[0]["loc"])
    about_key = errors[0]["loc"][-1:] == (_KEY,)
    reason = (
        "is a key with a space or a control character"
        if about_key
        else _clause(errors[0]["type"], errors[0]["msg"])
    )
    others = {_field_path(error["loc"]) for error in errors} - {field}
    if others:
        reason += f" (and {len(others)} more fault{'s' if len(others) > 1 else ''})"
    return fault_of(tree, kind, field, reason, location)


def _clause(code: str, message: str) -> str:
    if code == "value_error":  # a validator of ours, which says it as we do
        return message.removeprefix("Value error, ")
    return _CLAUSES.get(code, message[:1].lower() + message[1:])


def _field_path(loc: tuple[int | str, ...]) -> str:
    path = ""
    for part in loc:
        if part == _KEY and path.endswith("]"):
            continue
        if isinstance(part, int):
            path += f"[{part}]"
        elif path.rpartition(".")[2] in _MAPS:
            path += f"[{printable(part)}]"
        elif part in ("int", "str"):  # the branch of an int-or-text union, not a field
            continue
        else:
            path += f".{part}" if path else part
    return path


def printable(text: str) -> str:
    """A user's text as part of a message: on one line, at most 100 characters of it."""
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 3] + "..."
    if text.isprintable():
        return text
    return "".join(part if part.isprintable() else ascii(part)[1:-1] for part in text)


def json_type(value: object) -> str:
    """What a parsed JSON value is, with an article."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a map"
