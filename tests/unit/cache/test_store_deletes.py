"""Deletions that a store hears of: late ones, unknown ones, and those of a former object of the name."""

from __future__ import annotations

from ingresskit.cache import Change, DecodeFailure, DeletedFinalStateUnknown, Store
from ingresskit.errors import DecodeError
from ingresskit.models import ObjectKey, ObjectMeta, Service

KEY = ObjectKey("shop", "a")
ERROR = DecodeError(kind="Service", namespace="shop", name="a", field="spec", reason="must be text")


def service(version: str = "5", uid: str = "present") -> Service:
    return Service(metadata=ObjectMeta(name="a", namespace="shop", uid=uid, resource_version=version))


def holding(item: Service) -> tuple[Store[Service], list[Change[Service]]]:
    store: Store[Service] = Store()
    store.replace([item])
    heard: list[Change[Service]] = []
    store.subscribe(heard.append)
    return store, heard


def test_the_deletion_of_an_unknown_object_changes_nothing() -> None:
    store: Store[Service] = Store()
    revision = store.revision

    assert not store.discard(KEY, uid="any", resource_version="9", final=None)
    assert store.revision == revision


def test_a_newer_deletion_of_a_former_object_leaves_the_present_one() -> None:
    store, heard = holding(service("5"))

    assert not store.discard(KEY, uid="former", resource_version="9", final=None)
    assert store.get(KEY) == service("5")
    assert heard == []


def test_a_deletion_without_a_uid_is_of_the_object_that_is_held() -> None:
    store, _ = holding(service("5"))

    assert store.discard(KEY, uid="", resource_version="9", final=None)
    assert store.get(KEY) is None


def test_an_unreadable_object_of_another_uid_ends_the_former_one() -> None:
    former = service("5", uid="former")
    store, heard = holding(former)
    revision = store.revision

    assert store.fail(DecodeFailure(key=KEY, uid="present", resource_version="9", error=ERROR))
    assert store.get(KEY) is None
    assert heard == [Change(KEY, former, None, DeletedFinalStateUnknown(KEY, former))]
    assert store.revision > revision
