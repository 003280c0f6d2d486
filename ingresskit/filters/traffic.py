"""What becomes of a request and its response beside the one endpoint that gets it."""

from __future__ import annotations

from typing import Final

from ingresskit.filters.effects import Compiler, Effect
from ingresskit.policies import FallbackService

__all__ = ["COMPILERS"]


def _default(policy: FallbackService) -> Effect:
    # Which backend it is, and that it gets the requests of one without endpoints, the action of the route says.
    return Effect(errors=frozenset(policy.errors))


COMPILERS: Final = (Compiler(FallbackService, _default),)
