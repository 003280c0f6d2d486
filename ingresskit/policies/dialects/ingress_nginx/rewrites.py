"""The path that endpoints get, and whether paths are regular expressions."""

from __future__ import annotations

import re
from typing import Final

from ingresskit.diagnostics import Reason
from ingresskit.policies.dialects.base import RulePath
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import parse_go_boolean
from ingresskit.policies.kinds.rewrites import PrefixRewrite
from ingresskit.policies.values import parse_path_prefix

__all__ = ["forwarded_prefix", "read_rewrites"]

_TARGET = "rewrite-target"
_ELEMENTS = r"(?:/[A-Za-z0-9\-._~]+)*"

# Targets that put a capture behind a prefix, and the paths of which that capture is all that follows the
# elements at the beginning: then it is what a `PrefixRewrite` keeps.
_FORMS: Final = (
    (re.compile(r"((?:/[A-Za-z0-9\-._~]+)*/)\$2"), re.compile(rf"{_ELEMENTS}\(/\|\$\)\(\.\*\)")),
    (re.compile(r"((?:/[A-Za-z0-9\-._~]+)*/)\$1"), re.compile(rf"{_ELEMENTS}/\(\.\*\)")),
    (re.compile(r"((?:/[A-Za-z0-9\-._~]+)*)\$1"), re.compile(rf"{_ELEMENTS}\(/\.\*\)")),
)


def read_rewrites(annotations: Annotations) -> None:
    """Ask for a `PrefixRewrite`, and for paths that are regular expressions."""
    annotations.regex_paths = bool(annotations.value("use-regex", parse_go_boolean))
    target = annotations.text(_TARGET)
    paths = annotations.context.paths
    if not target or (paths and all((path.text or "/") == target for path in paths)):
        return  # ingress-nginx does not rewrite a path to itself
    if "$" in target:
        _captured(annotations, target, paths)
        return
    whole = annotations.value(_TARGET, _path)
    if whole is None:
        return
    # A host on which anything is rewritten has regular expressions only.
    annotations.regex_paths = True
    annotations.add(PrefixRewrite(whole=whole), whole=_TARGET)


def _captured(annotations: Annotations, target: str, paths: tuple[RulePath, ...]) -> None:
    annotations.regex_paths = True
    for form, path_form in _FORMS:
        if (found := form.fullmatch(target)) and all(path_form.fullmatch(path.text) for path in paths):
            annotations.add(PrefixRewrite(prefix=parse_path_prefix(found[1] or "/")), prefix=_TARGET)
            return
    message = (
        "of captures only those are built that keep what follows the beginning of every path, as /$2 does with"
        " /x(/|$)(.*), or /$1 with /x/(.*); paths are sent as clients ask for them"
    )
    annotations.warn(_TARGET, Reason.ANNOTATION_UNSUPPORTED, message)


def forwarded_prefix(annotations: Annotations) -> str | None:
    """The value of the header field X-Forwarded-Prefix; only beside a rewrite, as in ingress-nginx."""
    name = "x-forwarded-prefix"
    if not annotations.text(name):
        return None
    target = annotations.text(_TARGET)
    if not target:
        annotations.warn(name, Reason.ANNOTATION_IGNORED, "it has no effect without rewrite-target")
        return None
    paths = annotations.context.paths
    if same := [path for path in paths if (path.text or "/") == target]:
        if len(same) == len(paths):
            message = "it has no effect where rewrite-target is the path itself"
            annotations.warn(name, Reason.ANNOTATION_IGNORED, message)
            return None
        message = (
            f"ingress-nginx does not set it for the path {target[:80]!a}, which is the target itself; here"
            " it is set for all paths of this object"
        )
        annotations.warn(name, Reason.ANNOTATION_UNSUPPORTED, message)
    return annotations.value(name, _path)


def _path(text: str) -> str:
    if not re.fullmatch(r"/[A-Za-z0-9\-._~/]{0,1000}", text):
        raise ValueError("must be a path of letters, digits, -, ., _, ~ and /")
    if "//" in text or any(element in (".", "..") for element in text.split("/")):
        raise ValueError("must be a path without //, . or .. elements")
    return text
