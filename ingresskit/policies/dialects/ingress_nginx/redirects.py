"""Redirects to HTTPS and to other places."""

from __future__ import annotations

from ingresskit.diagnostics import Reason
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import parse_go_boolean, parse_go_integer, parse_url
from ingresskit.policies.kinds.redirects import (
    AppRoot,
    PermanentRedirect,
    RedirectStatus,
    TlsRedirect,
    WwwRedirect,
    parse_root,
)

__all__ = ["read_redirects"]


def read_redirects(annotations: Annotations) -> None:
    """Ask for `TlsRedirect`, `PermanentRedirect`, `AppRoot` and `WwwRedirect`."""
    _tls(annotations)
    _host(annotations)
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
    if 300 <= number <= most:
        try:
            return RedirectStatus(str(number))
        except ValueError:
            message = f"{number} is no status of a redirect: nginx sends no Location with it; the default holds"
            annotations.warn(name, Reason.ANNOTATION_UNSUPPORTED, message)
            return None
    # As in ingress-nginx.
    message = f"{number} must be a number from 300 to {most}; the default holds"
    annotations.warn(name, Reason.ANNOTATION_INVALID, message)
    return None


def _host(annotations: Annotations) -> None:
    """Redirects of the host, which stand in the server and so before everything that stands in a location."""
    location = annotations.value("app-root", parse_root)
    if location is not None:
        annotations.add(AppRoot(location=location, first=True, absolute=True), location="app-root")
    name = "from-to-www-redirect"
    if annotations.value(name, parse_go_boolean):
        status = annotations.settings.redirect_status
        annotations.add(WwwRedirect(enabled=True, status=status, first=True), enabled=name)


def _tls(annotations: Annotations) -> None:
    """Without a decision, plain HTTP is redirected where the host has TLS: that is ``ssl-redirect``."""
    settings = annotations.settings
    forced = annotations.value("force-ssl-redirect", parse_go_boolean)
    wanted = annotations.value("ssl-redirect", parse_go_boolean)
    slash = annotations.value("preserve-trailing-slash", parse_go_boolean)
    port = annotations.value("use-port-in-redirects", parse_go_boolean)
    enabled: bool | None = None
    asked: dict[str, str] = {}
    if settings.force_ssl_redirect if forced is None else forced:
        enabled = True
        asked = {"enabled": "force-ssl-redirect"} if forced else {}
    elif not (settings.ssl_redirect if wanted is None else wanted):
        enabled = False
        asked = {"enabled": "ssl-redirect"} if wanted is False else {}
    if slash is not None:
        asked["keeps_slash"] = "preserve-trailing-slash"
    if port is not None:
        asked["shows_port"] = "use-port-in-redirects"
    policy = TlsRedirect(
        enabled=enabled,
        status=settings.redirect_status,
        keeps_slash=settings.keeps_slash if slash is None else slash,
        shows_port=settings.shows_port if port is None else port,
        exceptions=settings.no_tls_redirect,
    )
    annotations.add(policy, **asked)
