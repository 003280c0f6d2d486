"""Requests and responses of the admin server, as values."""

from __future__ import annotations

import gzip
import hashlib
import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from ingresskit.errors import ConfigurationError
from ingresskit.graph import Request

__all__ = [
    "JSON",
    "SECURITY_HEADERS",
    "AdminRequest",
    "AdminResponse",
    "BadQuery",
    "Body",
    "Stream",
    "explained_request",
    "host_allowed",
    "problem",
]

JSON: Final = "application/json; charset=utf-8"

_CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

SECURITY_HEADERS: Final = (
    ("Content-Security-Policy", _CONTENT_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
"""Sent with every response. Nothing may be framed, loaded from elsewhere, or run inline."""

_WORTH_COMPRESSING = 2048
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\uffff]*")
_EXPLAIN_PARAMETERS = ("url", "method", "header", "cookie", "client")


class BadQuery(Exception):
    """Raised when a query cannot be understood; its text is one line for the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminRequest:
    """A request head that was read.

    Attributes:
        path: As sent, without the query.
        query: As sent, without the question mark.
        headers: Names in lower case; of several with one name the last.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def takes_gzip(self) -> bool:
        """Whether the client reads gzip."""
        codings = self.headers.get("accept-encoding", "").lower().split(",")
        return any(coding.strip() in ("gzip", "gzip;q=1", "gzip;q=1.0") for coding in codings)

    def has_tag(self, tag: str) -> bool:
        """Whether the client holds the body with that entity tag. Source: RFC 9110, section 13.1.2."""
        held = self.headers.get("if-none-match", "")
        return held.strip() == "*" or tag in (part.strip().removeprefix("W/") for part in held.split(","))


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a response, plain and compressed, and its entity tag."""

    plain: bytes
    compressed: bytes | None
    tag: str

    @classmethod
    def of(cls, plain: bytes) -> Body:
        """Hash and compress. Takes time for large ones: meant for a worker thread."""
        compressed = gzip.compress(plain, 5, mtime=0) if len(plain) >= _WORTH_COMPRESSING else None
        return cls(plain, compressed, f'"{hashlib.sha256(plain).hexdigest()[:32]}"')


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminResponse:
    """A response whose body is known whole."""

    status: int = 200
    content_type: str = JSON
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Cache-Control", "no-store"),)

    @classmethod
    def json(cls, value: object, *, status: int = 200) -> AdminResponse:
        """*value* as JSON."""
        return cls(status=status, body=json.dumps(value, ensure_ascii=False).encode() + b"\n")

    @classmethod
    def cached(cls, request: AdminRequest, body: Body, content_type: str, cache_control: str) -> AdminResponse:
        """*body* as the client can take it, or 304 when it holds that already."""
        headers: tuple[tuple[str, str], ...] = (
            ("Cache-Control", cache_control),
            ("ETag", body.tag),
            ("Vary", "Accept-Encoding"),
        )
        if request.has_tag(body.tag):
            return cls(status=304, content_type=content_type, headers=headers)
        if body.compressed is not None and request.takes_gzip:
            headers += (("Content-Encoding", "gzip"),)
            return cls(content_type=content_type, body=body.compressed, headers=headers)
        return cls(content_type=content_type, body=body.plain, headers=headers)


@dataclass(frozen=True, slots=True)
class Stream:
    """A response without end: *feed* is given a function that sends, and returns when there is no more."""

    content_type: str
    feed: Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]


def problem(status: int, text: str, *headers: tuple[str, str]) -> AdminResponse:
    """An error: ``{"error": {"status": 404, "title": "Not Found", "message": "…"}}``."""
    value = {"error": {"status": status, "title": HTTPStatus(status).phrase, "message": text}}
    body = json.dumps(value, ensure_ascii=False).encode() + b"\n"
    return AdminResponse(status=status, body=body, headers=(("Cache-Control", "no-store"), *headers))


def host_allowed(host: str, allowed: frozenset[str]) -> bool:
    """Whether a request for *host* cannot be one that a page of another name made its browser send.

    Args:
        host: The Host field, with or without port.
        allowed: Further names, lower case.
    """
    name = host.strip().lower()
    if name.startswith("["):
        name, _, rest = name[1:].partition("]")
        if rest and not re.fullmatch(r":\d*", rest):
            return False
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    name = name.removesuffix(".")
    if name == "localhost" or name.endswith(".localhost") or name in allowed:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def explained_request(query: str) -> Request:
    """The request that the query of ``/api/explain`` describes.

    Raises:
        BadQuery: A parameter is unknown, missing, repeated or malformed.
    """
    values = _parameters(query)
    for name in values:
        if name not in _EXPLAIN_PARAMETERS:
            known = ", ".join(_EXPLAIN_PARAMETERS)
            raise BadQuery(f"unknown parameter {name!r}; the parameters are {known}")
    url, method, client = (_single(values, name) for name in ("url", "method", "client"))
    if not url:
        raise BadQuery("the parameter 'url' is missing, such as url=http://shop.test/cart")
    if method and not _TOKEN.fullmatch(method):
        raise BadQuery(f"{method!r} is not a method, such as GET")
    if client:
        try:
            client = str(ipaddress.ip_address(client))
        except ValueError:
            raise BadQuery(f"{client!r} is not an IPv4 or IPv6 address") from None
    headers: dict[str, str] = {}
    for text in values.get("header", []):
        name, value = _header(text)
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    try:
        cookies = dict(map(_cookie, values.get("cookie", [])))
        return Request.of(url, method=method or "GET", headers=headers, client=client or None, cookies=cookies)
    except ConfigurationError as exc:
        raise BadQuery(str(exc)) from None


def _parameters(query: str) -> Mapping[str, list[str]]:
    values: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=100)
    except UnicodeDecodeError:
        raise BadQuery("the query is not UTF-8") from None
    except ValueError:
        raise BadQuery("the query has more than 100 parameters") from None
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def _single(values: Mapping[str, list[str]], name: str) -> str:
    found = values.get(name, [""])
    if len(found) > 1:
        raise BadQuery(f"the parameter {name!r} is given {len(found)} times")
    return found[0].strip()


def _cookie(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not _TOKEN.fullmatch(name) or not _FIELD_VALUE.fullmatch(value) or ";" in value:
        raise BadQuery(f"{text!r} is not a cookie of the form 'name=value'")
    return name, value


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not _TOKEN.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
        raise BadQuery(f"{text!r} is not a header field of the form 'Name: value'")
    return name.lower(), value.strip()
