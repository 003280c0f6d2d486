"""The first message of a TLS client, as far as it takes to know the server name. No I/O.

The name decides whether a connection is passed on or ends here, before any library for TLS has seen an octet:
one of those would refuse clients that only the endpoint understands. Everything is bounded, and what OpenSSL
would refuse in what is read here is refused here too.

A client may spread the message over as many records as it likes, and those over as many segments. Extensions
that nobody knows (GREASE, RFC 8701) are passed over. With Encrypted Client Hello, the name is that of the
outer message: the inner one is for the server that has the key.

Source: RFC 8446, sections 4.1.2 and 5.1; RFC 6066, section 3; OpenSSL's ``tls_parse_ctos_server_name``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["MOST_BYTES", "BadClientHello", "ClientHello", "parse_client_hello"]

MOST_BYTES: Final = 1 << 16
"""What the message and its records may take; those of browsers take 2 KB, with post-quantum keys."""

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_HOST_NAME: Final = 0
_MOST_IN_RECORD: Final = 1 << 14
_LONGEST_NAME: Final = 255
_RECORD_HEADER: Final = 5


class BadClientHello(ValueError):
    """Raised when octets cannot be the beginning of a TLS connection. Its text is a clause in fixed words."""


class ClientHello(NamedTuple):
    """What a client said first.

    Attributes:
        server_name: As it was sent, ASCII; ``None``: none was.
    """

    server_name: str | None


def parse_client_hello(data: bytes) -> ClientHello | None:
    """The first message in *data*, the first octets of a connection; ``None``: there must be more of them.

    Raises:
        BadClientHello: It is none, or takes more than `MOST_BYTES`.
    """
    message = _message(data)
    if message is None:
        return None
    return ClientHello(_server_name(message))


def _message(data: bytes) -> bytes | None:
    """The body of the message, put together from its records; ``None``: it is not complete."""
    joined = bytearray()
    place = 0
    while True:
        left = len(data) - place
        # Each octet is judged as soon as it is there: who speaks no TLS is not waited for.
        if left > 0 and data[place] != _HANDSHAKE:
            raise BadClientHello("it does not begin with a handshake")
        if left > 1 and data[place + 1] != 3:
            raise BadClientHello("its record is of another protocol")
        if left < _RECORD_HEADER:
            _check_size(data)
            return None
        length = int.from_bytes(data[place + 3 : place + 5])
        if not 0 < length <= _MOST_IN_RECORD:
            raise BadClientHello("a record has no possible length")
        place += _RECORD_HEADER
        end = len(joined) + length
        joined += data[place : place + length]
        if joined and joined[0] != _CLIENT_HELLO:
            raise BadClientHello("the handshake begins with another message")
        if len(joined) >= 4:
            size = int.from_bytes(joined[1:4])
            if size > MOST_BYTES:
                raise BadClientHello("the message is too long")
            if end > 4 + size:
                # Nothing may follow in the same record: keys may change after this message.
                raise BadClientHello("a record goes on after the message")
            if len(joined) == 4 + size:
                return bytes(joined[4:])
        if place + length > len(data):
            _check_size(data)
            return None
        place += length


def _check_size(data: bytes) -> None:
    if len(data) >= MOST_BYTES:
        raise BadClientHello("the message is too long")


def _server_name(message: bytes) -> str | None:
    reader = _Reader(message)
    reader.take(2 + 32)
    if len(reader.sized(1)) > 32:
        raise BadClientHello("the session is too long")
    suites = reader.sized(2)
    if len(suites) < 2 or len(suites) % 2:
        raise BadClientHello("the ciphers have no possible length")
    if not reader.sized(1):
        raise BadClientHello("there are no compression methods")
    if reader.at_end:
        return None
    extensions = _Reader(reader.sized(2))
    if not reader.at_end:
        raise BadClientHello("the message goes on after its extensions")
    found: bytes | None = None
    seen: set[int] = set()
    while not extensions.at_end:
        kind = int.from_bytes(extensions.take(2))
        body = extensions.sized(2)
        if kind in seen:
            raise BadClientHello("an extension stands twice")
        seen.add(kind)
        if kind == _SERVER_NAME:
            found = _host_name(body)
    return None if found is None else found.decode("ascii")


def _host_name(body: bytes) -> bytes:
    outer = _Reader(body)
    names = _Reader(outer.sized(2))
    if not outer.at_end or names.take(1)[0] != _HOST_NAME:
        raise BadClientHello("the server name is of another kind")
    name = names.sized(2)
    if not names.at_end:
        raise BadClientHello("there are several server names")
    if not 0 < len(name) <= _LONGEST_NAME or not name.isascii() or min(name) <= 0x20 or 0x7F in name:
        raise BadClientHello("the server name is not a name")
    return name


class _Reader:
    """Reads a structure of TLS from its beginning to its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    @property
    def at_end(self) -> bool:
        return self._place == len(self._data)

    def take(self, count: int) -> bytes:
        """The next octets.

        Raises:
            BadClientHello: There are not so many.
        """
        end = self._place + count
        if end > len(self._data):
            raise BadClientHello("the message ends too early")
        found = self._data[self._place : end]
        self._place = end
        return found

    def sized(self, octets: int) -> bytes:
        """What follows a length of so many octets."""
        return self.take(int.from_bytes(self.take(octets)))
