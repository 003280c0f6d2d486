"""Secret, ConfigMap and Namespace."""

from __future__ import annotations

import base64
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

        value = core_schema.no_info_after_validator_function(
            _decode_base64, core_schema.str_schema(strict=True)
        )
        return core_schema.dict_schema(core_schema.str_schema(strict=True), value, strict=True)


def _decode_base64(text: str) -> bytes:
    try:
        # Line breaks are legal in YAML and in what `base64` prints.
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise ValueError("is not base64") from None


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
