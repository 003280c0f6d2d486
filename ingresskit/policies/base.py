"""What a policy is, and the typed set of policies that a route carries.

A policy says what its author wants (`Timeouts`, `RateLimit`), never how a proxy is told. Each field
names the native annotation that sets it; other dialects map their annotations onto the same fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, Self, TypeVar, cast

from ingresskit.errors import ConfigurationError
from ingresskit.models import KubeObject, ObjectRef, Secret
from ingresskit.policies.order import Stage

__all__ = [
    "Annotation",
    "Origin",
    "Policy",
    "PolicyScope",
    "PolicySet",
    "Risk",
    "annotated",
    "annotated_object",
]

V = TypeVar("V")
K = TypeVar("K", bound=KubeObject)
P = TypeVar("P", bound="Policy")

_METADATA_KEY = "ingresskit.annotation"


class PolicyScope(StrEnum):
    """What a policy belongs to, and so where the route graph keeps it. Values are stable.

    Attributes:
        ROUTE: One path of one rule: ``Route.policies``. Nearly all policies.
        HOST: All routes of a host, ``VirtualHost.policies``, because clients see one host: HSTS, client
            certificates.
        BACKEND: All routes to a Service port, ``Backend.policies``, because its endpoints share
            connections and state: upstream TLS, affinity.
    """

    ROUTE = "route"
    HOST = "host"
    BACKEND = "backend"


class Risk(StrEnum):
    """What the author of an annotation can do with it. Values are stable."""

    LOW = "low"
    """Change how their own paths are served."""
    MEDIUM = "medium"
    """Reach other paths or objects of their namespace or host."""
    HIGH = "high"
    """Reach what lies outside: other hosts, addresses, services."""
    CRITICAL = "critical"
    """Change the configuration of the proxy itself."""


class Origin(NamedTuple):
    """Where something was asked for: an object and the path of a field in it."""

    subject: ObjectRef
    field: str

    def __str__(self) -> str:
        return f"{self.subject}, {self.field}" if self.field else str(self.subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """How an annotation sets a field of a policy.

    Attributes:
        name: The part after the prefix and ``/``: ``"connect-timeout"``.
        parse: Text to value; raises `ValueError` whose text states the rule, ``"must be …"``.
        grammar: The rule in a few words for the documentation, ``"a duration: 500ms, 5s, 1m, 1h"``.
        summary: What setting it does, one sentence for the documentation.
        secret: Whether the field may hold credentials: no dump or log shows it, and no message the text.
        risk: What it lets its author do.
        kind: Of the object whose name the text is; ``None`` where the text is the value.
        load: From that object to the value; raises `ValueError` as *parse* does.
        missing: The rule for an object that is not there; empty: the usual one.
    """

    name: str
    parse: Callable[[str], object]
    grammar: str
    summary: str
    secret: bool = False
    risk: Risk = Risk.LOW
    kind: type[KubeObject] | None = None
    load: Callable[[KubeObject], object] | None = None
    missing: str = ""


def annotated(
    name: str,
    parse: Callable[[str], V],
    *,
    default: V,
    grammar: str,
    summary: str,
    secret: bool = False,
    risk: Risk = Risk.LOW,
) -> V:
    """Declare a field of a `Policy` that a native annotation sets.

    Args:
        name: As `Annotation.name`, and so the others.
        parse: As `Annotation.parse`.
        default: What the field holds when no annotation sets it.
        grammar: As `Annotation.grammar`.
        summary: As `Annotation.summary`.
        secret: As `Annotation.secret`; such a field is not in the policy's ``repr`` either.
        risk: As `Annotation.risk`.

    Returns:
        A dataclass field; typed as its value, as `dataclasses.field` is.
    """
    annotation = Annotation(name=name, parse=parse, grammar=grammar, summary=summary, secret=secret, risk=risk)
    return field(default=default, repr=not secret, metadata={_METADATA_KEY: annotation})


def annotated_object(
    name: str,
    kind: type[K],
    load: Callable[[K], V],
    *,
    default: V,
    grammar: str,
    summary: str,
    risk: Risk = Risk.MEDIUM,
    parse: Callable[[str], str] | None = None,
    missing: str = "",
) -> V:
    """Declare a field of a `Policy` that comes from an object which a native annotation names.

    The object is looked up in the namespace of the Ingress and nowhere else, and the Ingress is read again
    when it changes. One that is not there, or that *load* refuses, costs the annotation; where the policy
    protects, the routes respond 503.

    Args:
        name: As `Annotation.name`.
        kind: Of the object; `Secret` makes the field secret, as `Annotation.secret` says.
        load: From the object to the value; raises `ValueError` whose text states the rule, ``"must hold …"``,
            and shows nothing of a Secret.
        default: What the field holds when no annotation sets it.
        grammar: As `Annotation.grammar`.
        summary: As `Annotation.summary`.
        risk: As `Annotation.risk`.
        parse: From the text to the name of the object; ``None``: the text is its name.
        missing: As `Annotation.missing`.

    Returns:
        A dataclass field; typed as its value.
    """
    annotation = Annotation(
        name=name,
        parse=parse or _object_name,
        missing=missing,
        grammar=grammar,
        summary=summary,
        secret=kind is Secret,
        risk=risk,
        kind=kind,
        load=cast("Callable[[KubeObject], object]", load),
    )
    return field(default=default, repr=not annotation.secret, metadata={_METADATA_KEY: annotation})


_OBJECT_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")


def _object_name(text: str) -> str:
    if _OBJECT_NAME.fullmatch(text) is None:
        raise ValueError("must be the name of an object in the namespace of the Ingress")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Base of all policies. A subclass is a frozen, slotted, keyword-only dataclass of values.

    Two policies are equal when their values are. A policy whose ``protects`` is true guards its
    route: where it cannot be built or a renderer cannot honour it, the route responds 503 instead
    of being served without it; so do all routes of the host or backend that ``scope`` names.
    """

    protects: ClassVar[bool] = False
    adds_up: ClassVar[frozenset[str]] = frozenset()
    """The fields, tuples each, that add up where two dialects ask for the policy: what one keeps out, the other
    cannot let in."""
    scope: ClassVar[PolicyScope] = PolicyScope.ROUTE
    stage: ClassVar[Stage] = Stage.UPSTREAM
    """When it acts on a request; by default last."""
    handshake: ClassVar[bool] = False
    """Whether it acts in the TLS handshake with the client too, where a host is known and no route: such a
    policy of a host stays with its host when renderers put the others into its routes."""

    @classmethod
    def annotations(cls) -> Mapping[str, Annotation]:
        """For each field that a native annotation sets, that annotation; in the order of the fields."""
        return {
            item.name: cast(Annotation, item.metadata[_METADATA_KEY])
            for item in fields(cls)
            if _METADATA_KEY in item.metadata
        }

    @classmethod
    def build(cls, values: Mapping[str, object]) -> Self:
        """The policy with these values for its fields.

        Raises:
            ValueError: The values contradict each other, or a field without a default is missing.
        """
        for item in fields(cls):
            if item.default is MISSING and item.default_factory is MISSING and item.name not in values:
                raise ValueError(f"needs {item.name!r} too")
        return cls(**cast("dict[str, Any]", values))

    def owned_by(self, subject: ObjectRef) -> Self:
        """This policy as one that *subject* asks for.

        A policy that counts something (a rate limit) overrides it to keep the name of its owner, so that
        objects which ask for the same do not count together.
        """
        del subject
        return self


class PolicySet:
    """The policies of a route, host or backend: one of each type at most, with the origin of each field.

    Immutable. Sets with the same policies and origins are equal.
    """

    __slots__ = ("_hash", "_origins", "_policies")

    def __init__(
        self,
        policies: Iterable[Policy] = (),
        origins: Mapping[type[Policy], Mapping[str, Origin]] | None = None,
    ) -> None:
        """Hold *policies*; *origins* gives for a type and field name where its value was asked for.

        Raises:
            ConfigurationError: Two policies have the same type.
        """
        held: dict[type[Policy], Policy] = {}
        for policy in sorted(policies, key=lambda policy: type(policy).__name__):
            if type(policy) in held:
                raise ConfigurationError(f"two policies of type {type(policy).__name__} in one set")
            held[type(policy)] = policy
        self._policies = held
        self._origins = {kind: dict(fields_) for kind, fields_ in (origins or {}).items() if kind in held}
        self._hash = hash(tuple(held.values()))

    def get(self, kind: type[P]) -> P | None:
        """The policy of that type, or ``None`` without one."""
        return cast("P | None", self._policies.get(kind))

    def origin(self, kind: type[Policy], field_name: str) -> Origin | None:
        """Where the value of a field was asked for; ``None`` when it holds its default."""
        return self._origins.get(kind, {}).get(field_name)

    def origins(self, kind: type[Policy]) -> Mapping[str, Origin]:
        """For each field of that policy which was asked for, where; empty when it is not held."""
        return self._origins.get(kind, {})

    def without(self, *kinds: type[Policy]) -> PolicySet:
        """This set less the policies of those types."""
        if not any(kind in self._policies for kind in kinds):
            return self
        kept = (policy for kind, policy in self._policies.items() if kind not in kinds)
        return PolicySet(kept, self._origins)

    def of_scope(self, scope: PolicyScope) -> PolicySet:
        """The policies that belong to what *scope* names; itself when all do."""
        return self.without(*(kind for kind in self._policies if kind.scope is not scope))

    def of_handshake(self) -> PolicySet:
        """The policies that act in the TLS handshake; itself when all do."""
        return self.without(*(kind for kind in self._policies if not kind.handshake))

    def merged(self, other: PolicySet) -> PolicySet:
        """Both sets; a policy of *other* replaces one of the same type here, whole."""
        if not other:
            return self
        if not self:
            return other
        return PolicySet((self._policies | other._policies).values(), self._origins | other._origins)

    def __iter__(self) -> Iterator[Policy]:
        """The policies, sorted by the name of their type."""
        return iter(self._policies.values())

    def __len__(self) -> int:
        return len(self._policies)

    def __contains__(self, kind: type[Policy]) -> bool:
        return kind in self._policies

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PolicySet):
            return NotImplemented
        return self is other or (self._policies == other._policies and self._origins == other._origins)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"PolicySet({', '.join(map(repr, self))})"
