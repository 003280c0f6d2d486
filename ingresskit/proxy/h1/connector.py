"""Makes HTTP/1.1 connections to endpoints."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from ingresskit.graph import Protocol
from ingresskit.proxy.h1.upstream import H1Upstream

if TYPE_CHECKING:
    from ingresskit.proxy.deadlines import Deadlines
    from ingresskit.proxy.endpoints import EndpointState
    from ingresskit.proxy.settings import ProxySettings
    from ingresskit.proxy.timeouts import Timeouts
    from ingresskit.proxy.upstreams.pool import Pool

__all__ = ["H1Connector"]


class H1Connector:
    """Makes HTTP/1.1 connections for a pool: its `Connect`."""

    def __init__(self, settings: ProxySettings, timeouts: Timeouts, deadlines: Deadlines) -> None:
        self._settings = settings
        self._idle_timeout = timeouts.upstream_idle
        self._deadlines = deadlines
        self._context: ssl.SSLContext | None = None

    async def __call__(self, pool: Pool, endpoint: EndpointState, address: str, server_name: str) -> H1Upstream:
        """A new connection.

        Raises:
            OSError: It cannot be made.
            ValueError: The address cannot be connected to.
        """
        secure = endpoint.protocol is Protocol.HTTPS
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: H1Upstream(
                self._settings, self._deadlines, self._idle_timeout, pool, endpoint, server_name
            ),
            address,
            endpoint.port,
            ssl=self._tls_context() if secure else None,
            server_hostname=server_name if secure else None,
        )
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        """For HTTPS endpoints. Pods have self-signed certificates: TLS to them keeps secrets, no more.

        Not verified by default, as in every ingress controller.
        """
        if self._context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols(["http/1.1"])
            self._context = context
        return self._context
