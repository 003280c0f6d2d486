"""The path that endpoints get."""

from __future__ import annotations

import re

from ingresskit.diagnostics import Reason
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import parse_go_boolean
from ingresskit.policies.kinds.rewrites import PrefixRewrite
from ingresskit.policies.values import parse_path_prefix

__all__ = ["forwarded_prefix", "read_rewrites"]

_TARGET = "rewrite-target"


def read_rewrites(annotations: Annotations) -> None:
    """Ask for a `PrefixRewrite`, and for paths that are regular expressions."""
    annotations.regex_paths = bool(annotations.value("use-regex", parse_go_boolean))
    text = annotations.text(_TARGET)
    if not text:
        return
    if "$" in text:
        message = (
            "captures ($1) are not built; the path is sent as the client asked for it. A path of type Prefix"
            " with a target that has none replaces the part that matched"
        )
        annotations.warn(_TARGET, Reason.ANNOTATION_UNSUPPORTED, message)
        return
    prefix = annotations.value(_TARGET, parse_path_prefix)
    if prefix is None:
        return
    message = (
        "ingress-nginx sends every request to this very path; here what follows the matched path is kept"
        " behind it"
    )
    annotations.warn(_TARGET, Reason.ANNOTATION_UNSUPPORTED, message)
    annotations.add(PrefixRewrite(prefix=prefix), prefix=_TARGET)


def forwarded_prefix(annotations: Annotations) -> str | None:
    """The value of the header field X-Forwarded-Prefix; only beside a rewrite, as in ingress-nginx."""
    name = "x-forwarded-prefix"
    if not annotations.text(name):
        return None
    if not annotations.text(_TARGET):
        annotations.warn(name, Reason.ANNOTATION_IGNORED, "it has no effect without rewrite-target")
        return None
    return annotations.value(name, _path)


def _path(text: str) -> str:
    if not re.fullmatch(r"/[A-Za-z0-9\-._~/]{0,1000}", text):
        raise ValueError("must be a path of letters, digits, -, ., _, ~ and /")
    return text
