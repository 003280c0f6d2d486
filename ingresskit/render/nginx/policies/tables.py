"""The handlers of each mode."""

from __future__ import annotations

from typing import Final, Never

from ingresskit.render.nginx.policies.access import (
    DynamicAllowedSources,
    DynamicPlainHttp,
    StaticAllowedSources,
    StaticPlainHttp,
)
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.nginx.policies.headers import (
    DynamicRequestHeaders,
    DynamicResponseHeaders,
    StaticRequestHeaders,
    StaticResponseHeaders,
)
from ingresskit.render.nginx.policies.limits import DynamicBodyLimit, StaticBodyLimit
from ingresskit.render.nginx.policies.redirects import (
    DynamicTlsRedirect,
    StaticTlsRedirect,
)
from ingresskit.render.nginx.policies.rewrites import DynamicPrefixRewrite, StaticPrefixRewrite
from ingresskit.render.nginx.policies.upstream import (
    DynamicLoadBalancing,
    DynamicRetries,
    DynamicTimeouts,
    StaticLoadBalancing,
    StaticRetries,
    StaticTimeouts,
)
from ingresskit.render.policies import HandlerTable, PolicyHandler

__all__ = ["DYNAMIC_HANDLERS", "STATIC_HANDLERS"]

STATIC_HANDLERS: Final[HandlerTable[PolicyHandler[Never, StaticDraft]]] = HandlerTable(
    (
        StaticAllowedSources(),
        StaticBodyLimit(),
        StaticLoadBalancing(),
        StaticPlainHttp(),
        StaticPrefixRewrite(),
        StaticRequestHeaders(),
        StaticResponseHeaders(),
        StaticRetries(),
        StaticTimeouts(),
        StaticTlsRedirect(),
    )
)
"""How the static mode honours policies."""

DYNAMIC_HANDLERS: Final[HandlerTable[PolicyHandler[Never, DynamicDraft]]] = HandlerTable(
    (
        DynamicAllowedSources(),
        DynamicBodyLimit(),
        DynamicLoadBalancing(),
        DynamicPlainHttp(),
        DynamicPrefixRewrite(),
        DynamicRequestHeaders(),
        DynamicResponseHeaders(),
        DynamicRetries(),
        DynamicTimeouts(),
        DynamicTlsRedirect(),
    )
)
"""How the dynamic mode honours policies."""
