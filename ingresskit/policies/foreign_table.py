"""What is known of the annotations of other controllers: data for `ForeignAnnotations`.

Sources: the documentation of each controller, read 2026-11. Only what protects, what has a native
counterpart and what needs advice is listed; any other name under a prefix gets the plain Diagnostic. Rate
limits are no protection here: without them no client gets what it may not have, and a closed route would be
the outage that they are there to prevent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ingresskit.policies.foreign import ForeignFamily, Values
from ingresskit.policies.synonyms import COINED_BY_INGRESS_NGINX

__all__ = ["FOREIGN_FAMILIES"]

_EMPTY, _OFF, _ON, _ALL = Values.EMPTY, Values.OFF, Values.ON, Values.ALL_ADDRESSES
_ALWAYS = Values.ALWAYS

_PROTOCOL: Final = (
    "set appProtocol (https, kubernetes.io/h2c, kubernetes.io/wss) on the port of the Service instead"
)
_PATHS: Final = "paths are taken letter by letter, as Exact or Prefix: write out the prefixes"
_HOSTS: Final = "write a rule for each host"
_DEFAULT: Final = "use spec.defaultBackend"
_ROOT: Final = "an Ingress with the path Exact / and {native}/redirect does it"
_WWW: Final = "an Ingress for the other host with {native}/redirect does it"
_PASSTHROUGH: Final = (
    "TLS always ends here; set appProtocol: https on the port of the Service to speak TLS to it"
)
_STICKY: Final = "{native}/load-balancing: client-hash is the nearest"
_SPLIT: Final = "traffic-split"

# Names that ingress-nginx coined and others took over.
_PROTECTS: Final[Mapping[str, Values]] = {
    "allowlist-source-range": _ALL,
    "whitelist-source-range": _ALL,
    "denylist-source-range": _EMPTY,
    "blocklist-source-range": _EMPTY,
    "blacklist-source-range": _EMPTY,
    "auth-type": _OFF,
    "auth-secret": _EMPTY,
    "auth-url": _EMPTY,
    "auth-snippet": _EMPTY,
    "auth-tls-secret": _EMPTY,
    "auth-tls-match-cn": _EMPTY,
    "auth-tls-verify-client": _OFF,
    "enable-modsecurity": _OFF,
    "enable-owasp-core-rules": _OFF,
    "modsecurity-snippet": _EMPTY,
    "configuration-snippet": _EMPTY,
    "server-snippet": _EMPTY,
    "stream-snippet": _EMPTY,
}
_ADVICE: Final[Mapping[str, str]] = {
    "backend-protocol": _PROTOCOL,
    "secure-backends": _PROTOCOL,
    "grpc-backend": _PROTOCOL,
    "use-regex": _PATHS,
    "server-alias": _HOSTS,
    "default-backend": _DEFAULT,
    "app-root": _ROOT,
    "from-to-www-redirect": _WWW,
    "ssl-passthrough": _PASSTHROUGH,
    "affinity": _STICKY,
    "affinity-mode": _STICKY,
}
# Details of other annotations, whatever their words, and values that ask for what is done anyway.
_UNCHANGED: Final[Mapping[str, Values]] = {
    "auth-always-set-cookie": _OFF,
    "auth-cache-duration": _EMPTY,
    "auth-cache-key": _EMPTY,
    "auth-keepalive": _EMPTY,
    "auth-keepalive-requests": _EMPTY,
    "auth-keepalive-share-vars": _OFF,
    "auth-keepalive-timeout": _EMPTY,
    "auth-method": _EMPTY,
    "auth-proxy-set-headers": _EMPTY,
    "auth-realm": _EMPTY,
    "auth-request-redirect": _EMPTY,
    "auth-response-headers": _EMPTY,
    "auth-secret-type": _EMPTY,
    "auth-signin": _EMPTY,
    "auth-signin-redirect-param": _EMPTY,
    "auth-tls-error-page": _EMPTY,
    "auth-tls-pass-certificate-to-upstream": _OFF,
    "auth-tls-verify-depth": _EMPTY,
    "canary": _OFF,
    "enable-access-log": _ON,
    "enable-cors": _OFF,
    "enable-global-auth": _ALWAYS,
    "force-ssl-redirect": _OFF,
    "from-to-www-redirect": _OFF,
    "http2-push-preload": _ALWAYS,
    "limit-allowlist": _EMPTY,
    "limit-whitelist": _EMPTY,
    "modsecurity-transaction-id": _EMPTY,
    "proxy-body-size": _OFF,
    "ssl-passthrough": _OFF,
    "ssl-redirect": _ON,
    "use-regex": _OFF,
}

# Written into Ingresses by the controller of GKE, for people to read.
_WRITTEN_BY_GKE: Final = (
    *("backends", "forwarding-rule", "https-forwarding-rule", "https-target-proxy", "ssl-cert"),
    *("static-ip", "target-proxy", "url-map", "firewall-rule"),
)

FOREIGN_FAMILIES: Final[tuple[ForeignFamily, ...]] = (
    ForeignFamily(
        controller="ingress-nginx",
        prefixes=("nginx.ingress.kubernetes.io",),
        protects=_PROTECTS,
        same=COINED_BY_INGRESS_NGINX,
        advice=_ADVICE,
        unchanged=_UNCHANGED,
        canary="canary",
    ),
    ForeignFamily(
        # Read by ingress-nginx before 0.9, Traefik 1, haproxy-ingress, Contour and F5.
        controller="older controllers (ingress-nginx, Traefik 1, haproxy-ingress)",
        prefixes=("ingress.kubernetes.io",),
        protects={**_PROTECTS, "auth-tls-strict": _OFF, "oauth": _EMPTY, "waf": _OFF, "config-backend": _EMPTY},
        same={
            **COINED_BY_INGRESS_NGINX,
            "timeout-connect": "connect-timeout",
            "timeout-server": "read-timeout",
        },
        advice=_ADVICE,
        unchanged={**_UNCHANGED, "allow-http": _ON, **dict.fromkeys(_WRITTEN_BY_GKE, _ALWAYS)},
        canary="canary",
    ),
    ForeignFamily(
        controller="Higress",
        prefixes=("higress.io", "mse.ingress.kubernetes.io"),
        protects=_PROTECTS,
        same={**COINED_BY_INGRESS_NGINX, "timeout": "read-timeout"},
        advice=_ADVICE,
        unchanged=_UNCHANGED,
        canary="canary",
    ),
    ForeignFamily(
        controller="NGINX Ingress Controller (F5 NGINX)",
        prefixes=("nginx.org", "nginx.com", "appprotect.f5.com", "appprotectdos.f5.com"),
        protects={
            "basic-auth-secret": _EMPTY,
            "jwt-key": _EMPTY,
            "policies": _EMPTY,
            "location-snippets": _EMPTY,
            "server-snippets": _EMPTY,
            "app-protect-enable": _OFF,
            "app-protect-policy": _EMPTY,
            "app-protect-dos-resource": _EMPTY,
        },
        same={
            "client-max-body-size": "body-limit",
            "lb-method": "load-balancing",
            "proxy-connect-timeout": "connect-timeout",
            "proxy-read-timeout": "read-timeout",
            "proxy-send-timeout": "send-timeout",
            "proxy-set-headers": "request-headers-set",
            "proxy-hide-headers": "response-headers-remove",
            "add-header": "response-headers-set",
            "redirect-to-https": "tls-redirect",
            "http-redirect-code": "redirect-status",
            "rewrite-target": "rewrite-prefix",
            "rewrites": "rewrite-prefix",
        },
        advice={
            "ssl-services": _PROTOCOL,
            "grpc-services": _PROTOCOL,
            "websocket-services": "WebSocket needs no annotation",
            "path-regex": _PATHS,
            "app-root": _ROOT,
            "sticky-cookie-services": _STICKY,
            "mergeable-ingress-type": "Ingresses of one namespace share a host without an annotation",
        },
        unchanged={
            "basic-auth-realm": _EMPTY,
            "jwt-realm": _EMPTY,
            "jwt-token": _EMPTY,
            "jwt-login-url": _EMPTY,
            "app-protect-security-log": _ALWAYS,
            "app-protect-security-log-destination": _ALWAYS,
            "app-protect-security-log-enable": _ALWAYS,
            "websocket-services": _ALWAYS,
            "client-max-body-size": _OFF,
            "redirect-to-https": _OFF,
        },
    ),
    ForeignFamily(
        controller="Traefik",
        prefixes=("traefik.ingress.kubernetes.io",),
        protects={
            **_PROTECTS,
            "router.middlewares": _EMPTY,
            "router.tls.options": _EMPTY,
            "auth-tls": _EMPTY,
        },
        same={
            **COINED_BY_INGRESS_NGINX,
            "request-modifier": "rewrite-prefix",
            "redirect-entry-point": "tls-redirect",
            "redirect-permanent": "redirect-status",
            "redirect-regex": "redirect",
            "service-weights": _SPLIT,
            "load-balancer-method": "load-balancing",
        },
        advice={
            **_ADVICE,
            "service.serversscheme": _PROTOCOL,
            "service.passhostheader": "the Host of the client is always passed on",
            "service.sticky.cookie": _STICKY,
            "router.pathmatcher": _PATHS,
            "rule-type": _PATHS,
        },
        unchanged={**_UNCHANGED, "service.passhostheader": _ON, "auth-remove-header": _OFF},
    ),
    ForeignFamily(
        controller="haproxy-ingress",
        prefixes=("haproxy-ingress.github.io",),
        protects={
            **_PROTECTS,
            "auth-external": _EMPTY,
            "auth-tls-strict": _OFF,
            "config-backend": _EMPTY,
            "config-frontend": _EMPTY,
            "oauth": _EMPTY,
            "waf": _EMPTY,
        },
        same={
            **COINED_BY_INGRESS_NGINX,
            "balance-algorithm": "load-balancing",
            "headers": "request-headers-set",
            "redirect-to": "redirect",
            "redirect-to-code": "redirect-status",
            "blue-green-deploy": _SPLIT,
            "blue-green-balance": _SPLIT,
            "retry-on": "retries",
            "timeout-connect": "connect-timeout",
            "timeout-server": "read-timeout",
        },
        advice={**_ADVICE, "path-type": _PATHS, "server-alias-regex": _HOSTS},
        unchanged={
            **_UNCHANGED,
            "auth-headers-request": _EMPTY,
            "auth-headers-succeed": _EMPTY,
            "auth-headers-fail": _EMPTY,
            "auth-log-format": _EMPTY,
            "auth-tls-cert-header": _OFF,
            "oauth-headers": _EMPTY,
            "oauth-uri-prefix": _EMPTY,
            "waf-mode": _EMPTY,
        },
    ),
    ForeignFamily(
        controller="HAProxy Kubernetes Ingress Controller",
        prefixes=("haproxy.org", "haproxy.com", "ingress.haproxy.org", "ingress.haproxy.com"),
        protects={
            "allow-list": _ALL,
            "whitelist": _ALL,
            "deny-list": _EMPTY,
            "blacklist": _EMPTY,
            "auth-type": _OFF,
            "auth-secret": _EMPTY,
            "client-ca": _EMPTY,
            "backend-config-snippet": _EMPTY,
            "frontend-config-snippet": _EMPTY,
        },
        same={
            "allow-list": "allow-sources",
            "whitelist": "allow-sources",
            "load-balance": "load-balancing",
            "path-rewrite": "rewrite-prefix",
            "request-redirect": "redirect",
            "request-redirect-code": "redirect-status",
            "request-set-header": "request-headers-set",
            "response-set-header": "response-headers-set",
            "ssl-redirect": "tls-redirect",
            "timeout-connect": "connect-timeout",
            "timeout-server": "read-timeout",
        },
        advice={
            "server-ssl": _PROTOCOL,
            "server-proto": _PROTOCOL,
            "ssl-passthrough": _PASSTHROUGH,
            "cookie-persistence": _STICKY,
        },
        unchanged={
            "auth-realm": _EMPTY,
            "cors-enable": _OFF,
            "rate-limit-whitelist": _EMPTY,
            "server-ssl": _OFF,
            "ssl-passthrough": _OFF,
            "ssl-redirect": _ON,
        },
    ),
    ForeignFamily(
        controller="Kong",
        prefixes=("konghq.com", "configuration.konghq.com", "plugins.konghq.com"),
        protects={"plugins": _EMPTY, "override": _EMPTY},
        same={
            "connect-timeout": "connect-timeout",
            "read-timeout": "read-timeout",
            "write-timeout": "send-timeout",
            "retries": "retries",
            "rewrite": "rewrite-prefix",
            "strip-path": "rewrite-prefix",
            "https-redirect-status-code": "tls-redirect",
            "protocols": "tls-redirect",
        },
        advice={
            "protocol": _PROTOCOL,
            "host-aliases": _HOSTS,
            "preserve-host": "the Host of the client is always passed on",
        },
        unchanged={"preserve-host": _ON, "strip-path": _OFF},
    ),
    ForeignFamily(
        controller="Contour",
        prefixes=("projectcontour.io", "contour.heptio.com"),
        same={
            "num-retries": "retries",
            "retry-on": "retries",
            "response-timeout": "read-timeout",
            "per-try-timeout": "read-timeout",
        },
        advice={"websocket-routes": "WebSocket needs no annotation", "upstream-protocol.": _PROTOCOL},
        unchanged={"websocket-routes": _ALWAYS},
    ),
    ForeignFamily(
        controller="AWS Load Balancer Controller",
        prefixes=("alb.ingress.kubernetes.io",),
        protects={
            "auth-type": _OFF,
            "auth-idp-cognito": _EMPTY,
            "auth-idp-oidc": _EMPTY,
            "inbound-cidrs": _ALL,
            "security-groups": _EMPTY,
            "security-group-prefix-lists": _EMPTY,
            "mutual-authentication": _EMPTY,
            "waf-acl-id": _OFF,
            "web-acl-id": _OFF,
            "wafv2-acl-arn": _OFF,
            "wafv2-acl-name": _OFF,
            "conditions.": Values.NO_ADDRESSES,
            "jwt-validation": _EMPTY,
        },
        same={"inbound-cidrs": "allow-sources", "ssl-redirect": "tls-redirect"},
        advice={
            "backend-protocol": _PROTOCOL,
            "backend-protocol-version": _PROTOCOL,
            "conditions.": "every request that the path takes goes to the Service",
            "scheme": "who can reach the proxy is decided by its own Service or ports",
        },
        unchanged={
            "auth-on-unauthenticated-request": _EMPTY,
            "auth-scope": _EMPTY,
            "auth-session-cookie": _EMPTY,
            "auth-session-timeout": _EMPTY,
        },
    ),
    ForeignFamily(
        controller="GKE Ingress",
        prefixes=(
            "networking.gke.io",
            "ingress.gcp.kubernetes.io",
            "cloud.google.com",
            "beta.cloud.google.com",
        ),
        whole=(
            "kubernetes.io/ingress.global-static-ip-name",
            "kubernetes.io/ingress.regional-static-ip-name",
        ),
        # A BackendConfig may have Identity-Aware Proxy and Cloud Armor in it.
        protects={"backend-config": _EMPTY},
        advice={
            "app-protocols": _PROTOCOL,
            "v1beta1.FrontendConfig": "use {native}/tls-redirect for its redirect",
        },
        unchanged={
            "neg": _ALWAYS,
            "neg-status": _ALWAYS,
            "load-balancer-type": _ALWAYS,
            "kubernetes.io/ingress.global-static-ip-name": _EMPTY,
            "kubernetes.io/ingress.regional-static-ip-name": _EMPTY,
        },
    ),
    ForeignFamily(
        controller="Azure Application Gateway",
        prefixes=("appgw.ingress.kubernetes.io", "alb.networking.azure.io"),
        protects={
            "waf-policy-for-path": _EMPTY,
            "waf-policy": _EMPTY,
            "appgw-trusted-client-certificate": _EMPTY,
        },
        same={
            "ssl-redirect": "tls-redirect",
            "backend-path-prefix": "rewrite-prefix",
            "request-timeout": "read-timeout",
        },
        advice={
            "backend-protocol": _PROTOCOL,
            "cookie-based-affinity": _STICKY,
            "hostname-extension": _HOSTS,
            "use-private-ip": "who can reach the proxy is decided by its own Service or ports",
        },
        unchanged={"ssl-redirect": _OFF, "cookie-based-affinity": _OFF, "use-private-ip": _OFF},
    ),
    ForeignFamily(
        controller="Skipper",
        prefixes=("zalando.org",),
        protects={
            "skipper-filter": _EMPTY,
            "skipper-predicate": _EMPTY,
            "skipper-routes": _EMPTY,
        },
        same={
            "backend-weights": _SPLIT,
            "skipper-loadbalancer": "load-balancing",
            "skipper-ingress-redirect": "tls-redirect",
        },
        advice={"skipper-backend-protocol": _PROTOCOL, "skipper-ingress-path-mode": _PATHS},
    ),
    ForeignFamily(
        controller="Apache APISIX",
        prefixes=("k8s.apisix.apache.org",),
        protects={
            "allowlist-source-range": _ALL,
            "blocklist-source-range": _EMPTY,
            "auth-type": _OFF,
            "auth-uri": _EMPTY,
            "enable-csrf": _OFF,
            "http-allow-methods": _EMPTY,
            "http-block-methods": _EMPTY,
            "plugin-config-name": _EMPTY,
        },
        same={
            "allowlist-source-range": "allow-sources",
            "http-to-https": "tls-redirect",
            "http-redirect": "redirect",
            "http-redirect-code": "redirect-status",
            "rewrite-target": "rewrite-prefix",
            "upstream-connect-timeout": "connect-timeout",
            "upstream-read-timeout": "read-timeout",
            "upstream-send-timeout": "send-timeout",
            "upstream-retries": "retries",
        },
        advice={
            "upstream-scheme": _PROTOCOL,
            "use-regex": _PATHS,
            "rewrite-target-regex": _PATHS,
            "enable-websocket": "WebSocket needs no annotation",
        },
        unchanged={
            "auth-request-headers": _EMPTY,
            "auth-upstream-headers": _EMPTY,
            "auth-client-headers": _EMPTY,
            "auth-ssl-verify": _EMPTY,
            "enable-cors": _OFF,
            "enable-websocket": _ALWAYS,
            "use-regex": _OFF,
        },
    ),
    ForeignFamily(
        controller="Voyager",
        prefixes=("ingress.appscode.com",),
        protects={**_PROTECTS, "frontend-rules": _EMPTY, "backend-rules": _EMPTY},
        same=COINED_BY_INGRESS_NGINX,
        advice=_ADVICE,
        unchanged=_UNCHANGED,
    ),
    ForeignFamily(
        controller="NetScaler (Citrix)",
        prefixes=("ingress.citrix.com", "service.citrix.com"),
        protects={"ca-secret": _EMPTY, "policies": _EMPTY, "rewrite-responder": _EMPTY},
        advice={"secure-backend": _PROTOCOL, "path-match-method": _PATHS},
        unchanged={"insecure-termination": _EMPTY},
    ),
    ForeignFamily(
        controller="Tyk",
        prefixes=("tyk.io", "service.tyk.io", "template.service.tyk.io", "bool.service.tyk.io"),
        protects={"template": _EMPTY, "keyless": _ON, "use-keyless": _ON},
    ),
    ForeignFamily(
        controller="Emissary (Ambassador)",
        prefixes=("getambassador.io",),
        protects={"config": _EMPTY},
    ),
    ForeignFamily(
        controller="Caddy Ingress Controller",
        prefixes=("caddy.ingress.kubernetes.io",),
        same={
            "disable-ssl-redirect": "tls-redirect",
            "permanent-redirect": "redirect",
            "permanent-redirect-code": "redirect-status",
            "temporary-redirect": "redirect",
            "rewrite-to": "rewrite-prefix",
            "rewrite-strip-prefix": "rewrite-prefix",
        },
        advice={"backend-protocol": _PROTOCOL},
        unchanged={"disable-ssl-redirect": _OFF},
    ),
    ForeignFamily(
        controller="Avi Kubernetes Operator",
        prefixes=("ako.vmware.com", "passthrough.ako.vmware.com"),
        protects={"sso-policy": _EMPTY},
        advice={"enabled": _PASSTHROUGH},
        unchanged={"enabled": _OFF},
    ),
    ForeignFamily(
        controller="F5 BIG-IP Container Ingress Services",
        prefixes=("virtual-server.f5.com", "cis.f5.com"),
        protects={"whitelist-source-range": _ALL, "allow-source-range": _ALL, "clientssl": _EMPTY},
        same={
            "whitelist-source-range": "allow-sources",
            "allow-source-range": "allow-sources",
            "balance": "load-balancing",
            "rewrite-target-url": "rewrite-prefix",
        },
        advice={"serverssl": _PROTOCOL, "rewrite-app-root": _ROOT, "secure-serverssl": _PROTOCOL},
    ),
    ForeignFamily(
        controller="OpenShift Router",
        prefixes=("route.openshift.io", "haproxy.router.openshift.io", "router.openshift.io"),
        protects={"ip_whitelist": _ALL, "ip_allowlist": _ALL},
        same={
            "ip_whitelist": "allow-sources",
            "ip_allowlist": "allow-sources",
            "timeout": "read-timeout",
            "balance": "load-balancing",
            "rewrite-target": "rewrite-prefix",
        },
        advice={"termination": "TLS comes from spec.tls"},
        unchanged={"termination": Values.ALWAYS},
    ),
    ForeignFamily(
        controller="Pomerium",
        prefixes=("ingress.pomerium.io",),
        protects={
            "policy": _EMPTY,
            "allow_any_authenticated_user": _OFF,
            "allowed_domains": _EMPTY,
            "allowed_users": _EMPTY,
            "allowed_groups": _EMPTY,
            "allowed_idp_claims": _EMPTY,
        },
        same={"prefix_rewrite": "rewrite-prefix", "timeout": "read-timeout"},
        advice={"secure_upstream": _PROTOCOL},
        unchanged={
            "allow_public_unauthenticated_access": _ALWAYS,
            "cors_allow_preflight": _OFF,
            "allow_websockets": _ALWAYS,
            "pass_identity_headers": _OFF,
        },
    ),
    ForeignFamily(
        controller="Cilium",
        prefixes=("ingress.cilium.io",),
        same={"force-https": "tls-redirect", "request-timeout": "read-timeout"},
        advice={"tls-passthrough": _PASSTHROUGH},
        unchanged={"tls-passthrough": _OFF, "force-https": _OFF},
    ),
    ForeignFamily(
        controller="ngrok",
        prefixes=("k8s.ngrok.com",),
        protects={"modules": _EMPTY, "traffic-policy": _EMPTY},
    ),
    ForeignFamily(
        controller="IBM Cloud ALB",
        prefixes=("ingress.bluemix.net",),
        protects={"appid-auth": _EMPTY, "mutual-auth": _EMPTY, "location-snippets": _EMPTY},
        same={
            "client-max-body-size": "body-limit",
            "proxy-connect-timeout": "connect-timeout",
            "proxy-read-timeout": "read-timeout",
            "redirect-to-https": "tls-redirect",
            "rewrite-path": "rewrite-prefix",
        },
        advice={"ssl-services": _PROTOCOL, "sticky-cookie-services": _STICKY},
    ),
    ForeignFamily(
        controller="Istio",
        prefixes=("networking.istio.io", "security.istio.io", "traffic.istio.io"),
        unchanged={"exportTo": _ALWAYS},
    ),
    ForeignFamily(
        controller="Gloo",
        prefixes=("gloo.solo.io", "gateway.solo.io"),
    ),
)
"""Every controller that is known, none twice under one prefix."""
