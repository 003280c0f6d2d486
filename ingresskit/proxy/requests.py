"""From a request head to what happens with it: the one place where rules are asked.

Order matters: an address that is not allowed learns nothing else, neither a redirect nor a limit.
"""

from __future__ import annotations

import ipaddress
import random
from typing import TYPE_CHECKING, Final, assert_never

from ingresskit.graph import (
    Forward,
    HostRefused,
    PathRefused,
    Redirect,
    Respond,
    Termination,
    normalise_host,
    normalise_path,
    rule_host,
)
from ingresskit.proxy.exchange.exchange import Exchange
from ingresskit.proxy.h1.heads import BadRequest, RequestHead
from ingresskit.proxy.message.fields import join_fields, without
from ingresskit.proxy.message.forwarded import Forwarding, Peer

if TYPE_CHECKING:
    from ingresskit.proxy.h1.downstream import ClientConnection
    from ingresskit.proxy.plane import Plane
    from ingresskit.render.inprocess import Target

__all__ = ["Admitted", "LocalReply", "RequestedHost", "admit"]

_HOST_END: Final = (b"/", b"?")


class LocalReply:
    """A response that the proxy makes by itself.

    Attributes:
        termination: Why the request is not forwarded; ``None`` for redirects.
        detail: What exactly, in fixed words; may be empty.
    """

    __slots__ = ("detail", "host", "location", "path", "rule_host", "status", "termination")

    def __init__(
        self,
        status: int,
        termination: Termination | None,
        *,
        detail: str = "",
        host: str = "",
        path: str = "",
        rule_host: str = "",
        location: str = "",
    ) -> None:
        self.status: int = status
        self.termination: Termination | None = termination
        self.detail: str = detail
        self.host: str = host
        self.path: str = path
        self.rule_host: str = rule_host
        self.location: str = location


class RequestedHost:
    """A ``Host`` field, read. Connections remember the last one: clients rarely change it.

    Attributes:
        raw: As sent.
        name: In normal form, for matching.
        wire: In normal form with the port as sent, for the endpoint.
        port: That port; 0 without one.
    """

    __slots__ = ("name", "port", "raw", "wire")

    def __init__(self, raw: bytes) -> None:
        self.raw: bytes = raw
        text = raw.decode("latin-1")
        try:
            self.name: str = normalise_host(text)
        except HostRefused as exc:
            raise BadRequest(400, f"The Host {exc}.") from None
        if self.name[0] == "[":
            try:
                ipaddress.IPv6Address(self.name[1:-1])
            except ValueError:
                raise BadRequest(400, "The Host is not an IPv6 address.") from None
        _, _, port = text.rpartition("]")[2].rpartition(":") if ":" in text.rpartition("]")[2] else ("", "", "")
        if port and int(port) > 65535:
            raise BadRequest(400, "The Host has a wrong port.")
        self.port: int = int(port or 0)
        self.wire: bytes = (f"{self.name}:{port}" if port else self.name).encode("ascii")


class Admitted:
    """A request that will be forwarded.

    Attributes:
        path: In normal form, as it was matched; `build` rewrites it.
        server_name: For TLS to the endpoint; empty when the host cannot be one.
        request_id: What is sent as ``X-Request-ID``.
    """

    __slots__ = ("forwarding", "head", "host", "path", "query", "request_id", "target", "wire_host")

    def __init__(
        self,
        head: RequestHead,
        host: RequestedHost,
        path: str,
        query: bytes,
        target: Target,
        forwarding: Forwarding,
    ) -> None:
        self.head: RequestHead = head
        self.host: str = host.name
        self.wire_host: bytes = host.wire
        self.path: str = path
        self.query: bytes = query
        self.target: Target = target
        self.forwarding: Forwarding = forwarding
        self.request_id: bytes = head.request_id or b"%032x" % random.getrandbits(128)

    @property
    def server_name(self) -> str:
        """The TLS server name: the host the client asked for, as endpoints expect their own name."""
        try:
            return rule_host(self.host)
        except HostRefused:
            return ""

    def build(self) -> bytes:
        """The head to send. What the proxy owns is set last, so that nothing can take it away."""
        head, target = self.head, self.target
        path = self.path
        if target.rewrite_prefix is not None:
            path = (target.rewrite_prefix + path[len(target.matched) :]) or "/"
        fields = head.fields
        if target.drop_request_headers:
            fields = without(fields, target.drop_request_headers)
        own = b"X-Request-ID: %b\r\n" % self.request_id
        if target.drop_request_headers and b"x-request-id" in target.drop_request_headers:
            own = b""
        if target.request_headers:
            own += join_fields(target.request_headers)
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


def admit(plane: Plane, client: ClientConnection, peer: Peer, head: RequestHead) -> Exchange | LocalReply:
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
        if target is None:
            return LocalReply(404, Termination.NO_ROUTE, host=host.name, path=path)
    elif (target := chosen.find((table, *plane.fading))) is None:
        # The proxy in front knows a route that is not here (yet): it may be protected, so nothing else will do.
        return LocalReply(503, Termination.UNAVAILABLE, host=host.name, path=path, rule_host=chosen.host)
    forwarding = peer.forwarding(host.wire, host.port, head.client_fields)
    if target.allowed.networks and forwarding.client not in target.allowed:
        return LocalReply(403, Termination.DENIED, host=host.name, path=path, rule_host=target.host)
    if target.refuse_plain_http and not forwarding.https:
        return LocalReply(403, Termination.DENIED, host=host.name, path=path, rule_host=target.host)
    if (
        target.redirect_to_tls
        and not forwarding.https
        and (redirect_port := plane.redirect_port(peer, host.port)) is not None
    ):
        if peer.trusted and not forwarding.said_scheme:
            plane.suspect_redirect_loop(peer)
        port = "" if redirect_port == 443 else f":{redirect_port}"
        location = f"https://{host.name}{port}{path}{(mark + query).decode('ascii')}"
        return LocalReply(308, None, host=host.name, path=path, rule_host=target.host, location=location)
    if head.max_forwards == 0:
        return LocalReply(200, None, host=host.name, path=path, rule_host=target.host)
    action = target.route.action
    match action:
        case Forward():
            if head.length and head.length > target.max_body_bytes > 0:
                return LocalReply(
                    413, Termination.BODY_TOO_LARGE, host=host.name, path=path, rule_host=target.host
                )
            state = plane.balancer.choose_backend(action, table)
            if state is None:
                return LocalReply(
                    503, Termination.NO_ENDPOINT, host=host.name, path=path, rule_host=target.host
                )
            return Exchange(plane, client, Admitted(head, host, path, mark + query, target, forwarding), state)
        case Redirect(location=location, status=status):
            return LocalReply(status, None, host=host.name, path=path, rule_host=target.host, location=location)
        case Respond(status=status):
            return LocalReply(status, Termination.UNAVAILABLE, host=host.name, path=path, rule_host=target.host)
        case _:
            assert_never(action)


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
