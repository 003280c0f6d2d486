"""Who is let in, and who is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ingresskit.policies.base import Policy, annotated
from ingresskit.policies.order import Stage
from ingresskit.policies.values import Network, parse_networks

__all__ = ["AllowedSources", "DeniedSources", "PlainHttp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedSources(Policy):
    """Which clients are let in; the others get 403.

    Attributes:
        networks: Ranges of client addresses, as seen after trusted proxies; empty lets all in.
    """

    protects: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.ADDRESS

    networks: tuple[Network, ...] = annotated(
        "allow-sources",
        parse_networks,
        default=(),
        grammar="addresses or ranges separated by commas: `10.0.0.0/8, 2001:db8::1`",
        summary="Let only clients with these addresses in; others get 403.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeniedSources(Policy):
    """Which clients are kept out, with 403; also those that are allowed.

    Attributes:
        networks: Ranges of client addresses, as seen after trusted proxies; empty keeps nobody out.
    """

    protects: ClassVar[bool] = True
    adds_up: ClassVar[frozenset[str]] = frozenset({"networks"})
    stage: ClassVar[Stage] = Stage.ADDRESS

    networks: tuple[Network, ...] = annotated(
        "deny-sources",
        parse_networks,
        default=(),
        grammar="addresses or ranges separated by commas: `10.0.0.0/8, 2001:db8::1`",
        summary="Keep clients with these addresses out, with 403, also those that are allowed.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainHttp(Policy):
    """Whether requests over plain HTTP are served; if not they get 403, and no redirect either.

    A request that a trusted proxy took over TLS is not one over plain HTTP.

    Attributes:
        allowed: False refuses them.
    """

    protects: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.PLAIN_HTTP

    allowed: bool = True
