"""Compresses the body of a response while it passes."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Final

from ingresskit.proxy.message.fields import without
from ingresskit.proxy.message.views import value_in

if TYPE_CHECKING:
    from ingresskit.policies import Compression
    from ingresskit.proxy.message.head import RequestHead, ResponseHead

__all__ = ["GzipBody", "may_vary", "with_vary"]

_STATUSES: Final = frozenset({200, 403, 404})
_GZIP: Final = 31  # zlib's window of 32 KiB, with the head and tail of gzip
# What speaks of the body as the endpoint sent it: a coding would make it wrong.
_BOUND: Final = (b"content-encoding", b"content-range", b"content-digest", b"digest", b"content-md5")
_QUALITY: Final = re.compile(rb"\s*q\s*=\s*(0(?:\.0{0,3})?|0?\.[0-9]{1,3}|1(?:\.0{0,3})?)\s*")
# Weak ones, which begin with W, stay as they are.
_ETAG: Final = re.compile(rb"(?im)^etag:[ \t]*(?=\")")
# Lengths of ranges, and of an unchanged body, are those before the coding.
_LOST: Final = frozenset({b"accept-ranges", b"content-encoding"})


class GzipBody:
    """The body of one response in gzip's coding. Made by `for_response`."""

    def __init__(self, level: int) -> None:
        self._stream = zlib.compressobj(level, zlib.DEFLATED, _GZIP)

    @classmethod
    def for_response(cls, policy: Compression, request: RequestHead, head: ResponseHead) -> GzipBody | None:
        """The coder for a response that `may_vary`; ``None`` where it passes as it is."""
        if request.is_http_1_0 or request.method == b"HEAD":
            return None
        if head.length is not None and head.length < max(policy.min_length, 1):
            return None
        return cls(policy.level) if _accepts_gzip(value_in(request.fields, b"accept-encoding")) else None

    def head(self, head: ResponseHead, fields: bytes) -> tuple[ResponseHead, bytes]:
        """*head* and its *fields* for the coded body, whose length is not known."""
        head = head.copy()
        head.length = None
        return head, _ETAG.sub(b"ETag: W/", without(fields, _LOST)) + b"Content-Encoding: gzip\r\n"

    def take(self, payload: bytes, *, last: bool) -> bytes:
        """The coded form of *payload*, all of it: what an endpoint sends now must not wait for more."""
        coded = self._stream.compress(payload) if payload else b""
        if last:
            return coded + self._stream.flush()
        return coded + self._stream.flush(zlib.Z_SYNC_FLUSH) if payload else coded


def may_vary(policy: Compression, head: ResponseHead) -> bool:
    """Whether a response is one that is compressed for clients which accept it."""
    if head.status not in _STATUSES:
        return False
    if any(value_in(head.fields, name) is not None for name in _BOUND):
        return False
    if b"no-transform" in (value_in(head.fields, b"cache-control") or b"").lower():
        return False
    kind = (value_in(head.fields, b"content-type") or b"").partition(b";")[0].strip().lower()
    return bool(kind) and (policy.types == ("*",) or kind.decode("latin-1") in policy.types)


def with_vary(fields: bytes) -> bytes:
    """*fields*, which say that the response depends on what codings the client accepts."""
    named = {part.strip().lower() for part in (value_in(fields, b"vary") or b"").split(b",")}
    return fields if named & {b"*", b"accept-encoding"} else fields + b"Vary: Accept-Encoding\r\n"


def _accepts_gzip(accepted: bytes | None) -> bool:
    """Whether a client takes gzip, by name or by ``*`` (RFC 9110, 12.5.3)."""
    every = False
    for part in (accepted or b"").split(b","):
        name, *parameters = part.split(b";")
        coding = name.strip().lower()
        if coding not in (b"gzip", b"x-gzip", b"*"):
            continue
        taken = True
        for parameter in parameters:
            found = _QUALITY.fullmatch(parameter)
            taken = taken and found is not None and float(found[1]) > 0
        if coding != b"*":
            return taken
        every = taken
    return every
