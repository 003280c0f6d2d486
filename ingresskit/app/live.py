"""``migrate prove`` with two edges: the requests are sent, a few a second, and what comes back is compared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from ingresskit.app.edges import Edge
from ingresskit.errors import SourceError
from ingresskit.migrate import Expectation, LivePlan, LiveProof, Seen, answers_differ, live_proof

__all__ = ["ask_both"]

# Of a request that is answered differently, how often each edge is asked again: a weight may decide.
_AGAIN = 4
# After so many failures in a row an edge is taken to be away, and nothing that it does not answer is proved.
_MOST_FAILURES = 5


async def ask_both(plan: LivePlan, old: Edge, new: Edge, *, rate: float) -> LiveProof:
    """Send what is planned to both, and compare.

    Args:
        plan: What is sent.
        old: The edge that is to be left.
        new: The one in its place.
        rate: Requests a second to each edge at most.

    Raises:
        SourceError: An edge takes no connections, or answers nothing any longer.
    """
    for edge in (old, new):
        await edge.check()
    asking = _Asking(rate)
    seen: list[tuple[Expectation, tuple[Seen, ...], tuple[Seen, ...]]] = []
    for expected in plan.sent:
        first, second = [await asking.pair(old, new, expected)], list[tuple[Seen, Seen]]()
        if answers_differ(expected.request, *first[0]):
            second = [await asking.pair(old, new, expected) for _ in range(_AGAIN)]
        pairs = (*first, *second)
        seen.append((expected, tuple(one for one, _ in pairs), tuple(other for _, other in pairs)))
    return live_proof(seen, plan.unsent)


class _Asking:
    """Sends requests at a rate, and gives up where nothing is answered."""

    def __init__(self, rate: float) -> None:
        self._pause = 1 / rate
        self._due = 0.0
        self._failures: dict[tuple[str, str], int] = {}

    async def pair(self, old: Edge, new: Edge, expected: Expectation) -> tuple[Seen, Seen]:
        """What each edge answers, asked at the same time.

        Raises:
            SourceError: An edge has failed too often in a row.
        """
        now = anyio.current_time()
        self._due = max(self._due, now)
        await anyio.sleep(self._due - now)
        self._due += self._pause
        found: dict[str, Seen] = {}

        async def one(name: str, ask: Callable[[], Awaitable[Seen]]) -> None:
            found[name] = await ask()

        request = expected.request
        async with anyio.create_task_group() as tasks:
            for edge in (old, new):
                tasks.start_soon(one, edge.name, lambda edge=edge: edge.ask(request))
        for edge in (old, new):
            self._count(edge, request.scheme, found[edge.name])
        return found[old.name], found[new.name]

    def _count(self, edge: Edge, scheme: str, seen: Seen) -> None:
        key = (edge.name, scheme)
        self._failures[key] = self._failures.get(key, 0) + 1 if seen.failure else 0
        if self._failures[key] >= _MOST_FAILURES:
            hint = "; see --ca and --insecure" if "CERTIFICATE" in seen.failure else ""
            raise SourceError(
                f"the {edge.name} edge answered {_MOST_FAILURES} requests in a row over {scheme} with "
                f"nothing: {seen.failure}{hint}"
            )
