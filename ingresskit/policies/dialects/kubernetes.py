"""Annotations that Kubernetes itself named, and that are honoured whatever else is read."""

from __future__ import annotations

from collections.abc import Mapping

from ingresskit._quoting import quoted
from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.policies.base import Origin, Policy, PolicySet
from ingresskit.policies.dialects.base import (
    NOTHING_READ,
    AnnotationDoc,
    Dialect,
    DialectContext,
    Reading,
)
from ingresskit.policies.kinds import PlainHttp

__all__ = ["KubernetesDialect"]

_ALLOW_HTTP = "kubernetes.io/ingress.allow-http"
# Go's strconv.ParseBool, by which GKE and Contour read it.
_YES = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_NO = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_DOC = AnnotationDoc(
    name="ingress.allow-http",
    value="a boolean as Go reads it: `true`, `1`, `t`; `false`, `0`, `f`",
    default="true",
    summary="Whether requests over plain HTTP are served; if not, they get 403.",
    policies=(PlainHttp,),
)


class KubernetesDialect(Dialect):
    """Reads ``kubernetes.io/ingress.allow-http``; everything else under the prefix is left alone.

    Source: the annotation of GKE's Ingress and of Contour, which listen to no plain HTTP for it.
    """

    prefix: str = "kubernetes.io"

    def table(self) -> tuple[AnnotationDoc, ...]:
        """The annotation that it reads."""
        return (_DOC,)

    def read(self, context: DialectContext) -> Reading:
        """The policy; with a value that is neither true nor false, the routes must not be served."""
        subject, value = context.subject, context.annotations.get(_ALLOW_HTTP)
        if value is None or (text := value.strip()) in _YES or not text:
            return NOTHING_READ
        place = f"metadata.annotations[{_ALLOW_HTTP}]"
        if text in _NO:
            asked: Mapping[type[Policy], Mapping[str, Origin]] = {
                PlainHttp: {"allowed": Origin(subject, place)}
            }
            return Reading(policies=PolicySet([PlainHttp(allowed=False)], asked))
        shown = quoted(text)
        fault = Diagnostic(
            subject=subject,
            field=place,
            reason=Reason.ANNOTATION_INVALID,
            message=f"{shown} must be true or false; the routes of this object respond 503",
            severity=Severity.ERROR,
        )
        return Reading(diagnostics=(fault,), protection_fault=fault)
