"""What clients shall do, and what became of it: the two values that pass between a test and its clients."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, cast

from ingresskit.testing.loopback import Address

__all__ = ["TrafficReport", "TrafficSettings"]


def _read(text: str) -> dict[str, Any]:
    held = cast("dict[str, object]", json.loads(text))
    return {
        name: tuple(cast("list[object]", value)) if isinstance(value, list) else value
        for name, value in held.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSettings:
    """Who asks for what, how often.

    Attributes:
        http: Where the proxy takes plain requests.
        https: Where it takes TLS; ``None``: nobody asks there.
        hosts: What is asked for, in turn; every one of them must be served all the time.
        secure_hosts: The same over TLS.
        busy: Clients that ask again at once on a connection that they keep, but for *pace*.
        thinkers: Clients that keep their connection too, and pause before each request: those that
            meet a proxy that closes idle connections without a word.
        tunnels: Upgraded connections that stay open and are used all the time.
        handshakers: Clients that make a TLS connection for each request.
        pace: The pause of busy clients and handshakers between requests, in seconds.
        think: The longest pause of thinkers and tunnels, in seconds; the shortest is a tenth of it.
        timeout: A request that takes longer, in seconds, has failed.
    """

    http: Address
    https: Address | None = None
    hosts: tuple[str, ...]
    secure_hosts: tuple[str, ...] = ()
    busy: int = 6
    thinkers: int = 12
    tunnels: int = 4
    handshakers: int = 2
    pace: float = 0.01
    think: float = 0.5
    timeout: float = 10.0

    def to_json(self) -> str:
        """As text, in one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TrafficSettings:
        """What `to_json` gave."""
        return cls(**_read(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficReport:
    """What clients saw.

    Attributes:
        requests: Sent, failed ones included.
        failed: Of these: not answered, not with 200, or not in time.
        failures: Why, the first 50 of them, each as a sentence.
        reconnects: Connections that the proxy closed properly: after an answer that said so, or while
            they were idle and before the client had sent anything more.
        tunnels_broken: Upgraded connections that ended.
        messages: Sent through tunnels and echoed.
        handshakes: TLS connections made.
        endpoints: Ports of the endpoints that answered, sorted.
        slowest: The longest answer, in seconds.
    """

    requests: int = 0
    failed: int = 0
    failures: tuple[str, ...] = ()
    reconnects: int = 0
    tunnels_broken: int = 0
    messages: int = 0
    handshakes: int = 0
    endpoints: tuple[int, ...] = ()
    slowest: float = 0.0

    def to_json(self) -> str:
        """As text, in one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TrafficReport:
        """What `to_json` gave."""
        return cls(**_read(text))

    def faults(self) -> tuple[str, ...]:
        """What is not as it should be, each as a sentence; empty when nothing failed and something was sent."""
        found = [f"{self.failed} of {self.requests} requests failed"] if self.failed else []
        found += self.failures[:10]
        if self.tunnels_broken:
            found.append(f"{self.tunnels_broken} tunnels were cut")
        if not self.requests:
            found.append("nothing was asked")
        return tuple(found)
