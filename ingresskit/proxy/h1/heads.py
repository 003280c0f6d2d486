"""Message heads, read strictly or not at all.

The C parser (llhttp, by httptools) knows the grammar; this module decides whether the message is one
that every other parser would read the same way. What llhttp lets through and we do not: no or several
``Host`` fields, lists and signs in ``Content-Length``, it beside ``Transfer-Encoding``, codings
other than ``chunked``, folded lines, bare LF, white space games, any number and size of fields.

A head is handed over whole, up to and with its empty line. A parser that is not at the start of a
message afterwards is thrown away: bodies are read by `ingresskit.proxy.h1.bodies`.

Source: RFC 9112; RFC 9110, sections 7.2 and 7.6.1; measured against 179 hostile requests in 2026.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import httptools

from ingresskit.proxy.message.fields import (
    AUTHORIZATION,
    CLIENT,
    CODING,
    CONNECTION,
    EXPECT,
    HOST,
    LENGTH,
    MAX_FORWARDS,
    REQUEST_ID,
    REQUEST_KINDS,
    REQUEST_KINDS_WITH_UNDERSCORES,
    RESPONSE_KINDS,
    TE,
    UPGRADE,
    Special,
    authenticates_connection,
    sort_fields,
    tokens_of,
    without_listed,
)
from ingresskit.proxy.message.head import BadRequest, BadResponse, RequestHead, ResponseHead
from ingresskit.proxy.message.special import REQUEST_ID_FORM, judge_max_forwards

if TYPE_CHECKING:
    from ingresskit.proxy.settings import ProxySettings

__all__ = [
    "RequestReader",
    "ResponseReader",
]


_LENGTH: Final = re.compile(rb"[0-9]{1,15}")
_REQUEST_LINE: Final = re.compile(rb"([A-Z][A-Z_-]{0,31}) ([\x21-\x7e]+) HTTP/1\.([01])\r\n")
_OTHER_VERSION: Final = re.compile(rb"[A-Z][A-Z_-]* [\x21-\x7e]+ HTTP/(?!1\.[01])[0-9]\.[0-9]\r\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n")
_PROTOCOL: Final = re.compile(rb"[A-Za-z0-9._+-]{1,32}(?:/[A-Za-z0-9._-]{1,16})?")
_SLASH: Final = 0x2F
# Of each connection something as long as that may be kept while it is idle.
_MOST_REMEMBERED: Final = 2048
# llhttp knows these, and reads nothing into them.
_PLAIN_METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"))


class _Reader:
    """Reads heads one at a time.

    llhttp is asked whether the head is one, and is not asked for the fields: handing each over costs
    more than all of its work. Every line end but the last two must have the name of a field behind it,
    so that a line is what llhttp takes for one; a line that begins with white space (a folded field) has
    no name.
    """

    __slots__ = ("complete",)

    def __init__(self) -> None:
        self.complete: bool | None = False  # the message ends with its head; None: llhttp cannot say

    def on_message_complete(self) -> None:
        self.complete = True


class RequestReader(_Reader):
    """Reads request heads of one connection, one at a time.

    Clients say the same about themselves in one request after the other. What a block of fields means
    depends on nothing but its bytes, as long as neither they nor the request line say anything of a body
    or another protocol: so the last such block of the connection is remembered, byte by byte, with what
    it means.

    Attributes:
        small_bytes: A head that is no larger exceeds no limit of octets.
    """

    __slots__ = (
        "_kinds",
        "_known",
        "_known_fields",
        "_known_host",
        "_known_keep_alive",
        "_max_headers",
        "_parser",
        "small_bytes",
    )

    def __init__(self, settings: ProxySettings) -> None:
        super().__init__()
        self._max_headers = settings.max_headers
        self.small_bytes: int = min(settings.max_request_line_bytes, settings.max_header_bytes)
        kept = settings.underscores_in_headers
        self._kinds = REQUEST_KINDS_WITH_UNDERSCORES if kept else REQUEST_KINDS
        self._parser: httptools.HttpRequestParser | None = None
        self._known: bytes | None = None
        self._known_host = self._known_fields = b""
        self._known_keep_alive = True

    def read(self, raw: bytes) -> RequestHead:
        """The head in *raw*, which ends with its empty line.

        Raises:
            BadRequest: Any doubt; the connection must end.
        """
        line = _REQUEST_LINE.match(raw)
        if line is None:
            raise _line_refusal(raw)
        method, target, minor = line.groups()
        block = raw[line.end() :]
        plain = minor == b"1" and target[0] == _SLASH and method in _PLAIN_METHODS
        if plain and block == self._known:
            head = RequestHead(method, target, False, self._known_fields)
            head.host = self._known_host
            head.keep_alive = self._known_keep_alive
            return head
        lines = raw.count(b"\n")
        if raw.count(b"\r") != lines:
            raise BadRequest(400, "The request has a bare CR or LF.")
        if lines - 2 > self._max_headers:
            raise BadRequest(431, "The request has too many header fields.")
        if method in (b"CONNECT", b"TRACE"):
            raise BadRequest(405, "The method is not allowed here.")
        try:
            fields, special = sort_fields(raw, line.end(), lines - 2, self._kinds)
        except ValueError:
            raise BadRequest(400, "The request has a wrong header field.") from None
        self.complete = False
        parser = self._parser
        if parser is None:
            parser = httptools.HttpRequestParser(self)
        self._parser = None
        try:
            # Methods are open-ended (RFC 9110, 9.1), and llhttp has a list of them. What it is asked is how
            # the head ends, and that is the same for all methods but CONNECT, which was refused above.
            parser.feed_data(raw if method in _PLAIN_METHODS else b"POST" + raw[len(method) :])
        except httptools.HttpParserUpgrade:
            # Java's and curl's clients offer h2c with every plain request, also with a body; llhttp
            # calls that the end of the message. We go by the fields, and throw the parser away.
            self.complete = None
        except httptools.HttpParserError:
            raise BadRequest(400, "The request could not be read.") from None
        head = RequestHead(method, target, minor == b"0", fields)
        _judge_request(head, special)
        if self.complete and head.keep_alive:
            self._parser = parser
        if self.complete is not None and self.complete != (head.length == 0):
            raise BadRequest(400, "The request has a body whose length is in doubt.")
        if plain and self.complete and not _says_more(head) and len(block) <= _MOST_REMEMBERED:
            self._known = block
            self._known_host, self._known_fields = head.host, head.fields
            self._known_keep_alive = head.keep_alive
        return head

    def forget(self) -> None:
        """Let go of the parser, which refers to this reader: only the garbage collector would free the two."""
        self._parser = None


def _says_more(head: RequestHead) -> bool:
    """Whether the fields say anything but host, keep-alive and what is passed on."""
    return bool(
        head.has_length
        or head.client_fields
        or head.upgrade
        or head.expects_continue
        or head.request_id
        or head.connection_auth
        or head.max_forwards is not None
        or head.takes_trailers
    )


def _line_refusal(raw: bytes) -> BadRequest:
    if _OTHER_VERSION.match(raw):
        return BadRequest(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.")
    return BadRequest(400, "The request line could not be read.")


def _judge_request(head: RequestHead, special: Special) -> None:
    hosts = 0
    coding: bytes | None = None
    length: bytes | None = None
    tokens: frozenset[bytes] | None = None
    upgrade = b""
    for kind, name, value in special:
        if kind == HOST:
            hosts += 1
            head.host = value
        elif kind == CONNECTION:
            tokens = tokens_of(value) if tokens is None else tokens | tokens_of(value)
        elif kind == CLIENT:
            head.client_fields = (*head.client_fields, (name, value))
        elif kind == LENGTH:
            if length is not None:
                raise BadRequest(400, "The request has more than one Content-Length.")
            length = value
        elif kind == CODING:
            if coding is not None:
                raise BadRequest(400, "The request has more than one Transfer-Encoding.")
            coding = value
        elif kind == UPGRADE:
            # Two fields are a list; we take single offers only.
            upgrade = b"," if upgrade else value
        elif kind == EXPECT:
            if value.lower() != b"100-continue":
                raise BadRequest(417, "The expectation cannot be met.")
            head.expects_continue = not head.is_http_1_0
        elif kind == AUTHORIZATION:
            head.connection_auth = head.connection_auth or authenticates_connection(value)
        elif kind == TE:
            head.takes_trailers = head.takes_trailers or b"trailers" in tokens_of(value)
        elif kind == MAX_FORWARDS:
            head.fields += judge_max_forwards(head, name, value)
        elif kind == REQUEST_ID and REQUEST_ID_FORM.fullmatch(value):
            head.request_id = value
    if hosts != 1:
        raise BadRequest(400, "The request must have exactly one Host.")
    if coding is not None:
        if length is not None:
            raise BadRequest(400, "The request has both Content-Length and Transfer-Encoding.")
        if head.is_http_1_0 or coding.lower() != b"chunked":
            raise BadRequest(400 if head.is_http_1_0 else 501, "The transfer coding is not understood.")
        head.length = None
    elif length is not None:
        if not _LENGTH.fullmatch(length):
            raise BadRequest(400, "The Content-Length is not a number.")
        head.length = int(length)
        head.has_length = True
    if tokens is not None:
        head.keep_alive = b"close" not in tokens and (not head.is_http_1_0 or b"keep-alive" in tokens)
        # An upgrade to another HTTP would carry requests past all that stands in this file, and one
        # with a body has two readings of where the new protocol begins.
        if (
            upgrade
            and b"upgrade" in tokens
            and not head.is_http_1_0
            and head.length == 0
            and _may_upgrade(upgrade)
        ):
            head.upgrade = upgrade
        head.fields = without_listed(head.fields, tokens)


def _may_upgrade(protocol: bytes) -> bool:
    return bool(_PROTOCOL.fullmatch(protocol)) and not protocol.lower().startswith(
        (b"h2", b"h3", b"http", b"tls")
    )


class ResponseReader(_Reader):
    """Reads the response heads of one connection to an endpoint. The last one is remembered, as requests'."""

    __slots__ = ("_known", "_known_head", "_max_headers")

    def __init__(self, settings: ProxySettings) -> None:
        super().__init__()
        self._max_headers = settings.max_response_headers
        self._known = b""
        self._known_head: ResponseHead | None = None

    def read(self, raw: bytes) -> ResponseHead:
        """The head in *raw*, which ends with its empty line.

        Raises:
            BadResponse: Any doubt.
        """
        if self._known_head is not None and raw == self._known:
            return self._known_head
        line = _STATUS_LINE.match(raw)
        if line is None:
            raise BadResponse("wrong status line")
        lines = raw.count(b"\n")
        if raw.count(b"\r") != lines:
            raise BadResponse("bare CR or LF")
        if lines - 2 > self._max_headers:
            raise BadResponse("too many header fields")
        try:
            fields, special = sort_fields(raw, line.end(), lines - 2, RESPONSE_KINDS)
        except ValueError:
            raise BadResponse("wrong header field") from None
        minor, status, reason = line.groups()
        head = ResponseHead(int(status), reason or b"", minor == b"0", fields)
        # Before llhttp, which would not say what is wrong.
        _judge_response(head, special)
        # Without a request to go with, llhttp cannot know whether a body follows: a parser serves once.
        try:
            httptools.HttpResponseParser(self).feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            raise BadResponse("malformed header") from None
        if len(raw) <= _MOST_REMEMBERED:
            self._known, self._known_head = raw, head
        return head


def _judge_response(head: ResponseHead, special: Special) -> None:
    tokens: frozenset[bytes] | None = None
    upgrade = b""
    for kind, _, value in special:
        if kind == LENGTH:
            if head.length is not None or not _LENGTH.fullmatch(value):
                raise BadResponse("wrong or second Content-Length")
            head.length = int(value)
        elif kind == CODING:
            if head.chunked or head.is_http_1_0 or value.lower() != b"chunked":
                raise BadResponse("unsupported transfer coding")
            head.chunked = True
        elif kind == CONNECTION:
            tokens = tokens_of(value) if tokens is None else tokens | tokens_of(value)
        elif kind == AUTHORIZATION:
            head.connection_auth = head.connection_auth or authenticates_connection(value)
        elif kind == UPGRADE:
            upgrade = b"%b, %b" % (upgrade, value) if upgrade else value
    if head.chunked and head.length is not None:
        raise BadResponse("Content-Length and Transfer-Encoding together")
    if head.status == 426:
        head.upgrade = upgrade  # RFC 9110, 15.5.22: the client must learn what to ask for
    if tokens is not None:
        head.keep_alive = b"close" not in tokens and not head.is_http_1_0
        if b"upgrade" in tokens:
            head.upgrade = upgrade
        head.fields = without_listed(head.fields, tokens)
