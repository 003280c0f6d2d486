"""The time-outs of a proxy in seconds, worked out once: they are read at every request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from ingresskit.proxy.settings import ProxySettings

__all__ = ["Timeouts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """The time-outs of `ProxySettings` in seconds, under the same names."""

    connect: float
    read: float
    send: float
    header: float
    body: float
    client_write: float
    idle: float
    upstream_idle: float
    unsafe_reuse: float
    handshake: float
    stream_idle: float

    @classmethod
    def of(cls, settings: ProxySettings) -> Self:
        """Those of *settings*."""
        return cls(
            connect=settings.connect_timeout.total_seconds(),
            read=settings.read_timeout.total_seconds(),
            send=settings.send_timeout.total_seconds(),
            header=settings.header_timeout.total_seconds(),
            body=settings.body_timeout.total_seconds(),
            client_write=settings.client_write_timeout.total_seconds(),
            idle=settings.idle_timeout.total_seconds(),
            upstream_idle=settings.upstream_idle_timeout.total_seconds(),
            unsafe_reuse=settings.unsafe_reuse.total_seconds(),
            handshake=settings.handshake_timeout.total_seconds(),
            stream_idle=settings.stream_idle_timeout.total_seconds(),
        )
