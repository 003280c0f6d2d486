"""The interface of dialects: what one is given of an object, and what it makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from ingresskit.diagnostics import Diagnostic
from ingresskit.models import KubeObject, ObjectKey, ObjectRef
from ingresskit.policies.base import Policy, PolicyScope, PolicySet, Risk
from ingresskit.policies.conditions import Variant
from ingresskit.policies.order import Order

__all__ = [
    "NOTHING_READ",
    "NO_GRANTS",
    "AnnotationDoc",
    "Dialect",
    "DialectContext",
    "Grants",
    "Objects",
    "Reading",
    "RulePath",
    "Status",
    "no_objects",
]

K = TypeVar("K", bound=KubeObject)


class Objects(Protocol):
    """Looks up an object of the cluster by kind and key; ``None`` where there is none."""

    def __call__(self, kind: type[K], key: ObjectKey, /) -> K | None:
        """The object of *kind* with that key."""
        ...


def no_objects(kind: type[K], key: ObjectKey, /) -> K | None:
    """The `Objects` of an empty cluster."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """What a dialect may look up outside the namespace of the object that it reads.

    Only the operator's settings of a dialect make grants, never an annotation: what a tenant writes must
    not make the controller read what another tenant owns.

    Attributes:
        other_namespaces: Objects of every namespace may be looked up.
        objects: These may be, because the operator's own settings name them.
    """

    other_namespaces: bool = False
    objects: frozenset[ObjectRef] = frozenset()


NO_GRANTS: Final = Grants()
"""Nothing outside the subject's own namespace."""


class RulePath(NamedTuple):
    """A path of a rule, as written: nothing says that it can be served.

    Attributes:
        kind: Its path type; empty without one.
        text: The path; empty without one.
    """

    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DialectContext:
    """All that a dialect may know when it reads an object.

    Attributes:
        subject: The object.
        annotations: All of its annotations, those of other dialects included.
        paths: Those of its rules, in the order written.
        globals: The data of the dialect's ConfigMap, `Dialect.globals_ref`; empty without one.
        grants: What may be looked up beside the subject's own namespace.
        objects: The cluster. Use `lookup`, which keeps to *grants*.
    """

    subject: ObjectRef
    annotations: Mapping[str, str]
    paths: tuple[RulePath, ...] = ()
    globals: Mapping[str, str] = field(default_factory=dict[str, str])
    grants: Grants = NO_GRANTS
    objects: Objects = field(default=no_objects, repr=False, compare=False)

    def may_look_up(self, kind: type[KubeObject], key: ObjectKey) -> bool:
        """Whether `lookup` finds that object, if it is there."""
        return (
            key.namespace == self.subject.key.namespace
            or self.grants.other_namespaces
            or ObjectRef(kind.kind, key) in self.grants.objects
        )

    def lookup(self, kind: type[K], key: ObjectKey) -> K | None:
        """An object that an annotation names.

        Whatever was looked up is remembered, whether it was there or not: when it changes, comes or goes,
        the subject is read again.

        Args:
            kind: One of `Dialect.kinds`: of other kinds a source may deliver nothing.
            key: Where it is.

        Returns:
            The object; ``None`` when there is none, or where `may_look_up` says no.
        """
        return self.objects(kind, key) if self.may_look_up(kind, key) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the annotations of one object mean.

    Attributes:
        policies: Of every scope: see `Policy.scope`.
        aliases: Further hosts that its rules hold for, in the order written.
        regex_paths: All paths of its hosts, also those of other objects, are regular expressions.
        slash_redirects: Requests for a path that ends with ``/``, written without that slash, are sent there.
        variant: Which part of the requests of another object's paths it takes; ``None``: its paths are its own.
        order: In which order its policies act on a request; ``None``: in the native one.
        protection_fault: The first fault of an annotation that protects; when set, the routes of the object
            must not be served.
        host_faults: Protections of whole hosts that the object asks for and that cannot be built, each with a
            fault: where it would decide them for a host, no route there must be served, whosever it is.
        diagnostics: What is wrong with its annotations.
    """

    policies: PolicySet = PolicySet()
    aliases: tuple[str, ...] = ()
    regex_paths: bool = False
    slash_redirects: bool = False
    variant: Variant | None = None
    order: Order | None = None
    protection_fault: Diagnostic | None = None
    host_faults: tuple[tuple[type[Policy], Diagnostic], ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()

    def and_also(self, other: Reading) -> Reading:
        """Both; where they exclude each other, *other* counts.

        Policies of one type are joined field by field: a field that *other* was asked for counts, then one
        that this was asked for, then what *other* holds by default. Fields that add up (`Policy.adds_up`) have
        the values of both.
        """
        if other == NOTHING_READ:
            return self
        if self == NOTHING_READ:
            return other
        return Reading(
            policies=_joined(self.policies, other.policies),
            aliases=tuple(dict.fromkeys((*self.aliases, *other.aliases))),
            regex_paths=self.regex_paths or other.regex_paths,
            slash_redirects=self.slash_redirects or other.slash_redirects,
            variant=other.variant or self.variant,
            order=other.order or self.order,
            protection_fault=self.protection_fault or other.protection_fault,
            host_faults=(*self.host_faults, *other.host_faults),
            diagnostics=(*self.diagnostics, *other.diagnostics),
        )


def _joined(before: PolicySet, after: PolicySet) -> PolicySet:
    shared = [policy for policy in after if type(policy) in before]
    if not shared:
        return before.merged(after)
    joined = {type(policy): _joined_policy(before, after, policy) for policy in shared}
    kinds = {type(policy) for policy in (*before, *after)}
    origins = {kind: {**before.origins(kind), **after.origins(kind)} for kind in kinds}
    rest = before.merged(after).without(*joined)
    return PolicySet((*rest, *joined.values()), origins)


def _joined_policy(before: PolicySet, after: PolicySet, policy: Policy) -> Policy:
    held = before.get(type(policy))
    asked = after.origins(type(policy))
    if held is None or not asked:
        return policy if held is None else held
    values: dict[str, Any] = {name: getattr(policy, name) for name in asked}
    for name in type(policy).adds_up:
        values[name] = tuple(dict.fromkeys((*getattr(held, name), *getattr(policy, name))))
    return replace(held, **values)


NOTHING_READ: Final = Reading()
"""What an object without annotations means to most dialects."""


class Status(StrEnum):
    """What becomes of an annotation. Values are stable."""

    HONOURED = "honoured"
    """It does what its own documentation says."""
    PARTLY = "partly"
    """Some of its values do; a Diagnostic reports the others."""
    REPORTED = "reported"
    """It has no effect, and a Diagnostic says so."""
    CLOSED = "closed"
    """It asks for a protection that is not built: the routes respond 503, and a Diagnostic says so."""
    WITHOUT_EFFECT = "without effect"
    """It has no effect, and nothing is lost: what it asks for holds anyway, or has no meaning here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationDoc:
    """One annotation as documented: by a row of a table, and by what moves Ingresses to another dialect.

    Attributes:
        name: After the prefix and the slash.
        value: The form of its values in a few words.
        default: What holds without it, as a value; empty: nothing.
        scope: What it acts on.
        risk: What it lets its author do.
        status: What becomes of it.
        summary: What it does, in one sentence.
        note: For `Status.PARTLY` which values; for others that are not honoured, why or what to use instead.
        policies: The policies that it sets a field of.
        global_key: The key of the dialect's ConfigMap that sets it for every object; empty: there is none.
    """

    name: str
    value: str
    default: str = ""
    scope: PolicyScope = PolicyScope.ROUTE
    risk: Risk = Risk.LOW
    status: Status = Status.HONOURED
    summary: str
    note: str = ""
    policies: tuple[type[Policy], ...] = ()
    global_key: str = ""


class Dialect(Protocol):
    """A family of annotations under one prefix, read into policies.

    Subclass it for the defaults: then only *prefix* and `read` are needed.

    Attributes:
        prefix: What stands before the ``/`` in its annotations.
        globals_ref: The ConfigMap with its settings for all objects, named by the operator; ``None``: it
            has none.
        kinds: The kinds that it looks up. Sources deliver of them what it asks for, and nothing else.
    """

    prefix: str
    globals_ref: ObjectKey | None = None
    kinds: frozenset[type[KubeObject]] = frozenset()

    def grants(self, settings: Mapping[str, str], /) -> Grants:
        """What it may look up outside the namespace of the object, by the data of its ConfigMap."""
        return NO_GRANTS

    def read(self, context: DialectContext, /) -> Reading:
        """The meaning of those annotations that are of this dialect.

        A function of *context* alone. Never raises for what users write; where it does raise, the routes of
        the object respond 503.
        """
        ...

    def table(self) -> Sequence[AnnotationDoc]:
        """Every annotation that it knows, sorted by name."""
        return ()
