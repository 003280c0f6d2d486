"""What stores, indexes and back-offs promise."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import anyio
import pytest

from ingresskit.cache import Backoff, Change, DeletedFinalStateUnknown, Indexer, Store
from ingresskit.cache.versions import is_older
from ingresskit.errors import ConfigurationError
from ingresskit.models import ObjectKey, ObjectMeta, Service
from tests.unit.cache.virtual_time import seeded


def service(name: str, version: str = "1", *, uid: str = "", namespace: str = "shop", **labels: str) -> Service:
    meta = ObjectMeta(
        name=name, namespace=namespace, uid=uid or f"uid-{name}", resource_version=version, labels=labels
    )
    return Service(metadata=meta)


def key(name: str, namespace: str = "shop") -> ObjectKey:
    return ObjectKey(namespace, name)


@pytest.fixture
def store() -> Store[Service]:
    made: Store[Service] = Store()
    made.replace([service("a"), service("b")])
    return made


def listened(store: Store[Service]) -> list[Change[Service]]:
    heard: list[Change[Service]] = []
    store.subscribe(heard.append)
    return heard


def test_a_snapshot_never_changes_and_shares_what_did_not(store: Store[Service]) -> None:
    before = store.snapshot()
    store.apply(service("c", "2"))
    after = store.snapshot()

    assert list(before) == [key("a"), key("b")]
    assert list(after) == [key("a"), key("b"), key("c")]
    assert before[key("a")] is after[key("a")]


def test_a_snapshot_is_the_same_until_something_changes(store: Store[Service]) -> None:
    before = store.snapshot()
    store.apply(service("a", "1"))
    store.replace([service("a"), service("b")])

    assert store.snapshot() is before


def test_the_history_of_a_snapshot_has_the_keys_that_changed_since_another(store: Store[Service]) -> None:
    store.snapshot()
    before = store.history()
    store.apply(service("a", "2"))
    store.snapshot()
    store.discard(key("b"), uid="uid-b", resource_version="3", final=None)
    store.snapshot()

    between = store.history().between(before)
    assert between is not None
    assert set().union(*between.values()) == {key("a"), key("b")}


def test_a_change_after_the_last_snapshot_is_not_in_its_history(store: Store[Service]) -> None:
    store.snapshot()
    before = store.history()
    store.apply(service("a", "2"))

    assert store.history() is before


def test_a_snapshot_cannot_be_written(store: Store[Service]) -> None:
    snapshot: Mapping[ObjectKey, Service] = store.snapshot()

    with pytest.raises(TypeError):
        snapshot[key("x")] = service("x")  # type: ignore[index] # pyright: ignore


def test_a_list_is_sorted(store: Store[Service]) -> None:
    store.apply(service("z", namespace="a-shop"))

    assert [str(item.key) for item in store.list()] == ["a-shop/z", "shop/a", "shop/b"]
    assert list(store.keys()) == [item.key for item in store.list()]


def test_replacing_tells_of_what_differs_and_of_nothing_else(store: Store[Service]) -> None:
    heard = listened(store)
    changed, new = service("b", "2"), service("c", "3")

    store.replace([service("a"), changed, new])

    assert [(step.key.name, step.old is not None, step.new) for step in heard] == [
        ("b", True, changed),
        ("c", False, new),
    ]


def test_replacing_tells_of_what_has_gone_as_of_unknown_end(store: Store[Service]) -> None:
    gone = store.get(key("a"))
    heard = listened(store)

    store.replace([service("b")])

    assert gone is not None
    assert heard == [Change(key("a"), gone, None, DeletedFinalStateUnknown(key("a"), gone))]


def test_replacing_one_namespace_leaves_the_others() -> None:
    store: Store[Service] = Store()
    store.replace([service("a", namespace="one")], namespace="one")
    store.replace([service("a", namespace="two")], namespace="two")
    store.replace([], namespace="one")

    assert [str(k) for k in store] == ["two/a"]


def test_listeners_see_the_store_as_it_is_after_the_whole_replacement(store: Store[Service]) -> None:
    sizes: list[int] = []
    store.subscribe(lambda change: sizes.append(len(store.snapshot())))
    store.replace([service("x"), service("y"), service("z")])

    assert set(sizes) == {3}


def test_an_older_version_is_not_taken(store: Store[Service]) -> None:
    store.apply(service("a", "10"))

    assert not store.apply(service("a", "9"))
    assert not store.apply(service("a", "9", uid="former"))
    assert store.apply(service("a", "11"))


def test_versions_that_are_no_numbers_are_taken_as_they_come(store: Store[Service]) -> None:
    assert store.apply(service("a", "zz"))
    assert store.apply(service("a", "aa"))
    assert not store.apply(service("a", "aa"))


def test_an_object_that_leaves_a_selector_may_come_back(store: Store[Service]) -> None:
    left = service("a", "5")
    store.discard(key("a"), uid="uid-a", resource_version="5", final=left)

    assert not store.apply(service("a", "4"))
    assert store.apply(service("a", "6"))


def test_a_late_delete_of_a_former_object_deletes_nothing(store: Store[Service]) -> None:
    assert not store.discard(key("a"), uid="former", resource_version="0", final=None)
    assert not store.discard(key("a"), uid="another", resource_version="9", final=None)
    assert store.get(key("a")) is not None


def test_indexes_follow_the_objects() -> None:
    store: Indexer[Service] = Indexer({"app": lambda item: [item.metadata.labels.get("app", "none")]})
    store.replace([service("a", app="web"), service("b", app="web"), service("c")])
    assert [item.metadata.name for item in store.by_index("app", "web")] == ["a", "b"]
    assert store.index_values("app") == ["none", "web"]

    store.apply(service("a", "2", app="db"))
    store.discard(key("c"), uid="uid-c", resource_version="3", final=None)

    assert [item.metadata.name for item in store.by_index("app", "web")] == ["b"]
    assert [item.metadata.name for item in store.by_index("app", "db")] == ["a"]
    assert store.by_index("app", "none") == []
    assert store.index_values("app") == ["db", "web"]


def test_an_index_function_that_raises_leaves_the_object_out() -> None:
    store: Indexer[Service] = Indexer({"app": lambda item: [item.metadata.labels["app"]]})
    store.replace([service("a", app="web"), service("b")])

    assert [item.metadata.name for item in store.by_index("app", "web")] == ["a"]
    assert len(store) == 2


def test_indexes_come_before_objects_and_have_names_of_their_own() -> None:
    store: Indexer[Service] = Indexer({"app": lambda item: []})
    with pytest.raises(ConfigurationError, match="already"):
        store.add_indexers({"app": lambda item: []})
    with pytest.raises(ConfigurationError, match="there is no index 'ap'"):
        store.by_index("ap", "web")
    store.apply(service("a"))
    with pytest.raises(ConfigurationError, match="before"):
        store.add_indexers({"other": lambda item: []})


@pytest.mark.parametrize(
    ("version", "than", "older"),
    [
        ("9", "10", True),
        ("9" * 5000, "1" + "0" * 5000, True),
        ("007", "10", True),
        ("10", "9", False),
        ("10", "10", False),
        ("a", "b", False),
        ("", "1", False),
        ("1", "", False),
    ],
)
def test_only_numbers_can_be_older(version: str, than: str, older: bool) -> None:
    assert is_older(version, than) is older


@pytest.mark.anyio
async def test_pauses_double_to_a_ceiling_and_spread() -> None:
    backoff = Backoff(rng=seeded(1))
    pauses = [backoff.pause().total_seconds() for _ in range(10)]

    for number, pause in enumerate(pauses):
        base = min(0.8 * 2**number, 15.0)
        assert base <= pause <= 2 * base
    assert max(pauses) <= 30
    assert len({round(pause, 3) for pause in pauses[5:]}) == 5


@pytest.mark.anyio
async def test_pauses_begin_anew_after_two_quiet_minutes() -> None:
    backoff = Backoff(rng=seeded(1))
    for _ in range(8):
        pause = backoff.pause()
        await anyio.sleep(pause.total_seconds())
    await anyio.sleep(119)
    assert backoff.pause() > timedelta(seconds=15)
    await anyio.sleep(151)

    assert backoff.pause() < timedelta(seconds=1.6)


@pytest.mark.anyio
async def test_what_the_server_asks_for_is_the_least() -> None:
    pause = Backoff(rng=seeded(1)).pause(at_least=timedelta(seconds=40), at_most=timedelta(seconds=8))

    assert timedelta(seconds=40) <= pause <= timedelta(seconds=41)


def test_a_ceiling_below_the_start_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        Backoff(initial=timedelta(seconds=1), ceiling=timedelta(seconds=1))
