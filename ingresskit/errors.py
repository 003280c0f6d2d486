"""Every exception ingresskit raises on purpose.

    IngressKitError
    ├── ConfigurationError      the integrator's mistake, found when something is built
    ├── DecodeError             one object of the cluster (or one file) that cannot be read
    ├── SourceError             a source of objects that cannot go on
    ├── RenderError             a renderer that cannot express a graph
    └── ApplyError              an artifact that could not be put live; the old one still serves
        └── CheckFailed         the proxy's own checker refused the artifact

A mistake of a cluster user is never an exception on its way through the pipeline: it is a
:class:`ingresskit.diagnostics.Diagnostic`. `DecodeError` is the one that starts as an exception,
because decoding happens at the door; sources keep it as a value and the translator reports it.
"""

from __future__ import annotations

__all__ = [
    "ApplyError",
    "CheckFailed",
    "ConfigurationError",
    "DecodeError",
    "IngressKitError",
    "RenderError",
    "SourceError",
]


class IngressKitError(Exception):
    """Base of all exceptions of this package."""


class ConfigurationError(IngressKitError, ValueError):
    """Raised when an object of this library is built with arguments that cannot work."""


class DecodeError(IngressKitError, ValueError):
    """Raised when an object of the Kubernetes API, or the file around it, cannot be read.

    Two errors are equal when they say the same of the same object, so that a source can tell a
    new fault from one it has reported before.

    Attributes:
        kind: The kind of the object, ``"Ingress"``; ``"File"`` when a whole document is unreadable.
        namespace: Its namespace; empty for cluster-scoped kinds and files.
        name: Its name; the path of the file when *kind* is ``"File"``.
        field: The path of the field at fault, ``"spec.rules[0].host"``; empty when the whole is.
        reason: What is wrong there, as a clause: ``"must be text, not a number"``.
        location: Where the object was read, ``"shop/web.yaml, document 2"``; empty for the API.
    """

    def __init__(
        self, *, kind: str, namespace: str, name: str, field: str, reason: str, location: str = ""
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.field = field
        self.reason = reason
        self.location = location
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        if self.kind == "File" and self.name and self.location.startswith(self.name):
            return f"File {self.location}: {self.reason}"  # the location says the name already
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        where = f" ({self.location})" if self.location else ""
        field = f"{self.field}: " if self.field else ""
        return f"{self.kind} {name or '(no name)'}{where}: {field}{self.reason}"

    def _facts(self) -> tuple[str, ...]:
        return (self.kind, self.namespace, self.name, self.field, self.reason, self.location)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DecodeError) and self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash(self._facts())


class SourceError(IngressKitError):
    """Raised when a source of objects cannot deliver at all, such as a folder that is not there."""


class RenderError(IngressKitError):
    """Raised when a renderer cannot express a graph it was given."""


class ApplyError(IngressKitError):
    """Raised when an artifact could not be put live. What served before still serves."""


class CheckFailed(ApplyError):
    """Raised when the proxy's own checker refused an artifact. What served before still serves."""
