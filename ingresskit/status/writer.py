"""Writing ``Ingress.status.loadBalancer``: only ours, only on change, never to nothing.

What can happen to one Ingress:

1. Its status says what it should, or nothing is known of where we are reached: no request is made.
2. It says something else: our addresses are applied (server-side apply, without force).
3. Another field manager owns the field with another value: the server refuses. That is reported
   once, and not tried again until the status changes: two managers never undo each other in turn. By force
   it is written only where all owners are managers that the settings name, since they no longer write.
4. Another program with our field manager's name writes something else, again and again, which no server
   refuses: after three times we report it and stop, until the status should change.
5. It belongs to another class now: if the field is ours, by the server's own book, we give it up.

One worker does all of it, from a queue in which each Ingress stands once. Nothing here is on the way of
traffic: when the API server is gone the writer waits, and nothing else does.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from itertools import chain

import anyio

from ingresskit._doubling import Doubling
from ingresskit.cache import Backoff, WorkQueue
from ingresskit.cache.versions import is_older
from ingresskit.errors import (
    ApiError,
    ConfigurationError,
    Conflict,
    Forbidden,
    NotFound,
    TransportError,
)
from ingresskit.facts import fact_logger
from ingresskit.kube import Transport
from ingresskit.models import Ingress, LoadBalancerIngress, ObjectKey
from ingresskit.status.addresses import Addresses, normalized
from ingresskit.status.apply import StatusApply
from ingresskit.status.conflicts import conflicting_managers, conflicts_shown
from ingresskit.status.fence import Fence
from ingresskit.status.ownership import Ownership
from ingresskit.status.settings import StatusWriterSettings

__all__ = ["StatusWriter"]

_logger = fact_logger(__name__)

# How often a status of ours may be overwritten before we let it be.
_MOST_OVERWRITES = 3


@dataclass(frozen=True, slots=True)
class _Written:
    """What we wrote, which may be newer than what has been watched."""

    uid: str
    addresses: Addresses
    version: str
    before: str  # the resource version that was known when it was written


@dataclass(frozen=True, slots=True)
class _Hold:
    """Nothing is tried while all of this stays as it is."""

    uid: str
    wanted: Addresses
    found: Addresses | None  # None: whatever is found


class _Next(Enum):
    DONE = auto()
    AGAIN = auto()


class StatusWriter:
    """Keeps the status of Ingresses at what it should be, while it may.

    Tell it with `update`; let it work with `run`, for as long as this process leads.
    """

    def __init__(self, transport: Transport, settings: StatusWriterSettings | None = None) -> None:
        """Ask nothing yet. Needs ``get`` on Ingresses and ``patch`` on ``ingresses/status``."""
        self._settings = settings or StatusWriterSettings()
        self._apply = StatusApply(transport, self._settings.field_manager)
        self._ingresses: Mapping[ObjectKey, Ingress] = {}
        self._ownership = Ownership()
        self._addresses: Addresses = ()
        self._said_empty = False
        self._queue: WorkQueue[ObjectKey] = WorkQueue()
        self._written: dict[ObjectKey, _Written] = {}
        self._holds: dict[ObjectKey, _Hold] = {}
        self._overwrites: dict[ObjectKey, tuple[int, str]] = {}  # how often, last seen in which version
        self._failures: dict[ObjectKey, int] = {}
        self._retry_at: dict[ObjectKey, float] = {}
        self._disputes: set[tuple[ObjectKey, str]] = set()
        self._backoff = self._new_backoff(timedelta(seconds=30))
        self._forbidden: dict[str, tuple[float, Backoff]] = {}
        self._due = 0.0
        self._unsaid = 0  # writes since the last line in the log
        self._running = False
        self._counts: dict[str, int] = {
            "writes": 0,
            "withdrawals": 0,
            "takeovers": 0,
            "conflicts": 0,
            "failures": 0,
        }

    @property
    def addresses(self) -> Addresses:
        """What is published."""
        return self._addresses

    @property
    def forbidden(self) -> frozenset[str]:
        """The namespaces in which writing the status is forbidden. It is tried again there now and then."""
        return frozenset(self._forbidden)

    def statistics(self) -> Mapping[str, int]:
        """Counts: of writes, withdrawals, takeovers, conflicts and failures; waiting and held ones now."""
        return {**self._counts, "waiting": len(self._queue), "held": len(self._holds)}

    def update(
        self,
        ingresses: Mapping[ObjectKey, Ingress],
        ownership: Ownership,
        addresses: Sequence[LoadBalancerIngress],
        *,
        changed: frozenset[ObjectKey] | None = None,
    ) -> None:
        """Take note of what should be and what is. Never waits, and may be called at any time.

        Args:
            ingresses: As they are known to be, with their status.
            ownership: Whose they are.
            addresses: Where we are reached. While this is empty nothing is written, and nothing removed.
            changed: At least the keys of Ingresses that are new, gone, or other objects than in the call
                before, or whose owner is another: while the addresses stay, no other is looked at.
                ``None``: all are.
        """
        known = normalized(addresses)
        if known != self._addresses:
            changed = None
        self._ingresses, self._ownership, self._addresses = ingresses, ownership, known
        states = (self._written, self._holds, self._overwrites, self._failures, self._retry_at)
        gone = {key for key in (chain(*states) if changed is None else changed) if key not in ingresses}
        for state in states:
            for key in gone:
                state.pop(key, None)
        self._disputes = {item for item in self._disputes if item[0] in ingresses}
        if not self._addresses and ownership.ours and not self._said_empty:
            _logger.warning(
                "no address to publish, the status of ingresses is left as it is",
                extra={"ingresses": len(ownership.ours)},
            )
        self._said_empty = not self._addresses and (self._said_empty or bool(ownership.ours))
        self._enqueue(changed)

    async def run(self, fence: Fence) -> None:
        """Write what is to be written, until *fence* closes or this is cancelled. One call at a time.

        Raises:
            ConfigurationError: It runs already.
        """
        if self._running:
            raise ConfigurationError("a status writer has one worker")
        self._running = True
        self._retry_at.clear()
        try:
            self._enqueue()
            while True:
                async with self._queue.get() as key:
                    if not fence.is_valid():
                        return  # `run` looks at everything when it begins again
                    if await self._work(key, fence) is _Next.AGAIN:
                        pause = self._again_after(key)
                        self._retry_at[key] = anyio.current_time() + pause.total_seconds()
                        self._queue.add_after(key, pause)
                    else:
                        self._retry_at.pop(key, None)
                if self._unsaid and not len(self._queue):
                    facts = {"ingresses": self._unsaid, "waiting": len(self._retry_at)}
                    _logger.info("statuses written", extra=facts)
                    self._unsaid = 0
        finally:
            self._running = False

    async def wait_idle(self) -> None:
        """Return once nothing is to be done now; what is tried again later does not count."""
        await self._queue.wait_idle()

    # What is to be done.

    def _enqueue(self, changed: frozenset[ObjectKey] | None = None) -> None:
        now = anyio.current_time()
        for keys, is_due in (
            (self._ownership.ours, self._is_to_write),
            (self._ownership.foreign, self._is_to_withdraw),
        ):
            for key in keys if changed is None else keys & changed:
                # One that failed is in the queue already, for later.
                if self._retry_at.get(key, now) <= now and is_due(key):
                    self._queue.add(key)

    def _is_to_write(self, key: ObjectKey) -> bool:
        item = self._ingresses.get(key)
        wanted = () if item is None else self._wanted(item)
        if item is None or not wanted or self._effective(item) == wanted:
            return False
        return not self._is_held(item, wanted)

    def _wanted(self, item: Ingress) -> Addresses:
        """What the status should say: where we are reached, or the edge that has not handed *item* over."""
        handover = self._settings.handover
        return self._addresses if handover is None or handover.is_over(item) else handover.addresses

    def _is_to_withdraw(self, key: ObjectKey) -> bool:
        """Whether an Ingress of another class may have a status of ours."""
        item = self._ingresses.get(key)
        if item is None or not (found := self._effective(item)) or self._is_held(item, ()):
            return False
        written, handover = self._written.get(key), self._settings.handover
        known = {*self._addresses, *(() if handover is None else handover.addresses)}
        return written is not None or not known.isdisjoint(found)

    def _is_held(self, item: Ingress, wanted: Addresses) -> bool:
        hold = self._holds.get(item.key)
        if hold is None:
            return False
        if hold.uid == item.metadata.uid and hold.wanted == wanted:
            if hold.found is None or hold.found == _status(item):
                return True
        del self._holds[item.key]
        self._overwrites.pop(item.key, None)
        self._failures.pop(item.key, None)
        return False

    def _effective(self, item: Ingress) -> Addresses:
        """What the status says, where a write of ours may not have come back yet."""
        written = self._written.get(item.key)
        if written is None or written.uid != item.metadata.uid:
            return _status(item)
        version = item.metadata.resource_version
        if version in (written.before, written.version) or is_older(version, written.version):
            return written.addresses
        return _status(item)

    # Doing it.

    async def _work(self, key: ObjectKey, fence: Fence) -> _Next:
        withdraws = key in self._ownership.foreign
        if not (
            self._is_to_withdraw(key) if withdraws else key in self._ownership.ours and self._is_to_write(key)
        ):
            return _Next.DONE
        if self._forbidden_for(key) > 0:
            return _Next.AGAIN
        await self._pace()
        item = self._ingresses.get(key)
        if item is None or not fence.is_valid():
            return _Next.AGAIN
        wanted = () if withdraws else self._wanted(item)
        if not withdraws and self._counts_as_overwritten(item):
            return self._let_be(item, wanted, "the status is overwritten again and again, it is left as it is")
        try:
            with anyio.fail_after(min(self._settings.request_timeout.total_seconds(), fence.remaining())):
                if withdraws:
                    await self._withdraw(item)
                else:
                    await self._write(item, wanted)
        except (ApiError, TransportError, TimeoutError) as exc:
            return await self._failed(item, wanted, exc)
        self._failures.pop(key, None)
        self._backoff.reset()
        if self._forbidden.pop(key.namespace, None) is not None:
            self._allowed_again(key.namespace)
        return _Next.DONE

    async def _write(self, item: Ingress, wanted: Addresses) -> None:
        try:
            version = await self._apply.write(item, wanted)
        except Conflict as exc:
            if not (owners := conflicting_managers(exc)) or not owners <= self._settings.taken_from:
                raise
            version = await self._apply.write(item, wanted, force=True)
            self._counts["takeovers"] += 1
            _logger.info("status taken over", extra={**_facts(item), "from": ", ".join(sorted(owners))})
        meta = item.metadata
        self._written[item.key] = _Written(meta.uid, wanted, version, meta.resource_version)
        self._counts["writes"] += 1
        # Not one line for each of thousands: how many there were is said when the queue is empty.
        self._unsaid += 1
        addresses = ", ".join(str(address) for address in wanted)
        _logger.debug("status written", extra={**_facts(item), "addresses": addresses})

    async def _withdraw(self, item: Ingress) -> None:
        version = await self._apply.withdraw(item)
        self._written.pop(item.key, None)
        # Whether it was ours or not: there is nothing to be done until the status changes.
        self._holds[item.key] = _Hold(item.metadata.uid, (), _status(item))
        if version is not None:
            self._counts["withdrawals"] += 1
            _logger.info("status withdrawn, the ingress is not ours any more", extra=_facts(item))

    def _counts_as_overwritten(self, item: Ingress) -> bool:
        """Whether another field manager keeps replacing exactly what we are about to write."""
        written = self._written.get(item.key)
        if written is None or written.uid != item.metadata.uid or written.addresses != self._wanted(item):
            self._overwrites.pop(item.key, None)
            return False
        count, version = self._overwrites.get(item.key, (0, ""))
        if version != item.metadata.resource_version:  # not a second try at the same
            count += 1
            self._overwrites[item.key] = (count, item.metadata.resource_version)
        return count >= _MOST_OVERWRITES

    async def _failed(self, item: Ingress, wanted: Addresses, error: Exception) -> _Next:
        self._counts["failures"] += 1
        key, facts = item.key, {**_facts(item), "error": str(error) or "no response in time"}
        match error:
            case NotFound():
                # Gone; the watch will say so. (An API that is not there cannot have given us the object.)
                self._written.pop(key, None)
                return self._let_be(item, wanted, "")
            case Conflict() if owners := conflicts_shown(error):
                self._counts["conflicts"] += 1
                level = logging.DEBUG if (key, owners) in self._disputes else logging.WARNING
                self._disputes.add((key, owners))
                _logger.log(level, "another field manager owns the status, it is left as it is", extra=facts)
                self._holds[key] = _Hold(item.metadata.uid, wanted, _status(item))
                return _Next.DONE
            case Forbidden():
                self._now_forbidden(key.namespace, facts)
                return _Next.AGAIN
            case ApiError(status=400 | 409 | 422):
                count = self._failures[key] = self._failures.get(key, 0) + 1
                if count >= self._settings.attempts:
                    return self._let_be(item, wanted, f"the status is refused, given up: {error}")
                return _Next.AGAIN
            case _:
                pause = self._backoff.pause(at_least=error.retry_after if isinstance(error, ApiError) else None)
                _logger.warning(
                    "status not written, trying again",
                    extra={**facts, "pauseSeconds": round(pause.total_seconds(), 1)},
                )
                # All of them: whatever it is, it is not about this one object.
                await anyio.sleep(pause.total_seconds())
                return _Next.AGAIN

    def _let_be(self, item: Ingress, wanted: Addresses, message: str) -> _Next:
        if message:
            _logger.warning(message, extra=_facts(item))
        self._holds[item.key] = _Hold(item.metadata.uid, wanted, None)
        return _Next.DONE

    # Time.

    async def _pace(self) -> None:
        now = anyio.current_time()
        # A second's worth may be made at once.
        self._due = max(self._due, now - 1) + 1 / self._settings.rate
        await anyio.sleep(max(0.0, self._due - now))

    def _again_after(self, key: ObjectKey) -> timedelta:
        if (left := self._forbidden_for(key)) > 0:
            # A little more: a timedelta rounds, and to be early would be to come again and again.
            return timedelta(seconds=left, milliseconds=1)
        waits = Doubling(self._settings.retry_first, self._settings.retry_ceiling)
        return waits.after(self._failures.get(key, 1))

    def _forbidden_for(self, key: ObjectKey) -> float:
        until, _ = self._forbidden.get(key.namespace, (0.0, None))
        return until - anyio.current_time()

    def _now_forbidden(self, namespace: str, facts: Mapping[str, object]) -> None:
        first = namespace not in self._forbidden
        level = logging.DEBUG if self._forbidden else logging.WARNING
        _, backoff = self._forbidden.get(namespace, (0.0, self._new_backoff(self._settings.retry_ceiling)))
        # Where many namespaces are forbidden, about one of them is tried each second.
        pause = max(backoff.pause().total_seconds(), float(len(self._forbidden)))
        self._forbidden[namespace] = (anyio.current_time() + pause, backoff)
        if first:
            _logger.log(level, "status writes are forbidden, asking again now and then", extra=facts)

    def _allowed_again(self, namespace: str) -> None:
        _logger.info("status writes are allowed again", extra={"namespace": namespace})
        now = anyio.current_time()
        # The others may be allowed by the same change: they are tried now.
        self._forbidden = {other: (now, backoff) for other, (_, backoff) in self._forbidden.items()}
        for key in [key for key in self._retry_at if key.namespace in (namespace, *self._forbidden)]:
            del self._retry_at[key]
            self._queue.add(key)

    def _new_backoff(self, ceiling: timedelta) -> Backoff:
        first = self._settings.retry_first
        return Backoff(initial=first, ceiling=max(ceiling, 2 * first), reset_after=timedelta(hours=1))


def _status(item: Ingress) -> Addresses:
    return normalized(item.status.load_balancer.ingress)


def _facts(item: Ingress) -> dict[str, object]:
    return {"kind": item.kind, "namespace": item.key.namespace, "object": item.key.name}
