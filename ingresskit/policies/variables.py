"""Texts with variables of the request, as nginx writes them: ``https://$host/check?url=$escaped_request_uri``.

The set of variables is closed. A text is read once, into literals and variables, and never becomes
configuration of a proxy; `ingresskit.filters.variables` fills them in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from ingresskit.policies.values import parse_location

__all__ = ["NO_TEXT", "VARIABLES", "RequestText", "Variable", "parse_request_text", "parse_request_url"]

VARIABLES: Final = frozenset(
    {
        *("args", "best_http_host", "escaped_request_uri", "host", "http_host", "is_args"),
        *("pass_access_scheme", "query_string", "remote_addr", "remote_user", "request_method"),
        *("request_uri", "scheme", "the_real_ip", "uri"),
    }
)
"""The variables without a name in them. Others are ``http_NAME``, ``cookie_NAME`` and ``arg_NAME``."""

_NAMED: Final = re.compile(r"(http|cookie|arg)_([A-Za-z0-9_]{1,64})")
_TOKEN: Final = re.compile(r"\$(?:([A-Za-z0-9_]{1,80})|\{([A-Za-z0-9_]{1,80})\})")
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]{0,2000}")
_RULE: Final = "must use the variables $host, $scheme, $request_uri and the others that are documented"
# Which of them say who asks: a verdict that is kept must depend on one. $remote_user does not: anybody can
# say the name of a user, without the password.
_OF_CLIENTS: Final = frozenset({"remote_addr", "the_real_ip"})
# Only these may say which server is asked: the request was matched by them.
_HOSTS: Final = frozenset({"best_http_host", "host", "http_host"})
# These begin with a slash, and so end an authority.
_PATHS: Final = frozenset({"request_uri", "uri"})
_SAMPLES: Final = {"request_uri": "/x", "uri": "/x", "is_args": "?"}
_DELIMITERS: Final = re.compile(r"[?&=#]")


class Variable(NamedTuple):
    """A variable of the request.

    Attributes:
        name: One of `VARIABLES`, or ``http``, ``cookie`` or ``arg``.
        key: For those three, which; in lower case for a header field, with ``-`` for ``_``. Empty otherwise.
        in_value: It stands in the value of a parameter of a URL, which it must not end.
    """

    name: str
    key: str = ""
    in_value: bool = False

    def __str__(self) -> str:
        name = f"{self.name}_{self.key.replace('-', '_')}" if self.key else self.name
        return f"${{{name}}}"


@dataclass(frozen=True, slots=True)
class RequestText:
    """Literal texts and variables, in order. False when it is empty.

    Attributes:
        parts: No two texts follow one another.
    """

    parts: tuple[str | Variable, ...] = ()

    @property
    def variables(self) -> tuple[Variable, ...]:
        """In the order written."""
        return tuple(part for part in self.parts if isinstance(part, Variable))

    @property
    def tells_clients_apart(self) -> bool:
        """Whether a variable depends on who asks: a header field, a cookie, a parameter, an address."""
        return any(item.key or item.name in _OF_CLIENTS for item in self.variables)

    @property
    def asks_requested_host(self) -> bool:
        """Whether the authority of a URL is, in part, the host that the client asks for."""
        return any(isinstance(part, Variable) for part in _split(self.parts).authority)

    def has_parameter(self, name: str) -> bool:
        """Whether the query of a URL has a parameter of that name with a value."""
        return any(parse_qs(urlsplit(self._sample()).query).get(name, ()))

    @property
    def has_query(self) -> bool:
        """Whether a URL has a query."""
        return bool(urlsplit(self._sample()).query)

    def _sample(self) -> str:
        return "".join(map(_sample, self.parts))

    def __bool__(self) -> bool:
        return bool(self.parts)

    def __str__(self) -> str:
        return "".join(map(str, self.parts))


NO_TEXT: Final = RequestText()
"""Nothing."""

_NO_CONSTANTS: Final[Mapping[str, str]] = {}


def parse_request_text(text: str, constants: Mapping[str, str] = _NO_CONSTANTS) -> RequestText:
    """A line of printable ASCII with variables, ``$name`` or ``${name}``.

    Args:
        text: Surrounding white space is ignored.
        constants: Further variables whose value is known already.
    """
    stripped = text.strip()
    if not _PRINTABLE.fullmatch(stripped):
        raise ValueError("must be one line of printable ASCII, 2000 characters at most")
    parts: list[str | Variable] = []
    end = 0
    for found in _TOKEN.finditer(stripped):
        literal = stripped[end : found.start()]
        end = found.end()
        parts += (literal, _variable(found[1] or found[2], constants))
    parts.append(stripped[end:])
    if any("$" in part for part in parts if isinstance(part, str)):
        raise ValueError(_RULE)
    return RequestText(_joined(parts))


def parse_request_url(
    text: str, constants: Mapping[str, str] = _NO_CONSTANTS, *, absolute: bool = True
) -> RequestText:
    """An ``http`` or ``https`` URL with variables.

    In the authority only ``$host``, ``$http_host`` and ``$best_http_host`` may stand: whatever else clients
    send must not say which server is asked, or where a browser is sent. In an absolute URL, which the proxy
    itself asks, all three are the host without its port.

    Args:
        text: As for `parse_request_text`.
        constants: As for `parse_request_text`.
        absolute: Otherwise a path that begins with ``/`` will do.
    """
    read = parse_request_text(text, constants)
    url = _split(read.parts)
    if absolute and url.scheme not in ("http://", "https://"):
        raise ValueError("must be an http or https URL")
    if any(isinstance(part, Variable) and part.name not in _HOSTS for part in url.authority):
        raise ValueError("must have no variable but $host before its path: a client would choose the server")
    try:
        parse_location("".join(_sample(part) for part in read.parts))
    except ValueError:
        rule = "must be an http or https URL" + ("" if absolute else ", or a path that begins with /")
        raise ValueError(f"{rule}, of printable ASCII without spaces") from None
    authority = url.authority
    if absolute:
        # Without the port: another one may belong to another service of that host.
        authority = tuple(part if isinstance(part, str) else Variable("host") for part in authority)
    return RequestText(_joined((url.scheme, *authority, *_in_values(url.rest))))


def _variable(name: str, constants: Mapping[str, str]) -> str | Variable:
    if name in constants:
        return constants[name]
    if name in VARIABLES:
        return Variable(name)
    if found := _NAMED.fullmatch(name):
        kind, key = found.groups()
        return Variable(kind, key.lower().replace("_", "-") if kind == "http" else key)
    raise ValueError(_RULE)


def _append(parts: list[str | Variable], literal: str) -> None:
    if not literal:
        return
    if parts and isinstance(parts[-1], str):
        parts[-1] += literal
    else:
        parts.append(literal)


_Parts = tuple[str | Variable, ...]


class _Url(NamedTuple):
    """The parts of a URL: its scheme with the slashes, in lower case, its authority, and all else."""

    scheme: str
    authority: _Parts
    rest: _Parts


def _split(parts: _Parts) -> _Url:
    """The parts of a URL; of anything else all is rest."""
    first = parts[0] if parts else ""
    scheme, mark, after = first.partition("://") if isinstance(first, str) else ("", "", "")
    if not mark or "/" in scheme:
        return _Url("", (), parts)
    left = ((after,) if after else ()) + parts[1:]
    authority: list[str | Variable] = []
    for index, part in enumerate(left):
        if isinstance(part, str) and (end := re.search(r"[/?#]", part)):
            _append(authority, part[: end.start()])
            return _Url(scheme.lower() + mark, tuple(authority), (part[end.start() :], *left[index + 1 :]))
        if isinstance(part, Variable) and part.name in _PATHS:
            return _Url(scheme.lower() + mark, tuple(authority), left[index:])
        authority.append(part)
    return _Url(scheme.lower() + mark, tuple(authority), ())


def _joined(parts: Iterable[str | Variable]) -> _Parts:
    joined: list[str | Variable] = []
    for part in parts:
        if isinstance(part, str):
            _append(joined, part)
        else:
            joined.append(part)
    return tuple(joined)


def _in_values(parts: _Parts) -> Iterator[str | Variable]:
    """The parts, with a mark at each variable that stands in the value of a parameter."""
    last = ""
    for part in parts:
        if isinstance(part, str):
            last = (_DELIMITERS.findall(part) or [last])[-1]
            yield part
        else:
            yield part._replace(in_value=last == "=")


def _sample(part: str | Variable) -> str:
    """What could stand in the place of a part."""
    return part if isinstance(part, str) else _SAMPLES.get(part.name, "x")
