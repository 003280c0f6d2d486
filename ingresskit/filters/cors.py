"""Which pages of other sites may read responses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from ingresskit.filters.base import Memory, Reply, RequestView, ResponseView
from ingresskit.filters.edits import UNCHANGED, HeaderEdit
from ingresskit.filters.effects import Compiler, Effect
from ingresskit.policies import Cors, Stage

__all__ = ["COMPILERS", "CorsFilter"]

_ORIGIN: Final = b"Access-Control-Allow-Origin"
_VARY: Final = (b"Vary", b"Origin")


@dataclass(frozen=True, slots=True)
class CorsFilter:
    """Responds 204 to preflights of allowed origins, and adds the fields of the policy to responses.

    Attributes:
        origins: Matches the whole of an allowed origin; ``None``: all are allowed, and none need be named.
        fields: As `Cors.fields`, in ASCII.
        every_options: As `Cors.every_options`.
    """

    stage: ClassVar[Stage] = Stage.PREFLIGHT

    origins: re.Pattern[bytes] | None
    fields: tuple[tuple[bytes, bytes], ...]
    every_options: bool

    def request(self, request: RequestView, memory: Memory) -> Reply | None:
        """As `Filter.request`."""
        if request.method != b"OPTIONS":
            return None
        if not (self.every_options or _is_preflight(request)):
            return None
        origin = self._allowed(request)
        if origin is None:
            return None
        varied = () if self.origins is None else (_VARY,)
        return Reply(status=204, fields=((_ORIGIN, origin), *self.fields, *varied), termination=None)

    def response(self, request: RequestView, response: ResponseView) -> HeaderEdit:
        """As `ResponseFilter.response`."""
        # Also for other origins, and without one: a cache must not give them each other's responses.
        edit = UNCHANGED if self.origins is None else HeaderEdit(fields=(_VARY,))
        origin = self._allowed(request)
        if origin is None:
            return edit
        own = ((_ORIGIN, origin), *self.fields)
        return HeaderEdit(drop=frozenset(name.lower() for name, _ in own), fields=(*own, *edit.fields))

    def _allowed(self, request: RequestView) -> bytes | None:
        """What the response names as origin; ``None`` where that of the request is not allowed."""
        if self.origins is None:
            return b"*"
        origin = request.field(b"origin")
        return origin if origin is not None and self.origins.fullmatch(origin) else None


def _is_preflight(request: RequestView) -> bool:
    # Fetch standard, "CORS-preflight request".
    return request.field(b"origin") is not None and request.field(b"access-control-request-method") is not None


def _cors(policy: Cors) -> Effect:
    if not policy.origins:
        return Effect()
    made = CorsFilter(
        origins=None if policy.everybody else re.compile(policy.pattern.encode("ascii"), re.IGNORECASE),
        fields=tuple((name.encode("ascii"), value.encode("ascii")) for name, value in policy.fields),
        every_options=policy.every_options,
    )
    # A page must be able to read why it was refused, too.
    return Effect(guards=(made,), responses=(made,), local=(made,))


COMPILERS: Final = (Compiler(Cors, _cors),)
