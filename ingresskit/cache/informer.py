"""A shared informer: one list and watch of a kind, for any number of handlers."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Generic, NoReturn, TypeVar

import anyio
from anyio.abc import TaskGroup, TaskStatus

from ingresskit.cache.decoding import DecodeFailure
from ingresskit.cache.handlers import EventHandler, Registration
from ingresskit.cache.list_watch import ListerWatcher
from ingresskit.cache.reflector import Reflector
from ingresskit.cache.settings import ReflectorSettings, ReflectorState
from ingresskit.cache.store import Change, Indexer, IndexFunction
from ingresskit.errors import ConfigurationError
from ingresskit.facts import fact_logger
from ingresskit.models import KubeObject, ObjectKey

__all__ = ["SharedInformer"]

_logger = fact_logger(__name__)

K = TypeVar("K", bound=KubeObject)


class SharedInformer(Generic[K]):
    """A store that is kept equal to the server, and handlers that are called for each change.

    Reading needs no handler: `store` may be read at any time, and `Indexer.wait_changed` waits for a
    change of any kind. Several namespaces are followed by several reflectors into the one store.
    """

    def __init__(
        self,
        lister_watchers: ListerWatcher[K] | Sequence[ListerWatcher[K]],
        *,
        fallback: Sequence[ListerWatcher[K]] = (),
        indexers: Mapping[str, IndexFunction[K]] | None = None,
        settings: ReflectorSettings | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Ask nothing yet.

        Args:
            lister_watchers: What to follow: one for all namespaces, or one for each namespace.
            fallback: What to follow instead, one for each namespace, if the first answer to the one for all
                namespaces is 403. That it happened is logged and stands in `scope` and `statistics`.
            indexers: The indexes of the store.
            settings: The times to go by.
            rng: Where the randomness of pauses comes from, for tests.

        Raises:
            ConfigurationError: There is nothing to follow, a namespace twice, or several that are not all
                different namespaces.
        """
        watchers: tuple[ListerWatcher[K], ...] = (
            (lister_watchers,) if isinstance(lister_watchers, ListerWatcher) else tuple(lister_watchers)
        )
        for group in filter(None, (watchers, tuple(fallback))):
            namespaces = [watcher.namespace for watcher in group]
            if len(set(namespaces)) < len(namespaces) or (len(namespaces) > 1 and "" in namespaces):
                raise ConfigurationError(f"an informer cannot follow the namespaces {namespaces} together")
        if not watchers:
            raise ConfigurationError("an informer without anything to follow")
        if fallback and [watcher.namespace for watcher in watchers] != [""]:
            raise ConfigurationError("only an informer of all namespaces can fall back to some")
        self.store: Indexer[K] = Indexer(indexers)
        self._watchers = watchers
        self._fallback = tuple(fallback)
        self._fell_back = False
        self._settings = settings
        self._rng = rng
        self._reflectors: list[Reflector[K]] = [self._reflector(watcher) for watcher in watchers]
        self._registrations: list[Registration[K]] = []
        self._group: TaskGroup | None = None
        self._started = False
        self._synced = anyio.Event()
        self._settled = anyio.Event()
        self._fall_back = anyio.Event()
        self.store.subscribe(self._tell)

    def __str__(self) -> str:
        return f"informer of {', '.join(str(watcher) for watcher in self._watchers)}"

    @property
    def has_synced(self) -> bool:
        """Whether the store has held the whole state once."""
        return self._synced.is_set()

    @property
    def is_settled(self) -> bool:
        """Whether it has synced, or is known not to for now: a right is missing, or the kind is not served."""
        return self._settled.is_set()

    async def wait_for_sync(self) -> None:
        """Return once `has_synced`. Put a deadline around it; `statistics` says what hinders."""
        await self._synced.wait()

    async def wait_settled(self) -> None:
        """Return once `is_settled`, for those who can do without."""
        await self._settled.wait()

    @property
    def scope(self) -> Sequence[str]:
        """The namespaces that are followed; empty for all. Differs from what was asked for after a fallback."""
        return [reflector.namespace for reflector in self._reflectors if reflector.namespace]

    @property
    def reflectors(self) -> Sequence[Reflector[K]]:
        """Those at work, to look at: their states, versions and errors."""
        return tuple(self._reflectors)

    @property
    def state(self) -> ReflectorState:
        """The state of the reflector that is furthest from following the server."""
        return max((reflector.state for reflector in self._reflectors), key=_GRAVITY.__getitem__)

    @property
    def last_sync_resource_version(self) -> str:
        """Up to where the store is right; empty before that, and when several namespaces are followed."""
        return self._reflectors[0].last_sync_resource_version if len(self._reflectors) == 1 else ""

    @property
    def last_contact(self) -> float:
        """When the server last sent anything, on the clock of the event loop; the earliest of several."""
        return min(reflector.last_contact for reflector in self._reflectors)

    def healthy(self, max_silence: float) -> bool:
        """Whether every reflector has heard from the server in the last *max_silence* seconds.

        Reasonable is the idle time-out and the longest pause together, and something for the answer.
        """
        return anyio.current_time() - self.last_contact <= max_silence

    def failures(self) -> Mapping[ObjectKey, DecodeFailure]:
        """The objects that are there and cannot be read."""
        return self.store.failures()

    def statistics(self) -> Mapping[str, int]:
        """Counts since the start, over all reflectors and handlers."""
        total: dict[str, int] = {}
        parts = [reflector.statistics() for reflector in self._reflectors]
        parts += [registration.statistics() for registration in self._registrations]
        for part in parts:
            for name, count in part.items():
                total[name] = total.get(name, 0) + count
        total["objects"] = len(self.store)
        total["undecodable"] = len(self.store.failures())
        total["fallbacks"] = int(self._fell_back)
        return total

    def add_event_handler(self, handler: EventHandler[K]) -> Registration[K]:
        """Call *handler* from now on; first `on_add` for all that is there. Allowed at any time.

        Returns:
            What tells whether it has caught up, and ends it.
        """
        registration = Registration(handler, self.store.snapshot)
        self._registrations.append(registration)
        registration.replay(self.store.snapshot().values())
        if self.has_synced:
            registration.mark_whole()
        if self._group is not None:
            self._group.start_soon(self._run_handler, registration)
        return registration

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> NoReturn:
        """Follow the server and call the handlers, until cancelled. Once in the life of an informer.

        Reports itself as started at once; wait for the first state with `wait_for_sync`.

        Raises:
            ConfigurationError: It runs or has run already.
        """
        if self._started:
            raise ConfigurationError(f"the {self} has run already")
        self._started = True
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                for registration in self._registrations:
                    group.start_soon(self._run_handler, registration)
                task_status.started()
                await self._run_reflectors()
        finally:
            self._group = None
        raise AssertionError("reflectors return only when cancelled")  # pragma: no cover

    async def _run_reflectors(self) -> None:
        async with anyio.create_task_group() as group:
            for reflector in self._reflectors:
                group.start_soon(reflector.run)
            if self._fallback:
                await self._fall_back.wait()
                group.cancel_scope.cancel()
        async with anyio.create_task_group() as group:
            self._fell_back = True
            self._reflectors = [self._reflector(watcher) for watcher in self._fallback]
            for reflector in self._reflectors:
                group.start_soon(reflector.run)

    async def _run_handler(self, registration: Registration[K]) -> None:
        await registration.run()
        if registration in self._registrations:
            self._registrations.remove(registration)

    def _reflector(self, watcher: ListerWatcher[K]) -> Reflector[K]:
        return Reflector(
            watcher, self.store, settings=self._settings, rng=self._rng, on_settled=self._reflector_settled
        )

    def _reflector_settled(self) -> None:
        if self._fallback and not self._fell_back and self._reflectors[0].state is ReflectorState.FORBIDDEN:
            if not self._reflectors[0].has_synced and not self._fall_back.is_set():
                _logger.warning(
                    "all namespaces are forbidden, following some instead",
                    extra={
                        "resource": str(self._fallback[0].decoder.kind),
                        "namespaces": ", ".join(watcher.namespace for watcher in self._fallback),
                        "error": str(self._reflectors[0].last_error),
                    },
                )
                self._fall_back.set()
            if not self._reflectors[0].has_synced:
                return
        if all(reflector.is_settled for reflector in self._reflectors):
            self._settled.set()
        if not self.has_synced and all(reflector.has_synced for reflector in self._reflectors):
            self._synced.set()
            for registration in self._registrations:
                registration.mark_whole()

    def _tell(self, change: Change[K]) -> None:
        for registration in self._registrations:
            if not registration.is_removed:
                registration.take(change)


_GRAVITY: Mapping[ReflectorState, int] = {
    state: gravity
    for gravity, state in enumerate(
        (
            ReflectorState.WATCHING,
            ReflectorState.STREAMING,
            ReflectorState.LISTING,
            ReflectorState.BACKING_OFF,
            ReflectorState.IDLE,
            ReflectorState.MISSING,
            ReflectorState.FORBIDDEN,
        )
    )
}
