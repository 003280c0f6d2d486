"""Policies and their effects that other packages register, in the metadata of the package.

A policy that the native dialect is to read stands in the group ``ingresskit.policies``: under a name of its
own, a subclass of `Policy`. What it does in the in-process data plane, and so in the delegate beside every
program, stands under the same name in the group ``ingresskit.effects``: a function from the policy to an
`Effect`.

    [project.entry-points."ingresskit.policies"]
    priority = "acme_ingress:Priority"

    [project.entry-points."ingresskit.effects"]
    priority = "acme_ingress:queue"
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from ingresskit.errors import ConfigurationError
from ingresskit.filters import BUILTIN_EFFECTS, Effect, PolicyEffects
from ingresskit.policies import Policy

__all__ = ["EFFECTS", "POLICIES", "installed_effects", "installed_policies", "refused"]

POLICIES = "ingresskit.policies"
EFFECTS = "ingresskit.effects"


def installed_policies() -> dict[str, type[Policy]]:
    """The policies of other packages, by the name of their entry, sorted by it.

    Raises:
        ConfigurationError: One cannot be loaded, or is no policy.
    """
    return {entry.name: _policy(entry) for entry in _sorted(POLICIES)}


def installed_effects() -> PolicyEffects:
    """What the built-in policies do, and those of other packages.

    Raises:
        ConfigurationError: An effect cannot be loaded, or is of no policy that is installed.
    """
    effects = BUILTIN_EFFECTS
    entries = _sorted(EFFECTS)
    policies = installed_policies() if entries else {}
    for entry in entries:
        policy = policies.get(entry.name)
        if policy is None:
            raise refused("effect", entry, f"has no policy of the same name in the group {POLICIES}")
        try:
            compile_one: object = entry.load()
        except Exception as exc:
            raise refused("effect", entry, f"cannot be loaded: {exc!r}") from exc
        if not callable(compile_one):
            raise refused("effect", entry, "is not a function from a policy to an ingresskit.filters.Effect")
        effects = effects.with_policy(policy, cast("Callable[[Any], Effect]", compile_one))
    return effects


def refused(what: str, entry: EntryPoint, why: str) -> ConfigurationError:
    """The error for an entry that cannot be used; *why* is the end of the sentence."""
    origin = f"of {entry.dist.name}" if entry.dist else f"at {entry.value}"
    return ConfigurationError(f"the {what} {entry.name} {origin} {why}")


def _sorted(group: str) -> list[EntryPoint]:
    return sorted(entry_points(group=group), key=lambda entry: entry.name)


def _policy(entry: EntryPoint) -> type[Policy]:
    try:
        policy: object = entry.load()
    except Exception as exc:
        raise refused("policy", entry, f"cannot be loaded: {exc!r}") from exc
    if not (isinstance(policy, type) and issubclass(policy, Policy)):
        raise refused("policy", entry, "is not a subclass of ingresskit.Policy")
    return policy
