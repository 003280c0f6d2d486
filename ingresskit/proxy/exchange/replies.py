"""What the proxy responds by itself, and the records of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingresskit.proxy.access import AccessRecord
from ingresskit.proxy.message.head import RequestHead

if TYPE_CHECKING:
    from ingresskit.graph import Termination
    from ingresskit.proxy.exchange.runtime import Runtime
    from ingresskit.proxy.message.forwarded import Peer

__all__ = ["LocalReply", "count_reply"]


class LocalReply:
    """A response that the proxy makes by itself.

    Attributes:
        termination: Why the request is not forwarded; ``None`` for redirects.
        detail: What exactly, in fixed words; may be empty.
        location: Of a redirect; empty otherwise.
        fields: Further header fields.
        shadow: The stages that would have refused the request.
        logged: Whether the access log has it.
    """

    __slots__ = (
        *("detail", "fields", "host", "location", "logged", "path", "rule_host", "shadow", "status"),
        "termination",
    )

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
        shadow: tuple[str, ...] = (),
        logged: bool = True,
    ) -> None:
        self.status: int = status
        self.termination: Termination | None = termination
        self.detail: str = detail
        self.host: str = host
        self.path: str = path
        self.rule_host: str = rule_host
        self.location: str = location
        self.fields: tuple[tuple[bytes, bytes], ...] = fields
        self.shadow: tuple[str, ...] = shadow
        self.logged: bool = logged


def count_reply(
    runtime: Runtime,
    peer: Peer,
    method: bytes,
    reply: LocalReply,
    size: int,
    duration: float = 0.0,
    protocol: str = RequestHead.protocol,
) -> None:
    """Count a local reply, and let the access log have it.

    Args:
        runtime: Whose counts and log.
        peer: Who sent the request.
        method: Empty when the head could not be read.
        reply: What the proxy responded.
        size: Bytes of the body of the response.
        duration: Seconds.
        protocol: As `RequestHead.protocol`.
    """
    runtime.counters.count_request(reply.rule_host, reply.status, duration, reply.termination)
    if (log := runtime.settings.access_log) is not None and reply.logged:
        log(
            AccessRecord(
                client=peer.text,
                method=method.decode("ascii"),
                host=reply.host,
                path=reply.path,
                rule_host=reply.rule_host,
                status=reply.status,
                sent_bytes=size,
                duration=duration,
                backend=None,
                endpoint="",
                attempts=0,
                request_id="",
                termination=reply.termination,
                detail=reply.detail,
                shadow=reply.shadow,
                protocol=protocol,
            )
        )
