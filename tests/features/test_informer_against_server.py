"""Informers over real sockets, HTTP and TLS, against an API server that is told to misbehave.

What is decided by clocks is tested on virtual ones in ``tests/unit/cache``; here the times are short and
the connections real.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, TypedDict, Unpack

import anyio
import pytest

from ingresskit.cache import (
    EventHandler,
    ListerWatcher,
    ObjectDecoder,
    ReflectorSettings,
    ReflectorState,
    SharedInformer,
    SharedInformerFactory,
)
from ingresskit.kube import (
    Access,
    AioTransport,
    Credentials,
    InClusterCredentials,
    KubeconfigCredentials,
    ListOptions,
    ResourceKind,
    StaticCredentials,
    TrustMaterial,
)
from ingresskit.models import Ingress, ObjectKey, Secret, Service
from ingresskit.testing import pace
from ingresskit.testing.apiserver import (
    Action,
    Answer,
    ApiServer,
    CloseWatch,
    Cut,
    DropEvents,
    Fault,
    HalfOpen,
    Match,
    RepeatEvents,
    Rule,
    SendLines,
    expired,
    too_large_version,
)

pytestmark = pytest.mark.anyio

QUICK = ReflectorSettings(
    watch_timeout=(timedelta(seconds=1), timedelta(seconds=1)),
    idle_timeout=timedelta(seconds=1.5),
    initial_silence=timedelta(seconds=1),
    initial_pause=timedelta(milliseconds=50),
    longest_pause=timedelta(milliseconds=400),
)
LONG = pace.within(30.0)
"""How long anything here may take before it counts as never."""


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
async def server() -> AsyncGenerator[ApiServer, None]:
    async with ApiServer() as made:
        for name in ("a", "b", "c"):
            made.create(service(name))
        yield made


def service(name: str, namespace: str = "default", **labels: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"ports": [{"port": 80}]},
    }


def credentials(server: ApiServer) -> StaticCredentials:
    trust = TrustMaterial(authorities=server.ca)
    return StaticCredentials(Access(server=server.url, authorization=f"Bearer {server.token}", trust=trust))


class Options(TypedDict, total=False):
    page_size: int
    field_selector: str
    label_selector: str
    namespace: str


@asynccontextmanager
async def following(
    server: ApiServer, how: Credentials | None = None, **options: Unpack[Options]
) -> AsyncGenerator[SharedInformer[Service], None]:
    """An informer of the server's Services, at work."""
    async with AioTransport(how or credentials(server)) as transport:
        it = SharedInformer(ListerWatcher(transport, ObjectDecoder(Service), **options), settings=QUICK)
        async with anyio.create_task_group() as group:
            await group.start(it.run)
            yield it
            group.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(LONG):
        while not condition():  # noqa: ASYNC110 - conditions of all kinds
            await anyio.sleep(0.01)


def held(it: SharedInformer[Service]) -> dict[str, str]:
    return {item.metadata.uid: item.metadata.resource_version for item in it.store.list()}


def there(server: ApiServer) -> dict[str, str]:
    metadata: list[Any] = [item["metadata"] for item in server.list("v1", "Service")]
    return {meta["uid"]: meta["resourceVersion"] for meta in metadata}


async def equal(it: SharedInformer[Service], server: ApiServer) -> None:
    await until(lambda: held(it) == there(server))


async def synced(it: SharedInformer[Service]) -> None:
    with anyio.fail_after(LONG):
        await it.wait_for_sync()


WATCHES = Match(verbs=["watch"], resources=["services"])


async def test_the_state_is_streamed_and_changes_follow(server: ApiServer) -> None:
    async with following(server) as it:
        await synced(it)
        assert held(it) == there(server)
        server.put(service("d"))
        server.put(service("a", tier="web"))
        server.delete("v1", "Service", "b")
        await equal(it, server)

        assert server.requests.select(verb="list", resource="services") == []


async def test_a_change_is_seen_within_a_moment(server: ApiServer) -> None:
    async with following(server) as it:
        await synced(it)
        await until(lambda: it.state is ReflectorState.WATCHING)
        delays: list[float] = []
        for number in range(50):
            revision, began = it.store.revision, anyio.current_time()
            server.put(service("a", number=str(number)))
            await it.store.wait_changed(revision)
            delays.append(anyio.current_time() - began)

        assert sorted(delays)[25] < 0.05


async def test_an_older_server_is_listed_in_pages(server: ApiServer) -> None:
    server.set_watch_list(understood=False)
    server.load(service(f"s{number}") for number in range(60))
    async with following(server, page_size=25) as it:
        await synced(it)

        assert held(it) == there(server)
        pages = [
            record.query.get("limit") for record in server.requests.select(verb="list", resource="services")
        ]
        assert pages == ["25", "25", "25"]


async def test_selectors_reach_the_server() -> None:
    async with ApiServer() as server:
        for name, kind in [("tls", "kubernetes.io/tls"), ("other", "Opaque")]:
            data = {"tls.crt": "", "tls.key": ""} if name == "tls" else {}
            server.create(
                {"apiVersion": "v1", "kind": "Secret", "type": kind, "data": data,
                 "metadata": {"name": name, "namespace": "default"}}
            )  # fmt: skip
        async with AioTransport(credentials(server)) as transport, anyio.create_task_group() as group:
            factory = SharedInformerFactory(transport, settings=QUICK)
            certificates = factory.for_resource(Secret, field_selector="type=kubernetes.io/tls")
            one = factory.for_resource(Secret, namespaces=["default"], field_selector="metadata.name=other")
            await group.start(factory.run)
            with anyio.fail_after(LONG):
                await factory.wait_for_sync()

            assert [key.name for key in certificates.store] == ["tls"]
            assert [key.name for key in one.store] == ["other"]
            group.cancel_scope.cancel()


async def test_an_expired_version_costs_one_list_and_deletes_are_found(server: ApiServer) -> None:
    gone: list[object] = []
    async with following(server) as it:
        it.add_event_handler(EventHandler(on_delete=gone.append))
        await synced(it)
        server.faults.add(Fault(action=DropEvents(), match=WATCHES))
        server.delete("v1", "Service", "a")
        server.advance(10)
        server.compact()
        server.faults.clear()
        server.faults.add(Fault(action=SendLines.error(expired("too old")), match=WATCHES, count=1))
        await until(lambda: len(gone) == 1)
        await equal(it, server)

    assert "DeletedFinalStateUnknown" in repr(gone)


async def test_a_half_open_watch_is_found(server: ApiServer) -> None:
    async with following(server) as it:
        await synced(it)
        server.faults.add(Fault(action=HalfOpen(), match=WATCHES))
        server.put(service("unseen"))
        await until(lambda: it.statistics()["idle_timeouts"] > 0)
        server.faults.clear()
        await equal(it, server)


async def test_a_server_that_stands_still_is_waited_for(server: ApiServer) -> None:
    async with following(server) as it:
        await synced(it)
        server.pause()
        server.put(service("unseen"))
        await until(lambda: it.statistics()["idle_timeouts"] > 0)
        server.resume()
        await equal(it, server)


@pytest.mark.parametrize(
    "action",
    [
        Cut(inside="line"), Cut(inside="line", reset=True), CloseWatch(after_seconds=0.1),
        RepeatEvents(times=3), SendLines(lines=(b"<html>\n",), then="close"),
        SendLines.error(too_large_version(10**9, 1)), Answer(status=503), Answer.html(502),
    ],
    ids=["cut", "reset", "closed", "doubled", "HTML", "too large", "503", "HTML 502"],
)  # fmt: skip
async def test_watches_that_go_wrong_lose_nothing(server: ApiServer, action: Action) -> None:
    async with following(server) as it:
        await synced(it)
        server.faults.add(Fault(action=action, match=WATCHES, count=6))
        for number in range(30):
            server.put(service(f"café-{number}".replace("é", "e"), note=f"n{number}"))
            server.put(service("a", number=str(number)))
            if number % 3 == 0:
                server.delete("v1", "Service", f"cafe-{number}")
            await anyio.sleep(0.02)
        server.faults.clear()
        await equal(it, server)

        assert server.requests.busiest(1.0, resource="services") <= 30


async def test_429_is_obeyed_and_nothing_is_listed(server: ApiServer) -> None:
    async with following(server) as it:
        await synced(it)
        server.requests.clear()
        server.faults.add(Fault(action=Answer(status=429, retry_after=1), match=WATCHES, count=2))
        server.put(service("d"))
        await until(lambda: len(server.requests.select(verb="watch", resource="services")) >= 3)
        times = [record.time for record in server.requests.select(verb="watch", resource="services")]

        assert [later - earlier >= 1 for earlier, later in pairwise(times[:3])] == [True, True]
        assert server.requests.select(verb="list", resource="services") == []
        await equal(it, server)


async def test_a_server_that_is_away_and_back_is_followed_again(server: ApiServer) -> None:
    async with following(server) as it:
        await synced(it)
        server.refuse_connections()
        await until(lambda: it.state is ReflectorState.BACKING_OFF)
        assert len(it.store) == 3
        server.put(service("d"))
        server.accept_connections()
        await equal(it, server)


async def test_a_database_restored_from_a_backup_is_found_out(server: ApiServer) -> None:
    revision = server.revision
    async with following(server) as it:
        await synced(it)
        for number in range(5):
            server.put(service(f"late-{number}"))
        await equal(it, server)
        server.restore(revision)
        server.drop_connections()
        await equal(it, server)

        assert it.statistics()["regressions"] >= 1


async def test_rights_taken_and_given_are_noticed(server: ApiServer) -> None:
    rule = Rule(groups=[""], resources=["services"], verbs=["list", "watch"])
    token = server.token_for("limited", [rule])
    how = StaticCredentials(Access(server=server.url, authorization=f"Bearer {token}"))
    async with following(server, how) as it:
        await synced(it)
        server.users.set_rules("limited", [])
        server.drop_connections()
        await until(lambda: it.state is ReflectorState.FORBIDDEN)
        assert held(it) == there(server)
        server.put(service("d"))
        server.users.set_rules("limited", [rule])
        await equal(it, server)


async def test_a_token_that_was_rotated_costs_one_call(server: ApiServer, tmp_path: Path) -> None:
    first = server.token_for("pod", [Rule(groups=[""], resources=["services"], verbs=["*"])])
    path = server.kubeconfig(tmp_path / "config", token=first)
    async with AioTransport(KubeconfigCredentials(path)) as transport:
        kind = ResourceKind.of(Service)
        await transport.list(kind, "", ListOptions())
        server.kubeconfig(tmp_path / "config.new", token=server.users.token_for("pod")).replace(path)
        server.users.revoke(first)
        await transport.list(kind, "", ListOptions())

    assert [record.status for record in server.requests.select(verb="list", resource="services")] == [200, 200]


async def test_a_pod_goes_on_when_token_and_authority_are_rotated(tmp_path: Path) -> None:
    async with ApiServer(tls=True) as server:
        rules = [Rule(groups=[""], resources=["services"], verbs=["*"])]
        first = server.token_for("pod", rules)

        def mount(token: str, authority: bytes) -> None:
            for name, content in (("token", token.encode()), ("ca.crt", authority)):
                (tmp_path / "new").write_bytes(content)
                (tmp_path / "new").replace(tmp_path / name)

        mount(first, server.ca)
        host, port = server.url.removeprefix("https://").split(":")
        environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        async with following(server, InClusterCredentials(environ=environ, directory=tmp_path)) as it:
            await synced(it)
            second = server.users.token_for("pod")
            mount(second, server.rotate_authority())
            server.users.revoke(first)
            server.drop_connections()
            server.put(service("d"))
            await equal(it, server)


async def test_all_namespaces_forbidden_means_the_named_ones() -> None:
    async with ApiServer() as server:
        for namespace in ("one", "two"):
            server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            server.create(service("web", namespace))
        rule = Rule(groups=[""], resources=["services"], verbs=["list", "watch"], namespaces=["one"])
        token = server.token_for("limited", [rule])
        access = Access(server=server.url, authorization=f"Bearer {token}")
        async with AioTransport(StaticCredentials(access)) as transport, anyio.create_task_group() as group:
            factory = SharedInformerFactory(transport, fallback_namespaces=["one"], settings=QUICK)
            it = factory.for_resource(Service)
            await group.start(factory.run)
            await synced(it)

            assert list(it.store) == [ObjectKey("one", "web")]
            assert it.scope == ["one"]
            group.cancel_scope.cancel()


async def test_a_kind_that_is_not_served_settles_and_is_looked_for_again(server: ApiServer) -> None:
    kind = ResourceKind(api_version="example.io/v9", resource="ingresses", kind="Ingress")
    async with AioTransport(credentials(server)) as transport, anyio.create_task_group() as group:
        factory = SharedInformerFactory(transport, settings=QUICK)
        it = factory.for_resource(Ingress, kind=kind)
        await group.start(factory.run)
        with anyio.fail_after(LONG):
            await it.wait_settled()

        assert not it.has_synced
        await until(lambda: len(server.requests.select(verb="watch", resource="ingresses")) > 2)
        group.cancel_scope.cancel()


async def test_stopping_leaves_no_connection(server: ApiServer) -> None:
    async with following(server) as it:
        await synced(it)
    await until(lambda: all(record.ended is not None for record in server.requests))
