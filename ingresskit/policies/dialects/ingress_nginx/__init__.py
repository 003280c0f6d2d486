"""The annotations of ingress-nginx, as it reads them."""

from ingresskit.policies.dialects.ingress_nginx.dialect import (
    INGRESS_NGINX_ORDER,
    INGRESS_NGINX_PREFIX,
    IngressNginxDialect,
)

__all__ = ["INGRESS_NGINX_ORDER", "INGRESS_NGINX_PREFIX", "IngressNginxDialect"]
