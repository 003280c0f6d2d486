"""Annotations of the controllers that drive a load balancer, a gateway or a service outside the cluster."""

from __future__ import annotations

from typing import Final

from ingresskit.policies.foreign import ForeignFamily, Values
from ingresskit.policies.foreign_words import (
    ALL,
    ALWAYS,
    EMPTY,
    HOSTS,
    OFF,
    ON,
    OPAQUE,
    PASSTHROUGH,
    PATHS,
    PROTOCOL,
    ROOT,
    STICKY,
)

__all__ = ["CLOUDS"]

CLOUDS: Final[tuple[ForeignFamily, ...]] = (
    ForeignFamily(
        controller="AWS Load Balancer Controller",
        prefixes=("alb.ingress.kubernetes.io",),
        protects={
            "auth-type": OFF,
            "auth-idp-cognito": EMPTY,
            "auth-idp-oidc": EMPTY,
            "inbound-cidrs": ALL,
            "security-groups": EMPTY,
            "security-group-prefix-lists": EMPTY,
            "mutual-authentication": EMPTY,
            "waf-acl-id": OFF,
            "web-acl-id": OFF,
            "wafv2-acl-arn": OFF,
            "wafv2-acl-name": OFF,
            "conditions.": Values.NO_ADDRESSES,
            "jwt-validation": EMPTY,
        },
        same={"inbound-cidrs": "allow-sources", "jwt-validation": "jwt-keys", "ssl-redirect": "tls-redirect"},
        switches={"auth-idp-cognito": "auth-type", "auth-idp-oidc": "auth-type"},
        advice={
            "backend-protocol": PROTOCOL,
            "backend-protocol-version": PROTOCOL,
            "conditions.": "every request that the path takes goes to the Service",
            "scheme": "who can reach the proxy is decided by its own Service or ports",
        },
        unchanged={
            "auth-on-unauthenticated-request": EMPTY,
            "auth-scope": EMPTY,
            "auth-session-cookie": EMPTY,
            "auth-session-timeout": EMPTY,
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
        protects={"backend-config": OPAQUE},
        advice={
            "app-protocols": PROTOCOL,
            "v1beta1.FrontendConfig": "use {native}/tls-redirect for its redirect",
        },
        unchanged={
            "neg": ALWAYS,
            "neg-status": ALWAYS,
            "load-balancer-type": ALWAYS,
            "kubernetes.io/ingress.global-static-ip-name": EMPTY,
            "kubernetes.io/ingress.regional-static-ip-name": EMPTY,
        },
    ),
    ForeignFamily(
        controller="Azure Application Gateway",
        prefixes=("appgw.ingress.kubernetes.io", "alb.networking.azure.io"),
        protects={
            "waf-policy-for-path": EMPTY,
            "waf-policy": EMPTY,
            "appgw-trusted-client-certificate": EMPTY,
        },
        same={
            "ssl-redirect": "tls-redirect",
            "backend-path-prefix": "rewrite-prefix",
            "request-timeout": "read-timeout",
        },
        advice={
            "backend-protocol": PROTOCOL,
            "cookie-based-affinity": STICKY,
            "hostname-extension": HOSTS,
            "use-private-ip": "who can reach the proxy is decided by its own Service or ports",
        },
        unchanged={"ssl-redirect": OFF, "cookie-based-affinity": OFF, "use-private-ip": OFF},
    ),
    ForeignFamily(
        controller="NetScaler (Citrix)",
        prefixes=("ingress.citrix.com", "service.citrix.com"),
        protects={"ca-secret": EMPTY, "policies": OPAQUE, "rewrite-responder": OPAQUE},
        advice={"secure-backend": PROTOCOL, "path-match-method": PATHS},
        unchanged={"insecure-termination": EMPTY},
    ),
    ForeignFamily(
        controller="Tyk",
        prefixes=("tyk.io", "service.tyk.io", "template.service.tyk.io", "bool.service.tyk.io"),
        protects={"template": OPAQUE, "keyless": ON, "use-keyless": ON},
    ),
    ForeignFamily(
        controller="Avi Kubernetes Operator",
        prefixes=("ako.vmware.com", "passthrough.ako.vmware.com"),
        protects={"sso-policy": EMPTY},
        advice={"enabled": PASSTHROUGH},
        unchanged={"enabled": OFF},
    ),
    ForeignFamily(
        controller="F5 BIG-IP Container Ingress Services",
        prefixes=("virtual-server.f5.com", "cis.f5.com"),
        protects={"whitelist-source-range": ALL, "allow-source-range": ALL, "clientssl": OPAQUE},
        same={
            "whitelist-source-range": "allow-sources",
            "allow-source-range": "allow-sources",
            "balance": "load-balancing",
            "rewrite-target-url": "rewrite-prefix",
        },
        advice={"serverssl": PROTOCOL, "rewrite-app-root": ROOT, "secure-serverssl": PROTOCOL},
    ),
    ForeignFamily(
        controller="OpenShift Router",
        prefixes=("route.openshift.io", "haproxy.router.openshift.io", "router.openshift.io"),
        protects={"ip_whitelist": ALL, "ip_allowlist": ALL},
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
            "policy": EMPTY,
            "allow_any_authenticated_user": OFF,
            "allowed_domains": EMPTY,
            "allowed_users": EMPTY,
            "allowed_groups": EMPTY,
            "allowed_idp_claims": EMPTY,
        },
        same={"prefix_rewrite": "rewrite-prefix", "timeout": "read-timeout"},
        advice={"secure_upstream": PROTOCOL},
        unchanged={
            "allow_public_unauthenticated_access": ALWAYS,
            "cors_allow_preflight": OFF,
            "allow_websockets": ALWAYS,
            "pass_identity_headers": OFF,
        },
    ),
    ForeignFamily(
        controller="ngrok",
        prefixes=("k8s.ngrok.com",),
        protects={"modules": OPAQUE, "traffic-policy": OPAQUE},
    ),
    ForeignFamily(
        controller="IBM Cloud ALB",
        prefixes=("ingress.bluemix.net",),
        protects={"appid-auth": EMPTY, "mutual-auth": EMPTY, "location-snippets": OPAQUE},
        same={
            "client-max-body-size": "body-limit",
            "proxy-connect-timeout": "connect-timeout",
            "proxy-read-timeout": "read-timeout",
            "redirect-to-https": "tls-redirect",
            "rewrite-path": "rewrite-prefix",
        },
        advice={"ssl-services": PROTOCOL, "sticky-cookie-services": STICKY},
    ),
)
