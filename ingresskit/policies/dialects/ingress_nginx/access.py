"""Which clients are let in."""

from __future__ import annotations

from ingresskit.diagnostics import Reason
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import parse_go_boolean, parse_networks_loosely
from ingresskit.policies.kinds.access import AllowedSources

__all__ = ["read_access"]

_ALLOWED = "allowlist-source-range"


def read_access(annotations: Annotations) -> None:
    """Ask for `AllowedSources`; close the routes for a global authentication that is not built."""
    text = annotations.text(_ALLOWED)
    networks, asked = annotations.settings.allowed, {}
    if text:
        try:
            # Its own list replaces the one of the ConfigMap.
            networks, asked = parse_networks_loosely(text), {"networks": _ALLOWED}
        except ValueError as exc:
            # As in ingress-nginx, which denies the location.
            name = annotations.key(_ALLOWED)
            annotations.refuse(name, Reason.ANNOTATION_INVALID, f"{text[:80]!a} {exc}")
            return
    if networks:
        annotations.add(AllowedSources(networks=networks), **asked)
    everywhere = annotations.value("enable-global-auth", parse_go_boolean) is not False
    if annotations.settings.global_auth and everywhere:
        message = "global-auth-url of the ConfigMap asks a service before every request, which is not built"
        annotations.close("enable-global-auth", Reason.ANNOTATION_UNSUPPORTED, message)
