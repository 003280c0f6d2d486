"""How much a request may bring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from ingresskit.filters.base import Memory, Reply, RequestView
from ingresskit.filters.effects import Compiler, Effect
from ingresskit.graph import Termination
from ingresskit.policies import BodyLimit, Stage

__all__ = ["COMPILERS", "BodyFilter"]


@dataclass(frozen=True, slots=True)
class BodyFilter:
    """Refuses bodies that are declared to be larger than the limit: 413.

    A body of unknown length is counted by the runtime while it passes, up to the same limit.
    """

    stage: ClassVar[Stage] = Stage.BODY

    max_bytes: int

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        """As `Filter.request`."""
        if request.length is None or request.length <= self.max_bytes:
            return None
        return Reply(status=413, termination=Termination.BODY_TOO_LARGE)


def _body(policy: BodyLimit) -> Effect:
    if not policy.max_bytes:
        return Effect()
    return Effect(guards=(BodyFilter(policy.max_bytes),), max_body_bytes=policy.max_bytes)


COMPILERS: Final = (Compiler(BodyLimit, _body),)
