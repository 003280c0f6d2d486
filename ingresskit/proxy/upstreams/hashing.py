"""What of a request is hashed, and which endpoint a hash leads to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from ingresskit.policies import HashPart, HashSource

if TYPE_CHECKING:
    from ingresskit.proxy.message.request import ForwardedRequest

__all__ = ["HasFields", "cookie_value", "hash_of", "highest", "score"]

T = TypeVar("T")

_MASK: Final = (1 << 64) - 1
# An odd constant with well-mixed bits: multiplied by it, high bits depend on all low ones.
_ODD: Final = 0x9E3779B97F4A7C15


class HasFields(Protocol):
    """A request, as far as its header fields go."""

    def field(self, name: bytes) -> bytes | None:
        """The value of a header field; cookies are joined by semicolons; ``None`` without one."""
        ...


def cookie_value(request: HasFields, name: bytes) -> bytes | None:
    """The value of the first cookie of that name; ``None`` without one."""
    field = request.field(b"cookie")
    if field is None or name not in field:
        return None
    for item in field.split(b";"):
        key, _, value = item.strip(b" \t").partition(b"=")
        if key == name:
            return value
    return None


def hash_of(parts: Iterable[HashPart], request: ForwardedRequest) -> int:
    """64 bits that are the same for requests of which *parts* are the same."""
    text = b"\0".join(_part(part, request) for part in parts)
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _part(part: HashPart, request: ForwardedRequest) -> bytes:
    name = part.name.encode("utf-8", "surrogatepass")
    match part.source:
        case HashSource.CLIENT:
            return str(request.client).encode("ascii")
        case HashSource.HOST:
            return request.host.encode("utf-8")
        case HashSource.URI:
            return request.head.target
        case HashSource.PATH:
            return request.path.encode("utf-8")
        case HashSource.QUERY if not name:
            return request.query[1:]
        case HashSource.QUERY:
            return _parameter(request.query, name)
        case HashSource.HEADER:
            return request.field(name) or b""
        case HashSource.COOKIE:
            return cookie_value(request, name) or b""
        case HashSource.METHOD:
            return request.method
        case HashSource.SCHEME:
            return b"https" if request.https else b"http"
        case HashSource.TEXT:
            return name


def _parameter(query: bytes, name: bytes) -> bytes:
    for item in query[1:].split(b"&"):
        key, _, value = item.partition(b"=")
        if key == name:
            return value
    return b""


def score(hashed: int, seed: int) -> int:
    """How much an endpoint wants a request: of highest random weight, so that few of them ever move.

    A cyclic redundancy check would not do: it is linear, and some endpoints would never be the highest.
    """
    mixed = (hashed ^ seed) * _ODD & _MASK
    mixed = (mixed ^ mixed >> 32) * _ODD & _MASK
    return mixed ^ mixed >> 29


def highest(items: Sequence[T], hashed: int, seed: Callable[[T], int], count: int = 1) -> list[T]:
    """The *count* of *items* that want a request most, that one first."""
    if count == 1:
        return [max(items, key=lambda item: score(hashed, seed(item)))]
    return sorted(items, key=lambda item: score(hashed, seed(item)), reverse=True)[:count]
