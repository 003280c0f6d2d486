"""Every exception ingresskit raises on purpose.

    IngressKitError
    ├── ConfigurationError      the integrator's mistake, found when something is built
    ├── DecodeError             one object of the cluster (or one file) that cannot be read
    ├── SourceError             a source of objects that cannot go on
    ├── RenderError             a renderer that cannot express a graph
    ├── ApplyError              an artifact that could not be put live; the old one still serves
    │   ├── ApplyPostponed      it can be, but not yet: a reload has to wait
    │   └── CheckFailed         the proxy's own checker refused the artifact
    ├── ApiError                the API server responded with an error
    │   ├── Conflict            409: someone else changed or made the object first
    │   ├── Expired             410: the resource version or list token asked for is too old
    │   ├── Forbidden           403: a right is missing
    │   ├── NotFound            404: no such object, or no such API
    │   ├── TooManyRequests     429: come back later
    │   └── Unauthorized        401: the credentials are refused, also after being renewed
    └── TransportError          no usable response of the API server: refused, reset, cut, garbled
        ├── CredentialsError    credentials are missing or unreadable
        ├── IdleTimeout         an open watch was silent for too long
        └── RequestTimeout      a request got no whole response before its deadline

A mistake of a cluster user is never an exception on its way through the pipeline: it is a
:class:`ingresskit.diagnostics.Diagnostic`. `DecodeError` is the one that starts as an exception,
because decoding happens at the door; sources keep it as a value and the translator reports it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

__all__ = [
    "ApiError",
    "ApplyError",
    "ApplyPostponed",
    "CheckFailed",
    "ConfigurationError",
    "Conflict",
    "CredentialsError",
    "DecodeError",
    "Expired",
    "Forbidden",
    "IdleTimeout",
    "IngressKitError",
    "NotFound",
    "ProblemCause",
    "RenderError",
    "RequestTimeout",
    "SourceError",
    "StatusCause",
    "Subject",
    "TooManyRequests",
    "TransportError",
    "Unauthorized",
]


Subject = tuple[str, tuple[str, str]]
"""An `ingresskit.models.ObjectRef`: kind, and namespace and name. That floor is above this one."""


class IngressKitError(Exception):
    """Base of all exceptions of this package."""


class ConfigurationError(IngressKitError, ValueError):
    """Raised when an object of this library is built with arguments that cannot work."""


class ProblemCause(StrEnum):
    """Why an object, or a kind of objects, cannot be read or written. Each is a `Reason` of that name too."""

    OBJECT_INVALID = "ObjectInvalid"
    RIGHT_MISSING = "RightMissing"
    """403 for reading a kind."""
    KIND_NOT_SERVED = "KindNotServed"
    """404 for reading a kind."""
    CREDENTIALS_REFUSED = "CredentialsRefused"
    """401."""
    WRITE_REFUSED = "WriteRefused"
    """A status, Events or the Lease cannot be written; traffic is served all the same."""


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
        cause: Whether it is the object, or a right or the like that is missing for a whole kind.
    """

    def __init__(
        self,
        *,
        kind: str,
        namespace: str,
        name: str,
        field: str,
        reason: str,
        location: str = "",
        cause: ProblemCause = ProblemCause.OBJECT_INVALID,
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.field = field
        self.reason = reason
        self.location = location
        self.cause = cause
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        if self.kind == "File" and self.name and self.location.startswith(self.name):
            return f"File {self.location}: {self.reason}"  # the location says the name already
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        where = f" ({self.location})" if self.location else ""
        field = f"{self.field}: " if self.field else ""
        return f"{self.kind} {name or '(no name)'}{where}: {field}{self.reason}"

    def _facts(self) -> tuple[str, ...]:
        return (self.kind, self.namespace, self.name, self.field, self.reason, self.location, self.cause)

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


class ApplyPostponed(ApplyError):
    """Raised when an artifact can be put live, but not yet. What served before still serves.

    It is no failure: whoever applies comes back with the newest artifact after `retry_after`, or sooner.

    Attributes:
        retry_after: How long to wait; positive.
        subjects: The objects whose change waits, as `ingresskit.models.ObjectRef`; empty when it is no
            object's doing.
    """

    def __init__(self, message: str, *, retry_after: timedelta, subjects: Iterable[Subject] = ()) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.subjects: frozenset[Subject] = frozenset(subjects)


class CheckFailed(ApplyError):
    """Raised when the proxy's own checker refused an artifact. What served before still serves.

    Attributes:
        subjects: The objects that the checker's words point at, as `ingresskit.models.ObjectRef`; empty
            when they point at none, or at something that is no object's doing.
    """

    def __init__(self, message: str, *, subjects: Iterable[Subject] = ()) -> None:
        super().__init__(message)
        self.subjects: frozenset[Subject] = frozenset(subjects)


class StatusCause(NamedTuple):
    """One cause in a ``Status``: the field at fault, a CamelCase word, a sentence. Any may be empty."""

    field: str
    reason: str
    message: str


class ApiError(IngressKitError):
    """Raised when the API server responded to a request, or ended a watch, with an error.

    Attributes:
        status: The HTTP status code; for an error inside a watch, the code its ``Status`` states.
        reason: The ``reason`` of the ``Status``, ``"AlreadyExists"``; empty when the body was not one.
        message: The server's sentence; the status line when it had none.
        retry_after: How long the server asks to be left alone; ``None`` when it does not say.
        causes: The ``details.causes`` of the ``Status``, in its order.
        request: What was asked, ``"GET /api/v1/services"``; empty for an error inside a watch.
    """

    def __init__(
        self,
        *,
        status: int,
        reason: str = "",
        message: str = "",
        retry_after: timedelta | None = None,
        causes: tuple[StatusCause, ...] = (),
        request: str = "",
    ) -> None:
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.causes = causes
        self.request = request
        super().__init__(
            f"{request or 'the watch'} got {status}"
            + (f" {reason}" if reason else "")
            + (f": {message}" if message else "")
        )


class Conflict(ApiError):
    """Raised for 409: the object was changed, or made, by someone else first."""


class Expired(ApiError):
    """Raised for 410: the resource version or the list token is older than what the server remembers."""


class Forbidden(ApiError):
    """Raised for 403: the service account lacks the right. The message says which verb and resource."""


class NotFound(ApiError):
    """Raised for 404: there is no such object, or the server does not serve this kind at all."""


class TooManyRequests(ApiError):
    """Raised for 429: the server sheds load. `retry_after` is the least to wait."""


class Unauthorized(ApiError):
    """Raised for 401, after the credentials were renewed once and refused again."""


class TransportError(IngressKitError):
    """Raised when no usable response of the API server came. Trying again later is always allowed."""


class CredentialsError(TransportError):
    """Raised when a kubeconfig, a token or certificate file, or a credential plugin does not deliver."""


class IdleTimeout(TransportError):
    """Raised when an open watch was silent for longer than a healthy one can be."""


class RequestTimeout(TransportError):
    """Raised when a request got no whole response before its deadline."""
