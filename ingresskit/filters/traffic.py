"""What becomes of a request and its response beside the one endpoint that gets it."""

from __future__ import annotations

from typing import Final

from ingresskit.filters.effects import Compiler, Effect
from ingresskit.policies import AccessLog, FallbackService, Mirror

__all__ = ["COMPILERS"]

# Which backends do it, the action of the route says.


def _fallback(policy: FallbackService) -> Effect:
    return Effect(errors=frozenset(policy.errors))


def _mirror(policy: Mirror) -> Effect:
    return Effect() if policy.target is None else Effect(mirror=policy)


def _access_log(policy: AccessLog) -> Effect:
    return Effect() if policy.enabled and not policy.skipped else Effect(access_log=policy)


COMPILERS: Final = (
    Compiler(AccessLog, _access_log),
    Compiler(FallbackService, _fallback),
    Compiler(Mirror, _mirror),
)
