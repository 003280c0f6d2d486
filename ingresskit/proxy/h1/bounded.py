"""A connection to an endpoint that carries a bounded number of requests, or for a bounded time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from typing_extensions import override

from ingresskit.proxy.h1.upstream import H1Upstream

if TYPE_CHECKING:
    from ingresskit.proxy.deadlines import Deadlines
    from ingresskit.proxy.endpoints import EndpointState
    from ingresskit.proxy.settings import ProxySettings
    from ingresskit.proxy.upstreams.pool import Pool

__all__ = ["BoundedH1Upstream"]


class BoundedH1Upstream(H1Upstream):
    """A connection as `ingresskit.policies.UpstreamKeepalive` has it. Its bounds are those of its endpoint."""

    __slots__ = ("_requests", "_until")

    def __init__(
        self,
        settings: ProxySettings,
        deadlines: Deadlines,
        idle_timeout: float,
        pool: Pool,
        endpoint: EndpointState,
        server_name: str,
    ) -> None:
        super().__init__(settings, deadlines, idle_timeout, pool, endpoint, server_name)
        keepalive = endpoint.use.keepalive
        self._requests: float = math.inf
        self._until: float = math.inf
        if keepalive is not None and keepalive.requests:
            self._requests = keepalive.requests
        if keepalive is not None and keepalive.lifetime is not None:
            self._until = deadlines.now() + keepalive.lifetime.total_seconds()

    @override
    def lend(self) -> H1Upstream | None:
        if self.reused and self._is_over():
            self.retire()
            return None
        return super().lend()

    @override
    def release(self, *, reusable: bool) -> None:
        self._requests -= 1
        super().release(reusable=reusable and not self._is_over())

    def _is_over(self) -> bool:
        return self._requests <= 0 or self._deadlines.recent >= self._until
