"""From a request head to what happens with it: the one place where rules are asked.

Order matters: an address that is not allowed learns nothing else, neither a redirect nor a limit.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from ingresskit.filters import HeaderEdit, Subrequest
from ingresskit.graph import Forward, HostRefused, PathRefused, Termination, normalise_path, rule_host
from ingresskit.proxy.exchange.exchange import Exchange
from ingresskit.proxy.exchange.guards import GuardedRequest, JudgedHead, field_of
from ingresskit.proxy.exchange.inquiry import Inquiry
from ingresskit.proxy.exchange.replies import LocalReply
from ingresskit.proxy.h1.heads import BadRequest, RequestHead
from ingresskit.proxy.hosts import RequestedHost
from ingresskit.proxy.message.fields import without
from ingresskit.proxy.message.forwarded import Address, Forwarding, Peer

if TYPE_CHECKING:
    from ingresskit.proxy.h1.downstream import ClientConnection
    from ingresskit.proxy.plane import Plane
    from ingresskit.render.inprocess import Target

__all__ = ["Admitted", "admit"]

_HOST_END: Final = (b"/", b"?")


class Admitted:
    """A request that will be forwarded. It is the `RequestView` of filters for responses.

    Attributes:
        path: In normal form, as it was matched; `build` rewrites it.
        edit: What policies and filters change of its header fields; ``None``: nothing.
        server_name: For TLS to the endpoint; empty when the host cannot be one.
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
        """The TLS server name: the host the client asked for, as endpoints expect their own name."""
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

    # For the proxy.

    def build(self) -> bytes:
        """The head to send. What the proxy owns is set last, so that nothing can take it away."""
        head, target = self.head, self.target
        path = self.path
        if target.path is not None:
            path = target.path.apply(path, target.matched)
        fields = head.fields
        own = b"X-Request-ID: %b\r\n" % self.request_id
        if (edit := self.edit) is not None:
            fields = without(fields, edit.drop)
            own = edit.lines if b"x-request-id" in edit.drop else own + edit.lines
        if head.length is None:
            own += b"Transfer-Encoding: chunked\r\n"
        elif head.has_length:
            own += b"Content-Length: %d\r\n" % head.length
        if head.upgrade:
            own += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade
        if head.expects_continue and head.length != 0:
            own += b"Expect: 100-continue\r\n"
        return b"".join(
            (
                head.method,
                b" ",
                path.encode("ascii"),
                self.query,
                b" HTTP/1.1\r\nHost: ",
                self.wire_host,
                b"\r\n",
                fields,
                self.forwarding.lines,
                own,
                b"\r\n",
            )
        )


def admit(
    plane: Plane, client: ClientConnection, peer: Peer, head: RequestHead
) -> Exchange | Inquiry | LocalReply:
    """What happens with a request.

    Raises:
        BadRequest: Its host or path cannot be one.
    """
    host = client.requested_host(head.host)
    target_bytes = head.target
    if target_bytes[0] != 0x2F:
        if target_bytes != b"*" or head.method != b"OPTIONS":
            target_bytes = _from_absolute(target_bytes, host, head.method)
        if target_bytes == b"*":
            # About the server in general, which is this proxy: no rule is asked (RFC 9110, 9.3.7).
            return LocalReply(200, None, host=host.name, path="*")
    if b"#" in target_bytes:
        raise BadRequest(400, "The target has a fragment.")
    raw_path, mark, query = target_bytes.partition(b"?")
    table = plane.table
    try:
        path = normalise_path(raw_path.decode("ascii"), table.paths)
    except PathRefused as exc:
        raise BadRequest(400, f"The path {exc}.") from None
    if (chosen := peer.chosen) is None:
        # The common case first: an exact host. The table knows the others.
        exact = table.hosts.get(host.name)
        target = (exact.find(path) if exact is not None else None) or table.find(host.name, path)
        if target is not None and target.is_variant:
            judged = JudgedHead(head, host, mark + query, peer)
            target = table.choose(host.name, path, judged, random.random())  # noqa: S311 - a canary's share
        if target is None:
            return LocalReply(404, Termination.NO_ROUTE, host=host.name, path=path)
    elif (target := chosen.find((table, *plane.fading))) is None:
        # The proxy in front knows a route that is not here (yet): it may be protected, so nothing else will do.
        return LocalReply(503, Termination.UNAVAILABLE, host=host.name, path=path, rule_host=chosen.host)
    forwarding = peer.forwarding(host.wire, host.port, head.client_fields)
    edit = target.request
    if guards := target.secure if forwarding.https else target.plain:
        guarded = GuardedRequest(plane, peer, head, host, path, mark + query, target, forwarding, guards)
        outcome = guarded.go_on()
        if isinstance(outcome, Subrequest):
            return Inquiry(plane, client, guarded, outcome, _forward_guarded)
        if outcome is not None:
            return outcome
        edit = guarded.edit or None
    return _forward(plane, client, Admitted(head, host, path, mark + query, target, forwarding, edit))


def _forward_guarded(client: ClientConnection, request: GuardedRequest, began: float) -> Exchange | LocalReply:
    """The same after a wait for a subrequest, which began at *began*."""
    host = request.requested_host
    edit = request.edit or None
    admitted = Admitted(
        request.head, host, request.path, request.query, request.target, request.forwarding, edit
    )
    return _forward(request.plane, client, admitted, began)


def _forward(
    plane: Plane, client: ClientConnection, admitted: Admitted, began: float | None = None
) -> Exchange | LocalReply:
    """What becomes of a request that all filters let go on."""
    target = admitted.target
    if admitted.head.max_forwards == 0:
        return LocalReply(200, None, host=admitted.host, path=admitted.path, rule_host=target.host)
    action = target.route.action
    # A route that does not forward has a filter that responds.
    state = plane.balancer.choose_backend(action, plane.table) if isinstance(action, Forward) else None
    if state is None:
        return LocalReply(
            503, Termination.NO_ENDPOINT, host=admitted.host, path=admitted.path, rule_host=target.host
        )
    return Exchange(plane, client, admitted, state, began)


def _from_absolute(target: bytes, host: RequestedHost, method: bytes) -> bytes:
    """The origin form of an absolute target; ``*`` for OPTIONS of one without a path (RFC 9112, 3.2.4).

    RFC 9112, 3.2.2 lets the target win over ``Host``; we refuse when they differ, since whatever
    checked the request before us may have read the other one.
    """
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise BadRequest(400, "The target is neither a path nor an http URL.")
    cuts = [cut for mark in _HOST_END if (cut := rest.find(mark)) >= 0]
    cut = min(cuts, default=len(rest))
    if RequestedHost(rest[:cut]).wire != host.wire:
        raise BadRequest(400, "The target and the Host are not the same.")
    path = rest[cut:]
    if not path and method == b"OPTIONS":
        return b"*"
    return path if path.startswith(b"/") else b"/" + path
