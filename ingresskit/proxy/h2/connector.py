"""Makes connections to endpoints that speak HTTP/2, and leaves the others to another connector."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

from ingresskit.graph import Protocol
from ingresskit.proxy.h2.libraries import has_http2
from ingresskit.proxy.h2.upstream import H2Upstream
from ingresskit.proxy.handshakes import chain_depth
from ingresskit.proxy.tls_contexts import client_context

if TYPE_CHECKING:
    from ingresskit.policies import UpstreamTls
    from ingresskit.proxy.deadlines import Deadlines
    from ingresskit.proxy.endpoints import EndpointState
    from ingresskit.proxy.ports.connections import UpstreamConnection
    from ingresskit.proxy.settings import ProxySettings
    from ingresskit.proxy.timeouts import Timeouts
    from ingresskit.proxy.upstreams.pool import Connect, Pool

__all__ = ["H2Connector"]

# As many ways to speak TLS as are remembered.
_MOST_CONTEXTS: Final = 512


class H2Connector:
    """Makes connections for a pool: its `Connect`.

    Args:
        settings: Of the proxy.
        timeouts: Its time-outs.
        deadlines: Its clock.
        others: Makes the connections to endpoints that speak HTTP/1.1.
    """

    def __init__(
        self, settings: ProxySettings, timeouts: Timeouts, deadlines: Deadlines, others: Connect
    ) -> None:
        self._settings = settings
        self._idle_timeout = timeouts.upstream_idle
        self._deadlines = deadlines
        self._others = others
        self._contexts: dict[UpstreamTls | None, ssl.SSLContext] = {}

    async def __call__(
        self, pool: Pool, endpoint: EndpointState, address: str, server_name: str
    ) -> UpstreamConnection:
        """A new connection.

        Raises:
            OSError: It cannot be made, or the endpoint is not who it must be.
            ValueError: The address cannot be connected to.
        """
        if not endpoint.protocol.is_http2:
            return await self._others(pool, endpoint, address, server_name)
        if not has_http2():
            raise ValueError("HTTP/2 needs the extra http2")
        secure = endpoint.protocol is Protocol.GRPCS
        transport, connection = await asyncio.get_running_loop().create_connection(
            lambda: H2Upstream(
                self._settings, self._deadlines, self._idle_timeout, pool, endpoint, server_name
            ),
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
        try:
            await connection.wait_ready()
        except asyncio.CancelledError:
            transport.abort()
            raise
        return connection

    def _tls_context(self, tls: UpstreamTls | None) -> ssl.SSLContext:
        """As for HTTPS endpoints, with HTTP/2 as the only protocol.

        Raises:
            ssl.SSLError: OpenSSL does not take what the policy says.
        """
        context = self._contexts.get(tls)
        if context is None:
            if len(self._contexts) >= _MOST_CONTEXTS:
                self._contexts.clear()
            context = self._contexts[tls] = client_context(tls)
            context.set_alpn_protocols(["h2"])
        return context
