"""What becomes of a connection to an endpoint after a request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ingresskit.policies.base import Policy, annotated
from ingresskit.policies.values import parse_choice

__all__ = ["ConnectionUse", "UpstreamConnection"]


class ConnectionUse(StrEnum):
    """What a request says of the connection that carries it."""

    KEEP_ALIVE = "keep-alive"
    CLOSE = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamConnection(Policy):
    """The ``Connection`` field for endpoints in place of the one that the proxy chooses.

    Either value leaves no room for an upgrade, so requests for one (WebSocket) are sent as ordinary requests.

    Attributes:
        use: ``close`` gives each request a connection of its own; ``None``: connections are used again, and
            upgrades pass.
    """

    use: ConnectionUse | None = annotated(
        "upstream-connection",
        parse_choice(ConnectionUse),
        default=None,
        grammar="`keep-alive` or `close`",
        summary="Use connections to endpoints again, or never; either way without upgrades such as WebSocket.",
    )
