"""What handlers are told, and who shares what."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import anyio
import pytest

from ingresskit.cache import (
    EventHandler,
    ReflectorState,
    SharedInformer,
    SharedInformerFactory,
)
from ingresskit.errors import ConfigurationError
from ingresskit.kube import ListOptions, ResourceKind, Response
from ingresskit.models import Ingress, IngressClass, Service
from ingresskit.testing import pace
from ingresskit.testing.fake_transport import FakeTransport
from tests.unit.cache.doubles import (
    SERVICES,
    Log,
    equal,
    informer,
    key,
    put,
    running,
    same,
    tree,
    until,
    watcher,
)
from tests.unit.cache.virtual_time import seeded

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> FakeTransport:
    made = FakeTransport()
    put(made, "a")
    put(made, "b")
    return made


def told(log: Log, *lines: str) -> Callable[[], bool]:
    return lambda: log.told == list(lines)


async def test_a_handler_is_told_of_all_that_is_and_of_each_step(server: FakeTransport) -> None:
    log = Log()
    it = informer(server)
    registration = it.add_event_handler(log.handler())
    async with running(it):
        await registration.wait_synced()
        assert registration.has_synced
        assert log.take() == ["+a 101", "+b 102"]
        put(server, "a")
        await until(told(log, "~a 101>103"))
        server.delete(SERVICES, key("a"))
        await until(told(log, "~a 101>103", "-a 104"))


async def test_the_store_is_ahead_of_the_handler(server: FakeTransport) -> None:
    seen: list[bool] = []
    it = informer(server)
    it.add_event_handler(EventHandler(on_add=lambda item: seen.append(it.store.get(item.key) is item)))
    async with running(it):
        await until(lambda: len(seen) == 2)

        assert seen == [True, True]


async def test_a_late_handler_is_told_of_all_that_is_and_then_lives(server: FakeTransport) -> None:
    log = Log()
    it = informer(server)
    async with running(it):
        await it.wait_for_sync()
        registration = it.add_event_handler(log.handler())
        assert not registration.has_synced
        await registration.wait_synced()
        assert log.take() == ["+a 101", "+b 102"]
        put(server, "c")
        await until(told(log, "+c 103"))


async def test_a_handler_that_raises_harms_no_other_and_goes_on(
    server: FakeTransport, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log()

    def fail(item: Service) -> None:
        raise ValueError(item.metadata.name)

    it = informer(server)
    bad = it.add_event_handler(EventHandler(on_add=fail, name="the bad one"))
    good = it.add_event_handler(log.handler())
    async with running(it):
        await good.wait_synced()
        await bad.wait_synced()

        assert log.told == ["+a 101", "+b 102"]
        assert bad.statistics() == {"calls": 2, "errors": 2, "pending": 0}
        assert caplog.text.count("a handler failed, going on") == 2


async def test_a_handler_that_stalls_harms_no_other_and_keeps_one_entry_a_key(server: FakeTransport) -> None:
    log = Log()
    stalled = EventHandler[Service](on_add=lambda item: anyio.sleep_forever())
    it = informer(server)
    bad = it.add_event_handler(stalled)
    it.add_event_handler(log.handler())
    async with running(it):
        await it.wait_for_sync()
        for _ in range(500):
            put(server, "a")
            put(server, "b")
        await equal(it, server)
        await until(lambda: log.told[-1].endswith(f">{server.version}"))

        assert bad.statistics()["pending"] <= 2


async def test_a_slow_handler_skips_steps_but_never_the_last(server: FakeTransport) -> None:
    log = Log()

    async def slowly(old: Service, new: Service) -> None:
        await anyio.sleep(10)
        log.update(old, new)

    it = informer(server)
    it.add_event_handler(EventHandler(on_add=log.add, on_update=slowly, on_delete=log.delete))
    async with running(it):
        await until(lambda: len(log.told) == 2)
        log.take()
        for _ in range(5):  # 103 … 107
            put(server, "a")
            await anyio.sleep(1)
        await until(lambda: len(log.told) == 2)

        assert log.told == ["~a 101>103", "~a 103>107"]


async def test_an_object_that_came_and_went_unseen_is_not_told_of(server: FakeTransport) -> None:
    log = Log()

    async def slowly(item: Service) -> None:
        log.add(item)
        await anyio.sleep(10)

    it = informer(server)
    it.add_event_handler(EventHandler(on_add=slowly, on_update=log.update, on_delete=log.delete))
    async with running(it):
        await until(lambda: log.told == ["+a 101"])
        put(server, "brief")
        server.delete(SERVICES, key("brief"))
        server.delete(SERVICES, key("b"))
        put(server, "b")
        await anyio.sleep(60)

        # "b" too was gone and back before the handler came to it.
        assert log.told == ["+a 101", "+b 106"]


async def test_gone_and_made_again_is_one_delete_and_one_add(server: FakeTransport) -> None:
    log = Log()

    async def slowly(old: Service, new: Service) -> None:
        await anyio.sleep(10)

    it = informer(server)
    registration = it.add_event_handler(EventHandler(on_add=log.add, on_update=slowly, on_delete=log.delete))
    async with running(it):
        await registration.wait_synced()
        log.take()
        put(server, "b")  # keeps the handler busy
        await anyio.sleep(1)
        put(server, "a")  # 104
        server.delete(SERVICES, key("a"))  # 105
        put(server, "a")  # 106, another uid
        server.delete(SERVICES, key("a"))
        put(server, "a")  # 108, yet another
        await until(told(log, "-a 105", "+a 108"))


async def test_another_uid_in_one_gap_is_a_delete_of_unknown_end_and_an_add(server: FakeTransport) -> None:
    log = Log()
    it = informer(server)
    it.add_event_handler(log.handler())
    async with running(it):
        await it.wait_for_sync()
        await anyio.sleep(30)
        log.take()
        server.lose_events()
        server.delete(SERVICES, key("a"))
        put(server, "a")
        server.lose_events(False)
        server.send_error(410, "Expired")
        await until(told(log, "?a 101", "+a 104"))


async def test_a_predicate_makes_objects_come_and_go(server: FakeTransport) -> None:
    log = Log()
    it = informer(server)

    def headless(item: Service) -> bool:
        return item.spec.cluster_ip == "None"

    registration = it.add_event_handler(log.handler(predicate=headless))
    async with running(it):
        await registration.wait_synced()
        assert log.told == []
        put(server, "a", clusterIP="None")
        await until(told(log, "+a 103"))
        put(server, "a", clusterIP="10.0.0.1")
        await until(told(log, "+a 103", "-a 104"))
        server.delete(SERVICES, key("a"))
        await anyio.sleep(1)
        assert len(log.told) == 2


async def test_a_predicate_that_raises_lets_the_object_pass(server: FakeTransport) -> None:
    log = Log()

    def odd(item: Service) -> bool:
        raise RuntimeError

    it = informer(server)
    registration = it.add_event_handler(log.handler(predicate=odd))
    async with running(it):
        await registration.wait_synced()

        assert log.told == ["+a 101", "+b 102"]


async def test_a_resync_tells_of_everything_from_the_store(server: FakeTransport) -> None:
    log = Log()
    it = informer(server)
    it.add_event_handler(log.handler(resync=timedelta(minutes=1)))
    async with running(it):
        await it.wait_for_sync()
        await anyio.sleep(1)
        log.take()
        requests = [request.verb for request in server.requests]
        await anyio.sleep(61)

        assert log.told == ["~a 101>101", "~b 102>102"]
        assert "list" not in requests


async def test_a_removed_handler_is_told_nothing_more_even_by_itself(server: FakeTransport) -> None:
    log = Log()
    it = informer(server)

    def once(item: Service) -> None:
        log.add(item)
        registration.remove()

    registration = it.add_event_handler(EventHandler(on_add=once))
    async with running(it):
        await it.wait_for_sync()
        await anyio.sleep(1)
        put(server, "c")
        await equal(it, server)
        await anyio.sleep(1)

        assert log.told == ["+a 101"]


async def test_unchanged_objects_are_the_same_after_a_relist(server: FakeTransport) -> None:
    it = informer(server)
    async with running(it):
        await it.wait_for_sync()
        before = it.store.snapshot()
        await anyio.sleep(30)
        server.send_error(410, "Expired")
        await until(lambda: it.statistics()["streams"] == 2 and it.state is ReflectorState.WATCHING)

        assert it.store.snapshot() is before


async def test_a_transform_is_applied_before_anybody_sees_the_object(server: FakeTransport) -> None:
    def renamed(item: Service) -> Service:
        if item.metadata.name == "b":
            raise ValueError("not b")
        return Service(metadata=item.metadata)

    async with anyio.create_task_group() as group:
        factory = SharedInformerFactory(server, rng=seeded(1))
        it = factory.for_resource(Service, transform=renamed)
        group.start_soon(factory.run)
        await it.wait_for_sync()

        assert [item.spec.cluster_ip for item in it.store.list()] == [None]
        assert "the transformation failed" in str(it.failures()[key("b")].error)
        group.cancel_scope.cancel()


async def test_selectors_narrow_what_is_held(server: FakeTransport) -> None:
    server.put(
        SERVICES, {"metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}}, "spec": {}}
    )
    it = informer(server, label_selector="app=web")
    async with running(it):
        await it.wait_for_sync()
        assert [k.name for k in it.store] == ["web"]
        server.put(SERVICES, {"metadata": {"name": "web", "namespace": "shop", "labels": {}}, "spec": {}})
        await until(lambda: len(it.store) == 0)
        server.put(SERVICES, {"metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}}})
        await until(lambda: len(it.store) == 1)


async def test_several_namespaces_share_one_store(server: FakeTransport) -> None:
    put(server, "x", "one")
    put(server, "y", "two")
    it = SharedInformer([watcher(server, "one"), watcher(server, "two")], rng=seeded(1))
    log = Log()
    registration = it.add_event_handler(log.handler())
    async with running(it):
        await registration.wait_synced()
        assert sorted(str(k) for k in it.store) == ["one/x", "two/y"]
        await anyio.sleep(30)
        server.lose_events()
        server.delete(SERVICES, key("x", "one"))
        server.lose_events(False)
        server.send_error(410, "Expired")
        await until(lambda: "?x 103" in log.told)

        assert sorted(str(k) for k in it.store) == ["two/y"]


async def test_403_for_all_namespaces_falls_back_to_some_aloud(
    server: FakeTransport, caplog: pytest.LogCaptureFixture
) -> None:
    server.forbid(SERVICES)
    put(server, "x", "one")
    factory = SharedInformerFactory(server, fallback_namespaces=["one", "two"], rng=seeded(1))
    it = factory.for_resource(Service)
    async with anyio.create_task_group() as group:
        group.start_soon(factory.run)
        await it.wait_for_sync()

        assert it.scope == ["one", "two"]
        assert [str(k) for k in it.store] == ["one/x"]
        assert it.statistics()["fallbacks"] == 1
        assert caplog.text.count("all namespaces are forbidden, following some instead") == 1
        group.cancel_scope.cancel()


async def test_the_same_question_has_the_same_informer(server: FakeTransport) -> None:
    factory = SharedInformerFactory(server, namespaces=["shop"])

    assert factory.for_resource(Service) is factory.for_resource(Service, namespaces=["shop"])
    assert factory.for_resource(Service) is not factory.for_resource(Service, namespaces=[])
    assert factory.for_resource(Service) is not factory.for_resource(Service, label_selector="a=b")
    assert factory.for_resource(IngressClass).scope == []
    legacy = ResourceKind(api_version="networking.k8s.io/v1beta1", resource="ingresses", kind="Ingress")
    assert factory.for_resource(Ingress) is not factory.for_resource(Ingress, kind=legacy)


async def test_an_informer_asked_for_late_starts_at_once_and_a_discarded_one_stops(
    server: FakeTransport,
) -> None:
    factory = SharedInformerFactory(server, rng=seeded(1))
    async with anyio.create_task_group() as group:
        await group.start(factory.run)
        it = factory.for_resource(Service, namespaces=["shop"], field_selector="metadata.name=a")
        await it.wait_for_sync()
        assert [k.name for k in it.store] == ["a"]
        factory.discard(it)
        await until(lambda: server.open_watches == 0)

        assert factory.informers() == []
        again = factory.for_resource(Service, namespaces=["shop"], field_selector="metadata.name=a")
        assert again is not it
        await again.wait_for_sync()
        group.cancel_scope.cancel()


async def test_the_old_form_of_a_kind_is_read_as_the_new(server: FakeTransport) -> None:
    legacy = ResourceKind(api_version="networking.k8s.io/v1beta1", resource="ingresses", kind="Ingress")
    rule = {"host": "a.example", "http": {"paths": [{"backend": {"serviceName": "s", "servicePort": 80}}]}}
    server.put(legacy, {"metadata": {"name": "old", "namespace": "shop"}, "spec": {"rules": [rule]}})
    server.streams_lists = False
    factory = SharedInformerFactory(server, rng=seeded(1))
    it = factory.for_resource(Ingress, kind=legacy)
    async with anyio.create_task_group() as group:
        group.start_soon(factory.run)
        await it.wait_for_sync()
        server.put(legacy, {"metadata": {"name": "two", "namespace": "shop"}, "spec": {"rules": [rule]}})
        await until(lambda: len(it.store) == 2)
        group.cancel_scope.cancel()

    for item in it.store.list():
        assert item.spec.rules[0].http.paths[0].backend.service.name == "s"  # type: ignore[union-attr] # pyright: ignore


async def test_cancelling_stops_at_once_whatever_it_waits_for(server: FakeTransport) -> None:
    server.delay(timedelta(hours=1), times=100)
    with anyio.move_on_after(5) as scope:
        await informer(server).run()

    assert scope.cancelled_caught
    assert server.open_watches == 0


async def test_an_informer_runs_once() -> None:
    it = informer(FakeTransport())
    async with running(it):
        await it.wait_for_sync()
    with pytest.raises(ConfigurationError, match="has run already"):
        await it.run()


@pytest.mark.parametrize("namespaces", [[], ["a", "a"], ["", "a"]], ids=["none", "one twice", "all and one"])
def test_namespaces_that_make_no_sense_are_refused(namespaces: list[str]) -> None:
    server = FakeTransport()
    with pytest.raises(ConfigurationError):
        SharedInformer([watcher(server, namespace) for namespace in namespaces])


async def test_waiting_for_a_change_sees_objects_and_failures(server: FakeTransport) -> None:
    it = informer(server)
    async with running(it):
        await it.wait_for_sync()
        revision = it.store.revision
        server.put(SERVICES, {"metadata": {"name": "odd", "namespace": "shop"}, "spec": 7})
        with anyio.fail_after(pace.within(10)):
            await it.store.wait_changed(revision)

        assert it.store.revision == revision + 1


async def test_the_statistics_say_what_happened(server: FakeTransport) -> None:
    it = informer(server)
    it.add_event_handler(Log().handler())
    async with running(it):
        await it.wait_for_sync()
        server.put(SERVICES, tree("c"))
        await equal(it, server)
        await anyio.sleep(1)

        statistics = it.statistics()
        assert (statistics["objects"], statistics["calls"], statistics["streams"]) == (3, 3, 1)
        assert same(it, server)


async def test_a_mistake_of_ours_ends_the_informer_rather_than_freezing_it(server: FakeTransport) -> None:
    class Broken(FakeTransport):
        async def list(self, kind: ResourceKind, namespace: str, options: ListOptions) -> Response:
            raise ZeroDivisionError

    with pytest.RaisesGroup(pytest.RaisesExc(ZeroDivisionError), flatten_subgroups=True):
        await informer(Broken(), watch_list="never").run()


async def test_an_object_of_more_than_a_megabyte_is_an_object_like_any(server: FakeTransport) -> None:
    huge = {"metadata": {"name": "huge", "namespace": "shop", "annotations": {"note": "x" * 1_200_000}}}
    server.chunk_bytes = 4096
    it = informer(server)
    async with running(it):
        await it.wait_for_sync()
        server.put(SERVICES, huge)
        await equal(it, server)

        assert len(it.store.list()[-1].metadata.annotations["note"]) == 1_200_000


async def test_a_storm_of_changes_leaves_a_slow_handler_with_one_entry_a_key(server: FakeTransport) -> None:
    told_of: list[str] = []

    async def slowly(old: Service, new: Service) -> None:
        told_of.append(new.metadata.resource_version)
        await anyio.sleep(1)

    it = informer(server)
    registration = it.add_event_handler(EventHandler(on_update=slowly))
    most = 0
    async with running(it):
        await it.wait_for_sync()
        for _ in range(100):
            for name in ("a", "b", "c", "d"):
                for _ in range(10):
                    put(server, name)
            await anyio.sleep(0.1)
            most = max(most, registration.statistics()["pending"])
        await until(lambda: registration.statistics()["pending"] == 0)
        await anyio.sleep(2)

        assert most <= 4
        assert len(told_of) <= 20
        assert str(server.version) in told_of
