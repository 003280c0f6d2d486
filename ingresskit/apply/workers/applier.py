"""Putting routing tables live in worker processes."""

from __future__ import annotations

from ingresskit.apply.inprocess import swap_plan
from ingresskit.apply.plan import NoOp, Plan
from ingresskit.apply.workers.pool import WorkerPool
from ingresskit.render.inprocess import RoutingTable

__all__ = ["WorkersApplier"]


class WorkersApplier:
    """Pushes each new routing table to the workers of *pool*, whose context must be open.

    A change is atomic for each worker: it serves all of a table, or all of the one before. When `apply`
    returns, all workers that serve have acknowledged it; one that did not is replaced.
    """

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    def plan(self, old: RoutingTable | None, new: RoutingTable) -> Plan[RoutingTable]:
        """As `InProcessApplier.plan`."""
        return swap_plan(old, new)

    async def apply(self, plan: Plan[RoutingTable]) -> None:
        """As `Applier.apply`.

        Raises:
            ApplyError: The workers cannot read the table, or none runs. They serve the one before.
        """
        if not isinstance(plan, NoOp):
            await self._pool.serve(plan.artifact)
