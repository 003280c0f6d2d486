"""The handlers of each mode: those of all themes."""

from __future__ import annotations

from typing import Final, Never

from ingresskit.render.nginx.policies import (
    access,
    balancing,
    certificates,
    compression,
    connections,
    cors,
    credentials,
    headers,
    health,
    limits,
    redirects,
    requests,
    response_rewrites,
    rewrites,
    traffic,
    upstream,
)
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.policies import HandlerTable, PolicyHandler

__all__ = ["DYNAMIC_HANDLERS", "STATIC_HANDLERS"]

STATIC_HANDLERS: Final[HandlerTable[PolicyHandler[Never, StaticDraft]]] = HandlerTable(
    (
        *access.STATIC,
        *connections.STATIC,
        *balancing.STATIC,
        *certificates.STATIC,
        *compression.STATIC,
        *cors.STATIC,
        *credentials.STATIC,
        *headers.STATIC,
        *health.STATIC,
        *limits.STATIC,
        *redirects.STATIC,
        *requests.STATIC,
        *response_rewrites.STATIC,
        *rewrites.STATIC,
        *traffic.STATIC,
        *upstream.STATIC,
    )
)
"""How the static mode honours policies."""

DYNAMIC_HANDLERS: Final[HandlerTable[PolicyHandler[Never, DynamicDraft]]] = HandlerTable(
    (
        *access.DYNAMIC,
        *connections.DYNAMIC,
        *balancing.DYNAMIC,
        *certificates.DYNAMIC,
        *compression.DYNAMIC,
        *cors.DYNAMIC,
        *credentials.DYNAMIC,
        *headers.DYNAMIC,
        *health.DYNAMIC,
        *limits.DYNAMIC,
        *redirects.DYNAMIC,
        *requests.DYNAMIC,
        *response_rewrites.DYNAMIC,
        *rewrites.DYNAMIC,
        *traffic.DYNAMIC,
        *upstream.DYNAMIC,
    )
)
"""How the dynamic mode honours policies."""
