"""Where hostile texts go among annotations, and what looks hostile and is allowed: data of the corpus."""

from __future__ import annotations

from typing import Final

__all__ = ["BRIEF", "COMPANIONS", "SHORT_LIST", "allowed"]

SHORT_LIST: Final = frozenset(
    {
        "nginx: ends a quoted argument and a block",
        "nginx: Lua that ends a long bracket",
        "HAProxy: the next line",
        "HAProxy: a sample fetch",
        "carriage return and line feed",
        "Unicode line ends",
    }
)
"""One attempt of each kind, for fields whose value is read by a grammar that others share."""

BRIEF: Final[tuple[tuple[str, str], ...]] = (
    *(("affinity-cookie", ""), ("affinity-cookie-domain", ""), ("affinity-cookie-path", "/")),
    *(("allow-methods", "GET, "), ("app-root", "/"), ("basic-auth-realm", ""), ("basic-auth-secret", "")),
    *(("canary-cookie", ""), ("canary-header", ""), ("canary-header-pattern", ""), ("canary-header-value", "")),
    *(("compression-types", "text/css, "), ("connection-limit-exempt", "10.0.0.0/8, ")),
    *(("connection-limit-key", "header:"), ("cookie-domain", ""), ("cookie-path", "/ ")),
    *(("deny-referers", ""), ("deny-user-agents", ""), ("digest-auth-realm", ""), ("digest-auth-secret", "")),
    *(("error-pages", "404, "), ("external-auth-ca-config-map", ""), ("external-auth-ca-secret", "")),
    *(("external-auth-cache-key", "$cookie_"), ("external-auth-cache-times", "200 5m, ")),
    *(("external-auth-method", ""), ("external-auth-request-headers", "X-Hostile: ")),
    *(("external-auth-request-redirect", ""), ("external-auth-response-headers", "X-Good, ")),
    *(("external-auth-signin", "https://else.test/"), ("external-auth-signin-parameter", "")),
    *(("external-auth-url", "http://else.test/"), ("fallback-service", ""), ("forwarded-prefix", "/")),
    *(("ejection-on", "error, "), ("health-check", "/"), ("health-check-statuses", "200, ")),
    *(("hash-by", "header:"), ("hash-by", ""), ("jwt-algorithms", "RS256, "), ("jwt-audiences", "")),
    *(("jwt-headers", "X-Hostile: "), ("jwt-issuer", ""), ("jwt-keys", ""), ("jwt-keys-secret", "")),
    ("jwt-keys-url", "https://keys.test/"),
    *(("location-rewrite", ""), ("location-rewrite", "http://in.test/ "), ("mirror-host", "")),
    *(("mirror-to", ""), ("rate-limit-exempt", "10.0.0.0/8, "), ("rate-limit-key", "header:")),
    *(("retry-on", "error, "), ("rewrite-add-prefix", "/"), ("rewrite-regex", "/"), ("rewrite-regex", "")),
    *(("rewrite-replacement", "/"), ("shadow", ""), ("tls-redirect-except", "/"), ("upstream-connection", "")),
    *(("upstream-host", ""), ("upstream-tls-versions", "TLSv1.2 ")),
)
"""Annotations, and what stands before the text in them."""

_OF_AUTH: Final = {"external-auth-url": "http://auth.test/"}
COMPANIONS: Final[dict[str, dict[str, str]]] = {
    "affinity-cookie-domain": {"affinity-cookie": "sid"},
    "affinity-cookie-path": {"affinity-cookie": "sid"},
    "compression-types": {"compression": "gzip"},
    "connection-limit-exempt": {"connection-limit": "5"},
    "connection-limit-key": {"connection-limit": "5"},
    "external-auth-cache-key": _OF_AUTH,
    "external-auth-method": _OF_AUTH,
    "external-auth-request-headers": _OF_AUTH,
    "external-auth-request-redirect": _OF_AUTH,
    "external-auth-response-headers": _OF_AUTH,
    "external-auth-signin": _OF_AUTH,
    "external-auth-signin-parameter": _OF_AUTH,
    "ejection-on": {"ejection-failures": "3"},
    "health-check-statuses": {"health-check": "/"},
    "mirror-host": {"mirror-to": "one"},
    "rate-limit-exempt": {"rate-limit": "5/s"},
    "rate-limit-key": {"rate-limit": "5/s"},
    "rewrite-regex": {"rewrite-replacement": "/$1"},
    "rewrite-replacement": {"rewrite-regex": "/(.*)"},
}
"""Annotations without which another one has no effect."""


def allowed(canary: str) -> tuple[tuple[str, str], ...]:
    """Annotations, each with a value that its grammar allows and that a careless renderer trips over.

    Args:
        canary: Stands in most of them.
    """
    return (
        ("request-headers-set", f"X-{canary}: \"; }} $host %[src] {{{{x}}}} \\ ' ` #"),
        ("request-headers-set", f"X-{canary}: %{{+Q}}o %ci if {{ always_true }}"),
        ("request-headers-set", f"X-{canary}: {'x' * 3900}"),
        ("response-headers-set", f"X-{canary}: \\\\\" ' ${{x}} $ %% % %["),
        ("response-headers-set", f"X-{canary}: if TRUE unless FALSE <<"),
        ("request-headers-remove", f"X-{canary}, Cookie"),
        ("redirect", f"https://else.test/{canary}?a=$uri;{{b}}'%[src]%25#x"),
        ("redirect", f"/{canary}';$1\\{{}}"),
        ("rewrite-prefix", f"/{canary}$1;'(x)$uri*"),
        ("allow-sources", "0.0.0.0/0, ::/0"),
        ("traffic-split", f"one=1, {canary}=1"),
        ("read-timeout", "24h"),
        ("body-limit", "1048576g"),
        ("affinity-cookie", f"{canary}!#$%&'*+.^`|~"),
        ("affinity-cookie-path", f"/{canary}$uri'%[src]"),
        ("app-root", f"/{canary}$uri'%[src]"),
        ("deny-referers", f"{canary}[\"';%{{}}#]+ if\n(?:{canary}| )x$"),
        ("deny-user-agents", f"{canary}[\"';%{{}}#]+ if\n(?:{canary}| )x$"),
        ("external-auth-request-headers", f"X-{canary}: \"; }} %[src] ${{host}} \\ '"),
        ("forwarded-prefix", f"/{canary}';$uri"),
        ("health-check", f"/{canary}';$uri?%[src]&{{x}}`"),
        ("hash-by", f"header:X-{canary} cookie:{canary}$'!#%"),
        ("location-rewrite", f"http://in.test/{canary}'; $scheme://else.test/{canary};'%[src]"),
        ("rate-limit-key", f"cookie:{canary}$'!#%"),
        ("rewrite-regex", f"/{canary}[\"';{{}}#%]+(.*)"),
        ("rewrite-replacement", f"/{canary}$1;'$$(x)%25*?a=$1'&b=$$"),
        ("tls-redirect-except", f"/{canary}$uri'"),
    )
