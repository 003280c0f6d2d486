from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ingresskit.errors import DecodeError
from ingresskit.models import (
    HostClaims,
    Ingress,
    KubeObject,
    ObjectKey,
    ObjectMeta,
    Service,
    Snapshot,
    SnapshotChanges,
)
from ingresskit.models.history import History

Objects = dict[type[KubeObject], Mapping[ObjectKey, KubeObject]]


def ingress(namespace: str, name: str, uid: str = "") -> Ingress:
    return Ingress(metadata=ObjectMeta(namespace=namespace, name=name, uid=uid))


def test_objects_are_sorted_by_namespace_and_name() -> None:
    snapshot = Snapshot.of([ingress("b", "a"), ingress("a", "b"), ingress("a", "a")])

    assert [str(item.key) for item in snapshot.all(Ingress)] == ["a/a", "a/b", "b/a"]


def test_of_two_objects_with_one_key_the_later_counts() -> None:
    snapshot = Snapshot.of([ingress("a", "a", "first"), ingress("a", "a", "second")])

    assert [item.metadata.uid for item in snapshot.all(Ingress)] == ["second"]


def test_a_kind_of_which_nothing_is_known_is_empty() -> None:
    snapshot = Snapshot.of([ingress("a", "a")])

    assert snapshot.all(Service) == []
    assert snapshot.get(Service, ObjectKey("a", "a")) is None
    assert snapshot.get(Ingress, ObjectKey("a", "a")) is not None


def test_problems_are_sorted_by_their_text() -> None:
    problems = [DecodeError(kind="File", namespace="", name=name, field="", reason="x") for name in ("b", "a")]

    assert [problem.name for problem in Snapshot.of([], problems=problems).problems] == ["a", "b"]


def _keys(changes: SnapshotChanges, kind: type[KubeObject]) -> list[str]:
    return sorted(str(key) for key in changes.of(kind))


def test_unrelated_snapshots_are_compared_object_by_object() -> None:
    kept, gone, old, new = ingress("a", "kept"), ingress("a", "gone"), ingress("a", "x"), ingress("a", "x", "2")

    changes = Snapshot.of([kept, new, ingress("a", "fresh")]).since(Snapshot.of([kept, old, gone]))

    assert _keys(changes, Ingress) == ["a/fresh", "a/gone", "a/x"]
    assert changes.of(Service) == frozenset()


def test_a_successor_knows_what_changed_without_looking_at_the_rest() -> None:
    first = Snapshot.of([ingress("a", "x"), ingress("a", "y")])
    objects: Objects = {Ingress: {**first.objects[Ingress], ObjectKey("a", "x"): ingress("a", "x", "2")}}
    second = first.succeeded_by(objects, {Ingress: frozenset({ObjectKey("a", "x")})})
    # Were it looked at, this object would be found.
    hidden: Objects = {Ingress: {**objects[Ingress], ObjectKey("a", "y"): ingress("a", "y", "2")}}
    third = second.succeeded_by(hidden, {})

    assert _keys(third.since(second), Ingress) == []
    assert _keys(second.since(first), Ingress) == ["a/x"]


def test_changes_add_up_over_snapshots_that_nobody_looked_at() -> None:
    first = Snapshot().succeeded_by({}, {})
    second = first.succeeded_by({Ingress: {ObjectKey("a", "x"): ingress("a", "x")}}, _all(("a", "x")))
    third = second.succeeded_by({}, _all(("a", "x")))
    fourth = third.succeeded_by({Ingress: {ObjectKey("a", "y"): ingress("a", "y")}}, _all(("a", "y")))

    assert _keys(fourth.since(first), Ingress) == ["a/y"]
    assert _keys(fourth.since(second), Ingress) == ["a/x", "a/y"]


def test_a_snapshot_whose_objects_were_replaced_by_hand_is_compared_object_by_object() -> None:
    first = Snapshot().succeeded_by({}, {})
    second = replace(first.succeeded_by({}, {}), objects=Snapshot.of([ingress("a", "x")]).objects)

    assert _keys(second.since(first), Ingress) == ["a/x"]


def test_the_record_and_the_problems_leave_the_history_as_it_is() -> None:
    first = Snapshot().succeeded_by({}, {})
    second = first.succeeded_by({Ingress: {ObjectKey("a", "x"): ingress("a", "x")}}, {})

    assert _keys(replace(second, claims=HostClaims()).since(first), Ingress) == []


def test_a_history_forgets_old_steps_and_says_so() -> None:
    first = History.begin()
    last = first
    for number in range(100):
        last = last.next({"part": frozenset({number})})

    assert last.between(first) is None
    assert last.between(History.begin()) is None
    assert len(last.steps) < 100
    assert last.between(last) == {}


def test_one_very_large_step_is_not_remembered_by_its_successors() -> None:
    first = History.begin()
    large = first.next({"part": frozenset(range(50_000))})

    assert large.between(first) is None
    assert large.next({"part": frozenset({1})}).between(large) == {"part": frozenset({1})}


def _all(*keys: tuple[str, str]) -> dict[type[KubeObject], frozenset[ObjectKey]]:
    return {Ingress: frozenset(ObjectKey(*key) for key in keys)}
