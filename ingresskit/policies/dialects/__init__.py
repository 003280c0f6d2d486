"""Families of annotations, each read into policies by one dialect."""

from ingresskit.policies.dialects.base import (
    NO_GRANTS,
    NOTHING_READ,
    AnnotationDoc,
    Dialect,
    DialectContext,
    Grants,
    Objects,
    Reading,
    RulePath,
    Status,
    no_objects,
)
from ingresskit.policies.dialects.ingress_nginx import (
    INGRESS_NGINX_ORDER,
    INGRESS_NGINX_PREFIX,
    IngressNginxDialect,
)
from ingresskit.policies.dialects.kubernetes import KubernetesDialect
from ingresskit.policies.dialects.native import NATIVE_PREFIX, NativeDialect

__all__ = [
    "INGRESS_NGINX_ORDER",
    "INGRESS_NGINX_PREFIX",
    "NATIVE_PREFIX",
    "NOTHING_READ",
    "NO_GRANTS",
    "AnnotationDoc",
    "Dialect",
    "DialectContext",
    "Grants",
    "IngressNginxDialect",
    "KubernetesDialect",
    "NativeDialect",
    "Objects",
    "Reading",
    "RulePath",
    "Status",
    "no_objects",
]
