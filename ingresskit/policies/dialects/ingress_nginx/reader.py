"""What readers of the themes share: values by name, faults, and the policies that are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from ingresskit._quoting import quoted
from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.models import KubeObject, ObjectKey
from ingresskit.policies.base import Origin, Policy, PolicySet
from ingresskit.policies.conditions import Variant
from ingresskit.policies.dialects.base import DialectContext
from ingresskit.policies.dialects.ingress_nginx.globals import Fault, Globals
from ingresskit.policies.dialects.ingress_nginx.table import ALIASES, TABLE, Row

__all__ = ["Annotations"]

V = TypeVar("V")
K = TypeVar("K", bound=KubeObject)

_OLD = {new: old for old, new in ALIASES.items()}


class Annotations:
    """The annotations of one Ingress under the prefix, and what its readers find.

    Args:
        context: The Ingress.
        prefix: What stands before the slash.
        settings: Those of the ConfigMap.
        close: Whether a protection that is not built closes the routes.
        passthrough: Whether TLS connections may be passed on.
    """

    def __init__(
        self,
        context: DialectContext,
        prefix: str,
        settings: Globals,
        *,
        close: bool,
        passthrough: bool = False,
    ) -> None:
        # What the operator's settings name is not what an annotation may name.
        self.context: DialectContext = replace(context, grants=replace(context.grants, objects=frozenset()))
        self._operator = context
        self.settings = settings
        self.passthrough: bool = passthrough
        self.aliases: list[str] = []
        self.regex_paths: bool = False
        self.variant: Variant | None = None
        self.protection_fault: Diagnostic | None = None
        self.host_faults: list[tuple[type[Policy], Diagnostic]] = []
        self.diagnostics: list[Diagnostic] = []
        self.operator_faults: list[Fault] = []
        self._prefix = prefix
        self._close = close
        self._policies: list[Policy] = []
        self._origins: dict[type[Policy], dict[str, Origin]] = {}
        start = prefix + "/"
        self.values: dict[str, str] = {
            key.removeprefix(start): "\n".join(line.strip() for line in text.strip().splitlines())
            for key, text in sorted(context.annotations.items())
            if key.startswith(start)
        }
        for old, new in ALIASES.items():
            if self.values.get(old) and self.values.get(new):
                self.warn(old, Reason.ANNOTATION_IGNORED, f"{prefix}/{new} is its new name and wins")
                del self.values[old]

    def text(self, name: str) -> str:
        """The value of an annotation, or of its old name; each line trimmed; empty where there is none."""
        return self.values.get(name) or self.values.get(_OLD.get(name, name), "")

    def asks(self, row: Row) -> bool:
        """Whether the annotation of *row* asks for something, and the one that it needs does."""
        if row.needs and not self.asks(TABLE[row.needs]):
            return False
        return row.asks(self.text(row.doc.name))

    def key(self, name: str) -> str:
        """*name* or the old one that stands in its place."""
        old = _OLD.get(name, name)
        return name if self.values.get(name) or not self.values.get(old) else old

    def value(self, name: str, parse: Callable[[str], V]) -> V | None:
        """The value of an annotation; ``None`` where there is none, or one that *parse* refuses."""
        text = self.text(name)
        if not text:
            return None
        try:
            return parse(text)
        except ValueError as exc:
            self.warn(name, Reason.ANNOTATION_INVALID, f"{quoted(text)} {exc}; the default holds")
            return None

    def add(self, policy: Policy, **names: str) -> None:
        """Ask for *policy*; *names* gives for its fields the annotations that set them."""
        self._policies.append(policy.owned_by(self.context.subject))
        if names:
            self._origins[type(policy)] = {field: self.origin(self.key(name)) for field, name in names.items()}

    def origin(self, name: str) -> Origin:
        """Where an annotation stands."""
        return Origin(self.context.subject, f"metadata.annotations[{self._prefix}/{name}]")

    def lookup(self, kind: type[K], key: ObjectKey) -> K | None:
        """An object that an annotation names; see `DialectContext.lookup`."""
        return self.context.lookup(kind, key)

    def lookup_operators(self, kind: type[K], key: ObjectKey) -> K | None:
        """An object that the ConfigMap of the operator names, in whatever namespace."""
        return self._operator.lookup(kind, key)

    def warn(self, name: str, reason: Reason, message: str) -> None:
        """Report a fault that costs the annotation only."""
        self.diagnostics.append(self._fault(name, reason, message, Severity.WARNING))

    def warn_operator(self, key: str, message: str) -> None:
        """Report a fault of what a key of the ConfigMap names; it costs what *message* says."""
        self.operator_faults.append(Fault(key, message))

    def close(self, name: str, reason: Reason, message: str) -> None:
        """Report an annotation without which the routes must not be served; *message* says why it is lost."""
        if not self._close:
            message = f"{message}; without it the routes of this object are open to every client"
            self.diagnostics.append(self._fault(name, reason, message, Severity.WARNING))
            return
        self.refuse(name, reason, message)

    def refuse(self, name: str, reason: Reason, message: str) -> None:
        """As `close`, whatever the operator decided on protections that are not built."""
        message = f"{message}; the routes of this object respond 503"
        fault = self._fault(name, reason, message, Severity.ERROR)
        self.diagnostics.append(fault)
        self.protection_fault = self.protection_fault or fault

    def refuse_host(self, kind: type[Policy], name: str, reason: Reason, message: str) -> None:
        """As `refuse`, for a protection of whole hosts: no route of a host that it would decide is served."""
        self.refuse(name, reason, message)
        self.host_faults.append((kind, self.diagnostics[-1]))

    def policies(self) -> PolicySet:
        """Everything that was asked for."""
        return PolicySet(self._policies, self._origins)

    def _fault(self, name: str, reason: Reason, message: str, severity: Severity) -> Diagnostic:
        return Diagnostic(
            subject=self.context.subject,
            field=self.origin(name).field,
            reason=reason,
            message=message,
            severity=severity,
        )
