"""The leave to write: what stands before every write to the cluster."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Fence", "NoFence"]


class Fence(Protocol):
    """Decides whether this process may write now. A `ingresskit.controller.leader.Term` is one."""

    def is_valid(self) -> bool:
        """Whether it may. Asked directly before each write."""
        ...

    def remaining(self) -> float:
        """For how many seconds it may for certain; no request is let run longer."""
        ...


class NoFence:
    """Always open: for a controller that is known to be the only one."""

    def is_valid(self) -> bool:
        """Yes."""
        return True

    def remaining(self) -> float:
        """For ever."""
        return float("inf")
