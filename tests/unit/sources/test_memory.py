from __future__ import annotations

from ingresskit.models import Service, Snapshot
from ingresskit.sources import MemorySource, SnapshotStore
from ingresskit.testing import service

ONE, TWO = service("one"), service("two")
CHANGED = service("one", 81)


def held(source: MemorySource) -> Snapshot:
    found = source.snapshot()
    assert found is not None
    return found


def test_a_change_leaves_all_other_objects_the_same() -> None:
    source = MemorySource([ONE, TWO])
    before = held(source)
    source.apply(CHANGED)

    after = held(source)
    assert after.get(Service, ONE.key) is CHANGED
    assert after.get(Service, TWO.key) is TWO
    assert before.get(Service, ONE.key) is ONE
    assert after.revision == before.revision + 1


def test_an_equal_object_changes_nothing() -> None:
    source = MemorySource([ONE, TWO])
    before = held(source)
    source.apply(service("one"))

    assert held(source) is before


def test_what_comes_back_in_the_same_update_never_went() -> None:
    source = MemorySource([ONE, TWO])
    before = held(source)
    source.apply(CHANGED, service("one"))

    assert held(source) is before


def test_of_two_with_the_same_key_the_later_counts() -> None:
    source = MemorySource()
    source.apply(ONE, CHANGED)

    assert held(source).get(Service, ONE.key) is CHANGED


def test_what_is_deleted_is_gone_and_deleting_nothing_changes_nothing() -> None:
    source = MemorySource([ONE, TWO])
    source.delete(Service, ONE.key.namespace, "one")
    after = held(source)
    source.delete(Service, ONE.key.namespace, "one")

    assert after.get(Service, ONE.key) is None
    assert held(source) is after


def test_a_deletion_counts_after_what_is_applied_with_it() -> None:
    store = SnapshotStore()
    store.replace([TWO])
    store.update(apply=[ONE], delete=[(Service, ONE.key), (Service, TWO.key)])

    assert store.snapshot() == Snapshot(revision=2)


def test_a_snapshot_says_which_objects_changed_since_an_earlier_one() -> None:
    source = MemorySource([ONE, TWO])
    first = held(source)
    source.apply(CHANGED)
    second = held(source)
    source.replace([CHANGED])
    third = held(source)

    assert second.since(first).of(Service) == {ONE.key}
    assert third.since(second).of(Service) == {TWO.key}
    assert third.since(first).of(Service) == {ONE.key, TWO.key}


def test_a_snapshot_of_a_source_knows_its_changes_without_comparing_objects() -> None:
    source = MemorySource([ONE, TWO])
    first = held(source)
    source.apply(CHANGED)
    other = first.succeeded_by(Snapshot.of([CHANGED, service("two", 81)]).objects, {})

    assert held(source).history is not None
    assert other.since(first).of(Service) == frozenset()
