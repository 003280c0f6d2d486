"""What annotations mean: typed policies, the value types they are made of, and the registry."""

from ingresskit.policies.base import Annotation, Origin, Policy, PolicyScope, PolicySet, annotated
from ingresskit.policies.defaults import default_policies
from ingresskit.policies.foreign import ForeignAnnotations, ForeignFamily, ForeignProtections, Values
from ingresskit.policies.foreign_table import FOREIGN_FAMILIES
from ingresskit.policies.kinds import (
    BUILTIN_POLICIES,
    Algorithm,
    AllowedSources,
    BodyLimit,
    LoadBalancing,
    PermanentRedirect,
    PlainHttp,
    PrefixRewrite,
    RedirectStatus,
    RequestHeaders,
    ResponseHeaders,
    Retries,
    Timeouts,
    TlsRedirect,
    TrafficSplit,
)
from ingresskit.policies.kubernetes import KubernetesDialect
from ingresskit.policies.order import NATIVE_ORDER, STAGE_REASONS, Order, Stage
from ingresskit.policies.registry import (
    NATIVE_PREFIX,
    Dialect,
    NativeDialect,
    ParsedPolicies,
    PolicyRegistry,
)

__all__ = [
    "BUILTIN_POLICIES",
    "FOREIGN_FAMILIES",
    "NATIVE_ORDER",
    "NATIVE_PREFIX",
    "STAGE_REASONS",
    "Algorithm",
    "AllowedSources",
    "Annotation",
    "BodyLimit",
    "Dialect",
    "ForeignAnnotations",
    "ForeignFamily",
    "ForeignProtections",
    "KubernetesDialect",
    "LoadBalancing",
    "NativeDialect",
    "Order",
    "Origin",
    "ParsedPolicies",
    "PermanentRedirect",
    "PlainHttp",
    "Policy",
    "PolicyRegistry",
    "PolicyScope",
    "PolicySet",
    "PrefixRewrite",
    "RedirectStatus",
    "RequestHeaders",
    "ResponseHeaders",
    "Retries",
    "Stage",
    "Timeouts",
    "TlsRedirect",
    "TrafficSplit",
    "Values",
    "annotated",
    "default_policies",
]
