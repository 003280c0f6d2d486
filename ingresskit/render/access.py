"""One line of the access log: what happened to one request."""

from __future__ import annotations

from dataclasses import dataclass

from ingresskit.graph import BackendKey, Termination

__all__ = ["AccessRecord"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRecord:
    """One request: responded to, or given up.

    Nothing in it has a control character: the head was checked before.

    Attributes:
        client: The client's address, behind trusted proxies.
        method: Empty when the head could not be read.
        host: In normal form; empty when there was none.
        path: In normal form, without the query; empty when there was none.
        rule_host: The rule host that took the request; empty when none did.
        status: Of the response to the client; 499 when it disconnected before a response began.
        sent_bytes: Of the body of the response, before chunking.
        duration: Seconds from the end of the request head to the end of the response.
        backend: Where it went; ``None`` when the proxy responded by itself.
        endpoint: ``address:port`` that responded; empty as *backend*.
        attempts: Connections to endpoints that were tried; 0 when the proxy responded by itself.
        request_id: As in ``X-Request-ID`` upstream; empty when the request was not forwarded.
        termination: Why the client got no whole response of an endpoint; ``None`` when it got one, and
            for redirects.
        detail: What exactly failed, in a few fixed words (``"two values of Content-Length"``); empty when
            *termination* says all. Never text that a client or an endpoint sent.
        tried: The endpoints tried before *endpoint*, ``address:port`` in the order of the tries; at most
            ten.
        connect_time: Seconds that the last connection took to be made; ``None`` on a pooled connection,
            without one, and where the program does not measure it.
        first_byte_time: Seconds from the end of the request head to the first octet of the final
            response from the endpoint; ``None`` when there was none.
        upstream_status: The status of the endpoint's response; ``None`` when there was none.
        shadow: The stages whose policies would have refused the request, and only count in shadow.
        protocol: What the client spoke, ``"HTTP/1.1"`` (also for HTTP/1.0) or ``"HTTP/2.0"``; empty where the
            program does not say.
    """

    client: str
    method: str
    host: str
    path: str
    rule_host: str
    status: int
    sent_bytes: int
    duration: float
    backend: BackendKey | None
    endpoint: str
    attempts: int
    request_id: str
    termination: Termination | None = None
    detail: str = ""
    tried: tuple[str, ...] = ()
    connect_time: float | None = None
    first_byte_time: float | None = None
    upstream_status: int | None = None
    shadow: tuple[str, ...] = ()
    protocol: str = ""
