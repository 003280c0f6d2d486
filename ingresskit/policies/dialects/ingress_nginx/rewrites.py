"""The path and the host that endpoints get, and whether paths are regular expressions."""

from __future__ import annotations

import re
from typing import Final

from ingresskit.diagnostics import Reason
from ingresskit.policies.dialects.base import RulePath
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import parse_go_boolean
from ingresskit.policies.kinds.rewrites import PrefixRewrite, RegexRewrite, UpstreamHost
from ingresskit.policies.templates import places_in
from ingresskit.policies.values import parse_authority

__all__ = ["forwarded_prefix", "read_rewrites"]

_TARGET: Final = "rewrite-target"
_TARGET_FORM: Final = re.compile(r"(?:/|\$[1-9])(?:[A-Za-z0-9\-._~:/]|\$[1-9])*")
_LONGEST: Final = 1000
# Groups are counted by their brackets: one that is escaped or does not capture makes the sum too large only.
_GROUP: Final = re.compile(r"\((?!\?)")


def read_rewrites(annotations: Annotations) -> None:
    """Ask for `PrefixRewrite` or `RegexRewrite`, for `UpstreamHost`, and for paths that are patterns."""
    annotations.regex_paths = bool(annotations.value("use-regex", parse_go_boolean))
    if (host := annotations.value("upstream-vhost", parse_authority)) is not None:
        annotations.add(UpstreamHost(host=host), host="upstream-vhost")
    target = annotations.text(_TARGET)
    paths = annotations.context.paths
    if not target or (paths and all((path.text or "/") == target for path in paths)):
        return  # ingress-nginx does not rewrite a path to itself
    if annotations.value(_TARGET, _target) is None:
        return
    # A host on which anything is rewritten has regular expressions only.
    annotations.regex_paths = True
    if "$" not in target and "//" not in target:
        annotations.add(PrefixRewrite(whole=target), whole=_TARGET)
        return
    annotations.add(RegexRewrite(replacement=target), replacement=_TARGET)
    _doubts(annotations, target, paths)


def _doubts(annotations: Annotations, target: str, paths: tuple[RulePath, ...]) -> None:
    """Report captures that no group of a path fills: they are empty, here as in nginx."""
    most = max(places_in(target), default=0)
    lacking = [path.text for path in paths if len(_GROUP.findall(path.text)) < most]
    if lacking:
        message = f"the path {lacking[0][:80]!a} has no group for ${most}, which is empty there"
        annotations.warn(_TARGET, Reason.ANNOTATION_IGNORED, message)


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


def _target(text: str) -> str:
    """A target as ingress-nginx takes it, less what is no path: without a slash in front, or with ``..``."""
    if len(text) > _LONGEST or not _TARGET_FORM.fullmatch(text):
        raise ValueError("must be a path of letters, digits, -, ., _, ~, :, / and $1 to $9, without a query")
    if any(element in (".", "..") for element in text.split("/")):
        raise ValueError("must be a path without . or .. elements")
    return text


def _path(text: str) -> str:
    if not re.fullmatch(r"/[A-Za-z0-9\-._~/]{0,1000}", text):
        raise ValueError("must be a path of letters, digits, -, ., _, ~ and /")
    if "//" in text or any(element in (".", "..") for element in text.split("/")):
        raise ValueError("must be a path without //, . or .. elements")
    return text
