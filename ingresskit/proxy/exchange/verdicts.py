"""What other servers said about requests, kept for those that come with the same key.

A verdict belongs to the route and the policy that asked for it. Keys are digests under a key of this process,
so that no credential is kept, and memory is bounded: the verdict that was not used for longest goes first.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ingresskit.filters import SubrequestReply, VerdictKey
    from ingresskit.render.inprocess import Target

__all__ = ["Verdicts"]

_MOST_BYTES: Final = 8 << 20
_MOST_OF_ONE: Final = 16_384
_OVERHEAD: Final = 500
_MAX_AGE: Final = re.compile(r"(?:s-maxage|max-age)=\"?([0-9]{1,9})\"?")
_NOT_KEPT: Final = frozenset({"no-cache", "no-store", "private"})


class Verdicts:
    """Replies to subrequests that are still good. To be used on one event loop.

    Args:
        clock: Seconds; never goes back.
        most_bytes: What all of them may take.
    """

    def __init__(self, clock: Callable[[], float], most_bytes: int = _MOST_BYTES) -> None:
        self._clock = clock
        self._most = most_bytes
        self._secret = secrets.token_bytes(32)
        self._bytes = 0
        # Until when, the reply, and its size; the one that was not used for longest first.
        self._kept: dict[bytes, tuple[float, SubrequestReply, int]] = {}

    def digest(self, target: Target, key: VerdictKey) -> bytes:
        """What a verdict for a request of *target* is kept under."""
        route = target.route
        whole = (target.host, str(route.match.kind), route.match.value, str(route.origin), key.parts)
        # The text of a tuple of texts is another one for each tuple.
        return hashlib.blake2b(repr(whole).encode(), key=self._secret, digest_size=32).digest()

    def find(self, digest: bytes) -> SubrequestReply | None:
        """The reply that is kept; ``None`` without one, or where its time is over."""
        known = self._kept.get(digest)
        if known is None:
            return None
        if known[0] <= self._clock():
            self._forget(digest)
            return None
        self._kept[digest] = self._kept.pop(digest)
        return known[1]

    def keep(self, digest: bytes, reply: SubrequestReply, times: Iterable[tuple[int, timedelta]]) -> None:
        """Keep *reply* for as long as its status and what it says of itself allow.

        A reply with cookies, or one that depends on other header fields of the request, is for one request.
        """
        time = dict(times).get(reply.status, timedelta(0)).total_seconds()
        seconds = min([time, *_allowed(reply.fields)])
        size = sum(len(name) + len(value) + 100 for name, value in reply.fields) + _OVERHEAD
        if seconds <= 0 or size > _MOST_OF_ONE:
            return
        self._forget(digest)
        self._kept[digest] = self._clock() + seconds, reply, size
        self._bytes += size
        while self._bytes > self._most:
            self._forget(next(iter(self._kept)))

    def __len__(self) -> int:
        return len(self._kept)

    def _forget(self, digest: bytes) -> None:
        known = self._kept.pop(digest, None)
        if known is not None:
            self._bytes -= known[2]


def _allowed(fields: Iterable[tuple[bytes, bytes]]) -> list[float]:
    """The seconds for which a reply with these fields may be kept; empty: it says nothing about it.

    Source: RFC 9111, sections 4.1, 5.2.2 and 5.3; nginx, ``ngx_http_upstream.c``: none with a cookie is kept.
    """
    found: list[float] = []
    dates: dict[bytes, str] = {}
    for name, octets in fields:
        value = octets.decode("latin-1").lower()
        match name:
            case b"set-cookie" | b"vary":
                return [0.0]
            case b"cache-control":
                if not _NOT_KEPT.isdisjoint(part.partition("=")[0].strip() for part in value.split(",")):
                    return [0.0]
                found += [float(age) for age in _MAX_AGE.findall(value)]
            case b"date" | b"expires":
                dates[name] = octets.decode("latin-1")
            case _:
                pass
    if not found and b"expires" in dates:
        found.append(_until(dates.get(b"date", ""), dates[b"expires"]))
    return found


def _until(date: str, expires: str) -> float:
    try:
        return (parsedate_to_datetime(expires) - parsedate_to_datetime(date)).total_seconds()
    except (TypeError, ValueError):
        return 0.0
