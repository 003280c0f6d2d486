"""Guards of which one suffices: allowed addresses and credentials with ``satisfy: any``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ingresskit.filters.access import AddressFilter
from ingresskit.filters.base import (
    Filter,
    Memory,
    Question,
    Reply,
    RequestView,
    Resuming,
    Subrequest,
    SubrequestReply,
    Verdict,
    Verification,
    Verifying,
)
from ingresskit.policies import Stage

__all__ = ["AnyOf", "combined"]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Lets a request go on that one of *guards* lets go on; they are asked in order.

    Where none does, a redirect is the response, else a 401, else the first refusal. A fault (500 and above)
    of one ends it: what it would have said is not known.

    Source: nginx, ``satisfy any``: ngx_http_core_access_phase.
    """

    stage: ClassVar[Stage] = Stage.AUTHENTICATION

    guards: tuple[Filter, ...]

    @property
    def judges_addresses(self) -> bool:
        """Whether one of the guards lets addresses in."""
        return any(isinstance(item, AddressFilter) for item in self.guards)

    def request(self, request: RequestView, memory: Memory) -> Reply | Question | Verdict:
        """As `Filter.request`."""
        return _first(self.guards, request, memory, None)


class _Rest:
    """Goes on with the answer to a question of one guard: by that guard, and by those after it."""

    def __init__(self, asking: object, rest: Sequence[Filter], memory: Memory, refusal: Reply | None) -> None:
        self._asking = asking
        self._rest = rest
        self._memory = memory
        self._refusal = refusal

    def resume(self, request: RequestView, reply: SubrequestReply) -> Reply | Question | Verdict:
        if not isinstance(self._asking, Resuming):
            raise TypeError(f"{type(self._asking).__name__} sent a subrequest and cannot be resumed")
        return self._weigh(request, self._asking.resume(request, reply))

    def verified(self, request: RequestView, right: bool, /) -> Reply | Question | Verdict:
        if not isinstance(self._asking, Verifying):
            raise TypeError(f"{type(self._asking).__name__} asked for a verification and cannot take it")
        return self._weigh(request, self._asking.verified(request, right))

    def _weigh(self, request: RequestView, outcome: Reply | Question | Verdict) -> Reply | Question | Verdict:
        if isinstance(outcome, Question):
            rest = _Rest(outcome.then or self._asking, self._rest, self._memory, self._refusal)
            return _to(rest, outcome)
        if not isinstance(outcome, Reply) or outcome.status >= 500:
            return outcome
        return _first(self._rest, request, self._memory, _worse(self._refusal, outcome))


def _first(
    guards: Sequence[Filter], request: RequestView, memory: Memory, refusal: Reply | None
) -> Reply | Question | Verdict:
    """The outcome of the first of *guards* that lets the request go on, or asks."""
    for number, guard in enumerate(guards, 1):
        outcome = guard.request(request, memory)
        if isinstance(outcome, Question):
            return _to(_Rest(outcome.then or guard, guards[number:], memory, refusal), outcome)
        if not isinstance(outcome, Reply) or outcome.status >= 500:
            return outcome
        refusal = _worse(refusal, outcome)
    return refusal


def _to(rest: _Rest, question: Question) -> Question:
    """*question*, whose answer *rest* gets."""
    match question:
        case Subrequest():
            return replace(question, then=rest)
        case Verification():
            return replace(question, then=rest)


def _worse(held: Reply | None, other: Reply) -> Reply:
    """Which of two refusals the client gets."""
    return other if held is None or _rank(other) > _rank(held) else held


def _rank(reply: Reply) -> int:
    return 2 if reply.status < 400 else int(reply.status == 401)


def combined(filters: Iterable[Filter]) -> Iterator[Filter]:
    """*filters* in their order, with those of allowed addresses and of credentials as one.

    It stands where the first one of credentials stood; without any of both kinds nothing changes.
    """
    held = tuple(filters)
    addresses = tuple(item for item in held if isinstance(item, AddressFilter))
    credentials = tuple(item for item in held if item.stage is Stage.AUTHENTICATION)
    if not credentials or len(addresses) + len(credentials) < 2:
        yield from held
        return
    for item in held:
        if item is credentials[0]:
            yield AnyOf((*addresses, *credentials))
        elif item not in addresses and item not in credentials:
            yield item
