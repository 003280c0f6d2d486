"""Secret, ConfigMap and Namespace."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar

from ingresskit.models.meta import KubeObject, StringMap

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

__all__ = ["ConfigMap", "Namespace", "Secret"]


class _Base64MapSchema:
    """Marks ``data`` of a Secret: base64 text in the API, bytes here."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(_decode_base64_map)


def _decode_base64_map(value: object) -> dict[str, bytes]:
    """Decode each value. The message of a failure names the key and never repeats the value."""
    decoded: dict[str, bytes] = {}
    if value is None:
        return decoded
    if not isinstance(value, Mapping):
        raise ValueError("must be a map")
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise ValueError(f"[{key}] must be base64 text")
        try:
            # Line breaks are legal in YAML and in what `base64` prints.
            decoded[key] = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"[{key}] is not base64") from None
    return decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret(KubeObject):
    """A Secret. Its values have no text form: they appear in no ``repr``, log or message."""

    kind: ClassVar[str] = "Secret"
    resource: ClassVar[str] = "secrets"
    api_version: ClassVar[str] = "v1"

    type: str = "Opaque"
    data: Annotated[Mapping[str, bytes], _Base64MapSchema()] = field(
        default_factory=dict[str, bytes], repr=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMap(KubeObject):
    """A ConfigMap; only its text values are read."""

    kind: ClassVar[str] = "ConfigMap"
    resource: ClassVar[str] = "configmaps"
    api_version: ClassVar[str] = "v1"

    data: StringMap = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace(KubeObject):
    """A Namespace; its labels can select which Ingresses are served."""

    kind: ClassVar[str] = "Namespace"
    resource: ClassVar[str] = "namespaces"
    api_version: ClassVar[str] = "v1"
    namespaced: ClassVar[bool] = False
