"""What the proxy responds by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingresskit.graph import Termination

__all__ = ["LocalReply"]


class LocalReply:
    """A response that the proxy makes by itself.

    Attributes:
        termination: Why the request is not forwarded; ``None`` for redirects.
        detail: What exactly, in fixed words; may be empty.
        location: Of a redirect; empty otherwise.
        fields: Further header fields.
    """

    __slots__ = ("detail", "fields", "host", "location", "path", "rule_host", "status", "termination")

    def __init__(
        self,
        status: int,
        termination: Termination | None,
        *,
        detail: str = "",
        host: str = "",
        path: str = "",
        rule_host: str = "",
        location: str = "",
        fields: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.status: int = status
        self.termination: Termination | None = termination
        self.detail: str = detail
        self.host: str = host
        self.path: str = path
        self.rule_host: str = rule_host
        self.location: str = location
        self.fields: tuple[tuple[bytes, bytes], ...] = fields
