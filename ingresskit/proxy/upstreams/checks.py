"""Asks endpoints regularly whether they are well, where their backend wants that.

Each endpoint has a task of its own, which begins at a random time and varies its interval, so that checks
spread. So many of them wait for a response at a time, and no more than so many endpoints are checked at all:
the others count as well.
"""

from __future__ import annotations

import asyncio
import random
import re
import ssl
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Final

from ingresskit.facts import fact_logger
from ingresskit.graph import Protocol
from ingresskit.proxy.tls_contexts import client_context
from ingresskit.proxy.upstreams.destinations import DestinationRefused, permitted_address

if TYPE_CHECKING:
    from ingresskit.policies import HealthCheck, UpstreamTls
    from ingresskit.proxy.endpoints import EndpointState

__all__ = ["MOST_CHECKED", "Checks"]

_logger = fact_logger(__name__)

MOST_CHECKED: Final = 2000
"""Endpoints that are checked by one proxy: tenants decide how many there are."""

_AT_A_TIME: Final = 64
_HTTP_1: Final = frozenset({Protocol.HTTP, Protocol.HTTPS})
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r\n")
_LONGEST_LINE: Final = 8192
_MOST_CONTEXTS: Final = 64

Start = Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"]


class Checks:
    """The checks of one proxy. To be used on one event loop.

    Args:
        start: Runs work as a task that ends with the proxy.
        fault_of: As `ProxySettings.destination_fault`.
        now: Of the loop's clock.
    """

    def __init__(
        self, start: Start, fault_of: Callable[[str], str | None] | None, now: Callable[[], float]
    ) -> None:
        self._start = start
        self._fault_of = fault_of
        self._now = now
        self._room = asyncio.Semaphore(_AT_A_TIME)
        self._tasks: dict[EndpointState, asyncio.Task[None]] = {}
        self._left_out = 0
        self._contexts: dict[UpstreamTls | None, ssl.SSLContext] = {}

    def watch(self, endpoints: Iterable[EndpointState]) -> None:
        """Check these endpoints, which have a policy for it, and no others."""
        wanted = dict.fromkeys(endpoints)
        left_out = 0
        for gone in [endpoint for endpoint in self._tasks if endpoint not in wanted]:
            self._tasks.pop(gone).cancel()
        for endpoint in wanted:
            policy = endpoint.use.check
            if endpoint in self._tasks or policy is None:
                continue
            if len(self._tasks) >= MOST_CHECKED:
                left_out += 1
            else:
                self._tasks[endpoint] = self._start(self._check(endpoint, policy))
        before, self._left_out = self._left_out, left_out
        if left_out and left_out != before:
            facts = {"checked": MOST_CHECKED, "leftOut": left_out}
            _logger.warning("some endpoints are not checked", extra=facts)

    async def _check(self, endpoint: EndpointState, policy: HealthCheck) -> None:
        interval = policy.interval.total_seconds()
        await asyncio.sleep(random.random() * interval)  # noqa: S311 - spreads load
        while True:
            async with self._room:
                fault = await self._fault(endpoint, policy)
            self._record(endpoint, fault)
            await asyncio.sleep(interval * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load

    def _record(self, endpoint: EndpointState, fault: str) -> None:
        check = endpoint.check
        if check is None or not check.checked(success=not fault):
            return
        if check.is_well:
            now = self._now()
            if endpoint.health is not None:
                endpoint.health.checked(now)
            endpoint.returned(now)
            _logger.info("endpoint passes its checks again", extra={"endpoint": str(endpoint)})
        else:
            endpoint.unhealthy()
            facts = {"endpoint": str(endpoint), "reason": fault}
            _logger.warning("endpoint fails its checks", extra=facts)

    async def _fault(self, endpoint: EndpointState, policy: HealthCheck) -> str:
        """What is wrong with an endpoint, in fixed words; empty: nothing."""
        try:
            async with asyncio.timeout(policy.timeout.total_seconds()):
                return await self._ask(endpoint, policy)
        except TimeoutError:
            return "no response in time"
        except DestinationRefused as exc:
            return str(exc)
        except ssl.SSLError:
            return "the TLS handshake failed"
        except (OSError, ValueError):
            return "no connection, or it ended before a response"

    def _tls_context(self, tls: UpstreamTls | None) -> ssl.SSLContext:
        """The context for endpoints that are spoken to like this; making one takes longer than a check."""
        if (known := self._contexts.get(tls)) is None:
            if len(self._contexts) >= _MOST_CONTEXTS:
                self._contexts.clear()
            known = self._contexts[tls] = client_context(tls)
        return known

    async def _ask(self, endpoint: EndpointState, policy: HealthCheck) -> str:
        address = await permitted_address(endpoint.address, endpoint.port, self._fault_of)
        secure = endpoint.protocol.is_secure
        reader, writer = await asyncio.open_connection(
            address,
            endpoint.port,
            limit=_LONGEST_LINE,
            ssl=self._tls_context(endpoint.tls) if secure else None,
            server_hostname=endpoint.server_name("") if secure else None,
        )
        try:
            if not policy.path or endpoint.protocol not in _HTTP_1:
                return ""
            writer.write(
                f"GET {policy.path} HTTP/1.1\r\nHost: {endpoint}\r\nUser-Agent: ingresskit-health-check\r\n"
                "Accept: */*\r\nConnection: close\r\n\r\n".encode("ascii")
            )
            line = await reader.readline()
        finally:
            writer.transport.abort()
        found = _STATUS_LINE.fullmatch(line)
        if found is None:
            return "no response of HTTP/1"
        status = int(found[1])
        if any(first <= status <= last for first, last in policy.statuses):
            return ""
        return f"status {status}"
