"""What is known of each endpoint: its counts, its failures, and whether others are preferred."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Final

from ingresskit.graph import Protocol, Termination
from ingresskit.proxy.repeated import Repeated

if TYPE_CHECKING:
    from ingresskit.policies import UpstreamTls

__all__ = ["EndpointState", "Trouble"]

# After a failed connection an endpoint is left alone for a while, if there is another one: long
# enough to matter to clients, short enough not to matter to a pod that comes back.
_FIRST_BACK_OFF: Final = 2.0
_LONGEST_BACK_OFF: Final = 10.0
# Seconds in which an average loses most of what it was: as in ingress-nginx.
_DECAY: Final = 10.0


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
        tls: How it is spoken to in TLS; ``None``: unverified, by the host of the request.
        tls_name: The name that is verified or sent by *tls*; empty: the host of the request is sent.
        active: Requests under way.
        requests: Attempts to send it a request.
        failures: Those of them that failed.
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
        "failures",
        "port",
        "protocol",
        "requests",
        "retry_at",
        "seed",
        "tls",
        "tls_name",
        "trouble",
        "unreached",
        "users",
    )

    def __init__(
        self,
        address: str,
        port: int,
        protocol: Protocol,
        tls: UpstreamTls | None = None,
        tls_name: str = "",
    ) -> None:
        self.address: str = address
        self.port: int = port
        self.protocol: Protocol = protocol
        self.tls: UpstreamTls | None = tls
        self.tls_name: str = tls_name
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

    def failed(self, now: float) -> None:
        """A connection could not be made."""
        self.retry_at = now + min(_LONGEST_BACK_OFF, _FIRST_BACK_OFF * 2 ** min(self.unreached, 8))
        self.unreached += 1

    def probed(self, now: float) -> None:
        """The back-off is over and one request tries the endpoint: others go elsewhere until it knows."""
        self.retry_at = now + _LONGEST_BACK_OFF

    def worked(self) -> None:
        """A connection was made, or a response received."""
        self.unreached = 0
        self.retry_at = 0.0
