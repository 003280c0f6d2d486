"""Messages as the filters of a route see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingresskit.proxy.message.forwarded import Forwarding, Peer
    from ingresskit.proxy.message.head import RequestHead, ResponseHead
    from ingresskit.proxy.message.hosts import RequestedHost

__all__ = ["EndpointResponse", "JudgedHead", "field_of", "value_in", "values_in"]


class EndpointResponse:
    """An endpoint's response as filters see it."""

    __slots__ = ("_head",)

    def __init__(self, head: ResponseHead) -> None:
        self._head = head

    @property
    def status(self) -> int:
        """As `ResponseView`."""
        return self._head.status

    def field(self, name: bytes) -> bytes | None:
        """As `ResponseView`."""
        return value_in(self._head.fields, name)

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """As `ResponseView`."""
        return values_in(self._head.fields, name)


class JudgedHead:
    """A request head as the conditions of variants see it: a `ingresskit.policies.Judged`."""

    __slots__ = ("_forwarding", "_head", "_host", "method", "query")

    def __init__(self, head: RequestHead, host: RequestedHost, query: bytes, peer: Peer) -> None:
        self.method: bytes = head.method
        self.query: bytes = query
        self._head = head
        self._host = host.wire
        self._forwarding = peer.forwarding(host.wire, host.port, head.client_fields)

    def field(self, name: bytes) -> bytes | None:
        """As `Judged`."""
        return field_of(name, self._head, self._host, self._forwarding)


def field_of(name: bytes, head: RequestHead, host: bytes, forwarding: Forwarding) -> bytes | None:
    """A header field of a request as `RequestView.field` gives it.

    What the proxy owns is what the endpoint gets: a client cannot make up its address for a filter either.
    """
    if name == b"host":
        return host
    if name == b"content-length":
        return None if head.length is None or not head.has_length else b"%d" % head.length
    if name == b"x-request-id":
        return head.request_id or None
    if name == b"upgrade":
        return head.upgrade or None
    return value_in(head.fields + forwarding.lines, name)


def value_in(lines: bytes, name: bytes) -> bytes | None:
    """The value of a field in lines of a head; several are joined, cookies by semicolons."""
    found = values_in(lines, name)
    if not found:
        return None
    return (b"; " if name == b"cookie" else b", ").join(found)


def values_in(lines: bytes, name: bytes) -> tuple[bytes, ...]:
    """The value of each field of that name in lines of a head, in order."""
    return tuple(
        [
            value.strip(b" \t\r\n")
            for line in lines.splitlines(keepends=True)
            for key, _, value in (line.partition(b":"),)
            if key.lower() == name
        ]
    )
