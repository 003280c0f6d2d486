"""Every policy that HAProxy honours: the handlers of all themes."""

from __future__ import annotations

from typing import Final, Never

from ingresskit.render.haproxy.policies import (
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
    rates,
    redirects,
    requests,
    response_rewrites,
    rewrites,
    traffic,
    upstream,
)
from ingresskit.render.haproxy.policies.base import Handler
from ingresskit.render.policies import HandlerTable

__all__ = ["TABLE"]

TABLE: Final = HandlerTable[Handler[Never]](
    (
        *access.HANDLERS,
        *connections.HANDLERS,
        *balancing.HANDLERS,
        *compression.HANDLERS,
        *certificates.HANDLERS,
        *cors.HANDLERS,
        *credentials.HANDLERS,
        *headers.HANDLERS,
        *health.HANDLERS,
        *limits.HANDLERS,
        *rates.HANDLERS,
        *redirects.HANDLERS,
        *requests.HANDLERS,
        *response_rewrites.HANDLERS,
        *rewrites.HANDLERS,
        *traffic.HANDLERS,
        *upstream.HANDLERS,
    )
)
