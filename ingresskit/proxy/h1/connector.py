"""Makes HTTP/1.1 connections to endpoints."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

from ingresskit.graph import Protocol
from ingresskit.proxy.h1.bounded import BoundedH1Upstream
from ingresskit.proxy.h1.upstream import H1Upstream
from ingresskit.proxy.handshakes import chain_depth
from ingresskit.proxy.tls_contexts import client_context

if TYPE_CHECKING:
    from ingresskit.policies import UpstreamTls
    from ingresskit.proxy.deadlines import Deadlines
    from ingresskit.proxy.endpoints import EndpointState
    from ingresskit.proxy.settings import ProxySettings
    from ingresskit.proxy.timeouts import Timeouts
    from ingresskit.proxy.upstreams.pool import Pool

__all__ = ["H1Connector"]


# As many ways to speak TLS as are remembered.
_MOST_CONTEXTS: Final = 512


class H1Connector:
    """Makes HTTP/1.1 connections for a pool: its `Connect`."""

    def __init__(self, settings: ProxySettings, timeouts: Timeouts, deadlines: Deadlines) -> None:
        self._settings = settings
        self._idle_timeout = timeouts.upstream_idle
        self._deadlines = deadlines
        self._contexts: dict[UpstreamTls | None, ssl.SSLContext] = {}

    async def __call__(self, pool: Pool, endpoint: EndpointState, address: str, server_name: str) -> H1Upstream:
        """A new connection.

        Raises:
            OSError: It cannot be made, or the endpoint is not who it must be.
            ValueError: The address cannot be connected to.
        """
        secure = endpoint.protocol is Protocol.HTTPS
        idle, made = self._idle_timeout, H1Upstream
        if (keepalive := endpoint.use.keepalive) is not None:
            if keepalive.timeout is not None:
                idle = keepalive.timeout.total_seconds()
            if keepalive.requests or keepalive.lifetime is not None:
                made = BoundedH1Upstream
        transport, connection = await asyncio.get_running_loop().create_connection(
            lambda: made(self._settings, self._deadlines, idle, pool, endpoint, server_name),
            address,
            endpoint.port,
            ssl=self._tls_context(endpoint.tls) if secure else None,
            server_hostname=server_name if secure else None,
        )
        tls = endpoint.tls
        if secure and tls is not None and tls.verifies:
            depth = chain_depth(transport.get_extra_info("ssl_object"))
            if depth is None or depth > tls.depth:
                transport.abort()
                raise ssl.SSLError(1, "certificate chain too long")
        return connection

    def _tls_context(self, tls: UpstreamTls | None) -> ssl.SSLContext:
        """For HTTPS endpoints. Pods have self-signed certificates: TLS to them keeps secrets, no more.

        Not verified by default, as in every ingress controller.

        Raises:
            ssl.SSLError: OpenSSL does not take what the policy says.
        """
        context = self._contexts.get(tls)
        if context is None:
            if len(self._contexts) >= _MOST_CONTEXTS:
                self._contexts.clear()
            context = self._contexts[tls] = client_context(tls)
        return context
