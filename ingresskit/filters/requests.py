"""Which requests are served at all: by their method, and by what their client says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from ingresskit.filters.base import Memory, Reply, RequestView
from ingresskit.filters.effects import Compiler, Effect
from ingresskit.policies import AllowedMethods, DeniedAgents, Pattern, Stage

__all__ = ["COMPILERS", "AgentFilter", "MethodFilter"]


@dataclass(frozen=True, slots=True)
class MethodFilter:
    """Lets requests with one of some methods pass; 405 for all others, with the list."""

    stage: ClassVar[Stage] = Stage.RATE

    methods: frozenset[bytes]
    allow: bytes

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        """As `Filter.request`."""
        if request.method in self.methods:
            return None
        return Reply(status=405, fields=((b"Allow", self.allow),))


@dataclass(frozen=True, slots=True)
class AgentFilter:
    """Refuses requests of certain programs, or from certain pages: 403."""

    stage: ClassVar[Stage] = Stage.AGENT

    agents: tuple[Pattern, ...]
    referers: tuple[Pattern, ...]

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        """As `Filter.request`."""
        if _matches(self.agents, request.field(b"user-agent")):
            return Reply(status=403)
        if _matches(self.referers, request.field(b"referer")):
            return Reply(status=403)
        return None


def _matches(patterns: tuple[Pattern, ...], value: bytes | None) -> bool:
    if not patterns or value is None:
        return False
    text = value.decode("latin-1").strip()
    return any(pattern.matches(text) for pattern in patterns)


def _methods(policy: AllowedMethods) -> Effect:
    if not policy.methods:
        return Effect()
    encoded = [method.encode("ascii") for method in policy.methods]
    return Effect(guards=(MethodFilter(frozenset(encoded), b", ".join(encoded)),))


def _agents(policy: DeniedAgents) -> Effect:
    if not policy.agents and not policy.referers:
        return Effect()
    made = AgentFilter(tuple(map(Pattern, policy.agents)), tuple(map(Pattern, policy.referers)))
    return Effect(guards=(made,))


COMPILERS: Final = (Compiler(DeniedAgents, _agents), Compiler(AllowedMethods, _methods))
