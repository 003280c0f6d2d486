"""Annotations of other controllers, which are not read here: reported, and closed where they protect.

People bring their Ingresses along from other controllers. What such an annotation asks for is lost;
where that is a protection, its route would be open to every client. `FOREIGN_FAMILIES` is the table of
what is known; whatever no family knows is left alone, since annotations are for every tool.

Three things are told apart, in this order: an annotation under a prefix (or a whole name) of a family;
one under a prefix that is a slip of the native one; and all others, about which nothing is said. A
dialect that reads a prefix takes it out of the table.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TypeVar

from ingresskit._quoting import quoted
from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.models import ObjectRef
from ingresskit.policies.dialects.base import Reading
from ingresskit.policies.dialects.ingress_nginx import INGRESS_NGINX_PREFIX, IngressNginxDialect
from ingresskit.policies.dialects.native import NATIVE_PREFIX, NativeDialect
from ingresskit.policies.protecting import looks_protecting
from ingresskit.policies.registry import PolicyRegistry

__all__ = ["ForeignAnnotations", "ForeignFamily", "ForeignProtections", "Values", "is_slip"]

V = TypeVar("V")


class ForeignProtections(StrEnum):
    """What becomes of routes that an annotation of another controller would protect."""

    CLOSE = "close"
    """They respond 503, and the Diagnostic is an error."""
    WARN = "warn"
    """They are served without the protection, and the Diagnostic is a warning."""


class Values(StrEnum):
    """With which values an annotation asks for nothing. The empty value never asks for anything."""

    EMPTY = "empty"
    """With no value but the empty one."""
    OPAQUE = "opaque"
    """With no value but the empty one; but whether it protects stands elsewhere, or in another language."""
    OFF = "off"
    """With every way to write "no": ``false``, ``off``, ``no``, ``none``, ``0``, ``disabled``."""
    ON = "on"
    """With every way to write "yes": for annotations that are there to open something."""
    ALL_ADDRESSES = "all-addresses"
    """With a list that has every IPv4 address in it."""
    NO_ADDRESSES = "no-addresses"
    """With conditions, none of which is about the client's address."""
    ALWAYS = "always"
    """With every value: the annotation is a detail of another one, or written by its controller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignFamily:
    """The annotations of one controller. Names are those after the prefix and the slash.

    Attributes:
        controller: What it is called.
        prefixes: What stands before the slash.
        whole: Annotations without a prefix of its own, whole: ``"kubernetes.io/ingress.x"``.
        protects: Annotations that keep clients or requests out, with the values that do not. Here and
            in *advice*, one that ends with its first dot stands for every name that begins with it.
        same: Native annotations, without prefix, that do the same or the nearest thing.
        advice: For others, what to do, as a clause; ``{native}`` stands for the native prefix.
        unchanged: Other annotations and values with which nothing is lost: then nothing is said.
        switches: For annotations that another one of the family switches off with a value of `Values.OFF`,
            that other one.
        canary: The switch that makes an Ingress the canary of another one; empty: there is none.

    A name that is in none of these and looks like a protection by its words is taken for one.
    """

    controller: str
    prefixes: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    protects: Mapping[str, Values] = field(default_factory=dict[str, Values])
    same: Mapping[str, str] = field(default_factory=dict[str, str])
    advice: Mapping[str, str] = field(default_factory=dict[str, str])
    unchanged: Mapping[str, Values] = field(default_factory=dict[str, Values])
    switches: Mapping[str, str] = field(default_factory=dict[str, str])
    canary: str = ""

    def protection(self, name: str) -> Values | None:
        """With which values *name* does not protect; ``None`` when it never does."""
        if (known := _of(self.protects, name)) is not None:
            return known
        if name in self.same or name in self.unchanged or _of(self.advice, name) is not None:
            return None
        return Values.OFF if looks_protecting(name) else None


def _of(table: Mapping[str, V], name: str) -> V | None:
    """What *table* has for *name*: itself, or a start of it that ends with a dot."""
    if (found := table.get(name)) is not None:
        return found
    start, dot, _ = name.partition(".")
    return table.get(start + dot) if dot else None


class ForeignAnnotations:
    """Judges the annotations that no dialect of a registry reads. A value: it never changes.

    Args:
        registry: The dialects; their prefixes are left to them.
        families: What is known of other controllers.
        protections: What becomes of routes that would be protected.
    """

    def __init__(
        self,
        registry: PolicyRegistry,
        families: Iterable[ForeignFamily],
        *,
        protections: ForeignProtections = ForeignProtections.CLOSE,
    ) -> None:
        self._protections = protections
        self._read = frozenset(dialect.prefix for dialect in registry.dialects)
        native = next((item for item in registry.dialects if isinstance(item, NativeDialect)), None)
        self._prefix = native.prefix if native is not None else NATIVE_PREFIX
        self._names = {item.name: policy.protects for item, policy in native.annotations()} if native else {}
        known = () if native else NativeDialect().annotations()
        self._unread_native = {item.name: policy.protects for item, policy in known}
        # A dialect with another prefix than its own leaves that one to another controller.
        moved = any(
            isinstance(item, IngressNginxDialect) and item.prefix != INGRESS_NGINX_PREFIX
            for item in registry.dialects
        )
        self._others = frozenset({INGRESS_NGINX_PREFIX} if moved else ())
        self._families: dict[str, ForeignFamily] = {}
        self._whole: dict[str, ForeignFamily] = {}
        for family in families:
            self._families.update((prefix, family) for prefix in family.prefixes if prefix not in self._read)
            self._whole.update((key, family) for key in family.whole)
        self._canaries = tuple(
            f"{prefix}/{family.canary}" for prefix, family in self._families.items() if family.canary
        )

    def judge(self, annotations: Mapping[str, str], subject: ObjectRef) -> Reading:
        """What is lost of the annotations of one object, as `PolicyRegistry.read` says it.

        Args:
            annotations: Those of the object.
            subject: An Ingress, or a Service. Some controllers read annotations of Services too; here
                nothing does, so that native ones are lost there as well.

        Returns:
            No policies; a Diagnostic for each annotation that asks for something, by name; the first
            that protects, where the routes of the object must not be served for it.
        """
        found: list[Diagnostic] = []
        protection_fault: Diagnostic | None = None
        for key in sorted(annotations):
            fault = self._judged(key, annotations, subject)
            if fault is not None:
                found.append(fault)
                if protection_fault is None and fault.severity is Severity.ERROR:
                    protection_fault = fault
        return Reading(diagnostics=tuple(found), protection_fault=protection_fault)

    def is_canary(self, annotations: Mapping[str, str]) -> bool:
        """Whether they mark an Ingress as the canary of another one, for a controller that is not this one."""
        return any(
            key in annotations and annotations[key].strip().lower() in _YES - {""} for key in self._canaries
        )

    def _judged(self, key: str, annotations: Mapping[str, str], subject: ObjectRef) -> Diagnostic | None:
        prefix, slash, name = key.partition("/")
        if (family := self._whole.get(key)) is not None:
            return self._foreign(family, key, key, annotations, subject)
        if slash and prefix in self._read:
            return self._misplaced(key, name, subject) if subject.kind == _SERVICE else None
        if self._unread_native and prefix == NATIVE_PREFIX and name:
            return self._unread(key, name, subject)
        if (family := self._families.get(prefix)) is not None and name:
            return self._foreign(family, key, name, annotations, subject)
        if (meant := self._meant(key, prefix, name)) is not None:
            return self._slipped(key, meant, annotations, subject)
        return None

    def _foreign(
        self, family: ForeignFamily, key: str, name: str, annotations: Mapping[str, str], subject: ObjectRef
    ) -> Diagnostic | None:
        value = annotations[key].strip()
        same = family.same.get(name)
        if same is not None and self._has_native(same, annotations):
            return None  # brought along for the other controller; here the native one counts
        advice, harmless = _of(family.advice, name), family.protection(name)
        protects = harmless is not None and not _asks_nothing(value, harmless)
        if protects and (switch := family.switches.get(name)) is not None:
            beside = annotations.get(f"{key.removesuffix(name)}{switch}")
            protects = beside is None or not _asks_nothing(beside.strip(), Values.OFF)
        if not protects and (_asks_nothing(value, family.unchanged.get(name)) or (harmless and not advice)):
            return None
        message = f"annotation of {family.controller}, not read by this controller"
        protects = protects and key.partition("/")[0] not in self._others
        verb = "may protect" if harmless is Values.OPAQUE else "protects"
        message += self._effect(subject, verb, protects=protects)
        if same is not None:
            message += f"; use {self._prefix}/{same}"
        elif advice is not None:
            message += f"; {advice.format(native=self._prefix)}"
        else:
            message += "; there is no native annotation for it"
        return self._diagnostic(subject, key, Reason.ANNOTATION_FOREIGN, message, protects=protects)

    def _slipped(
        self, key: str, name: str, annotations: Mapping[str, str], subject: ObjectRef
    ) -> Diagnostic | None:
        """An annotation whose prefix is nearly ours."""
        if self._has_native(name, annotations):
            return None
        names = self._names
        protecting = [item for item, protects in names.items() if protects]
        near = name if name in names else next(iter(difflib.get_close_matches(name[:100], names, 1)), name)
        protects = looks_protecting(name[:100]) or bool(
            difflib.get_close_matches(name[:100], protecting, 1, 0.75)
        )
        if protects and _asks_nothing(annotations[key].strip(), Values.ALL_ADDRESSES):
            protects = False
        message = f"unknown annotation {quoted(key)}; did you mean {self._prefix}/{near[:100]}?"
        if protects:
            message += f" It looks like a protection: {self._consequence(subject)}"
        return self._diagnostic(subject, key, Reason.ANNOTATION_UNKNOWN, message, protects=protects)

    def _unread(self, key: str, name: str, subject: ObjectRef) -> Diagnostic:
        """A native annotation where the native dialect is not in use."""
        protects = self._unread_native.get(name, looks_protecting(name))
        message = "the native dialect is not in use, so this annotation has no effect" + self._effect(
            subject, "protects", protects=protects
        )
        return self._diagnostic(subject, key, Reason.ANNOTATION_IGNORED, message, protects=protects)

    def _misplaced(self, key: str, name: str, subject: ObjectRef) -> Diagnostic | None:
        """A native annotation of a Service."""
        protects = self._names.get(name, False)
        if name not in self._names and not (protects := looks_protecting(name)):
            return None
        message = "annotations are read on Ingresses, not on Services" + self._effect(
            subject, "protects", protects=protects
        )
        return self._diagnostic(subject, key, Reason.ANNOTATION_IGNORED, message, protects=protects)

    def _effect(self, subject: ObjectRef, verb: str, *, protects: bool) -> str:
        return f"; it {verb}, so {self._consequence(subject)}" if protects else ""

    def _consequence(self, subject: ObjectRef) -> str:
        routes = "routes to this Service" if subject.kind == _SERVICE else "the routes of this object"
        if self._protections is ForeignProtections.CLOSE:
            return f"{routes} respond 503"
        return f"without it {routes} are open to every client"

    def _diagnostic(
        self, subject: ObjectRef, key: str, reason: Reason, message: str, *, protects: bool
    ) -> Diagnostic:
        closed = protects and self._protections is ForeignProtections.CLOSE
        return Diagnostic(
            subject=subject,
            field=f"metadata.annotations[{key}]",
            reason=reason,
            message=message,
            severity=Severity.ERROR if closed else Severity.WARNING,
        )

    def _has_native(self, name: str, annotations: Mapping[str, str]) -> bool:
        return f"{self._prefix}/{name}" in annotations

    def _meant(self, key: str, prefix: str, name: str) -> str | None:
        """The native name that *key* is a misspelling of; ``None`` when it is another program's."""
        if not self._names:
            return None
        if "/" not in key:
            # Without a prefix, only a name of two words and more is plain: "redirect" is anybody's.
            for joint in ("", f"{self._prefix}.", f"{self._prefix}-", f"{self._prefix}_"):
                rest = key.removeprefix(joint)
                if key.startswith(joint) and rest in self._names and ("-" in rest or joint):
                    return rest
            return None
        return name if name and is_slip(prefix, self._prefix) else None


_SERVICE = "Service"
_NO = frozenset({"", "false", "f", "off", "no", "none", "0", "disabled", "disable"})
_YES = frozenset({"", "true", "t", "on", "yes", "1", "enabled", "enable"})
_TESTS: Mapping[Values, Callable[[str], bool]] = {
    Values.EMPTY: lambda value: not value,
    Values.OPAQUE: lambda value: not value,
    Values.OFF: lambda value: value.lower() in _NO,
    Values.ON: lambda value: value.lower() in _YES,
    Values.ALL_ADDRESSES: lambda value: not value or "0.0.0.0/0" in re.split(r"[\s,]+", value),
    Values.NO_ADDRESSES: lambda value: "source-ip" not in value,
    Values.ALWAYS: lambda _: True,
}


def _asks_nothing(value: str, harmless: Values | None) -> bool:
    return harmless is not None and _TESTS[harmless](value)


@lru_cache(maxsize=4096)
def is_slip(prefix: str, native: str) -> bool:
    """Whether *prefix* is a slip of *native*: ``ingresskit``, ``ingress-kit.dev``, ``ingreskit.dev``.

    A slip is one that is the first label of *native* in another domain or alone, or at most one letter
    (two, of a long prefix) away from it, hyphens and case left out.
    """
    if len(prefix) > 100:
        return False
    written, meant = _plain(prefix), _plain(native)
    stem, label = meant.partition(".")[0], written.removeprefix("www.").partition(".")[0]
    if len(stem) >= _LONG_STEM and _distance(label, stem) <= 1:
        return True
    if native != NATIVE_PREFIX and prefix == NATIVE_PREFIX:
        return True
    return _distance(written, meant) <= (2 if len(meant) >= _LONG_STEM else 1)


# Shorter names are words of other people's domains: one letter makes "acme" of "acne".
_LONG_STEM = 8


def _plain(prefix: str) -> str:
    return prefix.lower().replace("-", "").replace("_", "")


def _distance(one: str, other: str) -> int:
    """How many letters have to be put in, taken out, replaced or swapped with the next; 9 when many."""
    if abs(len(one) - len(other)) > 2:
        return 9
    rows: list[list[int]] = [list(range(len(other) + 1))]
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, wanted in enumerate(other, 1):
            cost = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]
