"""Events for diagnostics: what is wrong with an object, where its author looks for it.

An Event is made when a diagnostic appears, and its series is updated at long intervals while the diagnostic
stays: never once per pass. When it goes, nothing is written; the Event ages away. All limits are per
process and hold whatever tenants do: a queue that is bounded, a bucket for each object, one worker.

Source: Kubernetes API reference, "Event v1 events.k8s.io"; the bucket is that of client-go's
``EventSourceObjectSpamFilter``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import anyio

from ingresskit._checks import check_settings
from ingresskit._doubling import Doubling
from ingresskit.cache import Backoff
from ingresskit.diagnostics import Diagnostic
from ingresskit.errors import ApiError, ConfigurationError, Conflict, Forbidden, NotFound, TransportError
from ingresskit.facts import fact_logger
from ingresskit.kube import ResourceKind, Transport
from ingresskit.models import KINDS, KubeObject, ObjectRef, Snapshot
from ingresskit.status.fence import Fence

__all__ = ["EventRecorder", "EventRecorderSettings"]

_logger = fact_logger(__name__)

_EVENTS = ResourceKind(api_version="events.k8s.io/v1", resource="events", kind="Event")
_MERGE = {"Content-Type": "application/merge-patch+json"}
_BY_KIND: Mapping[str, type[KubeObject]] = {kind.kind: kind for kind in KINDS}
_MAX_NOTE_BYTES = 1024
_MAX_BUCKETS = 10_000
# When an Event that could not be written in all its attempts is tried again.
_TRY_AGAIN = timedelta(minutes=2)
# Between its attempts, whose number bounds them.
_PAUSES = Doubling(timedelta(seconds=1), timedelta.max)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecorderSettings:
    """How many Events there may be.

    Attributes:
        controller: What is reported as ``reportingController``, ``"ingresskit.dev/ingress-controller"``.
        instance: What is reported as ``reportingInstance``: the pod's name. At most 128 characters.
        burst: How many Events one object may have at once.
        refill: After how long it may have one more.
        series_interval: After how long the series of a diagnostic that stays is updated.
        queue_size: How many Events may wait; more are counted as dropped, and wait until the queue is empty.
        rate: Requests a second at most, on average.
        request_timeout: For one request.
        attempts: How often one Event is tried.

    Raises:
        ConfigurationError: A number or time is not positive, or a name is empty or too long.
    """

    controller: str = "ingresskit.dev/ingress-controller"
    instance: str = "ingresskit"
    burst: int = 25
    refill: timedelta = timedelta(minutes=5)
    series_interval: timedelta = timedelta(minutes=30)
    queue_size: int = 1000
    rate: float = 10.0
    request_timeout: timedelta = timedelta(seconds=10)
    attempts: int = 3

    def __post_init__(self) -> None:
        if not self.controller or not 0 < len(self.instance) <= 128:
            raise ConfigurationError("an event needs a controller and an instance of at most 128 characters")
        check_settings(self)


@dataclass(slots=True)
class _Told:
    """A diagnostic that has an Event, or will have."""

    uid: str
    namespace: str
    name: str = ""  # of the Event; empty until it is made
    count: int = 1
    due: float = float("inf")  # when the series is to be updated, or the Event to be tried again


class EventRecorder:
    """Makes Events of diagnostics. `update` never waits; `run` does the writing, while this process leads."""

    def __init__(
        self,
        transport: Transport,
        settings: EventRecorderSettings | None = None,
        *,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        rng: random.Random | None = None,
    ) -> None:
        """Ask nothing yet. Needs ``create`` and ``patch`` on Events of ``events.k8s.io``.

        Args:
            transport: To which cluster.
            settings: The limits.
            wall_clock: The time that is written into Events.
            rng: Where the randomness of names and pauses comes from, for tests.
        """
        self._transport = transport
        self._settings = settings or EventRecorderSettings()
        self._wall_clock = wall_clock
        self._rng = rng or random.Random()  # noqa: S311 - tells names apart, guards nothing
        self._told: dict[Diagnostic, _Told] = {}
        self._waiting: OrderedDict[Diagnostic, None] = OrderedDict()
        self._buckets: OrderedDict[ObjectRef, tuple[float, float]] = OrderedDict()
        self._arrived = anyio.Event()
        self._forbidden: dict[str, tuple[float, Backoff]] = {}  # until when, and how long next
        self._due = 0.0
        self._counts: dict[str, int] = {"created": 0, "updated": 0, "dropped": 0, "limited": 0, "failed": 0}

    @property
    def forbidden(self) -> frozenset[str]:
        """The namespaces in which Events are forbidden. One is tried there every 30 s at the longest."""
        return frozenset(self._forbidden)

    def statistics(self) -> Mapping[str, int]:
        """Counts: ``created``, ``updated``, ``dropped``, ``limited``, ``failed`` so far; ``waiting`` now."""
        return {**self._counts, "waiting": len(self._waiting)}

    def update(self, diagnostics: Collection[Diagnostic], snapshot: Snapshot | None = None) -> None:
        """Take note of what is wrong now. Never waits, never raises, and costs nothing per pass.

        Args:
            diagnostics: Everything that is in force.
            snapshot: Where the uid of the objects is found.
        """
        now = set(diagnostics)
        for gone in self._told.keys() - now:
            del self._told[gone]
            self._waiting.pop(gone, None)
        for item in diagnostics:  # in the given order, which is stable
            kind = _BY_KIND.get(item.subject.kind)
            if item in self._told or kind is None or item.subject.key.name == "*":
                continue  # known already; or a file or a whole kind, which have no Events
            # Events of what lives in no namespace live in this one.
            namespace = item.subject.key.namespace or "default"
            held = snapshot.get(kind, item.subject.key) if snapshot is not None else None
            self._told[item] = _Told(uid=held.metadata.uid if held is not None else "", namespace=namespace)
            self._offer(item)

    async def run(self, fence: Fence) -> None:
        """Write Events, until *fence* closes or this is cancelled."""
        while fence.is_valid():
            item = await self._next()
            if not fence.is_valid():
                self._offer(item)
                return
            told = self._told.get(item)
            if told is None:
                continue
            until, _ = self._forbidden.get(told.namespace, (0.0, None))
            if anyio.current_time() < until:
                told.due = until
                continue
            if not self._allowed(item.subject):
                self._counts["limited"] += 1
                told.due = anyio.current_time() + self._settings.series_interval.total_seconds()
                continue
            await self._pace()
            await self._tell(item, told, fence)

    def _offer(self, item: Diagnostic) -> None:
        if item in self._waiting:
            return
        if len(self._waiting) >= self._settings.queue_size:
            self._counts["dropped"] += 1
            if (told := self._told.get(item)) is not None:
                told.due = anyio.current_time()  # its turn is when the queue is empty
            return
        self._waiting[item] = None
        self._arrived.set()

    async def _next(self) -> Diagnostic:
        await anyio.lowlevel.checkpoint_if_cancelled()
        while not self._waiting:
            self._arrived = anyio.Event()
            due = min((told.due for told in self._told.values()), default=float("inf"))
            with anyio.CancelScope(deadline=due):
                await self._arrived.wait()
            now = anyio.current_time()
            for item, told in self._told.items():
                if len(self._waiting) >= self._settings.queue_size:
                    break
                if told.due <= now:
                    told.due = float("inf")
                    self._offer(item)
        return self._waiting.popitem(last=False)[0]

    def _allowed(self, subject: ObjectRef) -> bool:
        """Take a token from the bucket of *subject*, if there is one."""
        now, burst = anyio.current_time(), float(self._settings.burst)
        tokens, since = self._buckets.pop(subject, (burst, now))
        tokens = min(burst, tokens + (now - since) / self._settings.refill.total_seconds())
        allowed = tokens >= 1
        self._buckets[subject] = (tokens - allowed, now)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)  # the one not used for the longest time is full again, or nearly
        return allowed

    def _give_back(self, subject: ObjectRef) -> None:
        """Return the token that an Event has taken which was not written."""
        if (held := self._buckets.get(subject)) is not None:
            self._buckets[subject] = (held[0] + 1, held[1])

    async def _pace(self) -> None:
        now = anyio.current_time()
        self._due = max(self._due, now - 1) + 1 / self._settings.rate
        await anyio.sleep(max(0.0, self._due - now))

    async def _tell(self, item: Diagnostic, told: _Told, fence: Fence) -> None:
        for attempt in range(1, self._settings.attempts + 1):
            if not fence.is_valid():
                self._offer(item)
                return
            limit = min(self._settings.request_timeout.total_seconds(), fence.remaining())
            error: Exception
            try:
                with anyio.fail_after(limit):
                    await (self._prolong(told) if told.name else self._create(item, told))
            except NotFound as exc:
                if not told.name:
                    # The namespace is gone, and the object with it; or this API is not served, for now.
                    self._failed(item, exc)
                    told.due = anyio.current_time() + self._settings.series_interval.total_seconds()
                    return
                told.name, told.count, error = "", 1, exc  # the Event aged away: a new one
                continue
            except Forbidden as exc:
                if any(cause.reason == "NamespaceTerminating" for cause in exc.causes):
                    self._failed(item, exc)  # nothing new is made there, and nobody reads it
                else:
                    told.due = self._now_forbidden(told.namespace, exc)
                    self._give_back(item.subject)
                return
            except Conflict:
                # An Event of this name is there: made by the leader before us, or by us before a restart.
                told.name = told.name or _name(item, told)
                continue
            except (ApiError, TransportError, TimeoutError) as exc:
                error = exc
            else:
                told.due = anyio.current_time() + self._settings.series_interval.total_seconds()
                self._allowed_again(told.namespace)
                return
            if isinstance(error, ApiError) and error.status in (400, 422):
                self._failed(item, error)
                return
            if attempt < self._settings.attempts:
                asked = error.retry_after if isinstance(error, ApiError) else None
                pause = _PAUSES.after(attempt).total_seconds() * (1 + self._rng.random())
                await anyio.sleep(max(pause, asked.total_seconds() if asked else 0))
        self._failed(item, None)
        told.due = anyio.current_time() + min(self._settings.series_interval, _TRY_AGAIN).total_seconds()

    def _failed(self, item: Diagnostic, error: Exception | None) -> None:
        self._counts["failed"] += 1
        _logger.debug(
            "event not written", extra={"subject": str(item.subject), "error": str(error or "given up")}
        )

    def _now_forbidden(self, namespace: str, error: Forbidden) -> float:
        """Note that Events are forbidden there; returns when to try again."""
        level = logging.DEBUG if self._forbidden else logging.WARNING
        _, backoff = self._forbidden.get(namespace, (0.0, None))
        if backoff is None:
            backoff = Backoff(reset_after=timedelta(hours=1), rng=self._rng)
            _logger.log(level, "events are forbidden, asking again now and then", extra={"error": str(error)})
        # Where many namespaces are forbidden, about one of them is tried each second.
        pause = max(backoff.pause().total_seconds(), float(len(self._forbidden)))
        until = anyio.current_time() + pause
        self._forbidden[namespace] = (until, backoff)
        return until

    def _allowed_again(self, namespace: str) -> None:
        until, _ = self._forbidden.pop(namespace, (0.0, None))
        if not until:
            return
        _logger.info("events are allowed again", extra={"namespace": namespace})
        now = anyio.current_time()
        # The others may be allowed by the same change: one Event is tried in each.
        self._forbidden = {other: (now, backoff) for other, (_, backoff) in self._forbidden.items()}
        for told in self._told.values():
            if told.due and (
                told.namespace in self._forbidden or (told.namespace == namespace and not told.name)
            ):
                told.due = now

    async def _create(self, item: Diagnostic, told: _Told) -> None:
        now = _micro(self._wall_clock())
        name = _name(item, told)
        kind = _BY_KIND[item.subject.kind]
        regarding = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "name": item.subject.key.name,
            **({"namespace": item.subject.key.namespace} if item.subject.key.namespace else {}),
            **({"uid": told.uid} if told.uid else {}),
        }
        tree: dict[str, object] = {
            "apiVersion": _EVENTS.api_version,
            "kind": _EVENTS.kind,
            "metadata": {"name": name, "namespace": told.namespace},
            "eventTime": now,
            "type": "Warning",
            "reason": str(item.reason),
            "action": "Translate",
            "note": _note(item),
            "regarding": regarding,
            "reportingController": self._settings.controller,
            "reportingInstance": self._settings.instance,
        }
        await self._transport.request("POST", _EVENTS.path(told.namespace), body=_dump(tree))
        told.name = name
        self._counts["created"] += 1

    async def _prolong(self, told: _Told) -> None:
        series = {"count": told.count + 1, "lastObservedTime": _micro(self._wall_clock())}
        path = _EVENTS.path(told.namespace, told.name)
        await self._transport.request("PATCH", path, headers=_MERGE, body=_dump({"series": series}))
        told.count += 1
        self._counts["updated"] += 1


def _name(item: Diagnostic, told: _Told) -> str:
    """The same for the same diagnostic of the same object, so that no restart makes a second Event of it."""
    facts = (*item.subject, told.uid, item.field, item.reason, item.message)
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    return f"{item.subject.key.name[:200].rstrip('.-')}.{digest}"


def _note(item: Diagnostic) -> str:
    """What is wrong, and where; at most 1,024 bytes, and no half character."""
    text = f"{item.field}: {item.message}" if item.field else item.message
    data = text.encode()
    if len(data) <= _MAX_NOTE_BYTES:
        return text
    return data[: _MAX_NOTE_BYTES - 3].decode(errors="ignore") + "..."


def _micro(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def _dump(tree: object) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()
