"""Just enough HTTP/2 for one request on a connection of its own; no compression, no flow control.

Source: RFC 9113; RFC 8441; RFC 7541, sections 5 and 6.2.2, Appendix A.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import IO

from ingresskit.testing import pace

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS = 1, 4
_CANCEL, _LARGEST = 8, 16384
_STATUSES = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}


def ask(
    port: int, fields: Iterable[tuple[str, str]], *, body: bytes | None = None, server_name: str = "a.test"
) -> tuple[int, bytes]:
    """Send a request over TLS.

    Args:
        port: On 127.0.0.1.
        fields: All of them, pseudo-header fields first.
        body: Of unknown length to the server; ``None``: there is none.
        server_name: For the handshake.

    Returns:
        The status, 0 when the connection or the stream was ended without one, and the body.
    """
    with _connected(port, server_name) as secure:
        sent = _PREFACE + _frame(_SETTINGS, 0, 0, b"") + _headers(fields, ends=body is None)
        if body is not None:
            sent += _frame(_DATA, _END_STREAM, 1, body)
        secure.sendall(sent)
        return _answer(secure.makefile("rb"))


def give_up(
    port: int, fields: Iterable[tuple[str, str]], begun: bytes, *, server_name: str = "a.test"
) -> tuple[int, int | None]:
    """Send a request and the beginning of its body, wait for the response, and end the stream without the rest.

    Returns:
        The status, 0 when the stream was ended without one, and the code with which the server ended the
        stream; ``None`` when it did not.
    """
    with _connected(port, server_name) as secure:
        frames = (_frame(_DATA, 0, 1, begun[at : at + _LARGEST]) for at in range(0, len(begun), _LARGEST))
        sent = _PREFACE + _frame(_SETTINGS, 0, 0, b"") + _headers(fields, ends=False) + b"".join(frames)
        secure.sendall(sent)
        status, code = 0, None
        received = secure.makefile("rb")
        ended = False
        while not ended and (head := received.read(9)):
            payload = received.read(int.from_bytes(head[:3]))
            stream, kind = int.from_bytes(head[5:]), head[3]
            if stream == 1 and kind == _HEADERS:
                status = _status(payload)
            if stream == 1 and kind == _RST_STREAM:
                code, ended = int.from_bytes(payload), True
            ended = ended or (stream == 1 and bool(head[4] & _END_STREAM))
        with suppress(OSError):
            secure.sendall(_frame(_RST_STREAM, 0, 1, _CANCEL.to_bytes(4)))
        return status, code


def leave(port: int, fields: Iterable[tuple[str, str]], *, server_name: str = "a.test") -> ssl.SSLSocket:
    """Send a request; the client leaves when the connection that is returned is closed."""
    secure = _connected(port, server_name)
    secure.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + _headers(fields, ends=True))
    return secure


def open_tunnel(
    port: int, fields: Iterable[tuple[str, str]], said: bytes, *, server_name: str = "a.test"
) -> tuple[int, bytes]:
    """Open a tunnel (RFC 8441), say something in it, and give what comes back as soon as anything does.

    Args:
        port: On 127.0.0.1.
        fields: Of the request; ``:method`` is ``CONNECT``, and there is a ``:protocol``.
        said: What goes into the tunnel once it is open.
        server_name: For the handshake.

    Returns:
        The status, and what came back; empty when there is no tunnel.
    """
    with _connected(port, server_name) as secure:
        secure.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + _headers(fields, ends=False))
        received = secure.makefile("rb")
        while (kind := (head := received.read(9))[3]) != _HEADERS:
            assert kind != _RST_STREAM
            received.read(int.from_bytes(head[:3]))
        status = _status(received.read(int.from_bytes(head[:3])))
        if status != 200:
            return status, b""
        secure.sendall(_frame(_DATA, 0, 1, said))
        while (head := received.read(9))[3] != _DATA:
            received.read(int.from_bytes(head[:3]))
        return status, received.read(int.from_bytes(head[:3]))


def _connected(port: int, server_name: str) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    plain = socket.create_connection(("127.0.0.1", port), timeout=pace.within(10))
    secure = context.wrap_socket(plain, server_hostname=server_name)
    assert secure.selected_alpn_protocol() == "h2"
    return secure


def _headers(fields: Iterable[tuple[str, str]], *, ends: bool) -> bytes:
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields)
    return _frame(_HEADERS, _END_HEADERS | (_END_STREAM if ends else 0), 1, block)


def _answer(received: IO[bytes]) -> tuple[int, bytes]:
    status, body = 0, b""
    while head := received.read(9):
        length, kind, flags, stream = int.from_bytes(head[:3]), head[3], head[4], int.from_bytes(head[5:])
        payload = received.read(length)
        if kind == _HEADERS:
            status = _status(payload)
        elif kind == _DATA:
            body += payload
        elif kind == _GOAWAY or (kind == _RST_STREAM and stream == 1):
            break
        if stream == 1 and flags & _END_STREAM and kind in (_DATA, _HEADERS):
            break
    return status, body


def _status(block: bytes) -> int:
    # The status comes first: one of the table's, or "indexed name 8" and the digits, Huffman-coded or not.
    while block[0] & 0xE0 == 0x20:  # a change of the size of the table
        block = block[1:]
    if block[0] in _STATUSES:
        return _STATUSES[block[0]]
    length = block[1] & 0x7F
    assert not block[1] & 0x80, "Huffman-coded"
    return int(block[2 : 2 + length])


def _text(text: str) -> bytes:
    raw = text.encode("latin-1")
    if len(raw) < 127:
        return bytes((len(raw),)) + raw
    rest, more = len(raw) - 127, bytearray((127,))
    while rest > 127:
        more.append(rest % 128 + 128)
        rest //= 128
    return bytes((*more, rest)) + raw


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload
