"""Why a request did not end as its client hoped: one closed vocabulary for every renderer.

The access log, the metrics and `explain` use these words and no others, so that an alert written for
one proxy program reads the same on another.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Termination"]


class Termination(StrEnum):
    """The cause of a local reply or of a cut exchange. Values are stable; members may be added.

    Members that begin with ``UPSTREAM_`` name the last endpoint tried. A response of an endpoint that
    reached its client whole has no termination, whatever its status.

    Attributes:
        NO_ROUTE: No rule takes the request, and there is no default backend (404).
        NO_ENDPOINT: The route has no endpoint that could take the request (503).
        UNAVAILABLE: The route is closed: a backend or a protection could not be built (503).
        DENIED: A policy refuses the client or the request (403, 401, 429 or as the policy says).
        BODY_TOO_LARGE: The request body exceeds the limit of the route (413).
        BAD_REQUEST: The request is malformed, ambiguous or exceeds a limit of the proxy (400, 405, 414,
            431, 501, 505).
        CLIENT_TIMEOUT: The client did not send its request in time, or took nothing of the response for too
            long (408, or a cut response).
        CLIENT_LEFT: The client closed the connection before its response was complete (499).
        OVERLOADED: The proxy had no room for the connection or the request (503).
        SHUTDOWN: The proxy ended before the response was complete.
        UPSTREAM_REFUSED: The endpoint refused the connection or is unreachable (502).
        UPSTREAM_CONNECT_TIMEOUT: The connection was not made in time (504).
        UPSTREAM_TLS: The TLS handshake with the endpoint failed, verification included (502).
        UPSTREAM_CLOSED: The endpoint closed the connection before its response began (502).
        UPSTREAM_MALFORMED: The response is malformed or its framing cannot be trusted (502).
        UPSTREAM_READ_TIMEOUT: The endpoint was silent for too long (504, or a cut response).
        UPSTREAM_SEND_TIMEOUT: The endpoint took nothing of the request for too long (504).
        UPSTREAM_TRUNCATED: The endpoint closed the connection in the middle of its response; the status
            is the one already sent.
        INTERNAL: The proxy failed by a fault of its own (500).
    """

    NO_ROUTE = "no_route"
    NO_ENDPOINT = "no_endpoint"
    UNAVAILABLE = "unavailable"
    DENIED = "denied"
    BODY_TOO_LARGE = "body_too_large"
    BAD_REQUEST = "bad_request"
    CLIENT_TIMEOUT = "client_timeout"
    CLIENT_LEFT = "client_left"
    OVERLOADED = "overloaded"
    SHUTDOWN = "shutdown"
    UPSTREAM_REFUSED = "upstream_refused"
    UPSTREAM_CONNECT_TIMEOUT = "upstream_connect_timeout"
    UPSTREAM_TLS = "upstream_tls"
    UPSTREAM_CLOSED = "upstream_closed"
    UPSTREAM_MALFORMED = "upstream_malformed"
    UPSTREAM_READ_TIMEOUT = "upstream_read_timeout"
    UPSTREAM_SEND_TIMEOUT = "upstream_send_timeout"
    UPSTREAM_TRUNCATED = "upstream_truncated"
    INTERNAL = "internal"
