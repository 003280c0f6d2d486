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
    Status,
    no_objects,
)
from ingresskit.policies.dialects.kubernetes import KubernetesDialect
from ingresskit.policies.dialects.native import NATIVE_PREFIX, NativeDialect

__all__ = [
    "NATIVE_PREFIX",
    "NOTHING_READ",
    "NO_GRANTS",
    "AnnotationDoc",
    "Dialect",
    "DialectContext",
    "Grants",
    "KubernetesDialect",
    "NativeDialect",
    "Objects",
    "Reading",
    "Status",
    "no_objects",
]
