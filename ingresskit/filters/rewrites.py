"""How the path of a request changes on its way."""

from __future__ import annotations

from typing import Final

from ingresskit.filters.edits import PathEdit
from ingresskit.filters.effects import Compiler, Effect
from ingresskit.policies import PrefixRewrite

__all__ = ["COMPILERS"]


def _prefix(policy: PrefixRewrite) -> Effect:
    if policy.whole is not None:
        return Effect(path=PathEdit(policy.whole, whole=True))
    return Effect() if policy.prefix is None else Effect(path=PathEdit(policy.prefix.rstrip("/")))


COMPILERS: Final = (Compiler(PrefixRewrite, _prefix),)
