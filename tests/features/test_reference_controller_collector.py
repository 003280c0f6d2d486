"""The garbage collector leaves what lasts alone, and nothing that is garbage stays for ever."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Generator

import pytest

from ingresskit.app.collector import Collector


class Node:
    """May refer to itself, which only the collector can free."""

    def __init__(self) -> None:
        self.other: object = None


@pytest.fixture(autouse=True)
def usual_collector() -> Generator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def lasting() -> set[int]:
    """What a full collection walks."""
    return {id(item) for item in gc.get_objects(generation=2)}


def test_what_lasts_is_not_walked_again() -> None:
    collector = Collector()
    collector.begin()

    kept = [Node() for _ in range(1000)]
    collector.settle(1)

    assert not lasting() & {id(node) for node in kept}


def test_what_no_cycle_holds_is_freed_though_it_is_left_alone() -> None:
    collector = Collector()
    collector.begin()
    node = Node()
    freed = weakref.ref(node)
    collector.settle(1)

    del node

    assert freed() is None


def test_cycle_that_was_left_alone_is_found_when_much_has_been_added() -> None:
    collector = Collector()
    collector.begin()
    node = Node()
    node.other = node
    freed = weakref.ref(node)
    collector.settle(1)
    del node
    left_alone = freed() is not None
    many = [Node() for _ in range(gc.get_freeze_count())]

    collector.settle(1)

    assert left_alone
    assert freed() is None
    assert many
