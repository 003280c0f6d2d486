"""A kind that may not be read, as a value: for diagnostics."""

from __future__ import annotations

from typing import TypeVar

from ingresskit.cache.reflector import Reflector
from ingresskit.errors import DecodeError, Forbidden, NotFound, ProblemCause, Unauthorized
from ingresskit.kube import ResourceKind
from ingresskit.models import KubeObject

__all__ = ["refusal"]

K = TypeVar("K", bound=KubeObject)


def refusal(reflector: Reflector[K], kind: ResourceKind, *, effect: str, name: str = "*") -> DecodeError | None:
    """What the API server refuses to *reflector* now; ``None`` when it is not 401, 403 or 404.

    Args:
        reflector: Follows *kind*.
        kind: What it follows.
        effect: What a user finds missing as long as the kind has never been read, as a clause.
        name: The object it is about; ``"*"`` for the whole kind.
    """
    error = reflector.last_error
    match error:
        case Unauthorized():
            cause = ProblemCause.CREDENTIALS_REFUSED
            what = f"the API server refuses the credentials for {kind} (401)"
        case Forbidden():
            cause = ProblemCause.RIGHT_MISSING
            where = f" in the namespace {reflector.namespace}" if reflector.namespace else " in the cluster"
            what = f"the right to list and watch {kind}{where if kind.namespaced else ''} is missing"
        case NotFound():
            cause = ProblemCause.KIND_NOT_SERVED
            what = f"the API server does not serve {kind} as {kind.api_version}"
        case _:
            return None
    if reflector.has_synced:
        effect = "what was known of it before still counts"
    return DecodeError(
        kind=kind.kind,
        namespace=reflector.namespace,
        name=name,
        field="",
        reason=f"{what}; {effect}",
        cause=cause,
    )
