"""A policy of a third party: in a module of its own, which the delegate imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ingresskit.filters import BUILTIN_EFFECTS, Effect, Memory, Reply, RequestView
from ingresskit.policies import Policy, Stage, annotated
from ingresskit.policies.values import parse_boolean

__all__ = ["EFFECTS", "Teapot", "compile_teapot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Teapot(Policy):
    """Whether requests for coffee get 418.

    Attributes:
        enabled: They do.
    """

    enabled: bool = annotated(
        "teapot", parse_boolean, default=False, grammar="`true` or `false`", summary="Refuse to brew coffee."
    )


@dataclass(frozen=True, slots=True)
class _NoCoffee:
    stage: ClassVar[Stage] = Stage.RATE

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        """Respond 418 to requests for coffee."""
        del memory
        return Reply(status=418) if request.path.endswith("/coffee") else None


def compile_teapot(policy: Teapot) -> Effect:
    """The effect of the policy."""
    return Effect(guards=(_NoCoffee(),)) if policy.enabled else Effect()


EFFECTS = BUILTIN_EFFECTS.with_policy(Teapot, compile_teapot)
