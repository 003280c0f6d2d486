"""Rates and requests at a time, counted once for several proxy processes.

The counts are in memory that the processes share, in a table of sets: the digest of a key names its set, and a
set has room for eight keys. A process locks a set while it changes it, by a lock of the kernel on one octet of
the memory's file: the kernel takes such a lock back from a process that is killed, so that none waits for it.
An operation takes some five microseconds more than one in a process's own memory.

Where a set is full, the bucket that was not used for longest is forgotten, as `TokenBuckets` forgets one. The
digests have a key that the owner of the memory draws: no client can choose which set is full.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

from ingresskit.proxy.limits.places import Places
from ingresskit.render.workers import SEATS

__all__ = ["SharedBuckets", "SharedLimits", "SharedPlaces"]

_WAYS: Final = 8
_BUCKET_SETS: Final = 4096  # 32,768 buckets, as many as one process keeps
_PLACE_SETS: Final = 1024
# Digest, tokens, and since when there are so many.
_BUCKET: Final = struct.Struct("16sdd")
# Digest and the places held by all, then those of each seat.
_PLACE: Final = struct.Struct("16sI")
_COUNT: Final = struct.Struct("H")
_PLACE_BYTES: Final = _PLACE.size + SEATS * _COUNT.size
_PLACES_AT: Final = _BUCKET_SETS * _WAYS * _BUCKET.size
_SIZE: Final = _PLACES_AT + _PLACE_SETS * _WAYS * _PLACE_BYTES
_EMPTY: Final = bytes(16)
_MOST_HELD: Final = 0xFFFF


class SharedBuckets:
    """The token buckets of several processes: `take` and `take_all` of their `Memory`.

    Made by `SharedLimits`.
    """

    def __init__(self, table: _Table) -> None:
        self._table = table

    @property
    def now(self) -> float:
        """As `Memory`."""
        return time.monotonic()

    @property
    def unix_time(self) -> float:
        """As `Memory`."""
        return time.time()

    def take(self, key: tuple[object, ...], rate: float, burst: int) -> bool:
        """As `Memory`."""
        return self.take_all([(key, rate, burst)])

    def take_all(self, buckets: Sequence[tuple[tuple[object, ...], float, int]]) -> bool:
        """As `Memory`."""
        table = self._table
        digests = [table.digest(key) for key, _, _ in buckets]
        with table.locked({table.bucket_set(digest) for digest in digests}):
            # One clock for all processes; read under the lock, so that it never goes back for a bucket.
            now = time.monotonic()
            found: list[tuple[int, bytes, float]] = []
            for digest, (_, rate, burst) in zip(digests, buckets, strict=True):
                offset, tokens = self._tokens(digest, rate, burst, now)
                found.append((offset, digest, tokens))
            enough = all(tokens >= 1 for _, _, tokens in found)
            for offset, digest, tokens in found:
                _BUCKET.pack_into(table.memory, offset, digest, tokens - 1 if enough else tokens, now)
        return enough

    def _tokens(self, digest: bytes, rate: float, burst: int, now: float) -> tuple[int, float]:
        """Where the bucket is, or will be, and its tokens now."""
        memory = self._table.memory
        start = self._table.bucket_set(digest) * _WAYS * _BUCKET.size
        oldest, oldest_at = start, float("inf")
        for offset in range(start, start + _WAYS * _BUCKET.size, _BUCKET.size):
            known, tokens, since = _BUCKET.unpack_from(memory, offset)
            if known == digest:
                return offset, min(float(burst), tokens + max(0.0, now - since) * rate)
            if since < oldest_at:
                oldest, oldest_at = offset, since
        # Kept at once: a second bucket of the same request must not take the same place.
        _BUCKET.pack_into(memory, oldest, digest, float(burst), now)
        return oldest, float(burst)


class SharedPlaces:
    """The places that requests hold in several processes, by key.

    What a process holds that ends is freed by its owner: see `SharedLimits.free`. Where a set is full of keys
    with requests under way, a process counts the next one for itself alone. Made by `SharedLimits`.
    """

    def __init__(self, table: _Table, seat: int) -> None:
        self._table = table
        self._seat = seat
        self._alone = Places()
        self._counted_alone: dict[tuple[object, ...], int] = {}

    def take(self, key: tuple[object, ...], most: int) -> bool:
        """As `Places.take`."""
        digest = self._table.digest(key)
        with self._table.locked({_BUCKET_SETS + _place_set(digest)}):
            if (found := self._find(digest)) is not None:
                offset, total = found
                own = self._own(offset)
                if total >= most or own >= _MOST_HELD:
                    return False
                self._put(offset, digest, total + 1, own + 1)
                return True
        if not self._alone.take(key, most):
            return False
        self._counted_alone[key] = self._counted_alone.get(key, 0) + 1
        return True

    def leave(self, key: tuple[object, ...]) -> None:
        """As `Places.leave`."""
        if held := self._counted_alone.pop(key, 0):
            self._alone.leave(key)
            if held > 1:
                self._counted_alone[key] = held - 1
            return
        digest = self._table.digest(key)
        with self._table.locked({_BUCKET_SETS + _place_set(digest)}):
            if (found := self._find(digest)) is not None and (own := self._own(found[0])):
                offset, total = found
                self._put(offset, digest, total - 1, own - 1)

    def free(self, seat: int) -> None:
        """Give back what the process of *seat* held, which has ended."""
        memory = self._table.memory
        for chosen in range(_PLACE_SETS):
            start = _PLACES_AT + chosen * _WAYS * _PLACE_BYTES
            for offset in range(start, start + _WAYS * _PLACE_BYTES, _PLACE_BYTES):
                if not _COUNT.unpack_from(memory, offset + _PLACE.size + seat * _COUNT.size)[0]:
                    continue
                with self._table.locked({_BUCKET_SETS + chosen}):
                    _COUNT.pack_into(memory, offset + _PLACE.size + seat * _COUNT.size, 0)
                    counts = memory[offset + _PLACE.size : offset + _PLACE_BYTES]
                    # Of all seats, anew: the process may have ended between two steps.
                    total = sum(count for (count,) in _COUNT.iter_unpack(counts))
                    digest = _PLACE.unpack_from(memory, offset)[0]
                    _PLACE.pack_into(memory, offset, digest if total else _EMPTY, total)

    def _own(self, offset: int) -> int:
        at = offset + _PLACE.size + self._seat * _COUNT.size
        return int(_COUNT.unpack_from(self._table.memory, at)[0])

    def _put(self, offset: int, digest: bytes, total: int, own: int) -> None:
        memory = self._table.memory
        _COUNT.pack_into(memory, offset + _PLACE.size + self._seat * _COUNT.size, own)
        _PLACE.pack_into(memory, offset, digest if total else _EMPTY, total)

    def _find(self, digest: bytes) -> tuple[int, int] | None:
        """Where the key is, or can be, and how many places are held; ``None`` where there is no room."""
        memory = self._table.memory
        start = _PLACES_AT + _place_set(digest) * _WAYS * _PLACE_BYTES
        free: int | None = None
        for offset in range(start, start + _WAYS * _PLACE_BYTES, _PLACE_BYTES):
            known, total = _PLACE.unpack_from(memory, offset)
            if known == digest:
                return offset, total
            if free is None and known == _EMPTY:
                free = offset
        return None if free is None else (free, 0)


class SharedLimits:
    """What the filters of several proxy processes count together.

    Args:
        descriptor: Of a file in memory, empty at first, the same for all of them. It belongs to this object;
            no other descriptor of the process may be for that file: closing one would open the locks.
        secret: The key of the digests, the same for all; at most 64 octets.
        seat: Of this process: less than `ingresskit.render.workers.SEATS`, and no other's that runs.
    """

    def __init__(self, descriptor: int, secret: bytes, seat: int) -> None:
        table = _Table(descriptor, secret)
        self.buckets: SharedBuckets = SharedBuckets(table)
        self.places: SharedPlaces = SharedPlaces(table, seat)


class _Table:
    """The memory, its locks and its keys."""

    def __init__(self, descriptor: int, secret: bytes) -> None:
        self._descriptor = descriptor
        self._secret = secret
        os.ftruncate(descriptor, _SIZE)
        self.memory: mmap.mmap = mmap.mmap(descriptor, _SIZE)

    def digest(self, key: tuple[object, ...]) -> bytes:
        # Numbers, texts and octets, whose `repr` is the same in all processes.
        return hashlib.blake2b(repr(key).encode(), digest_size=16, key=self._secret).digest()

    @staticmethod
    def bucket_set(digest: bytes) -> int:
        return int.from_bytes(digest[:4], "big") % _BUCKET_SETS

    @contextmanager
    def locked(self, sets: set[int]) -> Generator[None]:
        """Hold the locks of *sets*; always in one order, so that no two processes wait for each other."""
        ordered = sorted(sets)
        try:
            for one in ordered:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, one)
            yield
        finally:
            for one in ordered:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, one)


def _place_set(digest: bytes) -> int:
    return int.from_bytes(digest[:4], "big") % _PLACE_SETS
