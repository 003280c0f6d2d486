"""Requests of HTTP/2: the fields of a block as a head of the core, read strictly or not at all.

What RFC 9113 calls malformed is an error of the stream: pseudo-header fields that are missing, repeated,
unknown or behind others, names in upper case, fields of a connection, values with control characters or white
space around, a body beside its end. What can be read and is refused gets the same status as over HTTP/1.1.

The library may have looked at some of it already; what it lets through is not known for the next version of it.

Source: RFC 9113, sections 8.1 to 8.3; RFC 8441; RFC 9110, section 7.6.1.
"""

from __future__ import annotations

import base64
import re
import secrets
from typing import TYPE_CHECKING, ClassVar, Final

from ingresskit.proxy.message.fields import (
    ALIAS,
    AUTHORIZATION,
    CLIENT,
    EXPECT,
    HOP,
    HOST,
    LENGTH,
    MAX_FORWARDS,
    ORDINARY,
    REQUEST_ID,
    REQUEST_KINDS,
    REQUEST_KINDS_WITH_UNDERSCORES,
    TE,
    authenticates_connection,
)
from ingresskit.proxy.message.head import BadRequest, RequestHead
from ingresskit.proxy.message.hosts import RequestedHost
from ingresskit.proxy.message.special import REQUEST_ID_FORM, judge_max_forwards

if TYPE_CHECKING:
    from ingresskit.proxy.h2.engine import Fields
    from ingresskit.proxy.settings import ProxySettings

__all__ = ["H2RequestHead", "Malformed", "RequestReader", "read_trailers"]

_METHOD: Final = re.compile(rb"[A-Z][A-Z_-]{0,31}")
_TARGET: Final = re.compile(rb"/[\x21-\x7e]*")
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH: Final = re.compile(rb"[0-9]{1,15}")
_CONNECTION_FIELDS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_PSEUDO: Final = frozenset((b":method", b":scheme", b":authority", b":path", b":protocol"))
_MALFORMED: Final = -1
_COOKIE: Final = -2
_MAX_NAMES: Final = 4096
_LINE_OVERHEAD: Final = 4  # of a line of HTTP/1.1: a colon, a space and the line end
_COLON: Final = 0x3A


class Malformed(Exception):
    """Raised when a request is malformed as RFC 9113, 8.1.1 has it: an error of its stream."""


class H2RequestHead(RequestHead):
    """A request that came over HTTP/2 and passed all checks."""

    __slots__ = ()

    protocol: ClassVar[str] = "HTTP/2.0"


class _Names(dict[bytes, int]):
    """What a name means, remembered; names that may not stand in a block are `_MALFORMED`."""

    def __init__(self, *, underscores: bool) -> None:
        self._kinds = REQUEST_KINDS_WITH_UNDERSCORES if underscores else REQUEST_KINDS

    def __missing__(self, name: bytes) -> int:
        if name in _CONNECTION_FIELDS or _NAME.fullmatch(name) is None:
            kind = _MALFORMED
        else:
            kind = _COOKIE if name == b"cookie" else self._kinds[name]
        if len(name) <= 64:
            if len(self) >= _MAX_NAMES:
                self.clear()
            self[name] = kind
        return kind


_NAMES: Final = _Names(underscores=False)
_NAMES_WITH_UNDERSCORES: Final = _Names(underscores=True)


class RequestReader:
    """Reads the blocks of one connection."""

    __slots__ = ("_known", "_known_authority", "_known_head", "_names", "_settings")

    def __init__(self, settings: ProxySettings) -> None:
        self._settings = settings
        self._names = _NAMES_WITH_UNDERSCORES if settings.underscores_in_headers else _NAMES
        # Clients say the same about themselves in one request after the other: see `h1.heads.RequestReader`.
        self._known: Fields = ()
        self._known_authority: bytes | None = None
        self._known_head: H2RequestHead | None = None

    def read(self, fields: Fields, *, ended: bool) -> H2RequestHead:
        """The head that *fields* are; *ended*: no body follows.

        Raises:
            Malformed: The stream is to be reset.
            BadRequest: The request is refused.
        """
        method = scheme = authority = path = protocol = None
        count = 0
        for name, value in fields:
            if not name or name[0] != _COLON:
                break
            count += 1
            if name == b":method" and method is None:
                method = value
            elif name == b":path" and path is None:
                path = value
            elif name == b":authority" and authority is None:
                authority = value
            elif name == b":scheme" and scheme is None:
                scheme = value
            elif name == b":protocol" and protocol is None:
                protocol = value
            else:
                raise Malformed("an unknown or repeated pseudo-header field")
        rest = fields[count:]
        if method is None or (method == b"CONNECT" and protocol is None):
            raise _not_read(method)
        if scheme is None or path is None or (protocol is not None and (method != b"CONNECT" or ended)):
            raise Malformed("a pseudo-header field is missing, or out of place")
        self._check_request(method, scheme, path)
        known = self._known_head
        if known is not None and ended and rest == self._known and authority == self._known_authority:
            head = H2RequestHead(method, path, False, known.fields)
            head.host = known.host
            return head
        if protocol is None:
            head = H2RequestHead(method, path, False, b"")
            plain = self._read_fields(head, rest, authority, ended=ended)
            if plain and ended:
                self._known, self._known_authority, self._known_head = rest, authority, head
            return head
        # RFC 8441: to an endpoint of HTTP/1.1 it is an upgrade.
        if protocol.lower() != b"websocket":
            raise BadRequest(501, "Only WebSocket may be asked for by extended CONNECT.")
        head = H2RequestHead(b"GET", path, False, b"")
        self._read_fields(head, rest, authority, ended=True)
        head.upgrade = b"websocket"
        head.fields += b"Sec-WebSocket-Key: %b\r\n" % base64.b64encode(secrets.token_bytes(16))
        return head

    def _check_request(self, method: bytes, scheme: bytes, path: bytes) -> None:
        if _METHOD.fullmatch(method) is None:
            raise BadRequest(400, "The method could not be read.")
        if method == b"TRACE":
            raise BadRequest(405, "The method is not allowed here.")
        if scheme not in (b"http", b"https"):
            raise BadRequest(400, "The scheme is neither http nor https.")
        if _TARGET.fullmatch(path) is None and (path != b"*" or method != b"OPTIONS"):
            raise Malformed("a path that is none")
        if len(method) + len(path) + 12 > self._settings.max_request_line_bytes:
            raise BadRequest(414, "The request line is too long.")

    def _read_fields(
        self, head: H2RequestHead, fields: Fields, authority: bytes | None, *, ended: bool
    ) -> bool:
        """Read what is no pseudo-header field; whether it says nothing but what is passed on."""
        settings, names = self._settings, self._names
        if len(fields) > settings.max_headers:
            raise BadRequest(431, "The request has too many header fields.")
        lines: list[bytes] = []
        crumbs: list[bytes] = []
        length: bytes | None = None
        host: bytes | None = None
        plain = True
        size = len(head.method) + len(head.target) + (0 if authority is None else len(authority)) + 22
        for name, value in fields:
            kind = names[name]
            size += len(name) + len(value) + _LINE_OVERHEAD
            if value[:1] in _BLANK or value[-1:] in _BLANK:
                raise Malformed("white space around a value")
            if kind == ORDINARY:
                lines.append(b"%b: %b\r\n" % (name, value))
                continue
            if kind == _MALFORMED:
                raise Malformed("a name that may not stand here")
            if kind == _COOKIE:
                crumbs.append(value)
                continue
            plain = False
            if kind == HOST:
                if host is not None:
                    raise Malformed("a second Host")
                host = value
            elif kind == LENGTH:
                if length is not None or _LENGTH.fullmatch(value) is None:
                    raise Malformed("a Content-Length that is none, or a second one")
                length = value
            elif kind == TE:
                if value.lower() != b"trailers":
                    raise Malformed("a TE that is not trailers")
                head.takes_trailers = True
            elif kind == EXPECT:
                if value.lower() != b"100-continue":
                    raise BadRequest(417, "The expectation cannot be met.")
                head.expects_continue = not ended
            elif kind == CLIENT:
                head.client_fields = (*head.client_fields, (name, value))
            elif kind == AUTHORIZATION:
                head.connection_auth = head.connection_auth or authenticates_connection(value)
                lines.append(b"%b: %b\r\n" % (name, value))
            elif kind == REQUEST_ID:
                if REQUEST_ID_FORM.fullmatch(value):
                    head.request_id = value
            elif kind == MAX_FORWARDS:
                lines.append(judge_max_forwards(head, name, value))
            else:
                assert kind in (HOP, ALIAS), kind  # noqa: S101 - dropped; all others were malformed
        if size > settings.max_header_bytes:
            raise BadRequest(431, "The request head is too large.")
        if crumbs:
            # RFC 9113, 8.2.3: to others it is one field.
            lines.append(b"cookie: %b\r\n" % b"; ".join(crumbs))
        head.fields = b"".join(lines)
        if _CONTROL.search(b"".join([value for _, value in fields])):
            raise Malformed("a value with a control character")
        self._settle_host(head, authority, host)
        self._settle_length(head, length, ended=ended)
        return plain

    def _settle_host(self, head: H2RequestHead, authority: bytes | None, host: bytes | None) -> None:
        if authority is None:
            if host is None:
                raise Malformed("neither an authority nor a Host")
            authority = host
        elif (
            host is not None and host != authority and RequestedHost(host).wire != RequestedHost(authority).wire
        ):
            raise BadRequest(400, "The target and the Host are not the same.")
        if b"@" in authority:
            raise Malformed("an authority that names a user")
        head.host = authority

    def _settle_length(self, head: H2RequestHead, length: bytes | None, *, ended: bool) -> None:
        if length is not None:
            head.has_length = True
            head.length = int(length)
            if ended and head.length:
                raise Malformed("a body that does not come")
        elif not ended:
            head.length = None


_BLANK: Final = frozenset((b" ", b"\t"))


def _not_read(method: bytes | None) -> Exception:
    if method == b"CONNECT":
        return BadRequest(405, "The method is not allowed here.")
    return Malformed("a request without a method")


def read_trailers(fields: Fields) -> bytes:
    """The field lines of a block after the body; those of connections are dropped.

    Raises:
        Malformed: One of them is a pseudo-header field, or cannot be a field.
    """
    lines: list[bytes] = []
    for name, value in fields:
        if _NAMES[name] == _MALFORMED or _CONTROL.search(value):
            raise Malformed("a trailer that is none")
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines)
