"""Cookies and redirects of endpoints."""

from __future__ import annotations

from collections.abc import Callable

from ingresskit.diagnostics import Reason
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.text_changes import (
    parse_cookie_domain,
    parse_cookie_path,
    parse_redirect_text,
    redirect_change,
)
from ingresskit.policies.dialects.ingress_nginx.values import parse_go_boolean
from ingresskit.policies.kinds.response_rewrites import CookieRewrite, LocationRewrite
from ingresskit.policies.text_changes import TextChange

__all__ = ["read_response_rewrites"]

_FROM, _TO = "proxy-redirect-from", "proxy-redirect-to"


def read_response_rewrites(annotations: Annotations) -> None:
    """Ask for `CookieRewrite` and `LocationRewrite`."""
    settings = annotations.settings
    asked: dict[str, str] = {}
    domains = _cookies(annotations, "domains", "proxy-cookie-domain", parse_cookie_domain, asked)
    paths = _cookies(annotations, "paths", "proxy-cookie-path", parse_cookie_path, asked)
    domains = settings.cookie_domains if domains is None else domains
    paths = settings.cookie_paths if paths is None else paths
    if domains or paths:
        annotations.add(CookieRewrite(domains=domains, paths=paths), **asked)
    _redirects(annotations)


def _cookies(
    annotations: Annotations,
    field: str,
    name: str,
    parse: Callable[[str], tuple[TextChange, ...]],
    asked: dict[str, str],
) -> tuple[TextChange, ...] | None:
    """The changes that an annotation asks for; ``None``: those of the ConfigMap count."""
    found = annotations.value(name, parse)
    if found:
        asked[field] = name
    return found


def _redirects(annotations: Annotations) -> None:
    settings = annotations.settings
    own_source = annotations.value(_FROM, parse_redirect_text)
    own_target = annotations.value(_TO, parse_redirect_text)
    source, target = own_source or settings.redirect_from, own_target or settings.redirect_to
    if source == "off":
        if own_target not in (None, "off"):
            annotations.warn(_TO, Reason.ANNOTATION_IGNORED, f"it has no effect without {_FROM}")
        return
    if source != "default" and target == "off":
        if own_source is not None:
            annotations.warn(_FROM, Reason.ANNOTATION_IGNORED, f"it has no effect without {_TO}")
        return
    place = _TO if own_source is None and own_target is not None else _FROM
    try:
        change = redirect_change(source, target)
    except ValueError as exc:
        annotations.warn(place, Reason.ANNOTATION_UNSUPPORTED, f"{exc}; redirects stay as endpoints send them")
        return
    asked = {"changes": place} if own_source or own_target else {}
    relative = annotations.value("relative-redirects", parse_go_boolean)
    if relative is None:
        relative = settings.relative_redirects
    elif relative:
        asked["absolute"] = "relative-redirects"
    annotations.add(LocationRewrite(changes=(change,), absolute=not relative), **asked)
