"""Message heads, read strictly or not at all.

The C parser (llhttp, by httptools) knows the grammar; this module decides whether the message is one
that every other parser would read the same way. What llhttp lets through and we do not: no or several
``Host`` fields, lists and signs in ``Content-Length``, it beside ``Transfer-Encoding``, codings
other than ``chunked``, folded lines, bare LF, white space games, any number and size of fields.

A head is handed over whole, up to and with its empty line. A parser that is not at the start of a
message afterwards is thrown away: bodies are read by `ingresskit.proxy.bodies`.

Source: RFC 9112; RFC 9110, sections 7.2 and 7.6.1; measured against 179 hostile requests in 2026.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, Final, NoReturn

import httptools

from ingresskit.proxy.bodies import Body, ChunkedBody, LengthBody

if TYPE_CHECKING:
    from ingresskit.proxy.settings import ProxySettings

__all__ = [
    "BadAnswer",
    "BadRequest",
    "Field",
    "RequestHead",
    "RequestReader",
    "ResponseHead",
    "ResponseReader",
    "join_fields",
    "join_lines",
    "without",
]

Field = tuple[bytes, bytes]
"""A field's name as it was spelled, and its value without white space around."""


def without(lines: list[bytes], names: Container[bytes]) -> list[bytes]:
    """The field lines that have none of these names, which are in lower case."""
    return [line for line in lines if line[: line.find(b":")].lower() not in names]


def join_lines(lines: list[bytes]) -> bytes:
    """Field lines, each with its line end."""
    return b"\r\n".join(lines) + b"\r\n" if lines else b""


def join_fields(fields: Iterable[Field]) -> bytes:
    """The same of fields."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


class BadRequest(Exception):
    """Raised when a request is refused unread. Its text is one sentence for the client."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        super().__init__(sentence)


class BadAnswer(Exception):
    """Raised when an endpoint's answer cannot be trusted to end where we think. Its text is a clause."""


# What a field means to a proxy. 0 is: nothing. Plain numbers: these are compared for every field.
_ORDINARY: Final = 0
_HOST: Final = 1
_LENGTH_FIELD: Final = 2
_CODING: Final = 3
_CONNECTION: Final = 4
_UPGRADE: Final = 5
_EXPECT: Final = 6
_CLIENT: Final = 7  # says who the client is: proxy-owned
_REQUEST_ID_FIELD: Final = 8
_HOP: Final = 9  # for this connection only
_ALIAS: Final = 10  # some applications cannot tell it from another name

_KINDS: Final = {
    b"host": _HOST,
    b"content-length": _LENGTH_FIELD,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
    b"upgrade": _UPGRADE,
    b"expect": _EXPECT,
    b"forwarded": _CLIENT,
    b"x-real-ip": _CLIENT,
    b"x-scheme": _CLIENT,
    # RFC 9440, and the older spellings: a proxy that checks certificates says here what it found.
    b"client-cert": _CLIENT,
    b"client-cert-chain": _CLIENT,
    b"x-client-cert": _CLIENT,
    b"x-request-id": _REQUEST_ID_FIELD,
    b"keep-alive": _HOP,
    b"http2-settings": _HOP,
    # We drop trailers, so promising to take them, or announcing them, would be wrong.
    b"te": _HOP,
    b"trailer": _HOP,
    # To CGI this is HTTP_PROXY, by which many libraries choose where to send their own requests.
    b"proxy": _ALIAS,
    b"proxy-status": _ORDINARY,
}
_CLIENT_PREFIXES: Final = (b"x-forwarded", b"ssl-client-", b"x-ssl-client-")
_NO_LETTER: Final = re.compile(rb"[^a-z0-9-]")
_LENGTH: Final = re.compile(rb"[0-9]{1,15}")
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_LINE: Final = re.compile(rb"([A-Z][A-Z-]{0,31}) ([\x21-\x7e]+) HTTP/1\.([01])\r\n")
_OTHER_VERSION: Final = re.compile(rb"[A-Z-]+ [\x21-\x7e]+ HTTP/(?!1\.[01])[0-9](?:\.[0-9])?\r\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._=+/:@-]{1,128}")
_PROTOCOL: Final = re.compile(rb"[A-Za-z0-9._+-]{1,32}(?:/[A-Za-z0-9._-]{1,16})?")
_MAX_SPELLINGS: Final = 4096


def _kind(name: bytes) -> int:
    if not _TOKEN.fullmatch(name):
        _refuse_line()
    lower = name.lower()
    # CGI makes "_" of "-", and PHP of "." too. "_" is what applications are known to mix up with "-";
    # other characters, which honest names may have, are looked at only where they would matter.
    if b"_" in lower:
        return _ALIAS
    if (plain := _NO_LETTER.sub(b"-", lower)) != lower:
        return _ALIAS if _kind(plain) else _ORDINARY
    if lower.startswith(_CLIENT_PREFIXES):
        return _CLIENT
    return _KINDS.get(lower, _HOP if lower.startswith(b"proxy-") else _ORDINARY)


class _Spellings(dict[bytes, int]):
    """The kind of a name as spelled, remembered: a look-up costs a third of ``lower()`` and a look-up."""

    def __missing__(self, name: bytes) -> int:
        kind = _kind(name)
        if len(self) < _MAX_SPELLINGS and len(name) <= 64:
            self[name] = kind
        return kind


_spellings: Final = _Spellings()


class RequestHead:
    """A request that passed all checks.

    Attributes:
        method: Upper case; never CONNECT or TRACE.
        target: As sent: printable ASCII, begins with ``/`` or is absolute (`host` agrees with it then).
        old: The client speaks HTTP/1.0.
        host: The value of the one ``Host`` field.
        length: Of the body; 0 without one; ``None`` when it is chunked.
        keep_alive: The client wants to go on after the answer.
        fields: The lines of all others, as sent, without hop-by-hop and proxy-owned ones, in order.
        client_fields: What the peer says about who the client is.
        has_length: There was a ``Content-Length``.
        upgrade: The protocol asked for, or empty.
        expects_continue: The client waits for a 100 before it sends the body.
        request_id: The client's ``X-Request-ID``, if it is a decent one; else empty.
    """

    # Defaults stand on the class: most requests have none of these, and each assignment costs.
    host: bytes = b""
    length: int | None = 0
    has_length: bool = False
    client_fields: tuple[Field, ...] = ()
    upgrade: bytes = b""
    expects_continue: bool = False
    request_id: bytes = b""

    def __init__(self, method: bytes, target: bytes, *, old: bool, fields: list[bytes]) -> None:
        self.method: bytes = method
        self.target: bytes = target
        self.old: bool = old
        self.keep_alive: bool = not old
        self.fields: list[bytes] = fields

    def body(self) -> Body:
        """A reader for the body."""
        return ChunkedBody() if self.length is None else LengthBody(self.length)


class ResponseHead:
    """An answer of an endpoint that passed all checks.

    Attributes:
        status: 100 to 599.
        old: The endpoint speaks HTTP/1.0.
        length: Of the body; ``None`` when unknown.
        chunked: The body is; never with *length*.
        keep_alive: The endpoint goes on after the answer.
        fields: The lines, as sent, without hop-by-hop ones, in order. Framing is not among them.
        upgrade: The protocol switched to, when *status* is 101.
    """

    length: int | None = None
    chunked: bool = False
    upgrade: bytes = b""

    def __init__(self, status: int, reason: bytes, *, old: bool, fields: list[bytes]) -> None:
        self.status: int = status
        self.reason: bytes = reason
        self.old: bool = old
        self.keep_alive: bool = not old
        self.fields: list[bytes] = fields


class _Reader:
    """Reads heads one at a time.

    llhttp is asked whether the head is one, and is not asked for the fields: handing each over costs
    more than all of its work. With the line ends counted, splitting at them gives the same lines, and
    a line that begins with white space (a folded field) has no name.
    """

    __slots__ = ("complete",)

    def __init__(self) -> None:
        self.complete: bool | None = False  # the message ends with its head; None: llhttp cannot say

    def on_message_complete(self) -> None:
        self.complete = True


def _sort_lines(raw: bytes, start: int) -> tuple[list[bytes], list[tuple[int, bytes, bytes]]]:
    """The fields of a head whose first line ends at *start*: ordinary lines, and those we must look at.

    Raises:
        ValueError: A line is not a field.
    """
    ordinary: list[bytes] = []
    special: list[tuple[int, bytes, bytes]] = []
    if start < len(raw) - 2:
        spellings = _spellings
        for line in raw[start:-4].split(b"\r\n"):
            colon = line.find(b":")
            kind = spellings[line[:colon]] if colon > 0 else _refuse_line()
            if kind:
                special.append((kind, line[:colon], line[colon + 1 :].strip(b" \t")))
            else:
                ordinary.append(line)
    return ordinary, special


def _refuse_line() -> NoReturn:
    raise ValueError("a line is not a field")


class RequestReader(_Reader):
    """Reads request heads of one connection, one at a time."""

    __slots__ = ("_max_headers", "_parser")

    def __init__(self, settings: ProxySettings) -> None:
        super().__init__()
        self._max_headers = settings.max_headers
        self._parser: httptools.HttpRequestParser | None = None

    def read(self, raw: bytes) -> RequestHead:
        """The head in *raw*, which ends with its empty line.

        Raises:
            BadRequest: Any doubt; the connection must end.
        """
        line = _REQUEST_LINE.match(raw)
        if line is None:
            raise _line_refusal(raw)
        method, target, minor = line.groups()
        lines = raw.count(b"\n")
        if raw.count(b"\r") != lines:
            raise BadRequest(400, "The request has a bare CR or LF.")
        if lines - 2 > self._max_headers:
            raise BadRequest(431, "The request has too many header fields.")
        if method in (b"CONNECT", b"TRACE"):
            raise BadRequest(405, "The method is not allowed here.")
        try:
            fields, special = _sort_lines(raw, line.end())
        except ValueError:
            raise BadRequest(400, "The request has a wrong header field.") from None
        self.complete = False
        parser = self._parser
        if parser is None:
            parser = httptools.HttpRequestParser(self)
        self._parser = None
        try:
            parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            # Java's and curl's clients offer h2c with every plain request, also with a body; llhttp
            # calls that the end of the message. We go by the fields, and throw the parser away.
            self.complete = None
        except httptools.HttpParserInvalidMethodError:
            raise BadRequest(501, "The method is not known.") from None
        except httptools.HttpParserError:
            raise BadRequest(400, "The request could not be read.") from None
        else:
            if self.complete:
                self._parser = parser
        head = RequestHead(method, target, old=minor == b"0", fields=fields)
        _judge_request(head, special)
        if self.complete is not None and self.complete != (head.length == 0):
            raise BadRequest(400, "The request has a body whose length is in doubt.")
        return head


def _line_refusal(raw: bytes) -> BadRequest:
    if _OTHER_VERSION.match(raw):
        return BadRequest(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.")
    return BadRequest(400, "The request line could not be read.")


def _judge_request(head: RequestHead, special: list[tuple[int, bytes, bytes]]) -> None:
    hosts = 0
    coding: bytes | None = None
    length: bytes | None = None
    tokens: frozenset[bytes] | None = None
    upgrade = b""
    for kind, name, value in special:
        if kind == _HOST:
            hosts += 1
            head.host = value
        elif kind == _CONNECTION:
            tokens = _tokens(value) if tokens is None else tokens | _tokens(value)
        elif kind == _CLIENT:
            head.client_fields = (*head.client_fields, (name, value))
        elif kind == _LENGTH_FIELD:
            if length is not None:
                raise BadRequest(400, "The request has more than one Content-Length.")
            length = value
        elif kind == _CODING:
            if coding is not None:
                raise BadRequest(400, "The request has more than one Transfer-Encoding.")
            coding = value
        elif kind == _UPGRADE:
            # Two fields are a list; we take single offers only.
            upgrade = b"," if upgrade else value.strip(b" \t")
        elif kind == _EXPECT:
            if value.strip(b" \t").lower() != b"100-continue":
                raise BadRequest(417, "The expectation cannot be met.")
            head.expects_continue = not head.old
        elif kind == _REQUEST_ID_FIELD and _REQUEST_ID.fullmatch(value):
            head.request_id = value
    if hosts != 1:
        raise BadRequest(400, "The request must have exactly one Host.")
    if coding is not None:
        if length is not None:
            raise BadRequest(400, "The request has both Content-Length and Transfer-Encoding.")
        if head.old or coding.strip(b" \t").lower() != b"chunked":
            raise BadRequest(400 if head.old else 501, "The transfer coding is not understood.")
        head.length = None
    elif length is not None:
        stripped = length.strip(b" \t")
        if not _LENGTH.fullmatch(stripped):
            raise BadRequest(400, "The Content-Length is not a number.")
        head.length = int(stripped)
        head.has_length = True
    if tokens is not None:
        head.keep_alive = b"close" not in tokens and (not head.old or b"keep-alive" in tokens)
        # An upgrade to another HTTP would carry requests past all that stands in this file, and one
        # with a body has two readings of where the new protocol begins.
        if upgrade and b"upgrade" in tokens and not head.old and head.length == 0 and _may_upgrade(upgrade):
            head.upgrade = upgrade
        head.fields = _without(head.fields, tokens)


def _may_upgrade(protocol: bytes) -> bool:
    return bool(_PROTOCOL.fullmatch(protocol)) and not protocol.lower().startswith(
        (b"h2", b"h3", b"http", b"tls")
    )


def _tokens(value: bytes) -> frozenset[bytes]:
    return _COMMON_TOKENS.get(value) or frozenset(token.strip(b" \t").lower() for token in value.split(b","))


_COMMON_TOKENS: Final = {
    value: frozenset((value.lower(),))
    for value in (b"keep-alive", b"Keep-Alive", b"close", b"Upgrade", b"upgrade")
}
_OWN_TOKENS: Final = frozenset((b"", b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings"))


def _without(fields: list[bytes], tokens: frozenset[bytes]) -> list[bytes]:
    """The fields that a ``Connection`` field does not name. Proxy-owned ones are added after this."""
    if tokens <= _OWN_TOKENS:
        return fields
    return without(fields, tokens)


class ResponseReader(_Reader):
    """Reads the heads of answers of one connection to an endpoint."""

    __slots__ = ("_max_headers",)

    def __init__(self, settings: ProxySettings) -> None:
        super().__init__()
        self._max_headers = settings.max_response_headers

    def read(self, raw: bytes) -> ResponseHead:
        """The head in *raw*, which ends with its empty line.

        Raises:
            BadAnswer: Any doubt.
        """
        line = _STATUS_LINE.match(raw)
        if line is None:
            raise BadAnswer("has a wrong status line")
        lines = raw.count(b"\n")
        if raw.count(b"\r") != lines:
            raise BadAnswer("has a bare CR or LF")
        if lines - 2 > self._max_headers:
            raise BadAnswer("has too many header fields")
        try:
            fields, special = _sort_lines(raw, line.end())
        except ValueError:
            raise BadAnswer("has a wrong header field") from None
        # Without a request to go with, llhttp cannot know whether a body follows: a parser serves once.
        try:
            httptools.HttpResponseParser(self).feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            raise BadAnswer("could not be read") from None
        minor, status, reason = line.groups()
        head = ResponseHead(int(status), reason or b"", old=minor == b"0", fields=fields)
        _judge_response(head, special)
        return head


def _judge_response(head: ResponseHead, special: list[tuple[int, bytes, bytes]]) -> None:
    tokens: frozenset[bytes] | None = None
    upgrade = b""
    for kind, name, value in special:
        if kind == _LENGTH_FIELD:
            stripped = value.strip(b" \t")
            if head.length is not None or not _LENGTH.fullmatch(stripped):
                raise BadAnswer("has a wrong or second Content-Length")
            head.length = int(stripped)
        elif kind == _CODING:
            if head.chunked or head.old or value.strip(b" \t").lower() != b"chunked":
                raise BadAnswer("has a transfer coding that is not understood")
            head.chunked = True
        elif kind == _CONNECTION:
            tokens = _tokens(value) if tokens is None else tokens | _tokens(value)
        elif kind == _UPGRADE:
            upgrade = value.strip(b" \t")
        elif kind != _HOP:
            # Names with "_" and X-Forwarded-* mean nothing special on the way back.
            head.fields.append(b"%b: %b" % (name, value))
    if head.chunked and head.length is not None:
        raise BadAnswer("has both Content-Length and Transfer-Encoding")
    if tokens is not None:
        head.keep_alive = b"close" not in tokens and not head.old
        if b"upgrade" in tokens:
            head.upgrade = upgrade
        head.fields = _without(head.fields, tokens)
