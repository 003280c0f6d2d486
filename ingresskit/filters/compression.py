"""Responses that are made smaller on their way."""

from __future__ import annotations

from typing import Final

from ingresskit.filters.effects import Compiler, Effect
from ingresskit.policies import Coding, Compression

__all__ = ["COMPILERS"]


def _compression(policy: Compression) -> Effect:
    return Effect() if policy.coding is Coding.OFF else Effect(compression=policy)


COMPILERS: Final = (Compiler(Compression, _compression),)
