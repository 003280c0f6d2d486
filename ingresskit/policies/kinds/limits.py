"""Bounds on what one request may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ingresskit.policies.base import Policy, annotated
from ingresskit.policies.order import Stage
from ingresskit.policies.values import parse_byte_size

__all__ = ["BodyLimit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimit(Policy):
    """The largest request body that is let through; a larger one gets 413.

    Attributes:
        max_bytes: In bytes; 0 is no limit.
    """

    stage: ClassVar[Stage] = Stage.BODY

    max_bytes: int = annotated(
        "body-limit",
        parse_byte_size,
        default=0,
        grammar="a size: `512k`, `8m`, `1g`; `0` for no limit",
        summary="The largest request body; a larger one gets 413.",
    )
