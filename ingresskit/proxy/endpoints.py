"""What is known of each endpoint: its counts, its failures, and whether others are preferred."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from typing import Protocol as Interface

from ingresskit.graph import Protocol, Termination
from ingresskit.proxy.health import CheckRecord, HealthRecord
from ingresskit.proxy.repeated import Repeated
from ingresskit.traffic import EndpointHealth

if TYPE_CHECKING:
    from ingresskit.policies import HealthCheck, PassiveHealth, UpstreamKeepalive, UpstreamTls

__all__ = ["PLAIN_USE", "EndpointState", "EndpointUse", "Trouble", "WaitsForRoom"]

# After a failed connection an endpoint is left alone for a while, if there is another one: long
# enough to matter to clients, short enough not to matter to a pod that comes back.
_FIRST_BACK_OFF: Final = 2.0
_LONGEST_BACK_OFF: Final = 10.0
# Seconds in which an average loses most of what it was: as in ingress-nginx.
_DECAY: Final = 10.0


class WaitsForRoom(Interface):
    """Waits for an endpoint that may take another request."""

    def freed(self) -> None:
        """One may."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointUse:
    """How an endpoint is used: backends that use it otherwise have another state of it.

    Attributes:
        tls: How it is spoken to in TLS; ``None``: unverified, by the host of the request.
        tls_name: The name that is verified or sent by *tls*; empty: the host of the request is sent.
        keepalive: How long its connections are used again; ``None``: as the proxy has it.
        passive: What ejects it; ``None``: nothing does.
        check: How it is checked; ``None``: not at all.
        limit: The most requests at a time; 0: there is no limit.
    """

    tls: UpstreamTls | None = None
    tls_name: str = ""
    keepalive: UpstreamKeepalive | None = None
    passive: PassiveHealth | None = None
    check: HealthCheck | None = None
    limit: int = 0


PLAIN_USE: Final = EndpointUse()
"""Of backends without policies about it."""


class Trouble:
    """The failures of one endpoint since it last returned a whole response.

    Attributes:
        since: Of the loop's clock.
        failures: How many.
        warned: The log has at least one of them.
        reported: By reason, when the next warning is due.
    """

    __slots__ = ("failures", "reported", "since", "warned")

    def __init__(self, since: float) -> None:
        self.since: float = since
        self.failures: int = 0
        self.warned: bool = False
        self.reported: dict[Termination, Repeated] = {}


class EndpointState:
    """What is known of one endpoint, whichever backends it belongs to.

    Attributes:
        secure: It is spoken to inside TLS.
        tls: How it is spoken to in TLS; ``None``: unverified, by the host of the request.
        tls_name: The name that is verified or sent by *tls*; empty: the host of the request is sent.
        active: Requests under way.
        requests: Attempts to send it a request.
        failures: Those of them that failed.
        use: How it is used; *tls* and *tls_name* are of it.
        health: What its requests showed; ``None``: nobody looks.
        check: What its checks showed; ``None``: there are none.
        most_idle: How many idle connections to it are kept.
        queues: Of the backends that list it, those whose requests may wait for it.
        since: Of the loop's clock, when its share began to grow; see `ingresskit.policies.SlowStart`.
        suspect: It failed, and the next request to it is a probe.
        unreached: Connections that could not be made since the last one that could.
        users: Backends in use that list it; 0 when it is gone from the table.
        retry_at: Of the loop's clock; until then others are preferred. 0 when it is well.
        trouble: What was logged about it; ``None``: it never failed.
        average: Seconds that its requests took, a moving average that forgets; see `took`.
        average_at: Of the loop's clock, when that was.
        seed: 64 bits that stand for it in hashes.
    """

    __slots__ = (
        "active",
        "address",
        "average",
        "average_at",
        "check",
        "failures",
        "health",
        "most_idle",
        "port",
        "protocol",
        "queues",
        "requests",
        "retry_at",
        "secure",
        "seed",
        "since",
        "suspect",
        "tls",
        "tls_name",
        "trouble",
        "unreached",
        "use",
        "users",
    )

    def __init__(
        self,
        address: str,
        port: int,
        protocol: Protocol,
        use: EndpointUse = PLAIN_USE,
        most_idle: int = 0,
    ) -> None:
        self.address: str = address
        self.port: int = port
        self.protocol: Protocol = protocol
        self.use: EndpointUse = use
        self.tls: UpstreamTls | None = use.tls
        self.tls_name: str = use.tls_name
        self.health: HealthRecord | None = None if use.passive is None else HealthRecord(use.passive)
        self.check: CheckRecord | None = None if use.check is None else CheckRecord(use.check)
        kept = None if use.keepalive is None else use.keepalive.connections
        self.most_idle: int = most_idle if kept is None else kept
        self.queues: list[WaitsForRoom] = []
        self.since: float = -math.inf
        self.suspect: bool = False
        self.secure: bool = protocol.is_secure
        self.active: int = 0
        self.users: int = 0
        self.requests: int = 0
        self.failures: int = 0
        self.unreached: int = 0
        self.retry_at: float = 0.0
        self.trouble: Trouble | None = None
        self.average: float = 0.0
        self.average_at: float = 0.0
        digest = hashlib.blake2b(str(self).encode(), digest_size=8).digest()
        self.seed: int = int.from_bytes(digest, "big")

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def took(self, seconds: float, now: float) -> None:
        """A request took so long. A peak counts at once, and is forgotten in time."""
        kept = math.exp((self.average_at - now) / _DECAY)
        self.average = seconds if seconds > self.average else self.average * kept + seconds * (1.0 - kept)
        self.average_at = now

    def cost(self, now: float) -> float:
        """What another request is likely to cost there: the time it takes, with those under way before it."""
        return self.average * math.exp((self.average_at - now) / _DECAY) * (self.active + 1)

    def server_name(self, host: str) -> str:
        """The TLS server name for a request to *host*; empty: none is sent."""
        tls = self.tls
        if tls is None:
            return host
        return (self.tls_name or host) if tls.send_name or tls.verifies else ""

    @property
    def state(self) -> EndpointHealth:
        """Whether it gets requests."""
        if self.check is not None and not self.check.is_well:
            return EndpointHealth.UNHEALTHY
        if self.health is not None and self.health.is_ejected:
            return EndpointHealth.EJECTED
        return EndpointHealth.UNREACHABLE if self.unreached else EndpointHealth.WELL

    def failed(self, now: float) -> None:
        """A connection could not be made."""
        back_off = min(_LONGEST_BACK_OFF, _FIRST_BACK_OFF * 2 ** min(self.unreached, 8))
        self.unreached += 1
        self.suspect = True
        self.retry_at = max(now + back_off, self._held_until())

    def probed(self, now: float) -> None:
        """The back-off is over and one request tries the endpoint: others go elsewhere until it knows."""
        self.retry_at = now + _LONGEST_BACK_OFF

    def worked(self) -> None:
        """A connection was made, or a response received."""
        self.unreached = 0
        if not self._held_until():
            self.suspect = False
            self.retry_at = 0.0

    def ejected(self, until: float) -> None:
        """Its requests failed: others are preferred, and the first request after that is a probe."""
        self.suspect = True
        self.retry_at = max(until, self._held_until())

    def returned(self, now: float) -> None:
        """It is well again, by a probe or by its checks."""
        if not self._held_until():
            self.unreached = 0
            self.suspect = False
            self.retry_at = 0.0
            self.since = now

    def unhealthy(self) -> None:
        """Its checks fail: others are preferred until they succeed."""
        self.retry_at = math.inf

    def _held_until(self) -> float:
        """Until when others are preferred, whatever connections to it do; 0: it is well."""
        if self.check is not None and not self.check.is_well:
            return math.inf
        return self.health.until if self.health is not None else 0.0
