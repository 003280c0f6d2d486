"""What a source and an applier promise, as tests their authors inherit.

Each test runs an event loop of its own (asyncio's). Import from this module: it loads anyio, which
`ingresskit.testing` does not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Generic

import anyio

from ingresskit.apply import Applier, NoOp
from ingresskit.models import Service, Snapshot
from ingresskit.render.base import ArtifactT
from ingresskit.sources import Source
from ingresskit.testing import pace
from ingresskit.testing.builders import service

__all__ = ["ApplierContract", "SourceContract"]

_DEADLINE_SECONDS = pace.within(30)

_ONE, _TWO, _TWO_CHANGED, _THREE = (
    service("one", created=None),
    service("two", created=None),
    service("two", 81, created=None),
    service("three", created=None),
)


class SourceContract(ABC):
    """Tests of what `ingresskit.sources.Source` promises. Inherit it, name it ``Test…``.

    The cluster (or what stands for one) holds Services of the namespace ``default``, each with one port
    and no more fields than `ingresskit.testing.service` sets.
    """

    @abstractmethod
    def source(self, objects: Sequence[Service]) -> AbstractAsyncContextManager[Source]:
        """A source over a cluster that holds *objects*, not running yet."""

    @abstractmethod
    async def change(self, source: Source, objects: Sequence[Service]) -> None:
        """Make that cluster hold exactly *objects*. Need not wait until the source has seen it."""

    def test_it_gives_what_is_there(self) -> None:
        """All of it, or nothing: nobody acts on half."""

        async def check(source: Source) -> None:
            assert _held(await _until(source, lambda held: True)) == [_ONE, _TWO]

        self._run(check, (_ONE, _TWO))

    def test_it_gives_an_empty_cluster_as_empty(self) -> None:
        """Nothing there is something known: it must not be waited for."""

        async def check(source: Source) -> None:
            assert _held(await _until(source, lambda held: True)) == []

        self._run(check, ())

    def test_the_last_state_is_always_reached(self) -> None:
        """States between may be skipped."""

        async def check(source: Source) -> None:
            await _until(source, lambda held: True)
            for objects in ((_ONE,), (_ONE, _TWO), (_TWO_CHANGED,), (_TWO_CHANGED, _THREE)):
                await self.change(source, objects)
            await _until(source, lambda held: held == [_THREE, _TWO_CHANGED])

        self._run(check, (_ONE, _TWO))

    def test_a_change_wakes_everybody_who_waits_and_revisions_grow(self) -> None:
        """Any number of tasks may wait."""

        async def check(source: Source) -> None:
            before = await _until(source, lambda held: True)
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(source.wait_changed, before.revision)
                await self.change(source, (_THREE,))
            after = source.snapshot()
            assert after is not None
            assert after.revision > before.revision
            await source.wait_changed(before.revision)  # what has happened is not waited for again

        self._run(check, (_ONE,))

    def test_what_did_not_change_is_the_same_object(self) -> None:
        """The translator does only the work that a change asks for, and tells it by identity."""

        async def check(source: Source) -> None:
            before = await _until(source, lambda held: True)
            await self.change(source, (_ONE, _TWO_CHANGED))
            after = await _until(source, lambda held: held == [_ONE, _TWO_CHANGED])
            assert after.get(Service, _ONE.key) is before.get(Service, _ONE.key)

        self._run(check, (_ONE, _TWO))

    def test_a_snapshot_once_given_never_changes(self) -> None:
        """It is read in other threads meanwhile."""

        async def check(source: Source) -> None:
            before = await _until(source, lambda held: True)
            await self.change(source, (_THREE,))
            await _until(source, lambda held: held == [_THREE])
            assert _held(before) == [_ONE, _TWO]

        self._run(check, (_ONE, _TWO))

    def _run(self, check: Callable[[Source], Awaitable[None]], objects: Sequence[Service]) -> None:
        failures: list[Exception] = []

        async def main() -> None:
            with anyio.fail_after(_DEADLINE_SECONDS):
                async with self.source(objects) as source, anyio.create_task_group() as tasks:
                    tasks.start_soon(source.run)
                    try:
                        await check(source)
                    except Exception as exc:  # noqa: BLE001 - raised below, outside of the task group
                        failures.append(exc)
                    # Leaving the group also shows that the source ends when it is cancelled.
                    tasks.cancel_scope.cancel()

        anyio.run(main)
        for failure in failures:
            raise failure


class ApplierContract(ABC, Generic[ArtifactT]):
    """Tests of what `ingresskit.Applier` promises. Inherit it, name it ``Test…``."""

    @abstractmethod
    def applier(self) -> AbstractAsyncContextManager[Applier[ArtifactT]]:
        """An applier of a proxy that serves nothing yet."""

    @abstractmethod
    def artifacts(self) -> tuple[ArtifactT, ArtifactT]:
        """Two artifacts that differ; made anew at each call, equal to those of the call before."""

    @abstractmethod
    async def served(self, applier: Applier[ArtifactT]) -> ArtifactT | None:
        """What the proxy of *applier* serves; ``None`` when that is nothing yet."""

    def test_a_first_artifact_is_served(self) -> None:
        """When ``apply`` returns, all of it is."""

        async def check(applier: Applier[ArtifactT]) -> None:
            one, _ = self.artifacts()
            await applier.apply(applier.plan(None, one))
            assert await self.served(applier) == one

        self._run(check)

    def test_an_equal_artifact_is_nothing_to_do(self) -> None:
        """Equal, not the same object: a controller that starts again renders all anew."""

        async def check(applier: Applier[ArtifactT]) -> None:
            (one, _), (again, _) = self.artifacts(), self.artifacts()
            await applier.apply(applier.plan(None, one))
            plan = applier.plan(one, again)
            assert isinstance(plan, NoOp)
            await applier.apply(plan)
            assert await self.served(applier) == one

        self._run(check)

    def test_another_artifact_takes_its_place_and_gives_it_back(self) -> None:
        """There and back again."""

        async def check(applier: Applier[ArtifactT]) -> None:
            one, other = self.artifacts()
            await applier.apply(applier.plan(None, one))
            for old, new in ((one, other), (other, one)):
                await applier.apply(applier.plan(old, new))
                assert await self.served(applier) == new

        self._run(check)

    def test_a_plan_alone_changes_nothing(self) -> None:
        """It is worked out in a dry run too."""

        async def check(applier: Applier[ArtifactT]) -> None:
            one, other = self.artifacts()
            assert not isinstance(applier.plan(None, one), NoOp)
            await applier.apply(applier.plan(None, one))
            assert not isinstance(applier.plan(one, other), NoOp)
            assert await self.served(applier) == one

        self._run(check)

    def _run(self, check: Callable[[Applier[ArtifactT]], Awaitable[None]]) -> None:
        async def main() -> None:
            with anyio.fail_after(_DEADLINE_SECONDS):
                async with self.applier() as applier:
                    await check(applier)

        anyio.run(main)


async def _until(source: Source, right: Callable[[list[Service]], bool]) -> Snapshot:
    """The first snapshot whose Services are *right*."""
    revision = 0
    while True:
        snapshot = source.snapshot()
        if snapshot is not None and right(_held(snapshot)):
            return snapshot
        revision = 0 if snapshot is None else snapshot.revision
        await source.wait_changed(revision)


def _held(snapshot: Snapshot) -> list[Service]:
    """Sorted by name."""
    return list(snapshot.all(Service))
