"""How requests reach endpoints: time-outs, retries, the choice of an endpoint, shares of Services."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar

from ingresskit.policies.base import Policy, PolicyScope, Risk, annotated
from ingresskit.policies.kinds.health import parse_percent
from ingresskit.policies.values import parse_choice, parse_duration, parse_integer, parse_weights

__all__ = [
    "Algorithm",
    "EndpointProtocol",
    "LoadBalancing",
    "Retries",
    "RetryOn",
    "Timeouts",
    "TrafficSplit",
    "UpstreamProtocol",
    "parse_retry_conditions",
]

_DURATION = "a duration: `500ms`, `5s`, `1m`, `1h`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts(Policy):
    """How long to wait for an endpoint. ``None`` leaves it to the proxy's own default.

    Attributes:
        connect: For the connection to be made, TLS included.
        read: Between two reads of its response, the first included; not for the whole response.
            Also how long an upgraded connection may be silent in both directions.
        send: Between two writes of the request to it.
        request: From the request to the end of its response, further tries included; then it is a 504, or the
            response is cut.
    """

    connect: timedelta | None = annotated(
        "connect-timeout",
        parse_duration,
        default=None,
        grammar=_DURATION,
        summary="How long connecting to an endpoint may take.",
    )
    read: timedelta | None = annotated(
        "read-timeout",
        parse_duration,
        default=None,
        grammar=_DURATION,
        summary="How long an endpoint may be silent before and during its response.",
    )
    send: timedelta | None = annotated(
        "send-timeout",
        parse_duration,
        default=None,
        grammar=_DURATION,
        summary="How long an endpoint may take nothing of a request.",
    )
    request: timedelta | None = annotated(
        "request-timeout",
        parse_duration,
        default=None,
        grammar=_DURATION,
        summary="How long a request may take to the end of its response, all tries included.",
    )


class RetryOn(StrEnum):
    """What causes another try. Values are stable.

    Attributes:
        ERROR: The connection was not made, in time or at all, or ended before a response began.
        TIMEOUT: The endpoint was silent for too long before its response began.
        MALFORMED: What it sent is no response.
        NON_IDEMPOTENT: No cause by itself: requests that may not be repeated are repeated all the same.
    """

    ERROR = "error"
    TIMEOUT = "timeout"
    MALFORMED = "malformed"
    FORBIDDEN = "403"
    NOT_FOUND = "404"
    TOO_MANY = "429"
    INTERNAL = "500"
    BAD_GATEWAY = "502"
    UNAVAILABLE = "503"
    GATEWAY_TIMEOUT = "504"
    NON_IDEMPOTENT = "non-idempotent"

    @property
    def status(self) -> int | None:
        """The status of the response that it is; ``None`` for the others."""
        return int(self) if self.isdecimal() else None


def parse_retry_conditions(text: str) -> tuple[RetryOn, ...]:
    """Causes of another try, separated by commas; each once, in the order of `RetryOn`."""
    found = {part.strip() for part in text.split(",")}
    if not found <= set(RetryOn):
        raise ValueError(f"must be words out of {', '.join(RetryOn)}, separated by commas")
    return tuple(cause for cause in RetryOn if cause in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries(Policy):
    """How often and when a request is tried again, each time on an endpoint that had no try of it.

    Only what is safe is tried again: anything while no byte was sent, and requests with an
    idempotent method (RFC 9110, 9.2.2) whose body is not lost. No further try begins once the client got
    a byte of a response.

    Attributes:
        attempts: Tries after the first one, 0 to 10.
        on: What causes another try; each once, in the order of `RetryOn`.
        within: No try begins later than this after the request; ``None``: there is no end.
        budget: The most further tries for a backend in 10 s, in per cent of its requests in that time; three
            of them are always within it. ``None``: there is no bound.
    """

    attempts: int = annotated(
        "retries",
        parse_integer(0, 10),
        default=1,
        grammar="a whole number, 0 to 10",
        summary="How often a request that failed without a response is tried on another endpoint.",
    )
    on: tuple[RetryOn, ...] = annotated(
        "retry-on",
        parse_retry_conditions,
        default=(RetryOn.ERROR,),
        grammar="words separated by commas: `error`, `timeout`, `malformed`, `403`, `404`, `429`, `500`, `502`,"
        " `503`, `504`, `non-idempotent`",
        summary="What causes another try: no connection or response (`error`), silence (`timeout`), what is no"
        " response, or a status. `non-idempotent` repeats POST too.",
        risk=Risk.MEDIUM,
    )
    within: timedelta | None = annotated(
        "retry-timeout",
        parse_duration,
        default=None,
        grammar=_DURATION,
        summary="How long after its beginning a request is tried again.",
    )
    budget: int | None = annotated(
        "retry-budget",
        parse_percent(0, 100),
        default=None,
        grammar="a percentage, `0%` to `100%`",
        summary="The most further tries, as a share of the requests of the last 10 seconds.",
    )


class Algorithm(StrEnum):
    """How an endpoint is chosen."""

    ROUND_ROBIN = "round-robin"
    LEAST_CONNECTIONS = "least-connections"
    RANDOM = "random"
    CLIENT_HASH = "client-hash"
    EWMA = "ewma"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancing(Policy):
    """How an endpoint is chosen. The Service ports of routes that want it otherwise are other backends.

    Attributes:
        algorithm: ``round-robin`` in turn; ``least-connections`` the one with the fewest requests
            under way; ``random`` of two random ones that with fewer; ``client-hash`` by the client's
            address, so that a client stays; ``ewma`` of two random ones the one that took less time of late.
    """

    scope: ClassVar[PolicyScope] = PolicyScope.BACKEND

    algorithm: Algorithm = annotated(
        "load-balancing",
        parse_choice(Algorithm),
        default=Algorithm.ROUND_ROBIN,
        grammar="`round-robin`, `least-connections`, `random`, `client-hash` or `ewma`",
        summary="How an endpoint is chosen.",
    )


class EndpointProtocol(StrEnum):
    """What endpoints speak."""

    HTTP = "http"
    HTTPS = "https"
    H2C = "h2c"
    GRPC = "grpc"
    GRPCS = "grpcs"

    @property
    def is_secure(self) -> bool:
        """Whether it is inside TLS."""
        return self in (EndpointProtocol.HTTPS, EndpointProtocol.GRPCS)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamProtocol(Policy):
    """What the endpoints speak, whatever ``appProtocol`` of the port of their Service says.

    Attributes:
        protocol: ``http``; ``https``, whose certificate is not verified; ``h2c``, HTTP/2 without TLS;
            ``grpc``, gRPC without TLS; ``grpcs``, gRPC with TLS, whose certificate is not verified either.
    """

    protocol: EndpointProtocol = annotated(
        "upstream-protocol",
        parse_choice(EndpointProtocol),
        default=EndpointProtocol.HTTP,
        grammar="`http`, `https`, `h2c`, `grpc` or `grpcs`",
        summary="What the endpoints speak. Without it: what `appProtocol` of the Service says.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSplit(Policy):
    """Share the requests of a Service among several Services of the same namespace.

    It acts on the paths whose backend is one of the Services named; the others are asked for the
    port that the path names.

    Attributes:
        shares: Service names and weights; a weight of 0 gets nothing. Empty shares nothing.
    """

    shares: tuple[tuple[str, int], ...] = annotated(
        "traffic-split",
        parse_weights,
        default=(),
        grammar="`name=weight` pairs separated by commas, 16 at most",
        summary="Share requests among Services by weight.",
        risk=Risk.MEDIUM,
    )
