"""Leader election on a Lease: at most one at a time, by monotonic clocks.

What makes two leaders impossible, as long as clocks run at about the same speed:

1. The Lease is only ever written on the condition that it is as it was read. Of two that want it one wins.
2. Who wants it waits until the Lease has not changed for the whole duration that stands in it, counted from
   when the change was *seen*, on the waiting side's own clock. Times in the Lease are never compared with a
   clock: a wall clock that is ten years off elects nobody and deposes nobody.
3. Who has it counts from when it *began* the last renewal that was confirmed, which is before anybody can
   have seen it, and stops after the renew deadline, which is shorter than the duration in the Lease.

A term that has ended is not revived. An elector that finds its own name on the Lease, and does not lead,
waits like anybody else: the name may be from before the API server's database was restored.

What is not promised: a write that was sent in time may still reach the API server late; and if somebody
deletes the Lease of a living leader, an elector that has never seen it held may lead until the other has
noticed, which is at its next renewal.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import anyio

from ingresskit.controller.leader.lease import Lease, LeaseLock, micro_time
from ingresskit.controller.leader.settings import JITTER, LeaderSettings
from ingresskit.controller.leader.term import Term
from ingresskit.errors import ApiError, ConfigurationError, Conflict, NotFound, TransportError
from ingresskit.facts import fact_logger
from ingresskit.kube import Transport
from ingresskit.models import ObjectKey

__all__ = ["LeaderElector", "steady_clock"]

_logger = fact_logger(__name__)

# Writes in one attempt to renew: one, one more after what was seen proved old, and one to make it anew.
_MOST_WRITES = 3
# How late, at most, a term is found to be over when the machine was suspended.
_LONGEST_SLEEP = 1.0


def steady_clock() -> float:
    """Seconds on a clock that nobody sets and that, where there is one, goes on while the machine sleeps."""
    if (boot := getattr(time, "CLOCK_BOOTTIME", None)) is not None:
        return time.clock_gettime(boot)
    return time.monotonic()


class LeaderElector:
    """One candidate for a Lease.

    Either ``await elector.run(work)``, which leads again and again, or once:
    ``async with elector.lead() as term: …``. Both cancel the work before anybody else can lead.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        namespace: str,
        name: str = "ingresskit",
        identity: str = "",
        settings: LeaderSettings | None = None,
        clock: Callable[[], float] = steady_clock,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        rng: random.Random | None = None,
    ) -> None:
        """Ask nothing yet.

        Args:
            transport: To which cluster. Needs ``get``, ``create`` and ``update`` on Leases.
            namespace: Where the Lease is.
            name: Its name.
            identity: Who this is, for people: the pod's name. The host's name when empty. Something random
                is added, so that no two processes are ever the same candidate.
            settings: The times to go by.
            clock: Seconds on a clock that never goes back, for tests.
            wall_clock: The time that is written into the Lease, for people to read.
            rng: Where the randomness of pauses comes from, for tests.

        Raises:
            ConfigurationError: No Lease can have that namespace and name, or the identity is too long.
        """
        self._lock = LeaseLock(transport, ObjectKey(namespace, name))
        self._identity = f"{identity or socket.gethostname()}_{uuid.UUID(bytes=os.urandom(16), version=4)}"
        if len(self._identity) > 253:
            raise ConfigurationError(f"the identity {identity[:60]!r}… is too long")
        self._settings = settings or LeaderSettings()
        self._clock = clock
        self._wall_clock = wall_clock
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._seen: Lease | None = None
        self._seen_at = 0.0
        self._term: Term | None = None
        self._busy = False
        self._trouble: ApiError | TransportError | TimeoutError | None = None
        self._counts: dict[str, int] = {"terms": 0, "renewals": 0, "failures": 0, "lost": 0}

    @property
    def identity(self) -> str:
        """What stands in the Lease while this one leads."""
        return self._identity

    @property
    def lease(self) -> ObjectKey:
        """Which Lease it is about."""
        return self._lock.key

    @property
    def leader(self) -> str:
        """The holder of the Lease as last read; empty when there is none, or not known yet."""
        if self.is_leader:
            return self._identity
        holder = "" if self._seen is None else self._seen.holder
        return "" if holder == self._identity else holder

    @property
    def is_leader(self) -> bool:
        """Whether this one leads now."""
        return self._term is not None and self._term.is_valid()

    @property
    def trouble(self) -> Exception | None:
        """Why the last request for the Lease failed: an `ApiError`, a `TransportError` or a `TimeoutError`.

        ``None`` when it did not, or none was made.
        """
        return self._trouble

    def statistics(self) -> Mapping[str, int]:
        """Counts so far: ``terms`` won, ``renewals``, ``failures`` of requests, terms ``lost``."""
        return dict(self._counts)

    async def run(self, work: Callable[[Term], Awaitable[None]]) -> None:
        """Do *work* whenever this one leads, until it returns by itself or this is cancelled.

        Work is cancelled when a term is lost, and begun anew when the next is won.

        Raises:
            ConfigurationError: This elector leads or wants to already.
            Exception: What *work* raised; the Lease was given back before.
        """
        done = False
        while not done:
            async with self.lead() as term:
                await work(term)
                done = term.is_valid()

    @asynccontextmanager
    async def lead(self) -> AsyncGenerator[Term, None]:
        """Wait until this one leads, then lead for as long as the context lasts.

        When the term is lost the body is cancelled, and the context ends as if the body had come to its end;
        the term then says that it is not valid. Leaving the context gives the Lease back.

        Raises:
            ConfigurationError: This elector leads or wants to already.
            Exception: What the body raised, as it was raised.
        """
        if self._busy:
            raise ConfigurationError(f"{self._identity} is a candidate already")
        self._busy = True
        error: Exception | None = None
        try:
            term = self._term = await self._win()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, term, tasks.cancel_scope)
                tasks.start_soon(self._keep, term, tasks.cancel_scope)
                try:
                    yield term
                except Exception as exc:  # noqa: BLE001 - raised below: a group would wrap it
                    error = exc
                tasks.cancel_scope.cancel()
        finally:
            self._end_term()
            # Only now, when nothing of the work is left.
            await self._release()
            self._busy = False
        if error is not None:
            raise error

    def _end_term(self) -> None:
        term, self._term = self._term, None
        if term is None:
            return
        if not term.is_valid():
            self._counts["lost"] += 1
            _logger.warning("leadership lost", extra=self._facts())
        term.end()

    async def _win(self) -> Term:
        while True:
            begun = self._clock()
            lease = await self._attempt(self._take, self._settings.attempt_timeout.total_seconds())
            until = begun + self._settings.renew_deadline.total_seconds()
            # A response that came too late, or was read after a long sleep, wins nothing.
            if lease is not None and self._clock() < until:
                self._counts["terms"] += 1
                _logger.info("leadership won", extra=self._facts())
                return Term(identity=self._identity, clock=self._clock, valid_until=until)
            await anyio.sleep(self._pause())

    async def _take(self) -> Lease | None:
        """The Lease as ours, if it was free or had run out."""
        lease = await self._lock.get()
        if lease is not None:
            self._observe(lease)
        # One that was deleted: who held it may not know that yet. What was seen of it goes on counting.
        if not self._has_run_out():
            return None
        try:
            if lease is None:
                return self._observe(await self._lock.create(self._spec(None)))
            return self._observe(await self._lock.update(lease, self._spec(lease)))
        except Conflict:
            return None  # somebody was quicker
        except NotFound:
            if lease is None:
                raise  # it is the namespace that is not there
            return None

    def _has_run_out(self) -> bool:
        if self._seen is None or not self._seen.holder:
            return True
        duration = self._settings.lease_duration if self._seen.duration is None else self._seen.duration
        return self._clock() >= self._seen_at + duration.total_seconds()

    def _observe(self, lease: Lease) -> Lease:
        """Take note of *lease*, as of now: that is after the server read it, so nobody is cut short."""
        if self._seen is None or self._seen.record != lease.record:
            self._seen_at = self._clock()
        self._seen = lease
        return lease

    async def _watch(self, term: Term, scope: anyio.CancelScope) -> None:
        """Cancel the work when the term has run out, whatever the renewals are waiting for."""
        while term.is_valid():  # noqa: ASYNC110 - a clock is waited for, in short steps:
            # the event loop's may stand still while the machine is suspended; the term's does not.
            await anyio.sleep(min(term.remaining(), _LONGEST_SLEEP))
        scope.cancel()

    async def _keep(self, term: Term, scope: anyio.CancelScope) -> None:
        """Renew until the term is over. However this ends, the work ends with it."""
        try:
            while term.is_valid():
                await anyio.sleep(min(self._pause(), term.remaining()))
                await self._renew(term)
        finally:
            scope.cancel()

    async def _renew(self, term: Term) -> None:
        limit = min(self._settings.attempt_timeout.total_seconds(), term.remaining())
        begun = self._clock()
        lease = await self._attempt(self._hold, limit)
        if lease is None:
            return
        if lease.holder != self._identity:
            term.end()
        elif term.prolong(begun + self._settings.renew_deadline.total_seconds()):
            self._counts["renewals"] += 1

    async def _hold(self) -> Lease:
        """The Lease after it was renewed, or as another replica holds it.

        Raises:
            ApiError: The server refused. So did it if it could neither be updated nor made: the attempt ends
                then, and the next one waits for its turn.
        """
        lease = self._seen
        refusal: ApiError | None = None
        for _ in range(_MOST_WRITES):
            try:
                if lease is None:
                    return self._observe(await self._lock.create(self._spec(self._seen)))
                return self._observe(await self._lock.update(lease, self._spec(lease)))
            except NotFound as exc:
                if lease is None:
                    raise  # it is the namespace that is not there
                lease, refusal = None, exc  # deleted under our feet: make it again, if nobody else has
            except Conflict as exc:
                # Somebody wrote it, which may have been ourselves in a request whose answer was lost.
                refusal = exc
                lease = await self._lock.get()
                if lease is not None and self._observe(lease).holder != self._identity:
                    return lease
        raise refusal or AssertionError("a loop without a turn")

    async def _release(self) -> None:
        """Give the Lease back, if it is still ours, so that the next need not wait."""
        lease = self._seen
        if lease is None or lease.holder != self._identity:
            return
        limit = self._settings.release_timeout.total_seconds()
        released: Lease | None = None
        with anyio.CancelScope(shield=True):
            released = await self._attempt(
                lambda: self._lock.update(lease, self._spec(lease, free=True)), limit
            )
        if released is not None:
            self._observe(released)
            _logger.info("leadership given up", extra=self._facts())

    async def _attempt(self, requests: Callable[[], Awaitable[Lease | None]], limit: float) -> Lease | None:
        """What *requests* give, or ``None`` when they fail or take longer than *limit* seconds."""
        try:
            with anyio.fail_after(limit):
                lease = await requests()
        except (ApiError, TransportError, TimeoutError) as exc:
            self._counts["failures"] += 1
            level = logging.WARNING if self._trouble is None else logging.DEBUG
            self._trouble = exc
            error = str(exc) or f"no response within {limit:.1f} s"
            _logger.log(level, "lease request failed", extra={**self._facts(), "error": error})
            return None
        self._trouble = None
        return lease

    def _spec(self, lease: Lease | None, *, free: bool = False) -> Mapping[str, object]:
        now = micro_time(self._wall_clock(), unlike="" if lease is None else lease.renew_time)
        changes_hands = lease is not None and lease.holder != self._identity
        transitions = 0 if lease is None else lease.transitions + changes_hands
        same_holder = lease is not None and not changes_hands and lease.acquire_time
        return {
            "holderIdentity": "" if free else self._identity,
            "leaseDurationSeconds": 1 if free else self._settings.lease_seconds,
            "acquireTime": lease.acquire_time if lease is not None and same_holder else now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    def _pause(self) -> float:
        return self._settings.retry_period.total_seconds() * (1 + JITTER * self._rng.random())

    def _facts(self) -> dict[str, object]:
        return {"lease": str(self.lease), "identity": self._identity}
