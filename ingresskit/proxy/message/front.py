"""Requests that a proxy program in front forwards over a private Unix socket, with the route it chose.

The program (HAProxy, nginx) terminates the client's connection and finds the route; this proxy applies
the policies. One header field, which the program overwrites in every request, carries what this proxy cannot
see itself. It is believed on this socket only: on every other listener it is dropped like what a client says
of itself.

The other fields about the client (``X-Forwarded-*``, ``X-Real-IP``, ``Forwarded``) are the program's own too,
and are passed on as they come.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from typing_extensions import override

from ingresskit.graph import PathKind
from ingresskit.proxy.message.fields import Field
from ingresskit.proxy.message.forwarded import Address, Forwarding, Peer, PublicPorts, parse_address
from ingresskit.proxy.message.head import BadRequest
from ingresskit.render.delegate import DELEGATE_FIELD, WHOLE_HOST, ChosenRoute

__all__ = ["Front"]

_NAME: Final = DELEGATE_FIELD.encode("ascii")
# client, scheme of the request, scheme of the connection, port of the listener, rule host, kind, path
_VALUE: Final = re.compile(
    rb"1 ([0-9A-Fa-f.:]{2,45}) (https?) (https?|[01]) ([0-9]{1,5}) ([a-z0-9*._\[\]:-]{1,300})"
    rb" (Exact|Prefix|Host) (/[\x21-\x7e]*)"
)
_NOBODY: Final = ipaddress.IPv4Address("127.0.0.1")
_MISTAKEN: Final = "The request does not come from the proxy in front."


class _FrontPeer(Peer):
    """The client of one request, as the program in front describes it."""

    __slots__ = ("_client_address", "_https")

    def __init__(self, client: Address, *, https: bool, tls: bool, port: int, chosen: ChosenRoute) -> None:
        super().__init__(client, tls=tls, listener_port=port, trusted=(), public=PublicPorts())
        self._https = https
        self._client_address = client
        self.chosen = chosen

    @override
    def forwarding(self, host: bytes, host_port: int, said: tuple[Field, ...]) -> Forwarding:
        """The program in front has said all of it already: its lines are passed on."""
        lines = b"".join(
            [b"%b: %b\r\n" % (name, value) for name, value in said if name.lower() != _NAME],
        )
        return Forwarding(client=self._client_address, https=self._https, lines=lines, said_scheme=True)


class Front:
    """One connection of the program in front. It remembers the last client: requests come in rows."""

    __slots__ = ("_known", "_peer")

    def __init__(self) -> None:
        self._known: bytes = b""
        self._peer: _FrontPeer | None = None

    @property
    def connection(self) -> Peer:
        """Who stands for the connection as a whole: many clients share it, so no limit of one client holds."""
        return Peer(
            _NOBODY,
            tls=False,
            listener_port=0,
            trusted=(ipaddress.ip_network(_NOBODY),),
            public=PublicPorts(),
        )

    def peer(self, fields: tuple[Field, ...]) -> Peer:
        """The client of a request.

        Args:
            fields: What is said of who the client is.

        Raises:
            BadRequest: The field is missing, there are several, or it cannot be read.
        """
        said = [value for name, value in fields if name.lower() == _NAME]
        if len(said) != 1:
            raise BadRequest(400, _MISTAKEN)
        value = said[0]
        if self._peer is not None and value == self._known:
            return self._peer
        found = _VALUE.fullmatch(value)
        if found is None:
            raise BadRequest(400, _MISTAKEN)
        client, scheme, connection, port, host, kind, path = (part.decode("ascii") for part in found.groups())
        try:
            address = parse_address(client)
        except ValueError:
            raise BadRequest(400, _MISTAKEN) from None
        self._peer = _FrontPeer(
            address,
            https=scheme == "https",
            tls=connection in ("https", "1"),
            port=int(port),
            chosen=ChosenRoute(host, None if kind == WHOLE_HOST else PathKind(kind), path),
        )
        self._known = value
        return self._peer
