"""The fields of a head: which a proxy must look at, and the lines of all others, which pass as they are.

What a field means is a matter of its name alone, so names are looked up, as they are spelled, and all
else about a line is left to the C parser: see `ingresskit.proxy.h1.heads`.

Source: RFC 9110, sections 5.1 and 7.6.1; RFC 9440.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable
from itertools import compress
from typing import Final

__all__ = [
    "ALIAS",
    "AUTHORIZATION",
    "CLIENT",
    "CODING",
    "CONNECTION",
    "EXPECT",
    "HOP",
    "HOST",
    "LENGTH",
    "MAX_FORWARDS",
    "ORDINARY",
    "REQUEST_ID",
    "REQUEST_KINDS",
    "REQUEST_KINDS_WITH_UNDERSCORES",
    "RESPONSE_KINDS",
    "TE",
    "UPGRADE",
    "Field",
    "Special",
    "authenticates_connection",
    "join_fields",
    "safe_trailers",
    "sort_fields",
    "tokens_of",
    "without",
    "without_listed",
]

Field = tuple[bytes, bytes]
"""A field's name as it was spelled, and its value without white space around."""


# A name as the least careful application reads it: in lower case, and what is no letter or digit is "-".
_PLAIN: Final = bytes(
    ord(chr(byte).lower()) if chr(byte).isalnum() and byte < 128 else 0x2D for byte in range(256)
)


def without(lines: bytes, names: Container[bytes]) -> bytes:
    """The field lines that have none of these names, in any spelling.

    Args:
        lines: Each with its line end.
        names: In lower case, of letters, digits and ``-``.
    """
    return b"".join(
        [
            line
            for line in lines.splitlines(keepends=True)
            if line[: line.find(b":")].translate(_PLAIN) not in names
        ]
    )


def join_fields(fields: Iterable[Field]) -> bytes:
    """Field lines, each with its line end."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


# What a field means to a proxy. 0 is: nothing. Plain numbers: these are compared for every field.
ORDINARY: Final = 0
HOST: Final = 1
LENGTH: Final = 2
CODING: Final = 3
CONNECTION: Final = 4
UPGRADE: Final = 5
EXPECT: Final = 6
CLIENT: Final = 7  # says who the client is: proxy-owned
REQUEST_ID: Final = 8
HOP: Final = 9  # for this connection only
ALIAS: Final = 10  # some applications cannot tell it from another name
AUTHORIZATION: Final = 11  # may be for a whole connection; passes as it is
MAX_FORWARDS: Final = 12
TE: Final = 13  # may say that trailers are understood; for this connection only

_KINDS: Final = {
    b"host": HOST,
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    b"forwarded": CLIENT,
    b"x-real-ip": CLIENT,
    b"x-scheme": CLIENT,
    # RFC 9440, and the older spellings: a proxy that checks certificates says here what it found.
    b"client-cert": CLIENT,
    b"client-cert-chain": CLIENT,
    b"x-client-cert": CLIENT,
    # Read on the private socket of a proxy program in front; see `ingresskit.proxy.message.front`.
    b"ingresskit-delegate": CLIENT,
    b"x-request-id": REQUEST_ID,
    b"max-forwards": MAX_FORWARDS,
    b"keep-alive": HOP,
    b"http2-settings": HOP,
    b"te": TE,
    # It would promise trailers that are not sent to every client.
    b"trailer": HOP,
    # To CGI this is HTTP_PROXY, by which many libraries choose where to send their own requests.
    b"proxy": ALIAS,
    b"authorization": AUTHORIZATION,
    b"www-authenticate": AUTHORIZATION,
    b"proxy-status": ORDINARY,
}
# What the proxy says to services that authenticate and to those that make pages of errors. A client may send
# these to endpoints, which get none of the proxy, but in no other spelling.
_SAID_TO_SERVICES: Final = frozenset(
    {
        *(b"x-auth-request-redirect", b"x-code", b"x-format", b"x-ingress-name", b"x-namespace"),
        *(b"x-original-forwarded-for", b"x-original-method", b"x-original-uri", b"x-original-url"),
        *(b"x-sent-from", b"x-service-name", b"x-service-port"),
    }
)
_CLIENT_PREFIXES: Final = (b"x-forwarded", b"ssl-client-", b"x-ssl-client-")
_NAMES: Final = re.compile(rb"\r\n([!#$%&'*+\-.^_`|~0-9A-Za-z]+):")
_MAX_SPELLINGS: Final = 4096


def _kind(name: bytes) -> int:
    lower = name.lower()
    # CGI makes "_" of "-", and PHP of "." too. "_" is what applications are known to mix up with "-";
    # other characters, which honest names may have, are looked at only where they would matter.
    if b"_" in lower:
        return ALIAS
    return _kind_with_underscores(lower)


def _kind_with_underscores(name: bytes) -> int:
    """The same where an operator lets names with ``_`` pass: it is a character like the others then."""
    lower = name.lower()
    if (plain := lower.translate(_PLAIN)) != lower:
        return ALIAS if plain in _SAID_TO_SERVICES or _kind_with_underscores(plain) else ORDINARY
    if lower.startswith(_CLIENT_PREFIXES):
        return CLIENT
    return _KINDS.get(lower, HOP if lower.startswith(b"proxy-") else ORDINARY)


def _response_kind(name: bytes) -> int:
    """On the way back only framing and what concerns one connection means anything."""
    kind = _kind(name)
    if kind == TE:
        return HOP
    return kind if kind in (LENGTH, CODING, CONNECTION, UPGRADE, HOP, AUTHORIZATION) else ORDINARY


class _Spellings(dict[bytes, int]):
    """The kind of a name as spelled, remembered: a look-up costs a third of ``lower()`` and a look-up."""

    def __init__(self, kind: Callable[[bytes], int]) -> None:
        self._kind = kind

    def __missing__(self, name: bytes) -> int:
        kind = self._kind(name)
        if len(name) <= 64:
            if len(self) >= _MAX_SPELLINGS:
                # Somebody makes names up. Full of those it would be of no use to anybody, and for good.
                self.clear()
            self[name] = kind
        return kind


REQUEST_KINDS: Final = _Spellings(_kind)
REQUEST_KINDS_WITH_UNDERSCORES: Final = _Spellings(_kind_with_underscores)
RESPONSE_KINDS: Final = _Spellings(_response_kind)


Special = list[tuple[int, bytes, bytes]]
"""Fields that a proxy must look at: what each means, its name and its value."""


def sort_fields(raw: bytes, start: int, count: int, kinds: _Spellings) -> tuple[bytes, Special]:
    """The fields of a head whose first line ends at *start*: the lines that pass, and the fields to look at.

    Raises:
        ValueError: One of the *count* lines is not a field.
    """
    names = _NAMES.findall(raw, start - 2)
    if len(names) != count:
        raise ValueError("a line is not a field")
    found = [*map(kinds.__getitem__, names)]
    special: Special = []
    pieces: list[bytes] = []
    cursor = end = start
    for name in compress(names, found):
        kind = kinds[name]
        # The first line of that name from here on is the one: what is special is so by name.
        at = raw.index(b"\r\n%b:" % name, end - 2) + 2
        end = raw.index(b"\r\n", at) + 2
        special.append((kind, name, raw[at + len(name) + 1 : end - 2].strip(b" \t")))
        if kind != AUTHORIZATION:
            if at > cursor:
                pieces.append(raw[cursor:at])
            cursor = end
    if not pieces:
        return raw[cursor:-2], special
    pieces.append(raw[cursor:-2])
    return b"".join(pieces), special


# What a recipient must know before the body, or what somebody decides by (RFC 9110, 6.5.1): some would merge a
# trailer with such a name into the head. Others with a meaning to proxies are known by their kind.
_NOT_IN_TRAILERS: Final = frozenset(
    (
        *(b"accept-ranges", b"age", b"allow", b"cache-control", b"clear-site-data", b"cookie", b"date"),
        *(b"expires", b"location", b"pragma", b"range", b"retry-after", b"server", b"set-cookie"),
        *(b"strict-transport-security", b"vary", b"via", b"warning"),
    )
)
_NO_TRAILER_PREFIXES: Final = (
    b"access-control-",
    b"content-",
    b"cross-origin-",
    b"if-",
    b"sec-",
    b"x-content-",
)


def safe_trailers(lines: bytes) -> bytes:
    """The trailers of a response that may be sent on: those that no recipient decides by.

    Args:
        lines: Field lines that were checked, each with its line end.
    """
    return b"".join([line for line in lines.splitlines(keepends=True) if _is_safe(line[: line.find(b":")])])


def _is_safe(name: bytes) -> bool:
    lower = name.lower()
    return (
        _kind(name) == ORDINARY and lower not in _NOT_IN_TRAILERS and not lower.startswith(_NO_TRAILER_PREFIXES)
    )


def authenticates_connection(value: bytes) -> bool:
    """Whether a value of `AUTHORIZATION` speaks of an authentication that holds for the whole connection.

    Source: RFC 4559, section 6; MS-NTHT.
    """
    return value[:9].lower().startswith((b"ntlm", b"negotiate"))


def tokens_of(value: bytes) -> frozenset[bytes]:
    """What a ``Connection`` field lists, in lower case."""
    return _COMMON_TOKENS.get(value) or frozenset(token.strip(b" \t").lower() for token in value.split(b","))


_COMMON_TOKENS: Final = {
    value: frozenset((value.lower(),))
    for value in (b"keep-alive", b"Keep-Alive", b"close", b"Upgrade", b"upgrade")
}
_OWN_TOKENS: Final = frozenset((b"", b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings"))


def without_listed(fields: bytes, tokens: frozenset[bytes]) -> bytes:
    """The fields that a ``Connection`` field does not name. Proxy-owned ones are added after this."""
    if tokens <= _OWN_TOKENS:
        return fields
    return without(fields, {token.translate(_PLAIN) for token in tokens})
