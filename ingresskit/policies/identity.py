"""What identifies a set of policies: equal sets of one release give the same text in every process."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import cast

from ingresskit.policies.base import PolicySet

__all__ = ["identity_of"]

_DIGITS = 16


def identity_of(policies: PolicySet) -> str:
    """A digest of *policies*: 16 hexadecimal digits; empty for no policies.

    Where the policies were asked for is no part of it. All values are, also those that may be credentials:
    what could be found by guessing does not belong into a policy of a backend.
    """
    if not policies:
        return ""
    total = hashlib.sha256()
    for policy in policies:
        total.update(_text(policy).encode("utf-8", "surrogatepass") + b"\0")
    return total.hexdigest()[:_DIGITS]


def _text(value: object) -> str:
    """*value* in a form that differs for different values, and nowhere says where it lies in memory."""
    if isinstance(value, Enum):
        return f"{type(value).__qualname__}.{value.name}"
    if is_dataclass(value) and not isinstance(value, type):
        # Not its repr, which leaves out what may be a credential.
        held = ",".join(
            f"{item.name}={_text(cast(object, getattr(value, item.name)))}" for item in fields(value)
        )
        return f"{type(value).__module__}.{type(value).__qualname__}({held})"
    match value:
        case tuple() | list():
            return f"({','.join(map(_text, cast('tuple[object, ...]', value)))})"
        case frozenset() | set():
            return f"{{{','.join(sorted(map(_text, cast('frozenset[object]', value))))}}}"
        case dict():
            items = cast("dict[object, object]", value).items()
            return f"{{{','.join(sorted(f'{_text(key)}:{_text(item)}' for key, item in items))}}}"
        case _:
            return repr(value)
