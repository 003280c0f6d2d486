"""How nginx honours each policy: a handler for each policy and mode, one file for each theme."""

from ingresskit.render.nginx.policies.access import add_dynamic_plain_http, static_plain_http
from ingresskit.render.nginx.policies.drafts import ClientIn, DynamicDraft, StaticDraft, StaticGuard
from ingresskit.render.nginx.policies.redirects import (
    add_dynamic_action,
    add_dynamic_tls_redirect,
    static_redirect,
    static_tls_redirect,
)
from ingresskit.render.nginx.policies.responses import local_response
from ingresskit.render.nginx.policies.tables import DYNAMIC_HANDLERS, STATIC_HANDLERS

__all__ = [
    "DYNAMIC_HANDLERS",
    "STATIC_HANDLERS",
    "ClientIn",
    "DynamicDraft",
    "StaticDraft",
    "StaticGuard",
    "add_dynamic_action",
    "add_dynamic_plain_http",
    "add_dynamic_tls_redirect",
    "local_response",
    "static_plain_http",
    "static_redirect",
    "static_tls_redirect",
]
