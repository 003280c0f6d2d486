"""Which Ingresses are ours.

In this order: the scope (namespaces and labels), the legacy annotation, ``spec.ingressClassName``,
the default IngressClass, the switch for Ingresses that name no class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.models import Ingress, IngressClass, ObjectKey, ObjectRef
from ingresskit.translate.options import TranslateOptions, in_scope

__all__ = ["ClassTable", "Verdict"]

LEGACY_CLASS = "kubernetes.io/ingress.class"
_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
_OLDEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether an Ingress is ours.

    Attributes:
        why: Why it is not, as a clause; empty when it is.
        undecided: It names a class that is not there, so nobody knows whose it is. A class that is deleted
            for a moment must not cost a namespace its hosts.
        diagnostics: What is wrong with how it names its class.
    """

    ours: bool
    why: str = ""
    undecided: bool = False
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTable:
    """The IngressClasses of a snapshot, seen with our eyes.

    Attributes:
        ours: Whether each class is ours, by name.
        default: The class of Ingresses that name none, whoever's it is; ``None`` when no class is
            marked as the default.
        diagnostics: What is wrong with classes of ours.
    """

    ours: Mapping[str, bool] = field(default_factory=dict[str, bool])
    default: str | None = None
    diagnostics: tuple[Diagnostic, ...] = ()

    @classmethod
    def of(cls, classes: Mapping[ObjectKey, IngressClass], options: TranslateOptions) -> ClassTable:
        """The table of *classes*.

        Of several default classes the newest counts, then the lower name.
        Source: the DefaultIngressClass admission plugin since Kubernetes 1.25.
        """
        ours = {
            item.metadata.name: item.spec.controller == options.controller_name for item in classes.values()
        }
        defaults = [
            item for item in classes.values() if item.metadata.annotations.get(_DEFAULT_CLASS) == "true"
        ]
        defaults.sort(key=lambda item: item.metadata.name)
        defaults.sort(key=lambda item: item.metadata.creation_timestamp or _OLDEST, reverse=True)
        return cls(
            ours=ours,
            default=defaults[0].metadata.name if defaults else None,
            diagnostics=tuple(
                _parameters_ignored(item)
                for item in classes.values()
                if ours[item.metadata.name] and item.spec.parameters is not None
            ),
        )

    def judge(
        self, ingress: Ingress, namespace_labels: Mapping[str, str], options: TranslateOptions
    ) -> Verdict:
        """Whether *ingress* is ours.

        Source: KEP-1453, "Ingress class": the annotation, where it is still set, goes before the field.
        """
        meta = ingress.metadata
        if outside := in_scope(options.scope, meta.namespace, meta.labels, namespace_labels):
            return Verdict(ours=False, why=outside)
        legacy, named = meta.annotations.get(LEGACY_CLASS), ingress.spec.ingress_class_name
        if legacy is not None:
            return self._judge_legacy(ingress, legacy, named, options)
        if named is not None:
            return self._judge_named(ingress, named)
        if self.default is not None and self.ours[self.default]:
            return Verdict(ours=True)
        if options.watch_ingress_without_class:
            return Verdict(ours=True)
        if self.default is not None:
            return Verdict(
                ours=False, why=f"it names no class and the default class {self.default} is not ours"
            )
        return Verdict(ours=False, why="it names no class")

    def _judge_legacy(
        self, ingress: Ingress, legacy: str, named: str | None, options: TranslateOptions
    ) -> Verdict:
        ours = legacy == options.ingress_class
        conflict: tuple[Diagnostic, ...] = ()
        if named is not None and ours != self.ours.get(named, False):
            conflict = (_class_conflict(ingress, legacy, named, ours=ours),)
        if ours:
            return Verdict(ours=True, diagnostics=conflict)
        why = f"its annotation {LEGACY_CLASS} is {legacy!r}, not {options.ingress_class!r}"
        return Verdict(ours=False, why=why, diagnostics=conflict)

    def _judge_named(self, ingress: Ingress, named: str) -> Verdict:
        if named not in self.ours:
            missing = Diagnostic(
                subject=ingress.ref,
                field="spec.ingressClassName",
                reason=Reason.INGRESS_CLASS_NOT_FOUND,
                message=f"IngressClass {named!r} does not exist, so no controller serves this Ingress",
                related=(ObjectRef(IngressClass.kind, ObjectKey("", named)),),
            )
            why = f"IngressClass {named!r} does not exist"
            return Verdict(ours=False, why=why, undecided=True, diagnostics=(missing,))
        if self.ours[named]:
            return Verdict(ours=True)
        return Verdict(ours=False, why=f"its class {named} belongs to another controller")


def _class_conflict(ingress: Ingress, legacy: str, named: str, *, ours: bool) -> Diagnostic:
    effect = "so the Ingress is ours" if ours else "so the Ingress is not ours"
    return Diagnostic(
        subject=ingress.ref,
        field=f"metadata.annotations[{LEGACY_CLASS}]",
        reason=Reason.INGRESS_CLASS_CONFLICT,
        message=f"it is {legacy!r} and spec.ingressClassName is {named!r}; the annotation decides, {effect}",
        severity=Severity.WARNING,
        related=(ObjectRef(IngressClass.kind, ObjectKey("", named)),),
    )


def _parameters_ignored(item: IngressClass) -> Diagnostic:
    return Diagnostic(
        subject=item.ref,
        field="spec.parameters",
        reason=Reason.INGRESS_CLASS_PARAMETERS_IGNORED,
        message="parameters of a class are not read; the class is served without them",
        severity=Severity.WARNING,
    )
