"""What it takes to put an artifact live, and the promise of everything that does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

from ingresskit.policies import Origin

__all__ = ["Applier", "CheckingApplier", "Dynamic", "NoOp", "Plan", "Reload"]

ArtifactT = TypeVar("ArtifactT")


@dataclass(frozen=True, slots=True)
class NoOp:
    """What is served already equals the artifact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamic(Generic[ArtifactT]):
    """The running proxy takes the change without a reload.

    Attributes:
        artifact: What will be served.
        summary: What changes, for people: ``"2 hosts, 14 backends"``.
    """

    artifact: ArtifactT
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload(Generic[ArtifactT]):
    """The proxy has to load its configuration anew.

    Attributes:
        artifact: What will be served.
        reason: Why nothing less will do, for people.
        origins: What asked for it; sorted; empty when it is not one object's doing.
    """

    artifact: ArtifactT
    reason: str
    origins: tuple[Origin, ...] = ()


Plan = NoOp | Dynamic[ArtifactT] | Reload[ArtifactT]
"""What it takes to get from what is served to an artifact."""


class Applier(Protocol[ArtifactT]):
    """Puts artifacts of one type live. One task calls it, one call at a time."""

    def plan(self, old: ArtifactT | None, new: ArtifactT) -> Plan[ArtifactT]:
        """What it takes to serve *new* when *old* is served (``None``: nothing yet). No I/O."""
        ...

    async def apply(self, plan: Plan[ArtifactT]) -> None:
        """Carry *plan* out: when this returns, all of it is served.

        Raises:
            ApplyError: It could not be done; what was served before still is.
            CheckFailed: The proxy's own checker refused the artifact. Whoever applies may then find the
                objects at fault, and come back without them.
            ApplyPostponed: It cannot be done yet.
        """
        ...


@runtime_checkable
class CheckingApplier(Protocol[ArtifactT]):
    """An applier that can ask the proxy's own checker without putting anything live.

    With it a controller finds the object at fault when the checker names none: it checks artifacts that
    leave objects out, half of them at a time.
    """

    def plan(self, old: ArtifactT | None, new: ArtifactT) -> Plan[ArtifactT]:
        """As `Applier.plan`."""
        ...

    async def apply(self, plan: Plan[ArtifactT]) -> None:
        """As `Applier.apply`."""
        ...

    async def check(self, artifact: ArtifactT) -> None:
        """Let the proxy's own checker look at *artifact*. Nothing that is served changes.

        Raises:
            CheckFailed: It refuses the artifact.
            ApplyError: It could not be asked: no such program, no room on the disk, no response in time.
        """
        ...
