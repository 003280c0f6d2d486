"""Putting artifacts live in a program and the delegate beside it, so that no request sees half of a change.

The delegate gets a change first, and still serves the routes that it no longer has. Then the program gets
it, and only after that the delegate forgets. A route that begins to need the delegate is there before the
program sends its first request there; one that no longer does is there until after the last.
"""

from __future__ import annotations

from typing import Generic, NamedTuple

from ingresskit.apply.delegate.delegate import Delegate
from ingresskit.apply.plan import Applier, CheckingApplier, Dynamic, NoOp, Plan, Reload
from ingresskit.errors import ApplyError
from ingresskit.render.base import ArtifactT
from ingresskit.render.delegate import Delegated

__all__ = ["DelegatingApplier"]


class _Planned(NamedTuple, Generic[ArtifactT]):
    artifact: Delegated[ArtifactT]
    front: Plan[ArtifactT]


class DelegatingApplier(Generic[ArtifactT]):
    """Puts artifacts live in what *front* serves, and in *delegate*.

    Args:
        front: The applier of the program.
        delegate: Its context must be open when artifacts are applied.
    """

    def __init__(self, front: Applier[ArtifactT], delegate: Delegate) -> None:
        self._front = front
        self._delegate = delegate
        self._planned: _Planned[ArtifactT] | None = None

    def plan(self, old: Delegated[ArtifactT] | None, new: Delegated[ArtifactT]) -> Plan[Delegated[ArtifactT]]:
        """What it takes to serve *new*: what the program needs, or else a push to the delegate."""
        front = self._front.plan(None if old is None else old.front, new.front)
        self._planned = _Planned(new, front)
        match front:
            case Reload(reason=reason, origins=origins):
                return Reload(artifact=new, reason=reason, origins=origins)
            case Dynamic(summary=summary):
                return Dynamic(artifact=new, summary=summary)
            case _:
                if self._delegate.holds(new.table):
                    return NoOp()
                return Dynamic(artifact=new, summary="routes of the delegate")

    async def apply(self, plan: Plan[Delegated[ArtifactT]]) -> None:
        """As `Applier.apply`. A delegate that does not work is no reason to fail: its routes respond 503."""
        if isinstance(plan, NoOp):
            return
        artifact, planned = plan.artifact, self._planned
        if planned is None or planned.artifact is not artifact:
            planned = _Planned(artifact, self._front.plan(None, artifact.front))
        await self._delegate.serve(artifact.table)
        await self._front.apply(planned.front)
        self._delegate.settle()

    async def check(self, artifact: Delegated[ArtifactT]) -> None:
        """As `CheckingApplier.check`: the program's checker decides."""
        if not isinstance(self._front, CheckingApplier):
            raise ApplyError("this program has no checker")
        await self._front.check(artifact.front)
