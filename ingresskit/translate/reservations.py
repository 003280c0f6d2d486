"""Which hosts an administrator lets a namespace claim, and which are reserved for it.

The annotation ``ingresskit.dev/hosts`` of a Namespace lists names and wildcards. It does two things: the
namespace may claim these hosts only, and no namespace without them in its own list may claim them. It
comes before every record and every age. A wildcard lists itself and the names one label below it, except
for names that another namespace lists exactly.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from ingresskit._quoting import quoted
from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import ANY_HOST, HostRefused, rule_host, wildcard_above
from ingresskit.models import Namespace, ObjectKey
from ingresskit.policies import NATIVE_PREFIX
from ingresskit.policies.foreign import is_slip

__all__ = ["HOSTS_ANNOTATION", "ReservationTable", "Reservations"]

HOSTS_ANNOTATION = "ingresskit.dev/hosts"

_SEPARATORS = re.compile(r"[\s,]+")
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservations:
    """The lists of all Namespaces that have one.

    Attributes:
        required: Whether a namespace without a list may claim nothing.
        guards_wide: Whether a namespace without a list may claim neither the catch-all nor a wildcard of
            a top-level domain.
        listed: By namespace, the rule hosts in its list; absent without the annotation.
        namespaces: By rule host, the namespaces whose lists have it, sorted.
        diagnostics: One for each entry that is not a host, and for each annotation that is nearly the one
            that is read. Such an entry or annotation lists nothing.
    """

    required: bool = False
    guards_wide: bool = False
    listed: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    namespaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    diagnostics: tuple[Diagnostic, ...] = ()

    @classmethod
    def of(
        cls, namespaces: Mapping[ObjectKey, Namespace], *, required: bool = False, guards_wide: bool = False
    ) -> Reservations:
        """The reservations of these Namespaces."""
        listed: dict[str, frozenset[str]] = {}
        holders: dict[str, list[str]] = {}
        diagnostics: list[Diagnostic] = []
        for _, item in sorted(namespaces.items()):
            diagnostics += _slips(item)
            text = item.metadata.annotations.get(HOSTS_ANNOTATION)
            if text is None:
                continue
            hosts = frozenset(_entries(item, text, diagnostics))
            listed[item.metadata.name] = hosts
            for host in hosts:
                holders.setdefault(host, []).append(item.metadata.name)
        return cls(
            required=required,
            guards_wide=guards_wide,
            listed=listed,
            namespaces={host: tuple(names) for host, names in holders.items()},
            diagnostics=tuple(diagnostics),
        )

    def why_not(self, namespace: str, host: str) -> str:
        """Why *namespace* may not claim the rule host *host*, as a clause; empty when it may."""
        own = self.listed.get(namespace)
        above = wildcard_above(host)
        exactly = self.namespaces.get(host, ())
        if own is not None:
            if host in own or (above in own and not exactly):
                return ""
            if above in own:
                return _reserved_for(exactly)
            return f"the annotation {HOSTS_ANNOTATION} of its Namespace does not list it"
        if self.required:
            return f"its Namespace has no annotation {HOSTS_ANNOTATION}, which this controller requires"
        if holders := exactly or self.namespaces.get(above, ()):
            return _reserved_for(holders)
        if self.guards_wide and _is_wide(host):
            return f"so wide a host needs the annotation {HOSTS_ANNOTATION} on its Namespace"
        return ""

    def reserves(self, namespace: str, host: str) -> bool:
        """Whether the list of *namespace* has *host*, or the wildcard above it."""
        own = self.listed.get(namespace)
        return own is not None and (host in own or wildcard_above(host) in own)


def _slips(item: Namespace) -> Iterator[Diagnostic]:
    """One for each annotation that is nearly the one that is read: a list that reserves nothing."""
    for key in sorted(item.metadata.annotations):
        if not _is_slip(key):
            continue
        shown = quoted(key)
        yield Diagnostic(
            subject=item.ref,
            field=f"metadata.annotations[{key}]",
            reason=Reason.ANNOTATION_UNKNOWN,
            message=f"unknown annotation {shown} of a Namespace; did you mean {HOSTS_ANNOTATION}?",
            severity=Severity.WARNING,
        )


def _is_slip(key: str) -> bool:
    """Whether an annotation is nearly the one that is read."""
    prefix, slash, _ = key.partition("/")
    meant = bool(slash) and (prefix == NATIVE_PREFIX or is_slip(prefix, NATIVE_PREFIX))
    return meant and key != HOSTS_ANNOTATION


class ReservationTable:
    """The reservations of one snapshot after another: the same object for as long as they do not change."""

    def __init__(self, *, required: bool, guards_wide: bool) -> None:
        self._required = required
        self._guards_wide = guards_wide
        self._read: dict[ObjectKey, dict[str, str]] = {}
        self._reservations: Reservations | None = None

    def advance(
        self, namespaces: Mapping[ObjectKey, Namespace], changed: Collection[ObjectKey]
    ) -> Reservations:
        """The reservations of these Namespaces, of which *changed* are others than before."""
        stale = False
        for key in changed:
            item = namespaces.get(key)
            read = {} if item is None else _read_of(item)
            if read != self._read.pop(key, {}):
                stale = True
            if read:
                self._read[key] = read
        if stale or self._reservations is None:
            read_from = {key: namespaces[key] for key in self._read}
            self._reservations = Reservations.of(
                read_from, required=self._required, guards_wide=self._guards_wide
            )
        return self._reservations


def _read_of(item: Namespace) -> dict[str, str]:
    """The annotations of a Namespace that reserve hosts, or were meant to."""
    annotations = item.metadata.annotations
    return {key: text for key, text in annotations.items() if key == HOSTS_ANNOTATION or _is_slip(key)}


def _reserved_for(namespaces: tuple[str, ...]) -> str:
    named = ", ".join(namespaces[:_MOST_NAMED]) + (" and others" if len(namespaces) > _MOST_NAMED else "")
    return f"it is reserved for namespace {named} by the annotation {HOSTS_ANNOTATION}"


def _is_wide(host: str) -> bool:
    return host == ANY_HOST or (host.startswith("*.") and "." not in host[2:])


def _entries(item: Namespace, text: str, diagnostics: list[Diagnostic]) -> Iterator[str]:
    for entry in filter(None, _SEPARATORS.split(text)):
        if entry == ANY_HOST:
            yield ANY_HOST
            continue
        try:
            yield rule_host(entry)
        except HostRefused as exc:
            shown = quoted(entry)
            diagnostics.append(
                Diagnostic(
                    subject=item.ref,
                    field=f"metadata.annotations[{HOSTS_ANNOTATION}]",
                    reason=Reason.ANNOTATION_INVALID,
                    message=f"the host {shown} {exc}; it reserves nothing for this namespace",
                )
            )
