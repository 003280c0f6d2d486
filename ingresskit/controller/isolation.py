"""Finding the objects that a proxy cannot take, when all that is known is that it refused the whole.

Where the checker's words point at objects, those are kept back and the rest is tried again. Where they do
not, the objects that changed since what is served are let in half by half: with a thousand of them, ten
trials find one that is at fault.

What is kept back is as little as will do: first the change, then the content, then the object.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from ingresskit.controller.quarantine import Refusal
from ingresskit.graph import RouteGraph, Withholding, parts_by_object, withhold
from ingresskit.models import ObjectRef

__all__ = ["GraphRefusal", "Probe", "isolate"]

_MOST_TRIALS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphRefusal:
    """That a graph cannot be taken.

    Attributes:
        saying: The message of the program that refused it.
        subjects: The objects that these words point at; may be empty.
    """

    saying: str
    subjects: frozenset[ObjectRef] = frozenset()


Probe = Callable[[RouteGraph], Awaitable[GraphRefusal | None]]
"""Tries a graph without putting it live. Raises `ApplyError` when it could not be tried."""


async def isolate(
    graph: RouteGraph, served: RouteGraph | None, fault: GraphRefusal, probe: Probe
) -> Mapping[ObjectRef, Refusal]:
    """The objects without which *graph* can be taken.

    Args:
        graph: What should be served, and was refused.
        served: What is served now; ``None``: nothing yet.
        fault: How it was refused.
        probe: Tries a graph.

    Returns:
        The objects and how much of each is to be kept back; empty when none could be found: the fault
        lies elsewhere, or is spread over too many of them.
    """
    search = _Search(graph, served, probe)
    try:
        return await search.run(fault)
    except _TooManyTrials:
        return {}


class _TooManyTrials(Exception):
    """Raised when the search is longer than it should be."""


class _Search:
    def __init__(self, graph: RouteGraph, served: RouteGraph | None, probe: Probe) -> None:
        self._graph = graph
        self._served = served
        self._probe = probe
        self._trials = 0
        self._found: dict[ObjectRef, Refusal] = {}
        self._known = parts_by_object(graph)
        self._before = {} if served is None else parts_by_object(served)

    async def run(self, fault: GraphRefusal) -> Mapping[ObjectRef, Refusal]:
        while True:
            # An object that is served as it stands is blamed last: what changed is likelier, and what is
            # served must not be lost for a checker's loose words.
            changed = frozenset(item for item in fault.subjects if self._changed(item))
            if not (self._keep_back(fault, changed) or await self._bisect(fault)) and not self._keep_back(
                fault, fault.subjects
            ):
                return {}
            again = await self._try({})
            if again is None:
                return self._found
            fault = again

    def _changed(self, subject: ObjectRef) -> bool:
        return subject in self._known and self._before.get(subject) != self._known[subject]

    def _keep_back(self, fault: GraphRefusal, subjects: frozenset[ObjectRef]) -> bool:
        """Keep back more of *subjects*; false when there is nothing more of any of them."""
        pointed = False
        for subject in sorted(subjects & self._known.keys()):
            held = self._found.get(subject)
            measures = self._measures(subject)
            more = [measure for measure in measures if held is None or measure > held.measure]
            if more:
                saying = fault.saying if held is None else held.saying
                self._found[subject] = Refusal(measure=more[0], saying=saying)
                pointed = True
        return pointed

    def _measures(self, subject: ObjectRef) -> Sequence[Withholding]:
        """What can be tried with an object, the mildest first."""
        if subject not in self._before or not self._changed(subject):
            return (Withholding.CONTENT, Withholding.EVERYTHING)
        return tuple(Withholding)

    async def _bisect(self, fault: GraphRefusal) -> bool:
        """Find one object whose admission makes the difference, and keep it back."""
        suspects = sorted(
            subject for subject in self._known if subject not in self._found and self._changed(subject)
        )
        if not suspects or await self._try(self._without(suspects)) is not None:
            return False  # it is nothing that changed
        admitted, refused = 0, len(suspects)  # so many from the front are taken; so many are not
        while refused - admitted > 1:
            middle = (admitted + refused) // 2
            found = await self._try(self._without(suspects[middle:]))
            if found is None:
                admitted = middle
            else:
                refused, fault = middle, found
        subject, rest = suspects[refused - 1], self._without(suspects[refused:])
        for measure in self._measures(subject):
            self._found[subject] = Refusal(measure=measure, saying=fault.saying)
            if measure is Withholding.EVERYTHING or await self._try(rest) is None:
                break
        return True

    def _without(self, subjects: Sequence[ObjectRef]) -> Mapping[ObjectRef, Withholding]:
        """As if these had not changed."""
        return {
            subject: Withholding.CHANGE if subject in self._before else Withholding.EVERYTHING
            for subject in subjects
        }

    async def _try(self, measures: Mapping[ObjectRef, Withholding]) -> GraphRefusal | None:
        self._trials += 1
        if self._trials > _MOST_TRIALS:
            raise _TooManyTrials
        held = {subject: refusal.measure for subject, refusal in self._found.items()}
        return await self._probe(withhold(self._graph, {**measures, **held}, self._served))
