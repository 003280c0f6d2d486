"""Keeps a store equal to what the server has: list, watch, and what to do when either fails.

The machine, in prose. Its memory is the resource version up to which the store is right.

* **Without one** it gets the whole state: streamed by a watch that begins with it ("watch list"), or
  listed in pages. The state replaces the store's in one step, and only what differs is told on. A stream
  that fails, for whatever reason, is followed by a list, since servers and proxies exist that refuse the
  one request and allow the other; after two such failures the state is always listed.
* **With one** it watches from there. Events and bookmarks move it on. A watch that ends in good order, is
  cut, or falls silent is opened again from where it was: nothing is lost and nothing is listed.
* **410** means the server has forgotten that version: list again, anything not older than it; if that is
  refused too, or the version is *too large* (the server is behind), list the most recent.
* **429** means wait; the state that is held is as good as before, so nothing is listed.
* **403 and 404** mean wait longer; what is held stays, and it is said aloud once.
* **Anything else** means wait, then watch again; the third time in a row that a watch fails without
  having brought anything, the version itself is suspected and the state is listed.

Versions can also go back, when the cluster's database is restored from a backup. A watch from a version
of the future is accepted and silent (as API servers do), so silence is never trusted: after 45 s without
an event or a bookmark, and after the connection failed, one object is listed to learn the server's version,
and if that is behind ours, everything is listed and compared by content. A restored server may also
have passed our version before anybody looked. So after five minutes without contact everything is listed
as well, and every nine minutes in any case, contact or not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Generic, NoReturn, TypeVar, assert_never

import anyio

from ingresskit.cache.backoff import Backoff
from ingresskit.cache.collecting import fewer_collections
from ingresskit.cache.decoding import (
    Bookmark,
    DecodeFailure,
    ObjectEvent,
    ObjectFailed,
    UnknownEvent,
    WatchError,
    WatchEvent,
)
from ingresskit.cache.following_log import FollowingLog
from ingresskit.cache.list_watch import ListerWatcher
from ingresskit.cache.settings import ReflectorSettings, ReflectorState
from ingresskit.cache.store import Store
from ingresskit.cache.streaming import initial_state
from ingresskit.cache.verdict import Verdict, is_too_large, judge
from ingresskit.cache.versions import is_older
from ingresskit.errors import (
    ApiError,
    Expired,
    Forbidden,
    IdleTimeout,
    NotFound,
    TooManyRequests,
    TransportError,
)
from ingresskit.kube import LineReader, ResourceKind
from ingresskit.models import KubeObject

__all__ = ["Reflector"]

K = TypeVar("K", bound=KubeObject)


# A watch shorter than this that brought nothing is a failure, however politely it ended; likewise, where
# watches are asked for that last hardly longer, one shorter than most of what was asked for.
_SHORT_WATCH = 1.0
_MOST = 0.75
# Watches are begun no more often than this, even if each one brings something.
_WATCH_INTERVAL = 0.25
# Failures of the watch in a row, none of which brought anything, until the version itself is suspected.
_STRIKES = 3
# How many streams may fail where a list then works, before the state is listed for good.
_STREAMS = 2
# Statuses of a server that does not know `sendInitialEvents`: asking again is no use.
_CANNOT_STREAM = frozenset({400, 405, 406, 415, 422, 501})
# Without a sign of life for this long, the version is compared with the server's before it is used again.
_PROOF_AGE = 45.0
# How soon after a list a 410 means that listing did not help.
_SOON = 10.0


class Reflector(Generic[K]):
    """Keeps *store* equal to what *lister_watcher* sees, for as long as it runs.

    What it promises: between list and watch there is no gap; the store never holds half a list; an object
    that did not change causes no change in the store; failures are tried again for ever, with pauses
    (`Backoff`) and never above one request a second or so; `run` returns only by being cancelled.
    """

    def __init__(
        self,
        lister_watcher: ListerWatcher[K],
        store: Store[K],
        *,
        settings: ReflectorSettings | None = None,
        rng: random.Random | None = None,
        on_settled: Callable[[], None] | None = None,
    ) -> None:
        """Ask nothing yet.

        Args:
            lister_watcher: What to follow.
            store: Where to keep it. If it follows one namespace, it touches only that one.
            settings: The times it goes by.
            rng: Where the randomness of pauses comes from, for tests.
            on_settled: Called when the first state is held, and when it is known that there will be none
                for now (403, 404).
        """
        self._lister_watcher = lister_watcher
        self._store = store
        self._settings = settings or ReflectorSettings()
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._on_settled = on_settled or (lambda: None)
        self._backoff = Backoff(
            initial=self._settings.initial_pause, ceiling=self._settings.longest_pause, rng=self._rng
        )
        self._state = ReflectorState.IDLE
        self._version = ""
        self._synced = False
        self._settled = False
        # What to do next: watch, or get everything; and then how new it must be.
        self._whole = True
        self._not_older_than = ""
        self._by_content = False
        self._streams_left = _STREAMS if lister_watcher.watch_list == "auto" else 0
        self._list_next = False  # a stream failed; no list has been tried since
        self._stream_fault = ""  # why; until a list has worked
        self._refused = False  # a right or the kind is missing, for lists too: one request at a time will do
        self._strikes = 0
        self._is_open = False
        self._last_contact = float("-inf")
        self._last_proof = float("-inf")
        self._last_whole = float("-inf")
        self._last_watch = float("-inf")
        self._log = FollowingLog(_facts(lister_watcher))
        self._counts: dict[str, int] = dict.fromkeys(
            (
                "events",
                "failures",
                "idle_timeouts",
                "lists",
                "probes",
                "regressions",
                "streams",
                "watches",
            ),
            0,
        )

    @property
    def state(self) -> ReflectorState:
        """What it is doing."""
        return self._state

    @property
    def has_synced(self) -> bool:
        """Whether the store has held the whole state once."""
        return self._synced

    @property
    def is_settled(self) -> bool:
        """Whether it has synced, or was found not to for now (403, 404)."""
        return self._settled

    @property
    def last_sync_resource_version(self) -> str:
        """Up to where the store is right; empty before the first state."""
        return self._version

    @property
    def last_contact(self) -> float:
        """When the server last sent anything, on the clock of the event loop; minus infinity for never."""
        return self._last_contact

    @property
    def last_error(self) -> ApiError | TransportError | None:
        """Why it is not following the server now; ``None`` when it is."""
        return self._log.error

    @property
    def kind(self) -> ResourceKind:
        """What it follows."""
        return self._lister_watcher.decoder.kind

    @property
    def namespace(self) -> str:
        """The namespace it follows; empty for all."""
        return self._lister_watcher.namespace

    def statistics(self) -> Mapping[str, int]:
        """Counts since the start: requests by purpose, events, failures, and what was found out."""
        return dict(self._counts)

    async def run(self) -> NoReturn:
        """Follow the server until cancelled."""
        try:
            while True:
                try:
                    await self._step()
                except (ApiError, TransportError) as error:
                    await self._pause_after(error)
        finally:
            self._state = ReflectorState.IDLE

    async def _step(self) -> None:
        """One list, or one watch. Returns when the next may begin at once."""
        now = anyio.current_time()
        stale = now - self._last_contact > self._settings.stale_after.total_seconds()
        due = now - self._last_whole > self._settings.compare_every.total_seconds()
        if not self._whole and (stale or due):
            self._by_content = True
            self._get_whole(not_older_than="")
        if not self._whole and now - self._last_proof > _PROOF_AGE:
            await self._probe()
        if not self._whole:
            await self._watch()
        elif self._streams_left and not self._list_next:
            await self._stream()
        else:
            await self._list_instead()

    def _get_whole(self, *, not_older_than: str) -> None:
        self._whole, self._not_older_than = True, not_older_than

    # Getting the whole state.

    async def _list_instead(self) -> None:
        """List, after a stream that failed or because there are no streams."""
        try:
            with fewer_collections():
                await self._list()
        except (ApiError, TransportError) as error:
            # An outage, or a missing right: it says nothing about streams.
            self._list_next, self._stream_fault = False, ""
            self._refused = isinstance(error, Forbidden | NotFound)
            raise
        self._refused = False
        fault, self._stream_fault, self._list_next = self._stream_fault, "", False
        if fault and self._streams_left:
            self._streams_left -= 1
            if not self._streams_left:
                self._log.stream_failed(fault, for_good=True)

    async def _list(self) -> None:
        self._state = ReflectorState.LISTING
        self._counts["lists"] += 1
        objects: list[K] = []
        failures: list[DecodeFailure] = []
        token, limit = "", None
        while True:
            try:
                page = await self._lister_watcher.page(
                    limit=limit, continue_token=token, not_older_than=self._not_older_than
                )
            except TooManyRequests as error:
                if not token:
                    raise
                # The pages that are there stay good for as long as the token does.
                await self._pause_after(error)
                self._state = ReflectorState.LISTING
                continue
            except ApiError as error:
                if token and isinstance(error, Expired):
                    # Collecting took longer than the server remembers: now in one piece, and the most recent.
                    objects, failures, token, limit = [], [], "", 0
                elif self._not_older_than and (isinstance(error, Expired) or is_too_large(error)):
                    self._not_older_than = ""
                else:
                    raise
                self._counts["failures"] += 1
                continue
            self._heard()
            objects += page.objects
            failures += page.failures
            token = page.continue_token
            if not token:
                break
        self._hold(objects, failures, page.resource_version)

    async def _stream(self) -> None:
        """Get the whole state by a watch, and go on with that watch."""
        self._state = ReflectorState.STREAMING
        self._counts["streams"] += 1
        settings = self._settings
        opened = False
        try:
            with anyio.fail_after(settings.initial_deadline.total_seconds()) as deadline:
                async with self._lister_watcher.watch(
                    self._not_older_than,
                    lasting=self._watch_length(),
                    idle_timeout=settings.initial_silence,
                    initial=True,
                ) as lines:
                    opened = True
                    with fewer_collections():
                        state = await initial_state(
                            self._lister_watcher.decoder,
                            lines,
                            patience=settings.initial_silence,
                            on_event=self._heard,
                            on_unknown=lambda event: self._log.unknown_type(event.type),
                        )
                        self._hold(state.objects, state.failures, state.resource_version)
                    self._streams_left = _STREAMS
                    deadline.deadline = float("inf")
                    lines.idle_timeout = settings.idle_timeout
                    await self._follow(lines)
        except TimeoutError:
            self._stream_failed("it took too long")
        except anyio.EndOfStream:
            self._stream_failed("it ended early")
        except ApiError as error:
            if not self._whole:
                raise
            if self._not_older_than and (isinstance(error, Expired) or is_too_large(error)):
                self._not_older_than = ""
                self._counts["failures"] += 1
                return
            self._list_next, self._stream_fault = True, str(error)
            waits = isinstance(error, TooManyRequests) or error.retry_after is not None
            troubled = error.status >= 500 and not opened
            refused = self._refused and isinstance(error, Forbidden | NotFound)
            if waits or troubled or refused:
                raise  # pause first, then list
            self._stream_failed(str(error))
            if error.status in _CANNOT_STREAM:
                self._streams_left = 0
                self._log.stream_failed(str(error), for_good=True)
        except TransportError as error:
            if not self._whole:
                raise
            self._list_next = True
            if not opened:
                raise
            self._stream_failed(str(error))

    def _stream_failed(self, why: str) -> None:
        """Note that this stream did not deliver the state: a list is next."""
        self._list_next, self._stream_fault = True, why
        self._counts["failures"] += 1
        self._log.stream_failed(why, for_good=False)

    def _hold(self, objects: Sequence[K], failures: Sequence[DecodeFailure], version: str) -> None:
        """Make the whole state that of the store."""
        if not version:
            raise TransportError(f"the list of {self._lister_watcher} has no resource version")
        if is_older(version, self._version):
            self._regressed(version)
        self._store.replace(
            objects, failures, namespace=self._lister_watcher.namespace, by_content=self._by_content
        )
        self._version = version
        self._whole = self._by_content = False
        self._strikes = 0
        self._last_whole = self._last_contact = self._last_proof = anyio.current_time()
        self._log.recovered()
        if not self._synced:
            self._synced = self._settled = True
            self._log.synced(len(objects))
            self._on_settled()

    # Following it.

    async def _watch(self) -> None:
        await anyio.sleep_until(self._last_watch + _WATCH_INTERVAL)
        self._last_watch = anyio.current_time()
        self._counts["watches"] += 1
        async with self._lister_watcher.watch(
            self._version, lasting=self._watch_length(), idle_timeout=self._settings.idle_timeout
        ) as lines:
            # Quiet kinds get no bookmark in so short a watch, if nothing has happened since the last. (The end
            # of a watch is no sign of life: it may have lain there while this process slept.)
            self._heard()
            await self._follow(lines)

    async def _follow(self, lines: LineReader) -> None:
        """Take what an open watch brings, until it ends in good order."""
        self._state = ReflectorState.WATCHING
        self._log.recovered()
        began, version = anyio.current_time(), self._version
        self._is_open = True
        try:
            while True:
                event = self._lister_watcher.decoder.event(await lines.line())
                self._last_contact = lines.heard
                self._take(event)
        except anyio.EndOfStream:
            pass
        finally:
            if self._version != version:
                self._strikes = 0
        shortest = min(_SHORT_WATCH, _MOST * self._settings.watch_timeout[0].total_seconds())
        if self._version == version and anyio.current_time() - began < shortest:
            raise TransportError(f"the watch of {self._lister_watcher} ended as soon as it began")
        self._is_open = False

    def _take(self, event: WatchEvent[K]) -> None:
        self._counts["events"] += 1
        match event:
            case ObjectEvent(type="DELETED", item=item):
                meta = item.metadata
                self._store.discard(item.key, uid=meta.uid, resource_version=meta.resource_version, final=item)
                self._advance(meta.resource_version)
            case ObjectEvent(item=item):
                self._store.apply(item)
                self._advance(item.metadata.resource_version)
            case ObjectFailed(type="DELETED", failure=failure):
                self._store.discard(
                    failure.key, uid=failure.uid, resource_version=failure.resource_version, final=None
                )
                self._advance(failure.resource_version)
            case ObjectFailed(failure=failure):
                self._store.fail(failure)
                self._advance(failure.resource_version)
            case Bookmark(resource_version=version):
                self._advance(version)
            case WatchError(error=error):
                raise error
            case UnknownEvent():
                self._log.unknown_type(event.type)
            case _:
                assert_never(event)

    def _advance(self, version: str) -> None:
        """The store is right up to *version*. One that goes back is a late event, or a restored server."""
        if not version:
            return
        if is_older(version, self._version):
            self._last_proof = float("-inf")
        else:
            self._version = version
            self._last_proof = self._last_contact

    async def _probe(self) -> None:
        """Learn the server's version, to see whether it is behind ours."""
        self._counts["probes"] += 1
        page = await self._lister_watcher.page(limit=1)
        self._last_contact = self._last_proof = anyio.current_time()
        if is_older(page.resource_version, self._version):
            self._get_whole(not_older_than="")

    def _regressed(self, version: str) -> None:
        self._counts["regressions"] += 1
        self._by_content = True
        self._log.regressed(self._version, version)

    # What goes wrong.

    async def _pause_after(self, error: ApiError | TransportError) -> None:
        """Decide what is next, and wait as long as that takes."""
        self._counts["failures"] += 1
        was_open, self._is_open = self._is_open, False
        if isinstance(error, IdleTimeout):
            self._counts["idle_timeouts"] += 1
        if not self._whole and self._obey(judge(error, was_open=was_open)):
            return
        retry_after = error.retry_after if isinstance(error, ApiError) else None
        impatience = None if self._synced else self._settings.impatience
        pause = self._backoff.pause(at_least=retry_after, at_most=impatience)
        match error:
            case Forbidden():
                self._state = ReflectorState.FORBIDDEN
            case NotFound():
                self._state = ReflectorState.MISSING
            case _:
                self._state = ReflectorState.BACKING_OFF
        self._log.failed(error, cut=was_open and isinstance(error, TransportError))
        if self._state is not ReflectorState.BACKING_OFF:
            self._settled = True
            self._on_settled()
        await anyio.sleep(pause.total_seconds())

    def _obey(self, verdict: Verdict) -> bool:
        """Act on a verdict. Returns whether to go on without a pause."""
        if verdict.doubt:
            self._last_proof = float("-inf")
        if verdict.strike:
            self._strikes += 1
        if verdict.relist or self._strikes >= _STRIKES:
            self._strikes = 0
            self._get_whole(not_older_than="" if verdict.relist == "most recent" else self._version)
        # Listing again at once is no use if listing did not help just now.
        soon = anyio.current_time() - self._last_whole < _SOON
        return not verdict.pause and not (verdict.relist and soon)

    def _heard(self, at: float | None = None) -> None:
        self._last_contact = anyio.current_time() if at is None else at

    def _watch_length(self) -> timedelta:
        shortest, longest = self._settings.watch_timeout
        return shortest + (longest - shortest) * self._rng.random()


def _facts(watched: ListerWatcher[K]) -> dict[str, str]:
    facts = {"resource": str(watched.decoder.kind), "namespace": watched.namespace}
    if watched.field_selector:
        facts["selector"] = watched.field_selector
    return facts
