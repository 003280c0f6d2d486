"""One normal form of the path, for matching, policies, logs and forwarding alike.

A matcher that sees one path and an application that sees another is how per-path protection has
been bypassed in every proxy of this field. So a path is brought into normal form once, at the
door, and nothing behind the door ever sees another form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NoReturn

__all__ = ["DEFAULT_PATHS", "PathOptions", "PathRefused", "normalise_path", "normalise_rewritten"]

MAX_PATH_BYTES = 8000


class PathRefused(ValueError):
    """Raised when a path has no normal form: the request gets 400, the rule is not served.

    Its text is a clause that starts with "has" or "is": ``"has a control character"``.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class PathOptions:
    """What an operator decides about the normal form of paths; a part of the route graph.

    Attributes:
        merge_slashes: ``//`` becomes ``/``. Off, empty elements are kept for matching and for endpoints,
            which keys of object stores and URLs within URLs need; rules see them as elements like any other.
        strict: Refuse paths with ``;``, ``%2F`` or ``%5C``, which applications are known to read in
            different ways: some drop what follows ``;``, many decode the others into separators.
    """

    merge_slashes: bool = True
    strict: bool = False


DEFAULT_PATHS: Final = PathOptions()
"""Slashes are merged, and what applications may read in different ways is kept as it is."""

# RFC 3986, section 3.3: what may stand in a path segment as itself.
_PLAIN = re.compile(r"(?:/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]*)*/?")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_KEPT = _UNRESERVED | frozenset("/!$&'()*+,;=:@%")
_OTHERS = re.compile(rf"[^{re.escape(''.join(sorted(_KEPT)))}]+")
_ESCAPE = re.compile(r"%(.{0,2})", re.DOTALL)
_HEXADECIMAL = "0123456789abcdefABCDEF"
# What each pair of digits is in normal form. Looked up, not worked out: a client may send thousands.
_MEANT = {
    high + low: chr(int(high + low, 16)) if chr(int(high + low, 16)) in _UNRESERVED else f"%{high}{low}".upper()
    for high in _HEXADECIMAL
    for low in _HEXADECIMAL
}
_DOUBTFUL = re.compile("(;|%3B)|%2F|%5C")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]|%(?:0[0-9a-f]|1[0-9a-f]|7f)", re.IGNORECASE)
# Dot elements that only some applications see: Tomcat drops what follows ";", many decode %2F, %5C.
_DOTS = re.compile(r"/\.{1,2}(?:[/;]|$)")
_HIDDEN_DOTS = re.compile(r"(?:/|%2F|%5C)\.{1,2}(?:%2F|%5C|;|%3B)|(?:%2F|%5C)\.{1,2}(?:/|$)")


def normalise_path(path: str, options: PathOptions = DEFAULT_PATHS) -> str:
    """The normal form of a path.

    Args:
        path: A path as a client or a rule wrote it, without a query. Characters above 0x7F stand for
            their UTF-8 bytes.
        options: What the operator decided; that of the route graph.

    Returns:
        The same path with: unreserved characters decoded and all other escapes in upper case (``%2f``
        stays an escape, distinct from ``/``); characters that may not stand in a path escaped; empty
        elements removed (``//`` becomes ``/``) unless they are kept; ``.`` and ``..`` elements resolved. A
        trailing slash stays. ASCII only. Applying it twice changes nothing.

    Raises:
        PathRefused: It does not begin with ``/``, is longer than 8,000 bytes, has a control character
            (escaped or not), a wrong escape, an element that some applications read as ``.`` or ``..``
            (``..;x``, ``..%2Fx``), leads above the root, or has what *options* do not allow.

    Source: RFC 3986, sections 6.2.2 and 5.2.4; the refusals are those of Envoy and nginx together.
    """
    if path and len(path) <= MAX_PATH_BYTES and _PLAIN.fullmatch(path) and not (options.strict and ";" in path):
        return path
    return _resolved(_decoded(path, options), options)


def normalise_rewritten(path: str, options: PathOptions = DEFAULT_PATHS) -> str:
    """The normal form of a path that was made of parts of a request's path.

    As `normalise_path`, but dot elements are not resolved: in parts of a path in normal form there were none,
    so that a client who makes some means to leave the place that the rewrite leads to.

    Raises:
        PathRefused: As `normalise_path`, or for a ``.`` or ``..`` element.
    """
    if path and len(path) <= MAX_PATH_BYTES and _PLAIN.fullmatch(path) and not (options.strict and ";" in path):
        return path
    decoded = _decoded(path, options)
    if _DOTS.search(decoded):
        _refuse("has an element . or .. after it was rewritten")
    return _resolved(decoded, options)


def _decoded(path: str, options: PathOptions) -> str:
    """*path* with its escapes in normal form, its dot elements not resolved."""
    if not path.startswith("/"):
        _refuse("is empty" if not path else "does not begin with /")
    if _CONTROL.search(path):
        _refuse("has a control character")
    try:
        decoded = _ESCAPE.sub(_decode_unreserved, _escape_others(path))
    except UnicodeEncodeError:
        _refuse("has a character that is not text")
    if _HIDDEN_DOTS.search(decoded):
        _refuse("has an element that some applications read as . or ..")
    if options.strict and (doubtful := _DOUBTFUL.search(decoded)):
        _refuse("has a path parameter (;)" if doubtful[1] else "has an escaped separator")
    return decoded


def _resolved(decoded: str, options: PathOptions) -> str:
    resolved = _resolve(decoded, merge=options.merge_slashes)
    if len(resolved) > MAX_PATH_BYTES:
        _refuse(f"is longer than {MAX_PATH_BYTES} bytes")
    return resolved


def _escape_others(path: str) -> str:
    return _OTHERS.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), path)


def _decode_unreserved(escape: re.Match[str]) -> str:
    if (meant := _MEANT.get(escape[1])) is None:
        _refuse("has an escape that is not % and two hexadecimal digits")
    return meant


def _resolve(path: str, *, merge: bool) -> str:
    """Merge slashes and resolve dot elements. A dot element at the end leaves a slash, as RFC 3986 has it."""
    elements: list[str] = []
    *raw, last = path.split("/")[1:]
    for element in (*raw, "" if last == "." else last):
        if element == "." or (merge and not element):
            continue
        if element == "..":
            if not elements:
                _refuse("leads above the root")
            elements.pop()
        else:
            elements.append(element)
    if not merge and last in ("", "."):
        elements.pop()
    slash = "/" if elements and last in ("", ".", "..") else ""
    return "/" + "/".join(elements) + slash


def _refuse(reason: str) -> NoReturn:
    raise PathRefused(reason)
