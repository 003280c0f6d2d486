"""Reading parsed JSON and YAML of which nothing is known yet."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import cast

from ingresskit.errors import CredentialsError

__all__ = ["as_list", "as_map", "as_text", "field_data", "field_flag", "field_text", "field_texts"]


def as_map(value: object) -> Mapping[str, object]:
    """*value* if it is a map, else an empty one."""
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def as_list(value: object) -> Sequence[object]:
    """*value* if it is a list, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else ()


def as_text(value: object) -> str:
    """*value* if it is text, else empty text."""
    return value if isinstance(value, str) else ""


# Fields of a kubeconfig. Another type is refused, as kubectl does: a token that YAML read as a number would
# count as no token, and requests would be made as nobody. No value is repeated: it may be a secret.


def field_text(tree: Mapping[str, object], key: str) -> str:
    """The text of a field; empty when it is missing or null.

    Raises:
        CredentialsError: It is not text.
    """
    value = tree.get(key)
    if value is None or isinstance(value, str):
        return value or ""
    raise CredentialsError(f"the kubeconfig's {key} must be text, not {_type(value)}: put it in quotes")


def field_texts(tree: Mapping[str, object], key: str) -> Sequence[str]:
    """The texts of a field that is a list; empty when it is missing or null.

    Raises:
        CredentialsError: It is not a list of text.
    """
    value = tree.get(key)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise CredentialsError(f"the kubeconfig's {key} must be a list, not {_type(value)}")
    return [field_text({key: item}, key) for item in cast("list[object]", value)]


def field_flag(tree: Mapping[str, object], key: str) -> bool:
    """Whether a field is true; false when it is missing or null.

    Raises:
        CredentialsError: It is neither true nor false.
    """
    value = tree.get(key)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise CredentialsError(f"the kubeconfig's {key} must be true or false, not {_type(value)}")


def field_data(tree: Mapping[str, object], key: str) -> bytes:
    """The octets of a field in base64; empty when it is missing or null.

    Line breaks in it do not count, as in Go's decoder; blanks are faults there and here.

    Raises:
        CredentialsError: It is not base64.
    """
    text = field_text(tree, key).replace("\r", "").replace("\n", "")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # the latter for what is not ASCII
        raise CredentialsError(f"the kubeconfig's {key} is not base64") from None


def _type(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case Mapping():
            return "a map"
        case list():
            return "a list"
        case _:
            return f"a {type(value).__name__}"
