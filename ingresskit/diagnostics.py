"""What a cluster user wrote that cannot be served as written: a value, never an exception."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ingresskit.models import ObjectKey, ObjectRef

__all__ = ["Diagnostic", "Reason", "Severity", "bounded", "printable", "sorted_diagnostics"]

# An Event's message may have 1,024 characters; something of the program's own may stand before it.
_MAX_MESSAGE = 900
_MAX_FIELD = 300
# Of one subject with one reason: more than anybody mends at a time, and few enough for every reader.
_MOST_ALIKE = 100


class Severity(StrEnum):
    """How much of what was asked for is lost."""

    WARNING = "warning"
    """Everything is served, but not quite as the object says or as its author may think."""
    ERROR = "error"
    """A part of the object is not served."""


class Reason(StrEnum):
    """Why, as a stable word: the reason of the Event, the label of the metric, the heading in the docs.

    Reasons are never renamed; a reason that is no longer given keeps its heading.
    """

    # Objects
    OBJECT_INVALID = "ObjectInvalid"
    # The API server; the words are those of `ingresskit.errors.ProblemCause`
    RIGHT_MISSING = "RightMissing"
    KIND_NOT_SERVED = "KindNotServed"
    CREDENTIALS_REFUSED = "CredentialsRefused"
    WRITE_REFUSED = "WriteRefused"
    # Which Ingresses are ours
    INGRESS_CLASS_NOT_FOUND = "IngressClassNotFound"
    INGRESS_CLASS_CONFLICT = "IngressClassConflict"
    INGRESS_CLASS_PARAMETERS_IGNORED = "IngressClassParametersIgnored"
    # Rules
    EMPTY_INGRESS = "EmptyIngress"
    BUDGET_EXCEEDED = "BudgetExceeded"
    INVALID_HOST = "InvalidHost"
    INVALID_PATH = "InvalidPath"
    INVALID_PATH_TYPE = "InvalidPathType"
    PATH_LOOKS_LIKE_REGEX = "PathLooksLikeRegex"
    PATH_SERVED_OTHERWISE = "PathServedOtherwise"
    PATH_TAKEN_LITERALLY = "PathTakenLiterally"
    RULE_WITHOUT_HOST = "RuleWithoutHost"
    RULE_WITHOUT_PATHS = "RuleWithoutPaths"
    # Conflicts
    HOST_CONFLICT = "HostConflict"
    HOST_NOT_ALLOWED = "HostNotAllowed"
    HOST_OVERLAP = "HostOverlap"
    ROUTE_CONFLICT = "RouteConflict"
    DEFAULT_BACKEND_UNUSED = "DefaultBackendUnused"
    # Backends
    INVALID_BACKEND = "InvalidBackend"
    RESOURCE_BACKEND = "ResourceBackend"
    SERVICE_NOT_FOUND = "ServiceNotFound"
    SERVICE_PORT_NOT_FOUND = "ServicePortNotFound"
    NO_ENDPOINTS = "NoEndpoints"
    PLAIN_HTTP_TO_TLS_PORT = "PlainHttpToTlsPort"
    EXTERNAL_NAME_REFUSED = "ExternalNameRefused"
    ADDRESS_REFUSED = "AddressRefused"
    # TLS
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, not a secret
    CERTIFICATE_INVALID = "CertificateInvalid"
    CERTIFICATE_HOST_MISMATCH = "CertificateHostMismatch"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    CERTIFICATE_CONFLICT = "CertificateConflict"
    TLS_HOST_WITHOUT_RULE = "TlsHostWithoutRule"
    # Annotations
    ANNOTATION_UNKNOWN = "AnnotationUnknown"
    ANNOTATION_INVALID = "AnnotationInvalid"
    ANNOTATION_IGNORED = "AnnotationIgnored"
    ANNOTATION_FOREIGN = "AnnotationForeign"
    ANNOTATION_UNSUPPORTED = "AnnotationUnsupported"
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    # Renderers
    POLICY_UNSUPPORTED = "PolicyUnsupported"
    PROTOCOL_UNSUPPORTED = "ProtocolUnsupported"
    PROXY_REFUSED = "ProxyRefused"
    CHANGE_WAITS = "ChangeWaits"
    # Our own fault, kept to one object
    INTERNAL_ERROR = "InternalError"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One fault of one object, in words by which its author can mend it.

    Attributes:
        subject: The object at fault.
        field: The path of its field, ``"spec.rules[0].http.paths[1].path"`` or
            ``"metadata.annotations[ingresskit.dev/connect-timeout]"``; empty when the whole object is.
        reason: Stable; see `Reason`.
        message: One sentence that quotes the value and the rule, without the subject's name. It and
            *field* are made `printable`, so that no log, Event or terminal is written to by tenants.
        related: The other side of it: the object that won a conflict, the Secret that is missing.
    """

    subject: ObjectRef
    field: str
    reason: Reason
    message: str
    severity: Severity = Severity.ERROR
    related: tuple[ObjectRef, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", printable(self.message, _MAX_MESSAGE))
        object.__setattr__(self, "field", printable(self.field, _MAX_FIELD))

    def __str__(self) -> str:
        """One line: ``error RouteConflict Ingress shop/late, spec.rules[0]…: …``."""
        where = f", {self.field}" if self.field else ""
        return f"{self.severity} {self.reason} {self.subject}{where}: {self.message}"

    @property
    def namespace(self) -> str:
        """Whose namespace it concerns; empty for cluster-scoped objects and files."""
        return self.subject.key.namespace


def printable(text: str, limit: int = _MAX_MESSAGE) -> str:
    """*text* on one line: characters that do not print are escaped, and it is cut to *limit* characters."""
    if not text.isprintable():
        text = "".join(part if part.isprintable() else ascii(part)[1:-1] for part in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def sorted_diagnostics(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Each diagnostic once, sorted by subject, field, reason, message, severity and related objects."""
    return tuple(sorted(set(diagnostics), key=_order))


def bounded(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """`sorted_diagnostics`, of each subject and reason at most 100, and a summary of those left out.

    An object of the size that the API server allows can have tens of thousands of faults; whoever
    logs, shows or counts diagnostics must not pay for that.
    """
    kept: list[Diagnostic] = []
    seen: dict[tuple[ObjectRef, Reason], int] = {}
    severities: dict[tuple[ObjectRef, Reason], Severity] = {}
    for item in sorted_diagnostics(diagnostics):
        alike = (item.subject, item.reason)
        seen[alike] = count = seen.get(alike, 0) + 1
        if count <= _MOST_ALIKE:
            kept.append(item)
        elif severities.get(alike) is not Severity.ERROR:
            severities[alike] = item.severity
    for (subject, reason), severity in severities.items():
        message = f"and {seen[subject, reason] - _MOST_ALIKE} more with this reason, which are left out here"
        kept.append(Diagnostic(subject=subject, field="", reason=reason, message=message, severity=severity))
    return sorted_diagnostics(kept) if severities else tuple(kept)


def _order(diagnostic: Diagnostic) -> tuple[str, ObjectKey, str, str, str, str, tuple[ObjectRef, ...]]:
    # Every attribute: what it left out would stand in the order of a set, another one in each process.
    subject, said = diagnostic.subject, (diagnostic.field, diagnostic.reason, diagnostic.message)
    return (subject.kind, subject.key, *said, diagnostic.severity, diagnostic.related)
