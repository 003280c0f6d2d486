"""Advice that recurs in the table of foreign annotations, and the names that ingress-nginx coined.

Others took these names over, some with and some without what they do; a family adds its own to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ingresskit.policies.foreign import Values
from ingresskit.policies.synonyms import COINED_BY_INGRESS_NGINX

__all__ = [
    "ADVICE",
    "ALL",
    "ALWAYS",
    "EMPTY",
    "HOSTS",
    "OFF",
    "ON",
    "OPAQUE",
    "PASSTHROUGH",
    "PATHS",
    "PROTECTS",
    "PROTOCOL",
    "ROOT",
    "SAME",
    "SPLIT",
    "STICKY",
    "SWITCHES",
    "UNCHANGED",
    "WWW",
]

EMPTY: Final = Values.EMPTY
OFF: Final = Values.OFF
OPAQUE: Final = Values.OPAQUE
ON: Final = Values.ON
ALL: Final = Values.ALL_ADDRESSES
ALWAYS: Final = Values.ALWAYS
SAME: Final = COINED_BY_INGRESS_NGINX

PROTOCOL: Final = (
    "set appProtocol (https, kubernetes.io/h2c, kubernetes.io/wss) on the port of the Service instead"
)
PATHS: Final = "paths are taken letter by letter, as Exact or Prefix: write out the prefixes"
HOSTS: Final = "write a rule for each host"
ROOT: Final = "an Ingress with the path Exact / and {native}/redirect does it"
WWW: Final = "an Ingress for the other host with {native}/redirect does it"
PASSTHROUGH: Final = '{native}/tls-passthrough: "true" passes TLS connections on as they are'
STICKY: Final = "{native}/load-balancing: client-hash is the nearest"
SPLIT: Final = "traffic-split"

# Names that ingress-nginx coined and others took over.
PROTECTS: Final[Mapping[str, Values]] = {
    "allowlist-source-range": ALL,
    "whitelist-source-range": ALL,
    "denylist-source-range": EMPTY,
    "blocklist-source-range": EMPTY,
    "blacklist-source-range": EMPTY,
    "auth-type": OFF,
    "auth-secret": EMPTY,
    "auth-url": EMPTY,
    "auth-snippet": OPAQUE,
    "auth-tls-secret": EMPTY,
    "auth-tls-match-cn": EMPTY,
    "auth-tls-verify-client": OFF,
    "enable-modsecurity": OFF,
    "enable-owasp-core-rules": OFF,
    "modsecurity-snippet": OPAQUE,
    "configuration-snippet": OPAQUE,
    "server-snippet": OPAQUE,
    "stream-snippet": OPAQUE,
}
SWITCHES: Final[Mapping[str, str]] = {
    "auth-secret": "auth-type",
    "auth-tls-secret": "auth-tls-verify-client",
    "auth-tls-match-cn": "auth-tls-verify-client",
    "enable-owasp-core-rules": "enable-modsecurity",
    "modsecurity-snippet": "enable-modsecurity",
}
ADVICE: Final[Mapping[str, str]] = {
    "backend-protocol": PROTOCOL,
    "secure-backends": PROTOCOL,
    "grpc-backend": PROTOCOL,
    "use-regex": PATHS,
    "server-alias": HOSTS,
    "app-root": ROOT,
    "from-to-www-redirect": WWW,
    "affinity": STICKY,
    "affinity-mode": STICKY,
}
# Details of other annotations, whatever their words, and values that ask for what is done anyway.
UNCHANGED: Final[Mapping[str, Values]] = {
    "auth-always-set-cookie": OFF,
    "auth-cache-duration": EMPTY,
    "auth-cache-key": EMPTY,
    "auth-keepalive": EMPTY,
    "auth-keepalive-requests": EMPTY,
    "auth-keepalive-share-vars": OFF,
    "auth-keepalive-timeout": EMPTY,
    "auth-method": EMPTY,
    "auth-proxy-set-headers": EMPTY,
    "auth-realm": EMPTY,
    "auth-request-redirect": EMPTY,
    "auth-response-headers": EMPTY,
    "auth-secret-type": EMPTY,
    "auth-signin": EMPTY,
    "auth-signin-redirect-param": EMPTY,
    "auth-tls-error-page": EMPTY,
    "auth-tls-pass-certificate-to-upstream": OFF,
    "auth-tls-verify-depth": EMPTY,
    "canary": OFF,
    "enable-access-log": ON,
    "enable-cors": OFF,
    "enable-global-auth": ALWAYS,
    "force-ssl-redirect": OFF,
    "from-to-www-redirect": OFF,
    "http2-push-preload": ALWAYS,
    "limit-allowlist": EMPTY,
    "limit-whitelist": EMPTY,
    "modsecurity-transaction-id": EMPTY,
    "proxy-body-size": OFF,
    "ssl-passthrough": OFF,
    "ssl-redirect": ON,
    "use-regex": OFF,
}
