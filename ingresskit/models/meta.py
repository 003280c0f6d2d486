"""What all objects of the Kubernetes API have in common, and how their fields are read.

The models are standard-library dataclasses: frozen, slotted, holding only the fields that are
read. pydantic stands at the door only (`decode`); importing the models does not import it. The
markers in this file tell pydantic, when it builds a decoder, about what a plain type cannot say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple, TypeVar

if TYPE_CHECKING:
    from pydantic import ConfigDict, GetCoreSchemaHandler
    from pydantic_core import CoreSchema

__all__ = [
    "KubeObject",
    "Many",
    "Name",
    "ObjectKey",
    "ObjectMeta",
    "ObjectRef",
    "OptionalName",
    "StringMap",
    "Timestamp",
    "WireModel",
    "age_order",
]

T = TypeVar("T")


class ObjectKey(NamedTuple):
    """Which object of a kind: its namespace (empty for cluster-scoped kinds) and its name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class ObjectRef(NamedTuple):
    """Which object of the cluster: its kind and its key. ``str()`` gives ``"Ingress shop/web"``."""

    kind: str
    key: ObjectKey

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


_ACRONYMS = {"ip": "IP", "ips": "IPs"}


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(_ACRONYMS.get(word) or word.capitalize() for word in tail)


class WireModel:
    """Base of every dataclass that is decoded from the API: camel-case names, no type juggling.

    Strict, as the API server is: ``"80"`` is not the number 80 and ``yes`` is not text.
    Source: Kubernetes API conventions, "Types (Kinds)"; unknown fields are ignored.
    """

    __slots__ = ()
    __pydantic_config__: ClassVar[ConfigDict] = {
        "alias_generator": _camel,
        "strict": True,
        "extra": "ignore",
        "cache_strings": "all",
        "hide_input_in_errors": True,
    }


class _NameSchema:
    """Marks a name: what can stand in a path of the API. *optional* allows the empty text too.

    Source: Kubernetes, "Object Names and IDs", path segment names; the length is that of a DNS name.
    """

    def __init__(self, *, optional: bool = False) -> None:
        self._optional = optional

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        name = r"[^\p{C}\p{Z}/%.][^\p{C}\p{Z}/%]*"
        pattern = f"^(?:{name})?$" if self._optional else f"^{name}$"
        return core_schema.str_schema(strict=True, max_length=253, pattern=pattern)


class _StringMapSchema:
    """Marks a map of text to text: the result is a plain dict. Keys become part of messages and paths.

    Source: qualified names have neither spaces nor control characters; "Annotations", "Syntax".
    """

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        key = core_schema.str_schema(strict=True, pattern=r"^[^\p{C}\p{Z}]*$")
        return core_schema.dict_schema(key, core_schema.str_schema(strict=True), strict=True)


class _TimestampSchema:
    """Marks a time: RFC 3339; one without a zone (only people write those) is taken as UTC."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(_aware, core_schema.datetime_schema())


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


Many = tuple[T, ...]
"""A list of the API, in its order; ``null`` and absent both read as empty."""

Name = Annotated[str, _NameSchema()]
"""The name of an object: 1 to 253 characters, no space, control character, ``/`` or ``%``, no leading dot."""

OptionalName = Annotated[str, _NameSchema(optional=True)]
"""A name, or empty."""

StringMap = Annotated[Mapping[str, str], _StringMapSchema()]
"""A map of text to text; ``null`` and absent both read as empty. Treat it as read-only."""

Timestamp = Annotated[datetime, _TimestampSchema()]
"""A point in time, always with a zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMeta(WireModel):
    """The part of ``metadata`` that is read.

    Attributes:
        creation_timestamp: When the API server made the object; ``None`` for one that only a file
            holds. Decides conflicts: older wins, and an object without it counts as the newest.
        uid: The identity of the object over its life; empty for one that only a file holds.
        resource_version: Opaque; compare for equality only.
    """

    name: Name
    namespace: OptionalName = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    labels: StringMap = field(default_factory=dict[str, str])
    annotations: StringMap = field(default_factory=dict[str, str])

    @property
    def key(self) -> ObjectKey:
        """Namespace and name."""
        return ObjectKey(self.namespace, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeObject(WireModel):
    """Base of every object kind that ingresskit reads. Immutable; safe to share and to cache."""

    kind: ClassVar[str]
    """The kind as Kubernetes spells it."""
    resource: ClassVar[str]
    """The plural name in API paths, ``"ingresses"``."""
    api_version: ClassVar[str]
    """The version objects of this kind are read as, ``"networking.k8s.io/v1"``."""
    namespaced: ClassVar[bool] = True
    """Whether objects of this kind live in namespaces."""

    metadata: ObjectMeta

    @property
    def key(self) -> ObjectKey:
        """Namespace and name: unique within the kind."""
        return self.metadata.key

    @property
    def ref(self) -> ObjectRef:
        """Kind, namespace and name: unique within the cluster."""
        return ObjectRef(self.kind, self.metadata.key)


def age_order(item: KubeObject) -> tuple[datetime, str, str, str]:
    """A sort key that puts the object whose claims win first: oldest, then namespace, name, uid.

    Source: the conflict rule of Gateway API ("oldest creationTimestamp, then alphabetical order of
    namespace/name"), which Ingress itself leaves open.
    """
    meta = item.metadata
    return (meta.creation_timestamp or _NEVER, meta.namespace, meta.name, meta.uid)


_NEVER = datetime.max.replace(tzinfo=UTC)
