"""The garbage collector looks less often while a state is received, and as before afterwards."""

from __future__ import annotations

import gc
from collections.abc import Generator

import anyio
import pytest

from ingresskit.cache.collecting import fewer_collections
from ingresskit.kube import ListOptions, ResourceKind, Response
from ingresskit.testing import pace
from ingresskit.testing.fake_transport import FakeTransport
from tests.unit.cache.doubles import informer, put, running


@pytest.fixture(autouse=True)
def usual() -> Generator[tuple[int, int, int]]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield (700, 10, 10)
    gc.set_threshold(*before)


def test_it_looks_less_often_until_the_last_user_is_done(usual: tuple[int, int, int]) -> None:
    with fewer_collections():
        with fewer_collections():
            assert gc.get_threshold() == (10_000, 10, 10)
        assert gc.get_threshold() == (10_000, 10, 10)

    assert gc.get_threshold() == usual


@pytest.mark.parametrize("chosen", [(50_000, 20, 20), (0, 0, 0)], ids=["a higher threshold", "none"])
def test_what_the_program_chose_is_kept(chosen: tuple[int, int, int]) -> None:
    gc.set_threshold(*chosen)
    with fewer_collections():
        assert gc.get_threshold() == chosen

    assert gc.get_threshold() == chosen


def test_what_the_program_chooses_meanwhile_is_kept() -> None:
    with fewer_collections():
        gc.set_threshold(2_000, 10, 10)

    assert gc.get_threshold() == (2_000, 10, 10)


def test_an_error_leaves_it_as_it_was(usual: tuple[int, int, int]) -> None:
    with pytest.raises(LookupError), fewer_collections():
        raise LookupError

    assert gc.get_threshold() == usual


@pytest.mark.anyio
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "listed"])
async def test_it_lasts_as_long_as_the_state_is_received(streamed: bool, usual: tuple[int, int, int]) -> None:
    seen: list[int] = []

    class Looking(FakeTransport):
        async def list(self, kind: ResourceKind, namespace: str, options: ListOptions) -> Response:
            seen.append(gc.get_threshold()[0])
            return await super().list(kind, namespace, options)

    server = Looking()
    server.streams_lists = streamed
    put(server, "a")
    it = informer(server)
    it.store.subscribe(lambda _: seen.append(gc.get_threshold()[0]))
    async with running(it):
        await it.wait_for_sync()
        put(server, "b")
        with anyio.fail_after(pace.within(5)):
            await it.store.wait_changed(1)

        assert seen[0] == 10_000
        assert seen[-1] == usual[0]
        assert gc.get_threshold() == usual
