"""Informers by what they follow, so that two who want the same share one."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NoReturn, TypeVar, cast

import anyio
from anyio.abc import TaskGroup, TaskStatus

from ingresskit.cache.decoding import ObjectDecoder
from ingresskit.cache.informer import SharedInformer
from ingresskit.cache.list_watch import ListerWatcher
from ingresskit.cache.settings import ReflectorSettings
from ingresskit.errors import ConfigurationError
from ingresskit.kube import ResourceKind, Transport
from ingresskit.models import KubeObject

__all__ = ["SharedInformerFactory"]

K = TypeVar("K", bound=KubeObject)

_Key = tuple[type[KubeObject], ResourceKind, tuple[str, ...], tuple[str, ...], str, str, object]


class SharedInformerFactory:
    """Makes informers, runs them, and hands out the same one for the same question."""

    def __init__(
        self,
        transport: Transport,
        *,
        namespaces: Sequence[str] = (),
        fallback_namespaces: Sequence[str] = (),
        settings: ReflectorSettings | None = None,
        page_size: int = 500,
        watch_list: Literal["auto", "never"] = "auto",
        rng: random.Random | None = None,
    ) -> None:
        """Ask nothing yet.

        Args:
            transport: To which cluster.
            namespaces: Which ones to follow unless an informer is asked for others; empty for all.
            fallback_namespaces: Which ones to follow where all are forbidden; empty to insist.
            settings: The times to go by.
            page_size: See `ListerWatcher`.
            watch_list: See `ListerWatcher`.
            rng: Where the randomness of pauses comes from, for tests.
        """
        self._transport = transport
        self._namespaces = tuple(dict.fromkeys(namespaces))
        self._fallback = tuple(dict.fromkeys(fallback_namespaces))
        self._settings = settings
        self._page_size = page_size
        self._watch_list: Literal["auto", "never"] = watch_list
        self._rng = rng
        self._informers: dict[_Key, _Running] = {}
        self._group: TaskGroup | None = None

    def for_resource(
        self,
        model: type[K],
        *,
        kind: ResourceKind | None = None,
        namespaces: Sequence[str] | None = None,
        label_selector: str = "",
        field_selector: str = "",
        transform: Callable[[K], K] | None = None,
    ) -> SharedInformer[K]:
        """The informer for this; a new one starts at once if the factory runs.

        Args:
            model: As what objects are read.
            kind: As what the server serves them; the model's current version unless given.
            namespaces: Which ones; those of the factory unless given, empty for all. Kinds that do not live
                in namespaces have none.
            label_selector: As kubectl takes it.
            field_selector: As kubectl takes it; ``"metadata.name=tls"`` follows one object.
            transform: Applied to each object before it is held. Give the same function to share.
        """
        kind = kind or ResourceKind.of(model)
        wanted: tuple[str, ...] = ()
        fallback: tuple[str, ...] = ()
        if kind.namespaced:
            wanted = self._namespaces if namespaces is None else tuple(dict.fromkeys(namespaces))
            fallback = () if wanted else self._fallback
        key: _Key = (model, kind, wanted, fallback, label_selector, field_selector, transform)
        if (held := self._informers.get(key)) is not None:
            return cast("SharedInformer[K]", held.informer)
        decoder = ObjectDecoder(model, kind, transform=transform)

        def watcher(namespace: str) -> ListerWatcher[K]:
            return ListerWatcher(
                self._transport,
                decoder,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                page_size=self._page_size,
                watch_list=self._watch_list,
            )

        informer = SharedInformer(
            [watcher(namespace) for namespace in wanted or ("",)],
            fallback=[watcher(namespace) for namespace in fallback],
            settings=self._settings,
            rng=self._rng,
        )
        running = self._informers[key] = _Running(cast("SharedInformer[KubeObject]", informer))
        if self._group is not None:
            self._group.start_soon(running.run)
        return informer

    def discard(self, informer: SharedInformer[K]) -> None:
        """Stop an informer, and forget it. Does nothing for one that is not of this factory."""
        for key, running in list(self._informers.items()):
            if running.informer is cast("object", informer):
                del self._informers[key]
                running.scope.cancel()

    def informers(self) -> Sequence[SharedInformer[KubeObject]]:
        """The informers created so far, in creation order."""
        return [running.informer for running in self._informers.values()]

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> NoReturn:
        """Run all informers, also those asked for later, until cancelled.

        Raises:
            ConfigurationError: It runs already.
        """
        if self._group is not None:
            raise ConfigurationError("the informer factory runs already")
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                for running in self._informers.values():
                    group.start_soon(running.run)
                task_status.started()
                await anyio.sleep_forever()
        finally:
            self._group = None
        raise AssertionError("sleeping for ever returns only when cancelled")  # pragma: no cover

    async def wait_for_sync(self) -> None:
        """Return once every informer that there is now has synced. Put a deadline around it."""
        for running in list(self._informers.values()):
            await running.informer.wait_for_sync()

    async def wait_settled(self) -> None:
        """Return once every informer that there is now has synced or cannot (403, 404)."""
        for running in list(self._informers.values()):
            await running.informer.wait_settled()

    def statistics(self) -> Mapping[str, Mapping[str, int]]:
        """For each informer, by its text form, its statistics."""
        return {str(running.informer): running.informer.statistics() for running in self._informers.values()}


class _Running:
    """An informer and what stops it."""

    def __init__(self, informer: SharedInformer[KubeObject]) -> None:
        self.informer = informer
        self.scope = anyio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            await self.informer.run()
