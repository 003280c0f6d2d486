"""Which trace a request belongs to, as endpoints are told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from ingresskit.filters.base import Memory, RequestView
from ingresskit.filters.edits import HeaderEdit
from ingresskit.filters.effects import Compiler, Effect
from ingresskit.policies import Stage, TraceContext

__all__ = ["COMPILERS", "TraceFilter"]

# Version 00, and later ones, which may have more behind the flags; neither identity is all zeros.
_TRACEPARENT: Final = re.compile(
    rb"(?:00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    rb"|(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?)"
)
_NAMES: Final = frozenset((b"traceparent", b"tracestate"))


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """Gives requests that belong to no trace a new one.

    Attributes:
        trusts_client: As `TraceContext.trusts_client`.
    """

    stage: ClassVar[Stage] = Stage.HEADERS

    trusts_client: bool = True

    def request(self, request: RequestView, memory: Memory) -> HeaderEdit | None:
        """As `Filter.request`."""
        said = request.field(b"traceparent")
        if self.trusts_client and said is not None and _TRACEPARENT.fullmatch(said):
            return None
        # An identity of zeros is none, and the lowest bit makes sure of it.
        made = b"00-%032x-%016x-01" % (memory.draw(128) | 1, memory.draw(64) | 1)
        return HeaderEdit(drop=_NAMES, fields=((b"traceparent", made),))


def _trace(policy: TraceContext) -> Effect:
    return Effect(guards=(TraceFilter(policy.trusts_client),)) if policy.enabled else Effect()


COMPILERS: Final = (Compiler(TraceContext, _trace),)
