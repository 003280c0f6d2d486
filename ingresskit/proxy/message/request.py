"""A request that will be forwarded, whichever protocol carries it on."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from ingresskit.graph import HostRefused, normalise_host, rule_host
from ingresskit.proxy.message.fields import without
from ingresskit.proxy.message.forwarded import OWN_NAMES
from ingresskit.proxy.message.views import field_of

if TYPE_CHECKING:
    from ingresskit.filters import Handshake, HeaderEdit, ResponseFilter
    from ingresskit.graph import PathOptions
    from ingresskit.proxy.message.forwarded import Address, Forwarding
    from ingresskit.proxy.message.head import RequestHead
    from ingresskit.proxy.message.hosts import RequestedHost
    from ingresskit.proxy.message.marks import Marks
    from ingresskit.render.inprocess import Target

__all__ = ["ForwardedRequest"]

_OWN_LINES: Final = 5  # that `Forwarding.lines` always has


class ForwardedRequest:
    """A request that will be forwarded. It is the `RequestView` of filters for responses.

    Attributes:
        head: As the client sent it.
        host: In normal form, as it was matched.
        wire_host: What is sent as ``Host``.
        path: In normal form, as it was matched.
        query: As the client sent it, with its question mark; empty without one.
        sent_path: The path that the endpoint gets; so `sent_query`.
        target: Its route.
        forwarding: Who the client is.
        edit: What policies and filters change of its header fields; ``None``: nothing.
        request_id: What is sent as ``X-Request-ID``.
        marks: What filters left at it; ``None``: nothing.
        responses: What filters of this request change of its response, after those of the route.
    """

    __slots__ = (
        *("_client_host", "edit", "forwarding", "head", "host", "marks", "path", "query", "request_id"),
        *("responses", "sent_path", "sent_query", "target", "wire_host"),
    )

    def __init__(
        self,
        head: RequestHead,
        host: RequestedHost,
        path: str,
        query: bytes,
        target: Target,
        forwarding: Forwarding,
        edit: HeaderEdit | None,
        marks: Marks | None = None,
    ) -> None:
        self.head: RequestHead = head
        self.host: str = host.name
        self._client_host = host.wire
        self.wire_host: bytes = target.upstream_host.encode("ascii") if target.upstream_host else host.wire
        self.path: str = path
        self.query: bytes = query
        self.sent_path: str = path
        self.sent_query: bytes = query
        self.target: Target = target
        self.forwarding: Forwarding = forwarding
        self.edit: HeaderEdit | None = edit
        self.marks: Marks | None = marks
        self.request_id: bytes = head.request_id or b"%032x" % random.getrandbits(128)
        self.responses: tuple[ResponseFilter, ...] = ()

    @property
    def server_name(self) -> str:
        """The TLS server name: the host that the endpoint gets, as endpoints expect their own name.

        Empty when the host cannot be one.
        """
        try:
            if upstream := self.target.upstream_host:
                return rule_host(normalise_host(upstream))
            return rule_host(self.host)
        except HostRefused:
            return ""

    def rewrite(self, options: PathOptions) -> None:
        """Do to the path and the query what the route says.

        Raises:
            PathRefused: The path that came of it has no normal form.
        """
        if (change := self.target.path) is not None:
            self.sent_path, self.sent_query = change.rewritten(
                self.path, self.query, self.target.route.match, options
            )

    @property
    def upgrade(self) -> bytes:
        """The protocol that the endpoint is asked to speak from now on; empty for most requests."""
        return self.head.upgrade if self.target.connection is None else b""

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
    def handshake(self) -> Handshake | None:
        """As `RequestView`; nothing is known of it here."""
        return None

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
        return field_of(name, self.head, self._client_host, self.forwarding)

    # For codecs.

    def field_lines(self) -> tuple[bytes, bytes, bytes]:
        """The field lines to send, in this order. What the proxy owns is last: nothing can take it away."""
        fields = self.head.fields
        said = self.forwarding.lines
        own = b"X-Request-ID: %b\r\n" % self.request_id
        if (edit := self.edit) is not None:
            fields = without(fields, edit.drop)
            own = edit.lines if b"x-request-id" in edit.drop else own + edit.lines
            # A trusted proxy may pass on more than it says itself: X-Forwarded-User, made up by a client.
            if said.count(b"\n") > _OWN_LINES and (more := edit.drop - OWN_NAMES):
                said = without(said, more)
        return fields, said, own
