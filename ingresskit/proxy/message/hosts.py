"""The host that a client asks for."""

from __future__ import annotations

import ipaddress

from ingresskit.graph import HostRefused, normalise_host
from ingresskit.proxy.message.head import BadRequest

__all__ = ["RequestedHost"]


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
        after_literal = text.rpartition("]")[2]  # the colons of an IPv6 literal are no separator
        port = after_literal.partition(":")[2]
        if port and int(port) > 65535:
            raise BadRequest(400, "The Host has a wrong port.")
        self.port: int = int(port or 0)
        self.wire: bytes = (f"{self.name}:{port}" if port else self.name).encode("ascii")
