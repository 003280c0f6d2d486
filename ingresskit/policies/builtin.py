"""The policies that come with ingresskit. To add one: a class here, its name in `BUILTIN_POLICIES`.

A renderer that can honour it names it in its ``supports``; until then the policy is reported, for
every Ingress that asks for it, as not supported there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar, Self

from ingresskit.policies.base import Policy, annotated
from ingresskit.policies.values import (
    HeaderField,
    Network,
    parse_boolean,
    parse_byte_size,
    parse_choice,
    parse_duration,
    parse_header_names,
    parse_headers,
    parse_integer,
    parse_location,
    parse_networks,
    parse_path_prefix,
    parse_weights,
)

__all__ = [
    "BUILTIN_POLICIES",
    "Algorithm",
    "AllowedSources",
    "BodyLimit",
    "LoadBalancing",
    "PermanentRedirect",
    "PrefixRewrite",
    "RequestHeaders",
    "ResponseHeaders",
    "Retries",
    "Timeouts",
    "TlsRedirect",
    "TrafficSplit",
]

_DURATION = "a duration: `500ms`, `5s`, `1m`, `1h`"
_HEADERS = "lines of `Name: value`, 64 and 8,192 characters at most"
_HEADER_NAMES = "header names separated by commas, 64 at most"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts(Policy):
    """How long to wait for an endpoint. ``None`` leaves it to the proxy's own default.

    Attributes:
        connect: For the connection to be made, TLS included.
        read: Between two reads of its answer, the first included; not for the whole answer.
            Also how long an upgraded connection may be silent in both directions.
        send: Between two writes of the request to it.
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
        summary="How long an endpoint may be silent before and while it answers.",
    )
    send: timedelta | None = annotated(
        "send-timeout",
        parse_duration,
        default=None,
        grammar=_DURATION,
        summary="How long an endpoint may take nothing of a request.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries(Policy):
    """How often a request that failed before any answer is tried again, on another endpoint.

    Only what is safe is tried again: anything while no byte was sent, and requests with an
    idempotent method (RFC 9110, 9.2.2) whose body is not lost.

    Attributes:
        attempts: Tries after the first one, 0 to 10.
    """

    attempts: int = annotated(
        "retries",
        parse_integer(0, 10),
        default=1,
        grammar="a whole number, 0 to 10",
        summary="How often a request that failed without an answer is tried on another endpoint.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimit(Policy):
    """The largest request body that is let through; a larger one gets 413.

    Attributes:
        max_bytes: In bytes; 0 is no limit.
    """

    max_bytes: int = annotated(
        "body-limit",
        parse_byte_size,
        default=0,
        grammar="a size: `512k`, `8m`, `1g`; `0` for no limit",
        summary="The largest request body; a larger one is answered 413.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsRedirect(Policy):
    """Whether plain HTTP requests are sent to HTTPS with 308.

    Without it the redirect is on for hosts with TLS settings of their own (``spec.tls`` names them, whether
    or not the Secret is there, or the wildcard above them), and off for others. Rules for the
    path ``/.well-known/acme-challenge`` and paths below it are never redirected.

    Attributes:
        enabled: On even without TLS settings, or off even with them.
    """

    enabled: bool = annotated(
        "tls-redirect",
        parse_boolean,
        default=True,
        grammar="`true` or `false`",
        summary="Send plain HTTP requests to HTTPS (308). Without it: yes where `spec.tls` names the host.",
    )


class RedirectStatus(StrEnum):
    """The status of a redirect."""

    MOVED_PERMANENTLY = "301"
    FOUND = "302"
    SEE_OTHER = "303"
    TEMPORARY = "307"
    PERMANENT = "308"


@dataclass(frozen=True, slots=True, kw_only=True)
class PermanentRedirect(Policy):
    """Answer with a redirect instead of forwarding.

    Attributes:
        location: An absolute URL or a path, sent as it is; ``None`` is no redirect.
        status: 308 keeps method and body; 301 lets clients turn a POST into a GET.
    """

    location: str | None = annotated(
        "redirect",
        parse_location,
        default=None,
        grammar="an `http(s)://` URL or a path",
        summary="Answer every request of the Ingress with a redirect to this place.",
    )
    status: RedirectStatus = annotated(
        "redirect-status",
        parse_choice(RedirectStatus),
        default=RedirectStatus.PERMANENT,
        grammar="`301`, `302`, `303`, `307` or `308`",
        summary="The status of that redirect.",
    )

    @classmethod
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`; a status alone redirects nowhere and is refused."""
        if "location" not in values:
            raise ValueError("has no effect without the annotation redirect")
        # `slots=True` makes the class anew, so that `super()` alone would speak of the one before.
        return super(PermanentRedirect, cls).build(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixRewrite(Policy):
    """Replace the part of the path that a rule matched, element-wise.

    With the rule ``/shop`` and the prefix ``/v2``, ``/shop/cart`` reaches the endpoint as
    ``/v2/cart`` and ``/shop`` as ``/v2``; with the prefix ``/``, as ``/cart`` and ``/``.

    Attributes:
        prefix: In normal form, without a trailing slash unless it is ``/``; ``None`` rewrites nothing.
    """

    prefix: str | None = annotated(
        "rewrite-prefix",
        parse_path_prefix,
        default=None,
        grammar="a path that begins with `/`",
        summary="Replace the matched part of the path by this one.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHeaders(Policy):
    """Header fields of the request on its way to the endpoint.

    Attributes:
        set: These replace what the client sent under the same names.
        remove: These are taken out.
    """

    set: tuple[HeaderField, ...] = annotated(
        "request-headers-set",
        parse_headers,
        default=(),
        grammar=_HEADERS,
        summary="Set these header fields of the request.",
        secret=True,
    )
    remove: tuple[str, ...] = annotated(
        "request-headers-remove",
        parse_header_names,
        default=(),
        grammar=_HEADER_NAMES,
        summary="Remove these header fields of the request.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseHeaders(Policy):
    """Header fields of the answer on its way to the client.

    Attributes:
        set: These replace what the endpoint sent under the same names.
        remove: These are taken out.
    """

    set: tuple[HeaderField, ...] = annotated(
        "response-headers-set",
        parse_headers,
        default=(),
        grammar=_HEADERS,
        summary="Set these header fields of the answer.",
        secret=True,
    )
    remove: tuple[str, ...] = annotated(
        "response-headers-remove",
        parse_header_names,
        default=(),
        grammar=_HEADER_NAMES,
        summary="Remove these header fields of the answer.",
    )


class Algorithm(StrEnum):
    """How an endpoint is chosen."""

    ROUND_ROBIN = "round-robin"
    LEAST_CONNECTIONS = "least-connections"
    RANDOM = "random"
    CLIENT_HASH = "client-hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancing(Policy):
    """How an endpoint is chosen.

    Attributes:
        algorithm: ``round-robin`` in turn; ``least-connections`` the one with the fewest requests
            under way; ``random``; ``client-hash`` by the client's address, so that a client stays.
    """

    algorithm: Algorithm = annotated(
        "load-balancing",
        parse_choice(Algorithm),
        default=Algorithm.ROUND_ROBIN,
        grammar="`round-robin`, `least-connections`, `random` or `client-hash`",
        summary="How an endpoint is chosen.",
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
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedSources(Policy):
    """Which clients are let in; the others get 403.

    Attributes:
        networks: Ranges of client addresses, as seen after trusted proxies; empty lets all in.
    """

    protects: ClassVar[bool] = True

    networks: tuple[Network, ...] = annotated(
        "allow-sources",
        parse_networks,
        default=(),
        grammar="addresses or ranges separated by commas: `10.0.0.0/8, 2001:db8::1`",
        summary="Let only clients with these addresses in; others are answered 403.",
    )


BUILTIN_POLICIES: tuple[type[Policy], ...] = (
    AllowedSources,
    BodyLimit,
    LoadBalancing,
    PermanentRedirect,
    PrefixRewrite,
    RequestHeaders,
    ResponseHeaders,
    Retries,
    Timeouts,
    TlsRedirect,
    TrafficSplit,
)
"""Every policy that comes with ingresskit, by name."""
