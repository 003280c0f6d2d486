"""Names that look like those of protections."""

from __future__ import annotations

import re

__all__ = ["looks_protecting"]

# Whoever writes one of these wants somebody kept out, also by an annotation that does not exist.
_PROTECTING_WORDS = frozenset(
    {
        *("access", "acl", "allow", "allowed", "allowlist", "auth", "authentication", "authorization"),
        *("blacklist", "block", "blocked", "blocklist", "deny", "denied", "denylist", "whitelist"),
        *("appid", "authz", "basicauth", "firewall", "iap", "jwt", "ldap", "modsecurity", "mtls", "oauth"),
        *("oauth2", "oidc", "restrict", "saml", "snippet", "snippets", "waf", "wafv2"),
    }
)
_WORD_ENDS = re.compile(r"[-_.]")


def looks_protecting(name: str) -> bool:
    """Whether the words of an annotation's name, without prefix, are those of a protection.

    Those of CORS are not: it opens what browsers keep closed.
    """
    words = _WORD_ENDS.split(name.lower())
    return "cors" not in words and not _PROTECTING_WORDS.isdisjoint(words)
