"""A request that will be forwarded, whichever protocol carries it on."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from ingresskit.graph import HostRefused, rule_host
from ingresskit.proxy.message.fields import without
from ingresskit.proxy.message.views import field_of

if TYPE_CHECKING:
    from ingresskit.filters import HeaderEdit
    from ingresskit.proxy.message.forwarded import Address, Forwarding
    from ingresskit.proxy.message.head import RequestHead
    from ingresskit.proxy.message.hosts import RequestedHost
    from ingresskit.render.inprocess import Target

__all__ = ["ForwardedRequest"]


class ForwardedRequest:
    """A request that will be forwarded. It is the `RequestView` of filters for responses.

    Attributes:
        head: As the client sent it.
        host: In normal form, as it was matched.
        wire_host: What is sent as ``Host``.
        path: In normal form, as it was matched; see `sent_path`.
        query: With its question mark; empty without one.
        target: Its route.
        forwarding: Who the client is.
        edit: What policies and filters change of its header fields; ``None``: nothing.
        request_id: What is sent as ``X-Request-ID``.
    """

    __slots__ = ("edit", "forwarding", "head", "host", "path", "query", "request_id", "target", "wire_host")

    def __init__(
        self,
        head: RequestHead,
        host: RequestedHost,
        path: str,
        query: bytes,
        target: Target,
        forwarding: Forwarding,
        edit: HeaderEdit | None,
    ) -> None:
        self.head: RequestHead = head
        self.host: str = host.name
        self.wire_host: bytes = host.wire
        self.path: str = path
        self.query: bytes = query
        self.target: Target = target
        self.forwarding: Forwarding = forwarding
        self.edit: HeaderEdit | None = edit
        self.request_id: bytes = head.request_id or b"%032x" % random.getrandbits(128)

    @property
    def server_name(self) -> str:
        """The TLS server name: the host the client asked for, as endpoints expect their own name.

        Empty when the host cannot be one.
        """
        try:
            return rule_host(self.host)
        except HostRefused:
            return ""

    # For filters.

    @property
    def method(self) -> bytes:
        """As `RequestView`."""
        return self.head.method

    @property
    def client(self) -> Address:
        """As `RequestView`."""
        return self.forwarding.client

    @property
    def https(self) -> bool:
        """As `RequestView`."""
        return self.forwarding.https

    @property
    def length(self) -> int | None:
        """As `RequestView`."""
        return self.head.length

    @property
    def secure_location(self) -> str | None:
        """As `RequestView`."""
        return None

    def field(self, name: bytes) -> bytes | None:
        """As `RequestView`."""
        return field_of(name, self.head, self.wire_host, self.forwarding)

    # For codecs.

    def sent_path(self) -> str:
        """The path that the endpoint gets."""
        edit = self.target.path
        return self.path if edit is None else edit.apply(self.path, self.target.matched)

    def field_lines(self) -> tuple[bytes, bytes, bytes]:
        """The field lines to send, in this order. What the proxy owns is last: nothing can take it away."""
        fields = self.head.fields
        own = b"X-Request-ID: %b\r\n" % self.request_id
        if (edit := self.edit) is not None:
            fields = without(fields, edit.drop)
            own = edit.lines if b"x-request-id" in edit.drop else own + edit.lines
        return fields, self.forwarding.lines, own
