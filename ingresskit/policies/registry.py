"""From annotations to policies: a registry is a value, made of dialects."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.errors import ConfigurationError
from ingresskit.models import ObjectRef
from ingresskit.policies.base import Annotation, Origin, Policy, PolicySet
from ingresskit.policies.kinds import BUILTIN_POLICIES
from ingresskit.policies.synonyms import COINED_BY_INGRESS_NGINX

__all__ = [
    "NATIVE_PREFIX",
    "Dialect",
    "NativeDialect",
    "ParsedPolicies",
    "PolicyRegistry",
    "looks_protecting",
]

NATIVE_PREFIX = "ingresskit.dev"

# Whoever writes one of these wants somebody kept out, also by an annotation that does not exist.
_PROTECTING_WORDS = frozenset(
    {
        *("access", "acl", "allow", "allowed", "allowlist", "auth", "authentication", "authorization"),
        *("blacklist", "block", "blocked", "blocklist", "deny", "denied", "denylist", "whitelist"),
        *("appid", "authz", "basicauth", "firewall", "iap", "jwt", "ldap", "modsecurity", "mtls", "oauth"),
        *("oauth2", "oidc", "restrict", "saml", "snippet", "snippets", "waf", "wafv2"),
    }
)
_WORD_ENDS = re.compile(r"[-_.]")
_MOST_GUESSES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedPolicies:
    """What the annotations of one object mean.

    Attributes:
        policies: Those that could be read.
        diagnostics: Unknown and invalid annotations, in the order of their names.
        protection_fault: The first fault of an annotation that belongs to a protecting policy; when set, the
            routes of the object must not be served.
    """

    policies: PolicySet = PolicySet()
    diagnostics: tuple[Diagnostic, ...] = ()
    protection_fault: Diagnostic | None = None

    def and_also(self, other: ParsedPolicies) -> ParsedPolicies:
        """These, and what another reader made of annotations of the same object that are not in these."""
        if not other.diagnostics and not other.policies:
            return self
        return ParsedPolicies(
            policies=self.policies.merged(other.policies),
            diagnostics=(*self.diagnostics, *other.diagnostics),
            protection_fault=self.protection_fault or other.protection_fault,
        )


class Dialect(Protocol):
    """A family of annotations under one prefix, read into policies."""

    @property
    def prefix(self) -> str:
        """What stands before the ``/`` in its annotations."""
        ...

    def parse(self, annotations: Mapping[str, str], subject: ObjectRef) -> ParsedPolicies:
        """Read those annotations that are of this dialect. Never raises for what users write."""
        ...


class NativeDialect:
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

    def table(self) -> tuple[tuple[Annotation, type[Policy]], ...]:
        """Every annotation and the policy it belongs to, sorted by name."""
        return tuple((annotation, policy) for _, (policy, _, annotation) in sorted(self._fields.items()))

    def parse(self, annotations: Mapping[str, str], subject: ObjectRef) -> ParsedPolicies:
        """Read the annotations under the prefix; each that is unknown or invalid costs only itself."""
        start = self.prefix + "/"
        ours = sorted(key for key in annotations if key.startswith(start))
        if not ours:
            return _NOTHING
        values: dict[type[Policy], dict[str, object]] = {}
        origins: dict[type[Policy], dict[str, Origin]] = {}
        diagnostics: list[Diagnostic] = []
        protection_fault: Diagnostic | None = None
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
                value = annotation.parse(annotations[key])
            except ValueError as exc:
                written = "" if annotation.secret else annotations[key]
                fault = _invalid(subject, place, written, str(exc), protects=policy.protects)
                diagnostics.append(fault)
                protection_fault = protection_fault or (fault if policy.protects else None)
                continue
            values.setdefault(policy, {})[field_name] = value
            origins.setdefault(policy, {})[field_name] = Origin(subject, place)
        built: list[Policy] = []
        for policy, found in values.items():
            try:
                built.append(policy.build(found))
            except ValueError as exc:
                place = next(iter(origins[policy].values())).field
                fault = _invalid(subject, place, "", str(exc), protects=policy.protects)
                diagnostics.append(fault)
                protection_fault = protection_fault or (fault if policy.protects else None)
        return ParsedPolicies(
            policies=PolicySet(built, origins),
            diagnostics=tuple(diagnostics),
            protection_fault=protection_fault,
        )

    def _unknown(self, key: str, subject: ObjectRef, place: str, *, guess: bool) -> Diagnostic:
        """A warning; an error when it looks like the slip of someone who asked for protection."""
        # Cut: comparing takes time by the square of the length. A valid name has 63 characters at most.
        name = key.removeprefix(self.prefix + "/")[:100].lower().replace("_", "-")
        close = difflib.get_close_matches(name, self._fields, n=1) if guess else []
        if (meant := COINED_BY_INGRESS_NGINX.get(name)) in self._fields:
            close = [meant]
        message = f"unknown annotation {_shown(key)}"
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

    def parse(self, annotations: Mapping[str, str], subject: ObjectRef) -> ParsedPolicies:
        """What all dialects make of the annotations of one object."""
        if not annotations:
            return _NOTHING
        policies = PolicySet()
        diagnostics: list[Diagnostic] = []
        protection_fault: Diagnostic | None = None
        for dialect in self.dialects:
            parsed = dialect.parse(annotations, subject)
            for policy in parsed.policies:
                if type(policy) in policies and policies.get(type(policy)) != policy:
                    diagnostics.extend(_overridden(policies, parsed.policies, type(policy)))
            policies = policies.merged(parsed.policies)
            diagnostics += parsed.diagnostics
            protection_fault = protection_fault or parsed.protection_fault
        return ParsedPolicies(
            policies=policies, diagnostics=tuple(diagnostics), protection_fault=protection_fault
        )


def looks_protecting(name: str) -> bool:
    """Whether the words of an annotation's name, without prefix, are those of a protection.

    Those of CORS are not: it opens what browsers keep closed.
    """
    words = _WORD_ENDS.split(name.lower())
    return "cors" not in words and not _PROTECTING_WORDS.isdisjoint(words)


def _invalid(subject: ObjectRef, place: str, value: str, rule: str, *, protects: bool) -> Diagnostic:
    said = f"{_shown(value)} {rule}" if value else rule
    return Diagnostic(
        subject=subject,
        field=place,
        reason=Reason.ANNOTATION_INVALID,
        message=f"{said}; the routes of this object respond 503" if protects else f"{said}; it is ignored",
        severity=Severity.ERROR if protects else Severity.WARNING,
    )


def _overridden(before: PolicySet, after: PolicySet, policy: type[Policy]) -> Iterable[Diagnostic]:
    winner = next(iter(after.origins(policy).values()), None)
    for origin in before.origins(policy).values():
        yield Diagnostic(
            subject=origin.subject,
            field=origin.field,
            reason=Reason.ANNOTATION_IGNORED,
            message=f"{winner.field if winner else 'another dialect'} sets the same policy and wins",
            severity=Severity.WARNING,
        )


def _shown(text: str) -> str:
    """A user's text as part of a message: quoted, escaped, at most 80 characters of it."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")


_NOTHING = ParsedPolicies()
