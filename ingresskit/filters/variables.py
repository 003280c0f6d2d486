"""Variables of the request, filled into a text of a policy."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from ingresskit.filters.base import RequestView
from ingresskit.policies.variables import RequestText, Variable

__all__ = ["fill", "fill_parts", "fill_url"]

# What would begin another parameter, or mean something else than itself in the value of one.
_IN_VALUE: Final = str.maketrans({"&": "%26", "+": "%2B", ";": "%3B"})


def fill(text: RequestText, request: RequestView) -> str:
    """The text for *request*: the value of a header field, for instance.

    Characters beyond ASCII stand for octets, as in ISO 8859-1.
    """
    return "".join(fill_parts(text, request))


def fill_parts(text: RequestText, request: RequestView) -> tuple[str, ...]:
    """The same in parts: two requests have the same parts only where every variable has the same value."""
    return tuple(part if isinstance(part, str) else _value(part, request) for part in text.parts)


def fill_url(text: RequestText, request: RequestView) -> str:
    """The URL for *request*, of printable ASCII.

    What a client sends is escaped where it could end a parameter, a header field or cookie everywhere.
    """
    return "".join(part if isinstance(part, str) else _in_url(part, request) for part in text.parts)


def _in_url(variable: Variable, request: RequestView) -> str:
    value = _value(variable, request)
    if variable.name in ("http", "cookie", "remote_user"):
        return quote(value, safe="", encoding="latin-1")
    return value.translate(_IN_VALUE) if variable.in_value else value


def _value(variable: Variable, request: RequestView) -> str:
    if not variable.key:
        return _VALUES[variable.name](request)
    match variable.name:
        case "http":
            return _text(request.field(variable.key.encode("ascii")))
        case "cookie":
            return _of_pairs(_text(request.field(b"cookie")), ";", variable.key)
        case _:
            return _of_pairs(_text(request.query[1:]), "&", variable.key)


def _of_pairs(text: str, separator: str, wanted: str) -> str:
    """The value of the first pair with that name, as sent; empty without one."""
    for pair in text.split(separator):
        name, mark, value = pair.partition("=")
        if mark and name.strip() == wanted:
            return value.strip()
    return ""


def _text(octets: bytes | None) -> str:
    return "" if octets is None else octets.decode("latin-1")


def _uri(request: RequestView) -> str:
    return request.path + _text(request.query)


def _http_host(request: RequestView) -> str:
    return _text(request.field(b"host")) or request.host


def _scheme(request: RequestView) -> str:
    return "https" if request.https else "http"


def _remote_user(request: RequestView) -> str:
    """The user name of basic authentication; empty without one."""
    scheme, _, encoded = _text(request.field(b"authorization")).partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        user = _text(base64.b64decode(encoded.strip(), validate=True).partition(b":")[0])
    except ValueError:
        return ""
    # It may become part of a header field.
    return user if user.isprintable() else ""


_VALUES: Final[dict[str, Callable[[RequestView], str]]] = {
    "args": lambda request: _text(request.query[1:]),
    "best_http_host": _http_host,
    "escaped_request_uri": lambda request: quote(_uri(request), safe=""),
    "host": lambda request: request.host,
    "http_host": _http_host,
    "is_args": lambda request: "?" if len(request.query) > 1 else "",
    "pass_access_scheme": _scheme,
    "query_string": lambda request: _text(request.query[1:]),
    "remote_addr": lambda request: str(request.client),
    "remote_user": _remote_user,
    "request_method": lambda request: _text(request.method),
    "request_uri": _uri,
    "scheme": _scheme,
    "the_real_ip": lambda request: str(request.client),
    "uri": lambda request: request.path,
}
