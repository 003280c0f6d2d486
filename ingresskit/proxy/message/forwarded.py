"""Who the client is, and the header fields about it that endpoints get.

The whole family (``X-Forwarded-*``, ``X-Real-IP``, ``Forwarded``, what is said of client certificates)
belongs to the proxy. What a peer sends of it is dropped, in any spelling, unless the peer is a trusted
proxy; then its chain is kept,
our peer is added to it, and the client is the right-most address that is not a trusted proxy: an
address further left may have been made up by the client.

Source: RFC 7239; the Traefik advisories of 2024 to 2026 on X-Forwarded aliases.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from ingresskit.filters import Handshake
from ingresskit.graph import HostRefused, normalise_host
from ingresskit.policies.values import Network
from ingresskit.proxy.message.fields import Field
from ingresskit.render.delegate import ChosenRoute

__all__ = ["OWN_NAMES", "Address", "Forwarding", "Peer", "PublicPorts", "parse_address"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_WITH_PORT = re.compile(r"\[(?P<six>[0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|(?P<four>[0-9.]+)(?::[0-9]{1,5})?")
_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"(?P<quoted>[^"\\]*)"|(?P<plain>[^;",\s]+))', re.IGNORECASE)
_HOPS = 64


def parse_address(text: str) -> Address:
    """The address in *text*; an IPv4 address mapped into IPv6 comes back as IPv4.

    Raises:
        ValueError: It is none.
    """
    parsed = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


class PublicPorts(NamedTuple):
    """The ports that clients reach this proxy at; it may listen at others, behind a port mapping."""

    http: int = 80
    https: int = 443


class Forwarding:
    """What one request is told to come from.

    Attributes:
        client: The client's address.
        https: The client spoke TLS, to us or to a trusted proxy.
        said_scheme: A trusted proxy said which; without that, a redirect to TLS may come back for ever.
        lines: The header lines for the endpoint, each with its line end.
    """

    __slots__ = ("client", "https", "lines", "said_scheme")

    def __init__(self, *, client: Address, https: bool, lines: bytes, said_scheme: bool = False) -> None:
        self.client: Address = client
        self.https: bool = https
        self.lines: bytes = lines
        self.said_scheme: bool = said_scheme


class Peer:
    """The other end of a client connection.

    Attributes:
        address: Of the peer; that in the PROXY header, where one was read.
        trusted: It is a trusted proxy.
        tls: It speaks TLS to us.
        listener_port: The port of our listener that took the connection.
        proxied_port: The destination port that a PROXY header named; 0 without one.
        handshake: That of its TLS; ``None`` without.
        chosen: The route that a proxy program in front chose; ``None``: this proxy finds it.
    """

    __slots__ = (
        "_known",
        "_known_host",
        "_public",
        "_trusted_networks",
        "address",
        "chosen",
        "handshake",
        "listener_port",
        "proxied_port",
        "text",
        "tls",
        "trusted",
    )

    def __init__(
        self,
        address: Address,
        *,
        tls: bool,
        listener_port: int,
        trusted: tuple[Network, ...],
        public: PublicPorts,
        proxied_port: int = 0,
        handshake: Handshake | None = None,
    ) -> None:
        self.address: Address = address
        self.text: str = str(address)
        self.chosen: ChosenRoute | None = None
        self.tls: bool = tls
        self.handshake: Handshake | None = handshake
        self.listener_port: int = listener_port
        self.proxied_port: int = proxied_port
        self._public = public
        self._trusted_networks = trusted
        self.trusted: bool = _within(address, trusted)
        self._known_host: bytes | None = None
        self._known: Forwarding | None = None

    def forwarding(self, host: bytes, host_port: int, said: tuple[Field, ...]) -> Forwarding:
        """What a request with this ``Host``, of which the peer says *said*, comes from.

        Args:
            host: As it is forwarded.
            host_port: The port in it; 0 without one.
            said: The fields of the family above, as sent.
        """
        if not self.trusted or not said:
            # The same for every request of a connection to one host: worth remembering.
            if self._known is None or self._known_host != host:
                proto = "https" if self.tls else "http"
                self._known = self._lines([], self.address, proto, host, self._port(proto, host_port), b"")
                self._known_host = host
            return self._known
        if self.handshake is not None and self.handshake.asked is not None:
            # Of certificates only what this proxy saw itself counts.
            said = tuple(field for field in said if not _of_certificates(field[0]))
        values: dict[bytes, list[str]] = {}
        for name, value in said:
            values.setdefault(name.lower(), []).append(value.decode("latin-1"))
        chain = _split(values.get(b"x-forwarded-for", ()))
        elements = _split(values.get(b"forwarded", ()))
        hops = [_read_hop(text) for text in chain] if chain else [_read_for(text) for text in elements]
        proto = _first(values.get(b"x-forwarded-proto")).lower()
        told = proto in ("http", "https")
        if not told:
            proto = "https" if self.tls else "http"
        port_text = _first(values.get(b"x-forwarded-port"))
        port = int(port_text) if re.fullmatch(r"[0-9]{1,5}", port_text) and int(port_text) < 65536 else 0
        port = port or self._port(proto, host_port)
        said_host = _decent_host(_first(values.get(b"x-forwarded-host")))
        kept = b"".join(name + b": " + value + b"\r\n" for name, value in said if name.lower() not in OWN_NAMES)
        if elements:
            ours = f'"[{self.text}]"' if self.address.version == 6 else self.text
            joined = ", ".join([*elements, f"for={ours};proto={proto}"])
            kept += b"Forwarded: " + joined.encode("latin-1") + b"\r\n"
        found = self._lines(chain, self._client(hops), proto, said_host or host, port, kept)
        found.said_scheme = told
        return found

    def _port(self, proto: str, host_port: int) -> int:
        """The port that the client used, where no trusted proxy names it."""
        # The PROXY header speaks of the connection: where that is of another scheme than the request, an
        # earlier proxy took the request at a port of its own.
        proxied = self.proxied_port if (proto == "https") == self.tls else 0
        return proxied or host_port or (self._public.https if proto == "https" else self._public.http)

    def _client(self, hops: list[Address | None]) -> Address:
        client = self.address
        for hop in reversed(hops[-_HOPS:]):
            if hop is None:
                break  # what lies beyond an entry that is no address cannot be judged
            client = hop
            if not _within(hop, self._trusted_networks):
                break
        return client

    def _lines(
        self, chain: list[str], client: Address, proto: str, host: bytes, port: int, more: bytes
    ) -> Forwarding:
        addresses = ", ".join([*chain, self.text])
        lines = (
            f"X-Forwarded-For: {addresses}\r\nX-Forwarded-Proto: {proto}\r\n"
            f"X-Forwarded-Port: {port}\r\nX-Real-IP: {client}\r\n"
        ).encode("latin-1")
        return Forwarding(
            client=client,
            https=proto == "https",
            lines=lines + b"X-Forwarded-Host: " + host + b"\r\n" + more,
        )


# Said anew; of what else a trusted proxy says, nothing is known here, and all of it is passed on.
OWN_NAMES: Final = frozenset(
    (
        b"forwarded",
        b"ingresskit-delegate",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-real-ip",
    )
)
"""The fields that are always the proxy's own, in lower case."""


def _of_certificates(name: bytes) -> bool:
    return b"client-cert" in name.lower() or name.lower().startswith((b"ssl-client-", b"x-ssl-client-"))


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _first(values: list[str] | None) -> str:
    """The first element of a list that proxies append to: what the client itself used."""
    return values[0].partition(",")[0].strip() if values else ""


def _split(values: Iterable[str]) -> list[str]:
    return [entry for value in values for part in value.split(",") if (entry := part.strip())]


def _read_hop(text: str) -> Address | None:
    """An entry of X-Forwarded-For: an address, some proxies add the port."""
    try:
        return parse_address(text)
    except ValueError:
        pass
    if found := _WITH_PORT.fullmatch(text):
        try:
            return parse_address(found["six"] or found["four"])
        except ValueError:
            pass
    return None


def _read_for(element: str) -> Address | None:
    """The node of an element of Forwarded; obfuscated and unknown ones are no address."""
    found = _FOR.search(element)
    return _read_hop(found["quoted"] or found["plain"] or "") if found else None


def _decent_host(text: str) -> bytes:
    try:
        normalise_host(text)
    except HostRefused:
        return b""
    return text.encode("latin-1")
