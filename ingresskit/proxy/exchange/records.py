"""Records of the access log, made of what the proxy knows of a request when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingresskit.proxy.access import AccessRecord

if TYPE_CHECKING:
    from ingresskit.proxy.exchange.replies import LocalReply
    from ingresskit.proxy.message.forwarded import Peer

__all__ = ["local_record"]


def local_record(
    peer: Peer, method: bytes, reply: LocalReply, size: int, duration: float = 0.0
) -> AccessRecord:
    """The record of a request that was not forwarded.

    Args:
        peer: Who sent it.
        method: Empty when the head could not be read.
        reply: What the proxy responded.
        size: Bytes of the body of the response.
        duration: Seconds.
    """
    return AccessRecord(
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
    )
