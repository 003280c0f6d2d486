"""Names that ingress-nginx coined and others took over, and the native annotations nearest to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["COINED_BY_INGRESS_NGINX"]

COINED_BY_INGRESS_NGINX: Final[Mapping[str, str]] = {
    "allowlist-source-range": "allow-sources",
    "whitelist-source-range": "allow-sources",
    "denylist-source-range": "deny-sources",
    "proxy-body-size": "body-limit",
    "limit-rps": "rate-limit",
    "limit-rpm": "rate-limit",
    "limit-burst-multiplier": "rate-limit-burst",
    "limit-allowlist": "rate-limit-exempt",
    "limit-whitelist": "rate-limit-exempt",
    "limit-connections": "connection-limit",
    "limit-rate": "response-rate",
    "limit-rate-after": "response-rate-after",
    "proxy-request-buffering": "request-buffering",
    "proxy-connect-timeout": "connect-timeout",
    "proxy-read-timeout": "read-timeout",
    "proxy-send-timeout": "send-timeout",
    "proxy-next-upstream": "retries",
    "proxy-next-upstream-tries": "retries",
    "ssl-redirect": "tls-redirect",
    "force-ssl-redirect": "tls-redirect",
    "permanent-redirect": "redirect",
    "permanent-redirect-code": "redirect-status",
    "temporal-redirect": "redirect",
    "temporal-redirect-code": "redirect-status",
    "rewrite-target": "rewrite-prefix",
    "load-balance": "load-balancing",
    "upstream-hash-by": "load-balancing",
    "custom-headers": "response-headers-set",
    "x-forwarded-prefix": "request-headers-set",
    "default-backend": "fallback-service",
    "custom-http-errors": "error-pages",
    "enable-cors": "cors-origins",
    "cors-allow-origin": "cors-origins",
    "cors-allow-methods": "cors-methods",
    "cors-allow-headers": "cors-headers",
    "cors-allow-credentials": "cors-credentials",
    "cors-max-age": "cors-max-age",
    "cors-expose-headers": "cors-expose-headers",
    "canary": "traffic-split",
    "canary-weight": "traffic-split",
    "canary-weight-total": "traffic-split",
}
