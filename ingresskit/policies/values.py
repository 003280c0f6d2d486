"""Value types of annotations: each reads text by a closed grammar, matched whole, or refuses it.

Every function takes the annotation's text and raises `ValueError` with a rule that starts with
"must", so that the diagnostic can quote the value and the rule. Surrounding white space is
ignored. Digits are ASCII digits. No value ever contains a control character.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlsplit

__all__ = [
    "HeaderField",
    "Network",
    "parse_authority",
    "parse_boolean",
    "parse_byte_size",
    "parse_choice",
    "parse_duration",
    "parse_header_names",
    "parse_headers",
    "parse_integer",
    "parse_location",
    "parse_networks",
    "parse_path_prefix",
    "parse_weights",
    "plain_header_name",
]

HeaderField = tuple[str, str]
"""A header's name, as written, and its value."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
"""A range of addresses."""

E = TypeVar("E", bound=StrEnum)

_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h)")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
}
_LONGEST = timedelta(hours=24)
# ASCII: without it, ignoring case would take the Kelvin sign for a k.
_SIZE = re.compile(r"([0-9]{1,15})([kmg]?)", re.IGNORECASE | re.ASCII)
_FACTORS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
# Far above any body, far below where the numbers of the proxies end (63 bits).
_LARGEST = 1024**5
# RFC 9110, section 5.1 allows more ("token"); these are the bytes every proxy and application takes.
# Of the punctuation that RFC 9110, section 5.6.2, allows, what names in use have; "_" would not arrive.
_HEADER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!~-]{0,127}")
_PUNCTUATION = re.compile(r"[.!~]")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,4000}")
# What servers take of a head: 100 fields (Apache, h11), 16 KiB and more.
_MOST_HEADERS = 64
_MAX_HEADERS_SIZE = 8192
_MOST_SHARES = 16
_NETWORK = re.compile(r"[0-9A-Fa-f.:]{2,45}(?:/[0-9]{1,3})?")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_AUTHORITY = re.compile(
    rf"(?P<host>{_LABEL}(?:\.{_LABEL})*|\[(?P<six>[0-9a-f:.]+)\])(?::(?P<port>[0-9]{{1,5}}))?"
)
_LONGEST_NAME = 253
_SERVICE_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")

# Framing, hop-by-hop (RFC 9110, 7.6.1) and proxy-owned fields: a tenant who could set these could
# smuggle requests or speak for another client.
_RESERVED_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-real-ip",
    }
)


def parse_boolean(text: str) -> bool:
    """``true`` or ``false``, in any case."""
    match text.strip().lower():
        case "true":
            return True
        case "false":
            return False
        case _:
            raise ValueError("must be true or false")


def parse_integer(minimum: int, maximum: int) -> Callable[[str], int]:
    """A reader of whole numbers from *minimum* to *maximum*, both included."""

    def parse(text: str) -> int:
        stripped = text.strip()
        if re.fullmatch(r"[0-9]{1,12}", stripped) and minimum <= int(stripped) <= maximum:
            return int(stripped)
        raise ValueError(f"must be a whole number from {minimum} to {maximum}")

    return parse


def parse_choice(choices: type[E]) -> Callable[[str], E]:
    """A reader of one of the values of an enumeration, exactly as written there."""

    def parse(text: str) -> E:
        try:
            return choices(text.strip())
        except ValueError:
            raise ValueError(f"must be one of {', '.join(choices)}") from None

    return parse


def parse_duration(text: str) -> timedelta:
    """Read a duration as people write it in annotations.

    Args:
        text: A whole number and a unit, ``ms``, ``s``, ``m`` or ``h``: ``"1500ms"``.

    Returns:
        The duration: more than zero, at most 24 hours.

    Raises:
        ValueError: *text* is anything else, including ``"1.5s"``, ``"5"`` and ``""``.

    Source: the units nginx and HAProxy have in common; Go's ``1h30m`` is refused on purpose.
    """
    if found := _DURATION.fullmatch(text.strip()):
        duration = int(found[1]) * _UNITS[found[2]]
        if timedelta(0) < duration <= _LONGEST:
            return duration
    raise ValueError("must be a duration from 1ms to 24h: a whole number and ms, s, m or h, such as 1500ms")


def parse_byte_size(text: str) -> int:
    """A number of bytes: a whole number, optionally ``k``, ``m`` or ``g`` (powers of 1024); 0: no limit.

    At most 1048576g, a pebibyte.
    """
    if found := _SIZE.fullmatch(text.strip()):
        size = int(found[1]) * _FACTORS[found[2].lower()]
        if size <= _LARGEST:
            return size
    raise ValueError(
        "must be a size up to 1048576g: a whole number and optionally k, m or g, such as 8m; 0 for no limit"
    )


def parse_header_names(text: str) -> tuple[str, ...]:
    """Header names separated by commas, each once, in the order written; never a reserved one."""
    parts = text.split(",")
    _check_header_count(len(parts))
    return tuple(dict.fromkeys(_header_name(part.strip()) for part in parts))


def parse_headers(text: str) -> tuple[HeaderField, ...]:
    """Header fields, one ``Name: value`` a line, in the order written; never a reserved one, none twice."""
    fields: list[HeaderField] = []
    lines = text.strip().split("\n")
    _check_header_count(len(lines))
    for line in lines:
        name, colon, value = line.strip().partition(":")
        if not colon:
            raise ValueError("must be lines of the form Name: value")
        value = value.strip()
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError("must hold header values of printable ASCII, at most 4000 characters each")
        fields.append((_header_name(name.strip()), value))
    if sum(len(name) + len(value) for name, value in fields) > _MAX_HEADERS_SIZE:
        raise ValueError(f"must hold at most {_MAX_HEADERS_SIZE} characters")
    if len({plain_header_name(name) for name, _ in fields}) < len(fields):
        raise ValueError("must name each header once")
    return tuple(fields)


def _check_header_count(count: int) -> None:
    if count > _MOST_HEADERS:
        raise ValueError(f"must name at most {_MOST_HEADERS} headers")


def plain_header_name(name: str) -> str:
    """A header name as the least careful application reads it: in lower case, all punctuation as ``-``.

    Names that come to the same are taken for one: a field that a route sets or removes goes in every spelling.

    Source: RFC 3875, section 4.1.18, which turns names into those of variables.
    """
    return _PUNCTUATION.sub("-", name.lower())


def _header_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError("must hold header names of letters, digits, -, ., ! and ~")
    lower = plain_header_name(name)
    if lower in _RESERVED_HEADERS or lower.startswith(("x-forwarded-", "sec-websocket-")):
        raise ValueError(f"must not name {name}: that header belongs to the proxy")
    return name


def parse_location(text: str) -> str:
    """Where a redirect leads: an absolute http(s) URL or a path that begins with one ``/``."""
    stripped = text.strip()
    rule = "must be an http or https URL, or a path that begins with /, of printable ASCII without spaces"
    if not re.fullmatch(r"[\x21\x23-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e]{1,2000}", stripped):
        raise ValueError(rule)
    if stripped.startswith("/"):
        # "//host/…" is a URL without a scheme, not a path.
        if stripped.startswith("//"):
            raise ValueError(rule)
        return stripped
    try:
        parts = urlsplit(stripped)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(rule) from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise ValueError(rule)
    return stripped


def parse_authority(text: str) -> str:
    """A host as ``Host`` fields name it, in lower case: a name or an address, and maybe a port.

    IPv6 addresses stand in brackets.
    """
    stripped = text.strip().lower()
    rule = "must be a host name or address, optionally with : and a port, without variables"
    found = _AUTHORITY.fullmatch(stripped)
    if not found or len(found["host"]) > _LONGEST_NAME or int(found["port"] or 1) not in range(1, 65536):
        raise ValueError(rule)
    if (literal := found["six"]) is not None:
        try:
            ipaddress.IPv6Address(literal)
        except ValueError:
            raise ValueError(rule) from None
    return stripped


def parse_path_prefix(text: str) -> str:
    """A path to put in place of a matched prefix: begins with ``/``, already in normal form.

    Trailing slashes mean nothing, except in ``/`` itself.
    """
    stripped = text.strip()
    valid = re.fullmatch(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@/]{0,1000}", stripped)
    elements = stripped.split("/")[1:]
    # Some applications drop what follows ";" before they look for "..".
    dots = any(element.partition(";")[0] in (".", "..") for element in elements)
    if not valid or dots or "//" in stripped:
        raise ValueError("must be a path that begins with /, without //, . or .. elements and without escapes")
    return stripped.rstrip("/") or "/"


def parse_networks(text: str) -> tuple[Network, ...]:
    """Address ranges separated by commas, sorted, each once: ``10.0.0.0/8, 2001:db8::1``."""
    networks: set[Network] = set()
    for part in text.split(","):
        try:
            # The library also reads masks, and of these even inverted ones: 10.0.0.0/0.0.0.255.
            if not _NETWORK.fullmatch(part.strip()):
                raise ValueError
            networks.add(ipaddress.ip_network(part.strip()))
        except ValueError:
            raise ValueError(
                "must be addresses or ranges separated by commas, such as 10.0.0.0/8 (no host bits set)"
            ) from None
    return tuple(sorted(networks, key=lambda item: (item.version, item.network_address.packed, item.prefixlen)))


def parse_weights(text: str) -> tuple[tuple[str, int], ...]:
    """Services and their shares, as written: ``web-v1=90, web-v2=10``; weights 0 to 1000000, not all 0.

    At most 16 of them: each path of the Ingress is shared out among all.
    """
    shares: dict[str, int] = {}
    rule = (
        "must be name=weight pairs separated by commas, 16 at most, each name once,"
        " weights from 0 to 1000000 and not all 0"
    )
    if text.count(",") >= _MOST_SHARES:
        raise ValueError(rule)
    for part in text.split(","):
        name, equals, weight = (piece.strip() for piece in part.partition("="))
        if not equals or name in shares or not _SERVICE_NAME.fullmatch(name):
            raise ValueError(rule)
        if not re.fullmatch(r"[0-9]{1,7}", weight) or int(weight) > 1_000_000:
            raise ValueError(rule)
        shares[name] = int(weight)
    if not any(shares.values()):
        raise ValueError(rule)
    return tuple(shares.items())
