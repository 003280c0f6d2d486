"""Whether passwords and signatures are right: computed in threads, bounded, and remembered.

The hash of a password is made to take long, a tenth of a second perhaps, and browsers send the password with
each request. So what was right once is remembered, under a digest with a key that this process drew: the
password itself is kept nowhere. What was wrong is not remembered: guesses would displace what is right.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from ingresskit.proxy.limits.crowd import Owner, owner_of

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from ingresskit.filters import Verification

__all__ = ["Verifier"]

_MOST_REMEMBERED: Final = 8192  # some 1 MB


class Verifier:
    """Answers `Verification` questions. To be used on one event loop.

    Args:
        threads: How many are computed at a time.
        most: How many may be computed or wait.
        most_of_client: How many of one client; a client behind this bound leaves room for others.
        quick: The same two numbers for those that are `Verification.quick`, which have threads of their own.
        remembered: How many that were right are remembered; the one not asked for longest goes first.
    """

    def __init__(
        self,
        *,
        threads: int = 2,
        most: int = 64,
        most_of_client: int = 16,
        quick: tuple[int, int] = (2048, 512),
        remembered: int = _MOST_REMEMBERED,
    ) -> None:
        self._slow = _Lane(threads, most, most_of_client)
        self._quick = _Lane(threads, *quick)
        self._remembered = remembered
        self._key: Final = secrets.token_bytes(32)
        self._right: dict[bytes, None] = {}

    def knows(self, question: Verification) -> bool:
        """Whether the answer is known to be yes."""
        digest = self._digest(question)
        if digest not in self._right:
            return False
        # To the end: it was asked for last.
        del self._right[digest]
        self._right[digest] = None
        return True

    async def verify(self, question: Verification, client: IPv4Address | IPv6Address) -> bool | None:
        """Whether it is right; ``None`` where too many wait.

        Requests that ask the same at the same time wait for one computation.

        Args:
            question: What is asked.
            client: For whom.

        Raises:
            Exception: What its function raised.
        """
        digest = self._digest(question)
        lane = self._quick if question.quick else self._slow
        asked = lane.asked(digest, question, client)
        if asked is None:
            return None
        # A client that leaves must not take the answer from others.
        right = await asyncio.shield(asked)
        if right:
            self._right[digest] = None
            if len(self._right) > self._remembered:
                del self._right[next(iter(self._right))]
        return right

    def close(self) -> None:
        """Compute nothing more. What runs just now ends by itself."""
        self._slow.close()
        self._quick.close()

    def _digest(self, question: Verification) -> bytes:
        function, stored = question.function, question.stored.encode()
        name = f"{function.__module__}.{function.__qualname__}".encode()
        digest = hashlib.blake2b(key=self._key, digest_size=32)
        for part in (name, stored, question.given):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
        return digest.digest()


class _Lane:
    """Computations of one kind, and who waits for them."""

    def __init__(self, threads: int, most: int, most_of_client: int) -> None:
        self._threads = threads
        self._most = most
        self._most_of_client = most_of_client
        self._open: dict[bytes, asyncio.Future[bool]] = {}
        self._owners: Counter[Owner] = Counter()
        self._pool: ThreadPoolExecutor | None = None

    def asked(
        self, digest: bytes, question: Verification, client: IPv4Address | IPv6Address
    ) -> asyncio.Future[bool] | None:
        """What computes the answer, which may have begun before; ``None`` where too many wait."""
        known = self._open.get(digest)
        if known is not None:
            return known
        owner = owner_of(client)
        if len(self._open) >= self._most or self._owners[owner] >= self._most_of_client:
            return None
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="verify")
        loop = asyncio.get_running_loop()
        asked = loop.run_in_executor(self._pool, question.function, question.stored, question.given)
        self._open[digest] = asked
        self._owners[owner] += 1
        asked.add_done_callback(self._ended(digest, owner))
        return asked

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _ended(self, digest: bytes, owner: Owner) -> Callable[[asyncio.Future[bool]], None]:
        def ended(asked: asyncio.Future[bool]) -> None:
            del self._open[digest]
            self._owners[owner] -= 1
            if not self._owners[owner]:
                del self._owners[owner]
            if not asked.cancelled():
                asked.exception()  # whoever waits for it has it; nobody may wait any more

        return ended
