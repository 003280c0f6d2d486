"""Putting artifacts live in a HAProxy."""

from __future__ import annotations

from ingresskit.apply.haproxy.haproxy import Haproxy
from ingresskit.apply.plan import Plan
from ingresskit.render.haproxy import HaproxyArtifact

__all__ = ["HaproxyApplier"]


class HaproxyApplier:
    """Puts artifacts live in *haproxy*, at runtime where it can, by a reload where it must.

    Args:
        haproxy: Its context must be open when artifacts are planned.
    """

    def __init__(self, haproxy: Haproxy) -> None:
        self._haproxy = haproxy

    def plan(self, old: HaproxyArtifact | None, new: HaproxyArtifact) -> Plan[HaproxyArtifact]:
        """What it takes to serve *new*. What is served now is known here better than by *old*."""
        return self._haproxy.supervisor.plan(new)

    async def apply(self, plan: Plan[HaproxyArtifact]) -> None:
        """As `Applier.apply`."""
        await self._haproxy.supervisor.apply(plan)

    async def check(self, artifact: HaproxyArtifact) -> None:
        """As `CheckingApplier.check`."""
        await self._haproxy.supervisor.check(artifact)
