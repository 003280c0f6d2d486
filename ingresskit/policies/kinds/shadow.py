"""Policies on trial: they decide, and only count."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from ingresskit.policies.base import Policy, Risk, annotated
from ingresskit.policies.order import Stage

__all__ = ["Shadow", "Shadowed", "parse_shadowed"]


class Shadowed(StrEnum):
    """Which policies are on trial. Values are stable."""

    LIMITS = "limits"
    """Rates, requests at a time, and the size of bodies."""
    ACCESS = "access"
    """The addresses and clients that are let in or kept out."""
    AUTHENTICATION = "authentication"
    """Credentials: every client gets in."""
    ALL = "all"


_STAGES: Final = MappingProxyType(
    {
        Shadowed.LIMITS: frozenset({Stage.RATE, Stage.BODY}),
        Shadowed.ACCESS: frozenset({Stage.ADDRESS}),
        Shadowed.AUTHENTICATION: frozenset({Stage.AUTHENTICATION}),
        Shadowed.ALL: frozenset({Stage.RATE, Stage.BODY, Stage.ADDRESS, Stage.AUTHENTICATION}),
    }
)


def parse_shadowed(text: str) -> tuple[Shadowed, ...]:
    """Some of ``limits``, ``access``, ``authentication`` and ``all``, separated by commas."""
    try:
        return tuple(sorted({Shadowed(part.strip()) for part in text.split(",")}))
    except ValueError:
        raise ValueError(f"must be some of {', '.join(Shadowed)}, separated by commas") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow(Policy):
    """Which policies of the route refuse no request, and only count and log those that they would refuse.

    Requests go on as if the policies had let them. So a limit can be tried on real traffic before it holds.

    Attributes:
        on_trial: Empty: none.
    """

    on_trial: tuple[Shadowed, ...] = annotated(
        "shadow",
        parse_shadowed,
        default=(),
        grammar="some of `limits`, `access`, `authentication` and `all`, separated by commas",
        summary="Let these policies only count and log what they would refuse.",
        risk=Risk.MEDIUM,
    )

    @property
    def stages(self) -> frozenset[Stage]:
        """The stages whose policies refuse no request."""
        return frozenset[Stage]().union(*(_STAGES[item] for item in self.on_trial))
