"""Redirects to HTTPS and to other places."""

from __future__ import annotations

from ingresskit.diagnostics import Reason
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import parse_go_boolean, parse_go_integer, parse_url
from ingresskit.policies.kinds.redirects import PermanentRedirect, RedirectStatus, TlsRedirect

__all__ = ["read_redirects"]


def read_redirects(annotations: Annotations) -> None:
    """Ask for `TlsRedirect` and `PermanentRedirect`."""
    _tls(annotations)
    for kind, default, most in (
        ("temporal", RedirectStatus.FOUND, 307),
        ("permanent", RedirectStatus.MOVED_PERMANENTLY, 308),
    ):
        name = f"{kind}-redirect"
        location = annotations.value(name, parse_url)
        status = _status(annotations, f"{name}-code", most)
        if location is None:
            continue
        asked = {"location": name} | ({"status": f"{name}-code"} if status else {})
        annotations.add(PermanentRedirect(location=location, status=status or default), **asked)
        if kind == "temporal" and annotations.text("permanent-redirect"):
            message = f"{annotations.origin(name).field} wins"
            annotations.warn("permanent-redirect", Reason.ANNOTATION_IGNORED, message)
        return


def _status(annotations: Annotations, name: str, most: int) -> RedirectStatus | None:
    number = annotations.value(name, parse_go_integer)
    if number is None:
        return None
    try:
        if number <= most:
            return RedirectStatus(str(number))
    except ValueError:
        pass
    annotations.warn(
        name, Reason.ANNOTATION_UNSUPPORTED, f"{number} is not a status of a redirect here; the default holds"
    )
    return None


def _tls(annotations: Annotations) -> None:
    """Without a policy, plain HTTP is redirected where the host has TLS: that is ``ssl-redirect``."""
    settings = annotations.settings
    forced = annotations.value("force-ssl-redirect", parse_go_boolean)
    wanted = annotations.value("ssl-redirect", parse_go_boolean)
    if settings.force_ssl_redirect if forced is None else forced:
        asked = {"enabled": "force-ssl-redirect"} if forced else {}
        annotations.add(TlsRedirect(enabled=True), **asked)
    elif not (settings.ssl_redirect if wanted is None else wanted):
        asked = {"enabled": "ssl-redirect"} if wanted is False else {}
        annotations.add(TlsRedirect(enabled=False), **asked)
