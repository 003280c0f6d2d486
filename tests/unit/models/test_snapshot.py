from __future__ import annotations

from ingresskit.errors import DecodeError
from ingresskit.models import Ingress, ObjectKey, ObjectMeta, Service, Snapshot


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
