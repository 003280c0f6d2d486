"""The registry that is used unless another one is given."""

from __future__ import annotations

from ingresskit.policies.base import Policy
from ingresskit.policies.dialects import NATIVE_PREFIX, KubernetesDialect, NativeDialect
from ingresskit.policies.kinds import BUILTIN_POLICIES
from ingresskit.policies.registry import PolicyRegistry

__all__ = ["default_policies"]


def default_policies(*extra: type[Policy], prefix: str = NATIVE_PREFIX) -> PolicyRegistry:
    """The native dialect with every built-in policy and *extra* ones of your own, and what Kubernetes names.

    Raises:
        ConfigurationError: An extra policy reads an annotation that another one reads.
    """
    return PolicyRegistry([NativeDialect((*BUILTIN_POLICIES, *extra), prefix=prefix), KubernetesDialect()])
