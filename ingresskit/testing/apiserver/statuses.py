"""The ``Status`` objects an API server answers with when it refuses, in the words of the real one.

Clients decide by `code`, `reason` and the reasons of the `causes`; people read the message. All three
follow ``k8s.io/apimachinery/pkg/api/errors`` of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingresskit.testing.apiserver.manifests import Manifest

__all__ = [
    "Cause",
    "StatusError",
    "already_exists",
    "bad_request",
    "conflict",
    "expired",
    "forbidden",
    "internal_error",
    "invalid",
    "method_not_allowed",
    "not_acceptable",
    "not_found",
    "page_not_found",
    "too_large_version",
    "unauthorized",
    "unsupported_media_type",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One thing wrong with one field.

    Attributes:
        reason: ``"FieldValueRequired"``, ``"FieldValueInvalid"``, …; a stable word.
        message: A sentence with the rule.
        field: The path of the field, ``"spec.rules[0].host"``; empty when it is about no field.
    """

    reason: str
    message: str
    field: str = ""

    def manifest(self) -> Manifest:
        """The cause as it stands in ``details.causes``."""
        said = {"reason": self.reason, "message": self.message}
        return {**said, "field": self.field} if self.field else said


class StatusError(Exception):
    """Raised when the API server refuses a request; it carries the ``Status`` it answers with.

    Attributes:
        code: The HTTP status.
        reason: The machine-readable word, ``"NotFound"``; empty when the real server gives none.
        message: The sentence for people.
        details: ``status.details``; ``None`` when there are none.
        retry_after: Seconds to wait before trying again, sent as ``Retry-After``; ``None`` without one.
        resume: A ``metadata.continue`` token with which a list may go on, inconsistently; mostly empty.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Manifest | None = None,
        causes: Sequence[Cause] = (),
        retry_after: int | None = None,
        resume: str = "",
    ) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        given = None if details is None and not causes and retry_after is None else dict(details or {})
        self.details: Manifest | None = given
        if self.details is not None and causes:
            self.details["causes"] = [cause.manifest() for cause in causes]
        if self.details is not None and retry_after is not None:
            self.details["retryAfterSeconds"] = retry_after
        self.retry_after = retry_after
        self.resume = resume

    def manifest(self) -> Manifest:
        """The ``Status`` object."""
        said: Manifest = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.resume} if self.resume else {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            said["reason"] = self.reason
        if self.details is not None:
            said["details"] = self.details
        return {**said, "code": self.code}


def _qualified(group: str, plural: str) -> str:
    return f"{plural}.{group}" if group else plural


def _details(group: str, kind: str, name: str) -> Manifest:
    said = {"name": name, "group": group, "kind": kind}
    return {key: value for key, value in said.items() if value}


def not_found(group: str, plural: str, name: str) -> StatusError:
    """404: there is no such object."""
    message = f'{_qualified(group, plural)} "{name}" not found'
    return StatusError(404, "NotFound", message, details=_details(group, plural, name))


def page_not_found() -> StatusError:
    """404: there is no such resource."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", details={})


def already_exists(group: str, plural: str, name: str) -> StatusError:
    """409: an object of that name is there already."""
    message = f'{_qualified(group, plural)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, details=_details(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str = "") -> StatusError:
    """409: the object is not the one the writer thinks it is."""
    why = why or ("the object has been modified; please apply your changes to the latest version and try again")
    message = f'Operation cannot be fulfilled on {_qualified(group, plural)} "{name}": {why}'
    return StatusError(409, "Conflict", message, details=_details(group, plural, name))


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> StatusError:
    """422: the object breaks rules; one cause for each."""
    faults = [f"{cause.field}: {cause.message}" for cause in causes]
    text = faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]"
    message = f'{_qualified(group, kind)} "{name}" is invalid: {text}'
    return StatusError(422, "Invalid", message, details=_details(group, kind, name), causes=causes)


def forbidden(group: str, plural: str, name: str, why: str, causes: Sequence[Cause] = ()) -> StatusError:
    """403: not allowed, to this user or to anybody."""
    what = _qualified(group, plural) + (f' "{name}"' if name else "")
    details = _details(group, plural, name)
    return StatusError(403, "Forbidden", f"{what} is forbidden: {why}", details=details, causes=causes)


def unauthorized() -> StatusError:
    """401: nobody knows who asks."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def bad_request(message: str) -> StatusError:
    """400: the request cannot be understood."""
    return StatusError(400, "BadRequest", message)


def method_not_allowed(what: str = "") -> StatusError:
    """405: the resource does not do that."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message + (f" ({what})" if what else ""), details={})


def not_acceptable() -> StatusError:
    """406: the client takes no form that this server has."""
    message = (
        "406: Not Acceptable\n\nAvailable representations: application/json, application/json;stream=watch"
    )
    return StatusError(406, "NotAcceptable", message, details={})


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    """415: the body is in a form that this server cannot read."""
    message = "the body of the request was in an unknown format - accepted media types include: "
    return StatusError(415, "UnsupportedMediaType", message + ", ".join(accepted))


def expired(message: str, *, resume: str = "") -> StatusError:
    """410: the version asked for has been compacted away."""
    return StatusError(410, "Expired", message, resume=resume)


def too_large_version(asked: int, current: int) -> StatusError:
    """504: the version asked for lies in the future."""
    return StatusError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {asked}, current: {current}",
        causes=[Cause(reason="ResourceVersionTooLarge", message="Too large resource version")],
        details={},
        retry_after=1,
    )


def internal_error(message: str) -> StatusError:
    """500: a fault of the server."""
    text = f"Internal error occurred: {message}"
    return StatusError(500, "InternalError", text, causes=[Cause(reason="", message=message)])
