"""From annotations to policies: a registry is a value, made of dialects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.errors import ConfigurationError
from ingresskit.models import ConfigMap, KubeObject, ObjectKey, ObjectRef
from ingresskit.policies.base import PolicySet
from ingresskit.policies.dialects.base import (
    NOTHING_READ,
    Dialect,
    DialectContext,
    Objects,
    Reading,
    RulePath,
    no_objects,
)

__all__ = ["PolicyRegistry"]


class PolicyRegistry:
    """The dialects that are understood. A value: ``with_dialect`` gives a new registry.

    Raises:
        ConfigurationError: Two dialects have the same prefix.
    """

    def __init__(self, dialects: Iterable[Dialect]) -> None:
        self.dialects: tuple[Dialect, ...] = tuple(dialects)
        prefixes = [dialect.prefix for dialect in self.dialects]
        for prefix in prefixes:
            if prefixes.count(prefix) > 1:
                raise ConfigurationError(f"two dialects have the prefix {prefix!r}")

    def with_dialect(self, dialect: Dialect) -> PolicyRegistry:
        """This registry and one dialect more; where two set the same policy, the later dialect wins."""
        return PolicyRegistry((*self.dialects, dialect))

    @property
    def kinds(self) -> frozenset[type[KubeObject]]:
        """The kinds of the objects that `read` may look up."""
        kinds = frozenset[type[KubeObject]]().union(*(dialect.kinds for dialect in self.dialects))
        named = any(dialect.globals_ref is not None for dialect in self.dialects)
        return kinds | {ConfigMap} if named else kinds

    @property
    def settings(self) -> frozenset[ObjectKey]:
        """The ConfigMaps with the settings of the dialects."""
        return frozenset(dialect.globals_ref for dialect in self.dialects if dialect.globals_ref is not None)

    def read(
        self,
        annotations: Mapping[str, str],
        subject: ObjectRef,
        objects: Objects = no_objects,
        *,
        paths: tuple[RulePath, ...] = (),
    ) -> Reading:
        """What all dialects make of the annotations of one object.

        Args:
            annotations: All of the object.
            subject: The object.
            objects: Finds what annotations name, and the ConfigMaps of `settings`; nothing by default.
            paths: Those of the rules of the object.
        """
        reading = NOTHING_READ
        for dialect in self.dialects:
            reads = dialect.read(_context(dialect, annotations, subject, objects, paths))
            if dialect.globals_ref is not None and objects(ConfigMap, dialect.globals_ref) is None:
                reads = replace(reads, diagnostics=(_no_settings(dialect.globals_ref), *reads.diagnostics))
            if reads == NOTHING_READ:
                continue
            overridden = tuple(_overridden(reading.policies, reads.policies))
            reading = replace(reading, diagnostics=reading.diagnostics + overridden).and_also(reads)
        return reading


def _context(
    dialect: Dialect,
    annotations: Mapping[str, str],
    subject: ObjectRef,
    objects: Objects,
    paths: tuple[RulePath, ...],
) -> DialectContext:
    if dialect.globals_ref is None:
        return DialectContext(subject=subject, annotations=annotations, paths=paths, objects=objects)
    found = objects(ConfigMap, dialect.globals_ref)
    settings: Mapping[str, str] = found.data if found is not None else {}
    return DialectContext(
        subject=subject,
        annotations=annotations,
        paths=paths,
        globals=settings,
        grants=dialect.grants(settings),
        objects=objects,
    )


def _no_settings(key: ObjectKey) -> Diagnostic:
    return Diagnostic(
        subject=ObjectRef(ConfigMap.kind, key),
        field="",
        reason=Reason.CONFIG_MAP_NOT_FOUND,
        message="it holds the settings of a dialect and cannot be found, so every setting has its default",
    )


def _overridden(before: PolicySet, after: PolicySet) -> Iterable[Diagnostic]:
    """Annotations of *before* that set what one of *after* sets otherwise."""
    for policy in after:
        held, winners = before.get(type(policy)), after.origins(type(policy))
        for name, origin in before.origins(type(policy)).items():
            if name in type(policy).adds_up:
                continue
            if name in winners and getattr(held, name) != getattr(policy, name):
                yield Diagnostic(
                    subject=origin.subject,
                    field=origin.field,
                    reason=Reason.ANNOTATION_IGNORED,
                    message=f"{winners[name].field} sets the same policy and wins",
                    severity=Severity.WARNING,
                )
