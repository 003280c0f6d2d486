"""Snippets: text for nginx that is never executed, and what to write instead."""

from __future__ import annotations

import re
from typing import Final

from ingresskit.diagnostics import Reason
from ingresskit.policies.base import Risk
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.table import TABLE

__all__ = ["read_snippets"]

_MOST_READ = 20_000

# What a directive does, and what does it here; ``{native}`` is the native prefix.
_DIRECTIVES: Final = (
    (r"more_set_headers|add_header", "sets response header fields", "{native}/response-headers-set"),
    (
        r"more_clear_headers|proxy_hide_header",
        "removes response header fields",
        "{native}/response-headers-remove",
    ),
    (r"proxy_set_header|more_set_input_headers", "sets request header fields", "{native}/request-headers-set"),
    (r"return\s+30[1278]", "redirects", "{native}/redirect"),
    (r"rewrite", "rewrites paths", "{native}/rewrite-prefix or {native}/rewrite-regex"),
    (r"proxy_redirect", "changes redirects of endpoints", "{native}/location-rewrite"),
    (r"proxy_cookie_path", "changes the paths of cookies", "{native}/cookie-path"),
    (r"proxy_cookie_domain", "changes the domains of cookies", "{native}/cookie-domain"),
    (r"allow|deny", "lets addresses in or keeps them out", "{native}/allow-sources"),
    (r"client_max_body_size", "bounds bodies", "{native}/body-limit"),
    (r"proxy_read_timeout|proxy_send_timeout|proxy_connect_timeout", "sets time-outs", "{native}/read-timeout"),
    (r"auth_request", "asks another service", "{native}/external-auth-url"),
    (r"auth_basic|satisfy", "asks for credentials", ""),
    (r"limit_req|limit_conn", "limits requests", ""),
)


def read_snippets(annotations: Annotations, native: str) -> None:
    """Report each snippet. The routes are closed, since one may protect them.

    Only where the operator lets snippets be written and forbids that they are used, as ingress-nginx's
    ``annotations-risk-level: Critical`` with ``allow-snippet-annotations: "false"`` does, is it left out.
    """
    settings = annotations.settings
    ignored = settings.risk is Risk.CRITICAL and settings.snippets_allowed is False
    for name, row in _SNIPPETS:
        text = annotations.text(name)
        if not annotations.asks(row):
            continue
        message = f"no snippet is ever executed{_did(text, native)}"
        if ignored:
            message += "; allow-snippet-annotations is false, so the routes are served without it"
            annotations.warn(name, Reason.ANNOTATION_UNSUPPORTED, message)
        else:
            annotations.close(name, Reason.ANNOTATION_UNSUPPORTED, message)


_SNIPPETS: Final = tuple((name, row) for name, row in TABLE.items() if row.doc.risk is Risk.CRITICAL)


def _did(text: str, native: str) -> str:
    """What the directives of a snippet do, as far as they are common ones, and what to write instead."""
    parts: list[str] = []
    for pattern, does, instead in _DIRECTIVES:
        if re.search(rf"(?:^|[;{{}}\s])(?:{pattern})\s", text[:_MOST_READ]):
            use = f" (use {instead.format(native=native)})" if instead else ""
            parts.append(f"{does}{use}")
    return f"; this one {', '.join(parts)}" if parts else ""
