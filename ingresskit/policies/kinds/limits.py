"""Bounds on what requests may cost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar, Final, NamedTuple, Self

from typing_extensions import override

from ingresskit.models import ObjectRef
from ingresskit.policies.base import Policy, annotated
from ingresskit.policies.order import Stage
from ingresskit.policies.values import (
    Network,
    parse_byte_size,
    parse_integer,
    parse_networks,
)

__all__ = [
    "BY_ADDRESS",
    "BandwidthLimit",
    "BodyLimit",
    "ClientKey",
    "ConnectionLimit",
    "KeySource",
    "Rate",
    "RateLimit",
    "RequestBuffering",
    "parse_client_key",
]

_RATE: Final = re.compile(r"([0-9]{1,7})/([sm])")
_SECONDS: Final = {"s": 1, "m": 60}
_MOST_RATES: Final = 4
_MOST_AT_ONCE: Final = 1_000_000
_COOKIE_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!~-]{0,127}")
_MOST_GATHERED: Final = 1 << 20
_STATUS: Final = "a whole number, 400 to 599"
_KEY: Final = "`client`, `header:NAME` or `cookie:NAME`"
_NETWORKS: Final = "addresses or ranges separated by commas: `10.0.0.0/8, 2001:db8::1`"


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimit(Policy):
    """The largest request body that is let through; a larger one gets 413.

    Attributes:
        max_bytes: In bytes; 0 is no limit.
    """

    stage: ClassVar[Stage] = Stage.BODY

    max_bytes: int = annotated(
        "body-limit",
        parse_byte_size,
        default=0,
        grammar="a size: `512k`, `8m`, `1g`; `0` for no limit",
        summary="The largest request body; a larger one gets 413.",
    )


class Rate(NamedTuple):
    """So many requests in so many seconds."""

    requests: int
    seconds: int = 1

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    def __str__(self) -> str:
        return f"{self.requests}/{'s' if self.seconds == 1 else 'm'}"


class KeySource(StrEnum):
    """What tells clients apart. Values are stable."""

    CLIENT = "client"
    HEADER = "header"
    COOKIE = "cookie"


@dataclass(frozen=True, slots=True)
class ClientKey:
    """What a client is, for a limit: requests with the same value count together.

    Attributes:
        source: ``client`` is the address behind trusted proxies; of IPv6 the /64, since a host can choose its
            address there. Requests without the header or cookie count by their address, else leaving it out
            would be a way around the limit.
        name: Of the header, in lower case, or of the cookie; empty for ``client``.
    """

    source: KeySource = KeySource.CLIENT
    name: str = ""

    def __str__(self) -> str:
        return f"{self.source}:{self.name}" if self.name else str(self.source)


BY_ADDRESS: Final = ClientKey()
"""A client is an address."""


def parse_client_key(text: str) -> ClientKey:
    """``client``, ``header:NAME`` or ``cookie:NAME``."""
    source, colon, name = text.strip().partition(":")
    if source == KeySource.CLIENT and not colon:
        return BY_ADDRESS
    if source == KeySource.HEADER and _HEADER_NAME.fullmatch(name):
        return ClientKey(KeySource.HEADER, name.lower())
    if source == KeySource.COOKIE and _COOKIE_NAME.fullmatch(name):
        return ClientKey(KeySource.COOKIE, name)
    raise ValueError("must be client, header:NAME or cookie:NAME")


def _parse_rates(text: str) -> tuple[Rate, ...]:
    rates: dict[int, Rate] = {}
    parts = text.split(",")
    for part in parts[: _MOST_RATES + 1]:
        found = _RATE.fullmatch(part.strip())
        if found is None or not int(found[1]):
            rates = {}
            break
        rates.setdefault(_SECONDS[found[2]], Rate(int(found[1]), _SECONDS[found[2]]))
    if len(rates) != len(parts):
        raise ValueError("must be a rate such as 10/s or 300/m, or one of each separated by a comma")
    return tuple(rates[seconds] for seconds in sorted(rates))


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit(Policy):
    """How many requests one client may send in a time; those beyond are refused.

    Each rate is a bucket that leaks: the client may send *burst* times the rate at once beyond it, and then as
    many as leak out of the bucket meanwhile. A request has to fit into all of them, or counts in none.
    All routes of the object that asks count together, and every controller counts by itself.

    Attributes:
        rates: One for a second and one for a minute at most; empty is no limit.
        burst: How many times a rate may come at once beyond it.
        key: What a client is.
        exempt: Clients with these addresses are not counted.
        status: What refused requests get.
        owner: The object that asks, ``namespace/name``.

    Source: nginx, ngx_http_limit_req_module with ``nodelay``.
    """

    protects: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.RATE

    rates: tuple[Rate, ...] = annotated(
        "rate-limit",
        _parse_rates,
        default=(),
        grammar="a rate, or one of each separated by a comma: `10/s, 300/m`",
        summary="How many requests one client may send; those beyond get 429.",
    )
    burst: int = annotated(
        "rate-limit-burst",
        parse_integer(0, 100),
        default=5,
        grammar="a whole number, 0 to 100",
        summary="How many times the rate may come at once beyond it.",
    )
    key: ClientKey = annotated(
        "rate-limit-key",
        parse_client_key,
        default=BY_ADDRESS,
        grammar=_KEY,
        summary="What a client is; without the header or cookie, its address.",
    )
    exempt: tuple[Network, ...] = annotated(
        "rate-limit-exempt",
        parse_networks,
        default=(),
        grammar=_NETWORKS,
        summary="Clients with these addresses have no rate limit.",
    )
    status: int = annotated(
        "rate-limit-status",
        parse_integer(400, 599),
        default=429,
        grammar=_STATUS,
        summary="What requests beyond the rate get.",
    )
    owner: str = ""

    @classmethod
    @override
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`.

        Raises:
            ValueError: There is no rate.
        """
        if not values.get("rates"):
            raise ValueError("must stand beside rate-limit, which is missing")
        return super(RateLimit, cls).build(values)

    @override
    def owned_by(self, subject: ObjectRef) -> Self:
        return replace(self, owner=str(subject.key))

    def most(self, rate: Rate) -> int:
        """How many requests may come at once at *rate*."""
        return rate.requests * self.burst + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimit(Policy):
    """How many requests of one client may be under way at a time; those beyond are refused.

    A request is under way until its response is complete, and a WebSocket until it ends; a connection that is
    idle does not count. All routes of the object that asks count together.

    Attributes:
        most: At a time; 0 is no limit.
        key: What a client is.
        exempt: Clients with these addresses are not counted.
        status: What refused requests get.
        owner: The object that asks, ``namespace/name``.

    Source: nginx, ngx_http_limit_conn_module.
    """

    protects: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.RATE

    most: int = annotated(
        "connection-limit",
        parse_integer(1, _MOST_AT_ONCE),
        default=0,
        grammar="a whole number, from 1",
        summary="How many requests one client may have under way at a time; those beyond get 429.",
    )
    key: ClientKey = annotated(
        "connection-limit-key",
        parse_client_key,
        default=BY_ADDRESS,
        grammar=_KEY,
        summary="What a client is; without the header or cookie, its address.",
    )
    exempt: tuple[Network, ...] = annotated(
        "connection-limit-exempt",
        parse_networks,
        default=(),
        grammar=_NETWORKS,
        summary="Clients with these addresses have no limit of requests at a time.",
    )
    status: int = annotated(
        "connection-limit-status",
        parse_integer(400, 599),
        default=429,
        grammar=_STATUS,
        summary="What requests beyond that number get.",
    )
    owner: str = ""

    @classmethod
    @override
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`.

        Raises:
            ValueError: There is no number.
        """
        if not values.get("most"):
            raise ValueError("must stand beside connection-limit, which is missing")
        return super(ConnectionLimit, cls).build(values)

    @override
    def owned_by(self, subject: ObjectRef) -> Self:
        return replace(self, owner=str(subject.key))


@dataclass(frozen=True, slots=True, kw_only=True)
class BandwidthLimit(Policy):
    """How fast each response is sent; a tunnel (WebSocket) is not slowed down.

    As in nginx, what comes in the first second is sent at once, and each response counts by itself.

    Attributes:
        rate: Bytes a second; 0 is no limit.
        after: Bytes that are sent before the rate holds.
    """

    rate: int = annotated(
        "response-rate",
        parse_byte_size,
        default=0,
        grammar="bytes a second: `64k`, `1m`; `0` for no limit",
        summary="How fast each response is sent.",
    )
    after: int = annotated(
        "response-rate-after",
        parse_byte_size,
        default=0,
        grammar="a size: `512k`, `8m`",
        summary="How much of a response is sent before that rate holds.",
    )

    @classmethod
    @override
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`.

        Raises:
            ValueError: There is no rate.
        """
        if "rate" not in values:
            raise ValueError("must stand beside response-rate, which is missing")
        return super(BandwidthLimit, cls).build(values)


def _parse_gathered(text: str) -> int:
    if (size := parse_byte_size(text)) > _MOST_GATHERED:
        raise ValueError("must be a size up to 1m; 0 to stream")
    return size


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBuffering(Policy):
    """How much of a request body is gathered before an endpoint gets any of it.

    So an endpoint is not held by clients that upload slowly, and is told the length of a body that did not say
    it. A body that is larger is streamed from there on.

    Attributes:
        max_bytes: 1 MiB at most; 0 streams every body.
    """

    max_bytes: int = annotated(
        "request-buffering",
        _parse_gathered,
        default=0,
        grammar="a size up to `1m`; `0` to stream",
        summary="Gather a body up to this size before an endpoint gets any of it.",
    )
