"""The ConfigMaps of the operator with header fields for every route.

``proxy-set-headers`` names one with fields of requests, ``add-headers`` one with fields of responses. A field
that cannot be set costs itself only, and is reported at the key that names the ConfigMap.
"""

from __future__ import annotations

import re
from typing import Final

from ingresskit.models import ConfigMap, ObjectKey
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.values import HeaderField, parse_headers, plain_header_name

__all__ = ["merged", "operators_fields"]

_VARIABLE: Final = re.compile(r"\$[A-Za-z_{]")


def operators_fields(annotations: Annotations, key: str, named: ObjectKey | None) -> tuple[HeaderField, ...]:
    """The header fields of a ConfigMap of the operator.

    Args:
        annotations: The Ingress that is read.
        key: Of the settings: what names the ConfigMap.
        named: The ConfigMap; ``None``: there is none.
    """
    if named is None:
        return ()
    found = annotations.lookup_operators(ConfigMap, named)
    if found is None:
        annotations.warn_operator(key, f"there is no ConfigMap {named}, or it cannot be read")
        return ()
    fields: tuple[HeaderField, ...] = ()
    for name, value in sorted(found.data.items()):
        try:
            fields = merged(fields, _field(name, value.strip()))
        except ValueError as exc:
            annotations.warn_operator(key, f"the field {name[:80]!a} of ConfigMap {named} {exc}; it is not set")
    return fields


def merged(fields: tuple[HeaderField, ...], more: tuple[HeaderField, ...]) -> tuple[HeaderField, ...]:
    """Both; where they set the same field, *more* counts."""
    names = {plain_header_name(name) for name, _ in more}
    return (*(field for field in fields if plain_header_name(field[0]) not in names), *more)


def _field(name: str, value: str) -> tuple[HeaderField, ...]:
    if "\n" in value or "\r" in value:
        raise ValueError("must have a value of one line")
    if _VARIABLE.search(value):
        raise ValueError("must have a value without variables of nginx, which are not read")
    return parse_headers(f"{name}: {value}")
