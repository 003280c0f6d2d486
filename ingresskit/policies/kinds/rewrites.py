"""Changes of the path on its way to the endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ingresskit.policies.base import Policy, Risk, annotated
from ingresskit.policies.order import Stage
from ingresskit.policies.values import parse_path_prefix

__all__ = ["PrefixRewrite"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixRewrite(Policy):
    """Replace the part of the path that a rule matched, element-wise.

    With the rule ``/shop`` and the prefix ``/v2``, ``/shop/cart`` reaches the endpoint as
    ``/v2/cart`` and ``/shop`` as ``/v2``; with the prefix ``/``, as ``/cart`` and ``/``.

    Attributes:
        prefix: In normal form, without a trailing slash unless it is ``/``; ``None`` rewrites nothing.
        whole: A path in normal form that takes the place of the whole path, whatever the rule matched, and
            goes before *prefix*; ``None``: none does. The query stays. A rule that is written as this very
            path rewrites nothing.

    Source: for *whole*, ``rewrite-target`` of ingress-nginx.
    """

    stage: ClassVar[Stage] = Stage.REWRITE

    prefix: str | None = annotated(
        "rewrite-prefix",
        parse_path_prefix,
        default=None,
        grammar="a path that begins with `/`",
        summary="Replace the matched part of the path by this one.",
        risk=Risk.MEDIUM,
    )
    whole: str | None = None
