"""The parts of a running proxy, put together: the one place that knows all layers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ingresskit.errors import ConfigurationError
from ingresskit.proxy.deadlines import Deadlines
from ingresskit.proxy.exchange.admission import Admission
from ingresskit.proxy.exchange.filter_context import FilterContext
from ingresskit.proxy.exchange.runtime import Runtime
from ingresskit.proxy.h1.connector import H1Connector
from ingresskit.proxy.h1.copies import send_copy
from ingresskit.proxy.h1.downstream import H1Downstream
from ingresskit.proxy.h1.subrequests import Subrequests
from ingresskit.proxy.h2.connection import H2Connection, engine_limits
from ingresskit.proxy.h2.connector import H2Connector
from ingresskit.proxy.h2.libraries import has_http2
from ingresskit.proxy.limits.clients import Clients
from ingresskit.proxy.listen.alpn import AlpnSwitch
from ingresskit.proxy.listen.ports import PortListeners
from ingresskit.proxy.message.front import Front
from ingresskit.proxy.streams.core import Streams
from ingresskit.proxy.timeouts import Timeouts
from ingresskit.proxy.upstreams.balance import Balancer
from ingresskit.proxy.upstreams.checks import Checks
from ingresskit.proxy.upstreams.pool import Pool

if TYPE_CHECKING:
    from ingresskit.proxy.limits.shared import SharedLimits
    from ingresskit.proxy.message.forwarded import Address
    from ingresskit.proxy.settings import ProxySettings
    from ingresskit.proxy.statistics import Counters
    from ingresskit.render.inprocess import RoutingTable

__all__ = ["Parts", "speaks_http2"]


def speaks_http2(settings: ProxySettings) -> bool:
    """Whether a proxy with these settings speaks HTTP/2 to clients.

    Raises:
        ConfigurationError: It is to, and no library for it is installed.
    """
    if settings.http2 and not has_http2():
        raise ConfigurationError("http2 needs the package ngh2 or h2: pip install ingresskit[http2]")
    return has_http2() if settings.http2 is None else settings.http2


class Parts:
    """A proxy that is bound to an event loop.

    Attributes:
        clients: The connections of clients.
        pool: Those to endpoints.
        balancer: Which endpoint takes a request.
        subrequests: Sends those of filters.
        runtime: What exchanges share.
        admission: What happens with each request.
        streams: Passes connections on that are no requests.
        ports: Takes connections to further ports for it.
        http2: Whether clients may speak HTTP/2.
    """

    def __init__(
        self,
        settings: ProxySettings,
        counters: Counters,
        table: RoutingTable,
        loop: asyncio.AbstractEventLoop,
        shared: SharedLimits | None = None,
    ) -> None:
        self.http2: bool = speaks_http2(settings)
        self._http2_limits = engine_limits(settings)
        timeouts = Timeouts.of(settings)
        deadlines = Deadlines(loop)
        self.clients: Clients = Clients(settings, counters, deadlines)
        connector = H2Connector(settings, timeouts, deadlines, H1Connector(settings, timeouts, deadlines))
        self.pool: Pool = Pool(settings, timeouts, deadlines, counters, connector)
        self.subrequests: Subrequests = Subrequests(settings, deadlines.now)
        self.runtime: Runtime = Runtime(
            settings=settings,
            timeouts=timeouts,
            deadlines=deadlines,
            counters=counters,
            memory=self.clients.memory,
            pool=self.pool,
            send_subrequest=self.subrequests,
            send_copy=lambda copy: send_copy(copy, settings),
        )
        checks = Checks(self.runtime.start, settings.destination_fault, deadlines.now)
        self.balancer: Balancer = Balancer(self.pool, checks)
        self.admission: Admission = Admission(
            self.runtime, FilterContext(settings, deadlines, counters, shared), self.balancer, table
        )

        self.streams: Streams = Streams(self.runtime, self.clients, self.balancer, lambda: self.admission.table)
        self.ports: PortListeners = PortListeners(
            settings, self.clients, lambda: self.admission.table, self.streams.take, self.runtime.start
        )

    def plain_client(self, proxied: tuple[Address, int] | None) -> asyncio.Protocol:
        """A connection of a client without TLS; *proxied* is what a PROXY header says of it."""
        http2 = self._plain_http2 if self.http2 else None
        return H1Downstream(self.admission, self.clients, tls=False, proxied=proxied, http2=http2)

    def tls_client(self, proxied: tuple[Address, int] | None) -> asyncio.Protocol:
        """The same with TLS."""
        if not self.http2:
            return H1Downstream(self.admission, self.clients, tls=True, proxied=proxied)
        return AlpnSwitch(
            lambda: H2Connection(self.admission, self.clients, self._http2_limits, tls=True, proxied=proxied),
            lambda: H1Downstream(self.admission, self.clients, tls=True, proxied=proxied),
        )

    def _plain_http2(self, proxied: tuple[Address, int] | None) -> asyncio.Protocol:
        return H2Connection(self.admission, self.clients, self._http2_limits, tls=False, proxied=proxied)

    def front_client(self, _proxied: tuple[Address, int] | None) -> asyncio.Protocol:
        """A connection of a proxy program in front."""
        return H1Downstream(self.admission, self.clients, tls=False, front=Front())
