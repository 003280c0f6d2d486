"""ingresskit's own annotations: one for each annotated field of each policy."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable
from dataclasses import fields
from datetime import timedelta
from typing import cast

from ingresskit._quoting import quoted
from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.errors import ConfigurationError
from ingresskit.models import KubeObject, ObjectKey, ObjectRef
from ingresskit.policies.base import Annotation, Origin, Policy, PolicyScope, PolicySet
from ingresskit.policies.dialects.base import (
    NOTHING_READ,
    AnnotationDoc,
    Dialect,
    DialectContext,
    Reading,
)
from ingresskit.policies.kinds import BUILTIN_POLICIES
from ingresskit.policies.kinds.canary import Canary
from ingresskit.policies.protecting import looks_protecting
from ingresskit.policies.synonyms import COINED_BY_INGRESS_NGINX

__all__ = ["NATIVE_PREFIX", "NativeDialect"]

NATIVE_PREFIX = "ingresskit.dev"
"""What stands before the ``/`` in the annotations of ingresskit itself."""

_MOST_GUESSES = 100


class NativeDialect(Dialect):
    """ingresskit's own annotations: one for each annotated field of each policy.

    Raises:
        ConfigurationError: Two policies ask for the same annotation, or two have the same name.
    """

    def __init__(
        self, policies: Iterable[type[Policy]] = BUILTIN_POLICIES, *, prefix: str = NATIVE_PREFIX
    ) -> None:
        self.prefix: str = prefix
        self.policies: tuple[type[Policy], ...] = tuple(sorted(policies, key=lambda policy: policy.__name__))
        self._fields: dict[str, tuple[type[Policy], str, Annotation]] = {}
        for policy, after in itertools.pairwise(self.policies):
            if policy.__name__ == after.__name__:
                raise ConfigurationError(f"two policies are called {policy.__name__}")
        for policy in self.policies:
            for field_name, annotation in policy.annotations().items():
                if annotation.name in self._fields:
                    other = self._fields[annotation.name][0]
                    raise ConfigurationError(
                        f"{policy.__name__} and {other.__name__} both read the annotation {annotation.name!r}"
                    )
                self._fields[annotation.name] = (policy, field_name, annotation)
        named = (annotation.kind for _, _, annotation in self._fields.values())
        self.kinds: frozenset[type[KubeObject]] = frozenset(kind for kind in named if kind is not None)

    def annotations(self) -> tuple[tuple[Annotation, type[Policy]], ...]:
        """Every annotation and the policy it belongs to, sorted by name."""
        return tuple((annotation, policy) for _, (policy, _, annotation) in sorted(self._fields.items()))

    def table(self) -> tuple[AnnotationDoc, ...]:
        """Every annotation, sorted by name."""
        return tuple(
            AnnotationDoc(
                name=name,
                value=annotation.grammar,
                default=_default(policy, field_name),
                scope=policy.scope,
                risk=annotation.risk,
                summary=annotation.summary,
                policies=(policy,),
            )
            for name, (policy, field_name, annotation) in sorted(self._fields.items())
        )

    def read(self, context: DialectContext) -> Reading:
        """The policies that annotations under the prefix ask for; a fault costs its annotation only."""
        annotations, subject, start = context.annotations, context.subject, self.prefix + "/"
        ours = sorted(key for key in annotations if key.startswith(start))
        if not ours:
            return NOTHING_READ
        values: dict[type[Policy], dict[str, object]] = {}
        origins: dict[type[Policy], dict[str, Origin]] = {}
        diagnostics: list[Diagnostic] = []
        protection_fault: Diagnostic | None = None
        host_faults: dict[type[Policy], Diagnostic] = {}
        for key in ours:
            place = f"metadata.annotations[{key}]"
            known = self._fields.get(key.removeprefix(start))
            if known is None:
                fault = self._unknown(key, subject, place, guess=len(diagnostics) < _MOST_GUESSES)
                diagnostics.append(fault)
                protection_fault = protection_fault or (fault if fault.severity is Severity.ERROR else None)
                continue
            policy, field_name, annotation = known
            try:
                value = _value(annotation, annotations[key], context)
            except ValueError as exc:
                hidden = annotation.secret and annotation.kind is None
                written = "" if hidden else annotations[key]
                fault = _invalid(subject, place, written, str(exc), protects=policy.protects)
                diagnostics.append(fault)
                if policy.protects:
                    protection_fault = protection_fault or fault
                    host_faults.setdefault(policy, fault)
                continue
            values.setdefault(policy, {})[field_name] = value
            origins.setdefault(policy, {})[field_name] = Origin(subject, place)
        built: list[Policy] = []
        for policy, found in values.items():
            try:
                built.append(policy.build(found).owned_by(subject))
            except ValueError as exc:
                place = next(iter(origins[policy].values())).field
                fault = _invalid(subject, place, "", str(exc), protects=policy.protects)
                diagnostics.append(fault)
                if policy.protects:
                    protection_fault = protection_fault or fault
                    host_faults.setdefault(policy, fault)
        of_hosts = ((kind, fault) for kind, fault in host_faults.items() if kind.scope is PolicyScope.HOST)
        # Which requests an Ingress takes is no policy of them.
        variants = [policy.variant for policy in built if isinstance(policy, Canary)]
        return Reading(
            policies=PolicySet((policy for policy in built if not isinstance(policy, Canary)), origins),
            variant=next(iter(variants), None),
            diagnostics=tuple(diagnostics),
            protection_fault=protection_fault,
            host_faults=tuple(of_hosts),
        )

    def _unknown(self, key: str, subject: ObjectRef, place: str, *, guess: bool) -> Diagnostic:
        """A warning; an error when it looks like the slip of someone who asked for protection."""
        # Cut: comparing takes time by the square of the length. A valid name has 63 characters at most.
        name = key.removeprefix(self.prefix + "/")[:100].lower().replace("_", "-")
        close = difflib.get_close_matches(name, self._fields, n=1) if guess else []
        if (meant := COINED_BY_INGRESS_NGINX.get(name)) in self._fields:
            close = [meant]
        message = f"unknown annotation {quoted(key)}"
        if close:
            message += f"; did you mean {self.prefix}/{close[0]}?"
        protecting = [field for field, (policy, _, _) in self._fields.items() if policy.protects]
        protection = looks_protecting(name) or bool(difflib.get_close_matches(name, protecting, 1, 0.75))
        if protection:
            message += "; it looks like a protection, so the routes of this object respond 503"
        return Diagnostic(
            subject=subject,
            field=place,
            reason=Reason.ANNOTATION_UNKNOWN,
            message=message,
            severity=Severity.ERROR if protection else Severity.WARNING,
        )


def _value(annotation: Annotation, text: str, context: DialectContext) -> object:
    """What *text* sets the field to.

    Raises:
        ValueError: It is not of the grammar, or names an object that is not there or does not hold it.
    """
    value = annotation.parse(text)
    if annotation.kind is None or annotation.load is None:
        return value
    key = ObjectKey(context.subject.key.namespace, cast(str, value))
    found = context.lookup(annotation.kind, key)
    if found is None:
        rule = f"must name a {annotation.kind.kind} of this namespace that is there and can be read"
        raise ValueError(annotation.missing or rule)
    return annotation.load(found)


def _invalid(subject: ObjectRef, place: str, value: str, rule: str, *, protects: bool) -> Diagnostic:
    said = f"{quoted(value)} {rule}" if value else rule
    return Diagnostic(
        subject=subject,
        field=place,
        reason=Reason.ANNOTATION_INVALID,
        message=f"{said}; the routes of this object respond 503" if protects else f"{said}; it is ignored",
        severity=Severity.ERROR if protects else Severity.WARNING,
    )


def _default(policy: type[Policy], field_name: str) -> str:
    match next(item.default for item in fields(policy) if item.name == field_name):
        case None | ():
            return ""
        case bool() as value:
            return str(value).lower()
        case (str(), *_) as value:
            return ", ".join(map(str, value))
        case timedelta() as value:
            return f"{value.total_seconds():g}s"
        case value:
            return str(value)
