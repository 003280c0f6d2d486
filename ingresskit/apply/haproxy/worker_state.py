"""What a running HAProxy holds. Updated after the worker has acknowledged each change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingresskit.apply.haproxy.slots import Slots
from ingresskit.render.haproxy import Block, HaproxyArtifact, Identity, MapName, Needs, Server

__all__ = ["WorkerState"]

# Fewer rows than these are not worth the work of taking them out.
_LEAST_GARBAGE = 2000


@dataclass(slots=True, kw_only=True)
class WorkerState:
    """The state of one worker, updated after the worker has acknowledged each change.

    Attributes:
        artifact: What it serves.
        needs: What its program was loaded with.
        slots: Who stands where.
        marker: What it reports when it is asked which configuration it has.
        blocks: Those whose rows are in its maps: of *artifact*, and others that nothing leads to any more.
        leaving: By slot, the servers that get no new requests and are still there.
        forgotten: By digest, the certificates that are shown to servers on their way out only.
        unlisted: How many lines of the list of certificates were taken out. HAProxy keeps about 20 KB of
            each (2.6.12, November 2026).
    """

    artifact: HaproxyArtifact
    needs: Needs
    slots: Slots
    marker: str
    blocks: dict[str, Block] = field(default_factory=dict[str, Block])
    leaving: dict[str, dict[str, Server]] = field(default_factory=dict[str, dict[str, Server]])
    forgotten: dict[str, Identity] = field(default_factory=dict[str, Identity])
    unlisted: int = 0

    @classmethod
    def loaded(cls, artifact: HaproxyArtifact, *, needs: Needs, slots: Slots, marker: str) -> WorkerState:
        """The state of a worker that has just read its files."""
        return cls(artifact=artifact, needs=needs, slots=slots, marker=marker, blocks=dict(artifact.blocks))

    def servers_by_slot(self) -> Mapping[str, tuple[Server, ...]]:
        """The servers that take requests, by slot."""
        held = self.slots.held()
        return {held[item]: backend.servers for item, backend in self.artifact.backends.items()}

    def garbage(self) -> tuple[MapName, ...]:
        """The maps in which most rows are of blocks that nothing leads to, when they are many; sorted."""
        if len(self.blocks) <= len(self.artifact.blocks):
            return ()
        dead: dict[MapName, int] = {}
        for item in self.blocks.keys() - self.artifact.blocks.keys():
            for row in self.blocks[item].rows:
                dead[row.map] = dead.get(row.map, 0) + 1
        if max(dead.values(), default=0) <= _LEAST_GARBAGE:
            return ()
        alive: dict[MapName, int] = {}
        for block in self.artifact.blocks.values():
            for row in block.rows:
                alive[row.map] = alive.get(row.map, 0) + 1
        return tuple(
            sorted(name for name, count in dead.items() if count > max(_LEAST_GARBAGE, alive.get(name, 0)))
        )
