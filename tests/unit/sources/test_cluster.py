from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import pytest

from ingresskit.cache import ReflectorSettings
from ingresskit.errors import ConfigurationError, DecodeError, ProblemCause
from ingresskit.kube import Access, AioTransport, StaticCredentials
from ingresskit.models import (
    ConfigMap,
    Endpoints,
    EndpointSlice,
    Ingress,
    IngressClass,
    Namespace,
    ObjectKey,
    ObjectMeta,
    Secret,
    Service,
    Snapshot,
)
from ingresskit.models.ingress import IngressClassSpec
from ingresskit.policies import BasicAuth, IngressNginxDialect, PolicyRegistry
from ingresskit.sources import ClusterSettings, ClusterSource
from ingresskit.testing import pace
from ingresskit.testing.apiserver import Answer, ApiServer, Fault, HalfOpen, Match, Rule, SendLines
from ingresskit.translate import TranslateOptions, translate

pytestmark = pytest.mark.anyio

Object = Mapping[str, object]
OURS = "ingresskit.dev/ingress-controller"
QUICK = ClusterSettings(
    interval=timedelta(milliseconds=20),
    look_again=timedelta(milliseconds=20),
    reflector=ReflectorSettings(
        watch_timeout=(timedelta(seconds=1), timedelta(seconds=2)),
        idle_timeout=timedelta(seconds=3),
        impatience=timedelta(milliseconds=200),
        initial_pause=timedelta(milliseconds=50),
        longest_pause=timedelta(milliseconds=200),
    ),
)
READ = ("get", "list", "watch")
NETWORKING = Rule(verbs=READ, groups=["networking.k8s.io"], resources=["ingresses"])
CLASSES = Rule(verbs=READ, groups=["networking.k8s.io"], resources=["ingressclasses"])
SERVICES = Rule(verbs=READ, groups=[""], resources=["services"])
SECRETS = Rule(verbs=READ, groups=[""], resources=["secrets"])
SLICES = Rule(verbs=READ, groups=["discovery.k8s.io"], resources=["endpointslices"])
ENDPOINTS = Rule(verbs=READ, groups=[""], resources=["endpoints"])
EVERYTHING = (NETWORKING, CLASSES, SERVICES, SECRETS, SLICES, ENDPOINTS)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Generator[ApiServer]:
    with ApiServer.in_thread(bookmark_seconds=0.3) as running:
        yield running


def ingress(name: str, *, namespace: str = "shop") -> Object:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"rules": [{"host": f"{name}.example", "http": {"paths": paths}}]},
    }


def service(name: str, *, namespace: str = "shop") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": [{"port": 80}], "clusterIP": "None"},
    }


def secret(name: str, *, kind: str = "Opaque", namespace: str = "shop") -> Object:
    text = base64.b64encode(b"x").decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": kind,
        "metadata": {"name": name, "namespace": namespace},
        "data": {"tls.crt": text, "tls.key": text},
    }


def slice_of(name: str, *, namespace: str = "shop") -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-1",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}],
        "ports": [{"port": 8080}],
    }


@asynccontextmanager
async def following(
    server: ApiServer, *, rules: tuple[Rule, ...] | None = None, **options: object
) -> AsyncGenerator[ClusterSource]:
    token = server.token if rules is None else server.token_for("ingresskit", rules)
    access = Access(server=server.url, authorization=f"Bearer {token}")
    async with AioTransport(StaticCredentials(access)) as transport:
        source = ClusterSource(transport, settings=QUICK, **options)  # type: ignore[arg-type]
        async with running(source):
            yield source


@asynccontextmanager
async def running(source: ClusterSource) -> AsyncGenerator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(source.run)
        yield
        group.cancel_scope.cancel()


async def until(source: ClusterSource, condition: Callable[[Snapshot], bool]) -> Snapshot:
    """The first snapshot that is as it should be."""
    revision = 0
    with anyio.fail_after(pace.within(20)):
        while True:
            await source.wait_changed(revision)
            snapshot = source.snapshot()
            assert snapshot is not None
            if condition(snapshot):
                return snapshot
            revision = snapshot.revision


def has(kind: type[Ingress | Service | Secret], name: str) -> Callable[[Snapshot], bool]:
    return lambda snapshot: snapshot.get(kind, ObjectKey("shop", name)) is not None


async def wait_until(condition: Callable[[], bool]) -> None:
    """Return once *condition* holds."""
    with anyio.fail_after(pace.within(20)):
        while not condition():  # noqa: ASYNC110 - what it waits for sets no event
            await anyio.sleep(0.01)


async def first(source: ClusterSource) -> Snapshot:
    return await until(source, lambda _: True)


async def test_the_first_snapshot_has_all_that_is_there(server: ApiServer) -> None:
    server.load([ingress("a"), ingress("b"), service("web"), slice_of("web")])
    server.load([secret("tls", kind="kubernetes.io/tls"), secret("password")])
    async with following(server) as source:
        snapshot = await first(source)
    assert {kind.kind: len(items) for kind, items in snapshot.objects.items()} == {
        "Ingress": 2,
        "Service": 1,
        "EndpointSlice": 1,
        "Secret": 1,
    }
    assert snapshot.problems == ()


async def test_secrets_that_hold_no_certificate_are_never_asked_for(server: ApiServer) -> None:
    server.load([secret("tls", kind="kubernetes.io/tls"), secret("password")])
    async with following(server) as source:
        snapshot = await first(source)
    assert [key.name for key in snapshot.by_key(Secret)] == ["tls"]
    asked = server.requests.select(resource="secrets")
    assert asked
    assert {record.query["fieldSelector"] for record in asked} == {"type=kubernetes.io/tls"}


async def test_what_did_not_change_is_shared_between_snapshots(server: ApiServer) -> None:
    server.load([ingress("a"), service("web")])
    async with following(server) as source:
        before = await first(source)
        server.load([ingress("b")])
        after = await until(source, has(Ingress, "b"))
    assert after.objects[Service] is before.objects[Service]
    assert after.objects[Ingress] is not before.objects[Ingress]
    key = ObjectKey("shop", "a")
    assert after.get(Ingress, key) is before.get(Ingress, key)
    assert before.get(Ingress, ObjectKey("shop", "b")) is None


async def test_a_change_and_a_deletion_are_in_the_next_snapshot(server: ApiServer) -> None:
    server.load([ingress("a"), service("web")])
    async with following(server) as source:
        await first(source)
        server.delete("networking.k8s.io/v1", "Ingress", "a", namespace="shop")
        await until(source, lambda snapshot: not snapshot.by_key(Ingress))


async def test_an_object_that_cannot_be_read_costs_itself_and_keeps_its_last_good_form(
    server: ApiServer,
) -> None:
    server.load([ingress("a"), ingress("b"), service("web")])
    async with following(server) as source:
        good = await first(source)
        held = good.get(Ingress, ObjectKey("shop", "a"))
        server.put({**ingress("a"), "spec": {"rules": 7}})
        snapshot = await until(source, lambda snapshot: bool(snapshot.problems))
    assert [(item.kind, item.namespace, item.name) for item in snapshot.problems] == [("Ingress", "shop", "a")]
    assert snapshot.get(Ingress, ObjectKey("shop", "a")) is held
    assert snapshot.get(Ingress, ObjectKey("shop", "b")) is not None


async def test_without_an_api_server_there_is_no_snapshot_and_it_says_what_is_waited_for(
    server: ApiServer,
) -> None:
    server.refuse_connections()
    async with following(server) as source:
        await wait_until(lambda: "failed" in source.hindrance())
        assert source.snapshot() is None
        assert "Ingress" in source.hindrance()
        server.load([ingress("a")])
        server.accept_connections()
        await until(source, has(Ingress, "a"))
        assert source.hindrance() == ""


async def test_what_was_known_stays_while_the_api_server_is_away(server: ApiServer) -> None:
    server.load([ingress("a")])
    async with following(server) as source:
        before = await first(source)
        server.refuse_connections()
        await wait_until(lambda: bool(source.statistics().caches["Ingress"].error))
        assert source.snapshot() is before
        assert source.silent() == ""
        server.load([ingress("b")])
        server.accept_connections()
        await until(source, has(Ingress, "b"))


async def test_a_watch_that_is_half_open_is_given_up(server: ApiServer) -> None:
    server.load([ingress("a")])
    async with following(server) as source:
        await first(source)
        fault = server.faults.add(
            Fault(action=HalfOpen(), match=Match(resources=["ingresses"], verbs=["watch"]))
        )
        server.load([ingress("b")])
        await wait_until(lambda: source.statistics().caches["Ingress"].failures > 0)
        server.faults.remove(fault)
        await until(source, has(Ingress, "b"))


async def test_history_that_is_gone_is_made_up_for(server: ApiServer) -> None:
    server.load([ingress("a"), ingress("c")])
    async with following(server) as source:
        await first(source)
        server.refuse_connections()
        server.load([ingress("b")])
        server.delete("networking.k8s.io/v1", "Ingress", "c", namespace="shop")
        server.compact()
        server.accept_connections()
        snapshot = await until(source, has(Ingress, "b"))
    assert [key.name for key in sorted(snapshot.by_key(Ingress))] == ["a", "b"]


async def test_only_namespaced_requests_are_made_for_namespaces(server: ApiServer) -> None:
    server.load([ingress("a"), ingress("x", namespace="other"), service("web")])
    rules = tuple(
        Rule(verbs=rule.verbs, groups=rule.groups, resources=rule.resources, namespaces=["shop"])
        for rule in EVERYTHING
        if rule is not CLASSES
    )
    assumed = IngressClass(metadata=ObjectMeta(name="ours"), spec=IngressClassSpec(controller=OURS))
    async with following(server, rules=rules, namespaces=["shop"], assumed_classes=[assumed]) as source:
        snapshot = await first(source)
    assert [str(key) for key in snapshot.by_key(Ingress)] == ["shop/a"]
    assert [key.name for key in snapshot.by_key(IngressClass)] == ["ours"]
    assert [str(problem) for problem in snapshot.problems] == [
        (
            "IngressClass *: the right to list and watch ingressclasses.networking.k8s.io is missing;"
            " a class is taken for ours if it is named ours"
        )
    ]
    wide = {record.resource for record in server.requests if not record.namespace}
    assert wide == {"ingressclasses"}


@pytest.mark.parametrize(
    ("missing", "kind"), [(CLASSES, "IngressClass"), (SECRETS, "Secret"), (SLICES, "EndpointSlice")]
)
async def test_a_missing_right_is_told_and_the_rest_goes_on_until_it_is_given(
    server: ApiServer, missing: Rule, kind: str
) -> None:
    server.load([ingress("a"), service("web"), slice_of("web"), secret("tls", kind="kubernetes.io/tls")])
    rules = tuple(rule for rule in EVERYTHING if rule is not missing)
    async with following(server, rules=rules) as source:
        snapshot = await first(source)
        assert [problem.kind for problem in snapshot.problems] == [kind]
        assert missing.resources[0] in snapshot.problems[0].reason
        assert ("Endpoints" in source.statistics().caches) == (missing is SLICES)
        server.users.set_rules("ingresskit", EVERYTHING)
        await until(source, lambda snapshot: not snapshot.problems)
        assert "Endpoints" not in source.statistics().caches


@pytest.mark.parametrize("missing", [NETWORKING, SERVICES])
async def test_without_ingresses_or_services_nothing_is_delivered(server: ApiServer, missing: Rule) -> None:
    server.load([ingress("a"), service("web")])
    async with following(server, rules=tuple(rule for rule in EVERYTHING if rule is not missing)) as source:
        await wait_until(lambda: "403" in source.hindrance())
        assert missing.resources[0] in source.hindrance()
        assert source.snapshot() is None
        server.users.set_rules("ingresskit", EVERYTHING)
        await until(source, has(Ingress, "a"))


async def test_a_right_that_is_revoked_leaves_what_was_known_and_is_told(server: ApiServer) -> None:
    server.load([ingress("a"), secret("tls", kind="kubernetes.io/tls")])
    async with following(server, rules=EVERYTHING) as source:
        await first(source)
        server.users.set_rules("ingresskit", tuple(rule for rule in EVERYTHING if rule is not SECRETS))
        server.drop_connections()
        snapshot = await until(source, lambda snapshot: bool(snapshot.problems))
        assert has(Secret, "tls")(snapshot)
        assert "what was known of it before still counts" in snapshot.problems[0].reason
        server.users.set_rules("ingresskit", EVERYTHING)
        await until(source, lambda snapshot: not snapshot.problems)


async def test_a_cluster_without_endpointslices_is_read_by_endpoints(server: ApiServer) -> None:
    gone = Match(resources=["endpointslices"])
    server.faults.add(Fault(action=Answer(status=404, message="no such API"), match=gone))
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "web", "namespace": "shop"},
        "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}],
    }
    server.load([ingress("a"), service("web"), endpoints])
    async with following(server) as source:
        snapshot = await first(source)
    assert [key.name for key in snapshot.by_key(Endpoints)] == ["web"]
    assert snapshot.by_key(EndpointSlice) == {}
    assert "does not serve endpointslices.discovery.k8s.io" in snapshot.problems[0].reason


async def test_an_object_that_is_wanted_is_followed_alone(server: ApiServer) -> None:
    server.load([secret("password"), secret("own"), ingress("a")])
    named = Rule(verbs=READ, groups=[""], resources=["configmaps"], names=["settings"], namespaces=["shop"])
    only = Rule(verbs=READ, groups=[""], resources=["secrets"], names=["own"], namespaces=["shop"])
    async with following(server, rules=(*EVERYTHING, named, only)) as source:
        await first(source)
        key = ObjectKey("shop", "own")
        source.want(Secret, key)
        snapshot = await until(source, has(Secret, "own"))
        assert [item.name for item in snapshot.by_key(Secret)] == ["own"]
        source.want(ConfigMap, ObjectKey("shop", "settings"))
        server.load(
            [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "shop"}}]
        )
        await until(source, lambda snapshot: bool(snapshot.by_key(ConfigMap)))
        source.forget(Secret, key)
        await until(source, lambda snapshot: not snapshot.by_key(Secret))


async def test_a_service_of_another_namespace_is_wanted_with_its_slices(server: ApiServer) -> None:
    server.load([ingress("a"), service("fallback", namespace="infra"), service("other", namespace="infra")])
    server.load([slice_of("fallback", namespace="infra"), slice_of("other", namespace="infra")])
    async with following(server, namespaces=["shop"]) as source:
        key = ObjectKey("infra", "fallback")
        source.want(Service, key)
        source.want(EndpointSlice, key)
        snapshot = await until(source, lambda snapshot: bool(snapshot.by_key(EndpointSlice)))
    assert [str(key) for key in snapshot.by_key(Service)] == ["infra/fallback"]
    assert [str(key) for key in snapshot.by_key(EndpointSlice)] == ["infra/fallback-1"]


async def test_namespaces_are_followed_when_their_labels_are_asked_for(server: ApiServer) -> None:
    async with following(server) as source:
        assert (await first(source)).by_key(Namespace) == {}
    async with following(server, namespace_labels=True) as source:
        assert ObjectKey("", "default") in (await first(source)).by_key(Namespace)


async def test_a_burst_is_one_snapshot_and_a_storm_few(server: ApiServer) -> None:
    server.load([ingress("seed")])
    async with following(server) as source:
        before = await first(source)
        for number in range(300):
            server.load([ingress(f"i{number}")])
        after = await until(source, lambda snapshot: len(snapshot.by_key(Ingress)) == 301)
    assert after.revision - before.revision < 100


async def test_it_is_told_how_each_kind_goes(server: ApiServer) -> None:
    server.load([ingress("a")])
    async with following(server) as source:
        await first(source)
        statistics = source.statistics()
        assert source.silent() == ""
    held = statistics.caches["Ingress"]
    assert (held.synced, held.objects, held.error, held.lists) == (True, 1, "", 1)
    assert held.last_contact is not None
    assert timedelta(0) <= held.last_contact < timedelta(seconds=10)


async def test_an_open_watch_that_brings_nothing_for_too_long_is_told(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.load([ingress("a")])
    async with following(server) as source:
        await first(source)
        await wait_until(
            lambda: all(cache.state == "watching" for cache in source.statistics().caches.values())
        )
        later = anyio.current_time() + QUICK.silence_limit.total_seconds() + 1
        with monkeypatch.context() as patch:
            patch.setattr(anyio, "current_time", lambda: later)
            said = source.silent()
    assert said == (
        "the watch of Ingress, Service, EndpointSlice, IngressClass, Secret has been silent for over 180 s"
    )


async def test_a_source_runs_once(server: ApiServer) -> None:
    async with following(server) as source:
        await first(source)
        with pytest.raises(ConfigurationError, match="runs once"):
            await source.run()


async def test_settings_that_contradict_one_another_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="silence limit"):
        ClusterSettings(silence_limit=timedelta(seconds=1))
    with pytest.raises(ConfigurationError, match="burst"):
        ClusterSettings(burst=0)


REFUSED_STREAM = (
    b'{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":500,'
    b'"reason":"InternalError","message":"the required storage feature RequestWatchProgress is disabled"}}\n'
)


async def test_a_server_that_refuses_streams_with_an_error_event_is_listed(server: ApiServer) -> None:
    streams = Match(where=lambda record: "sendInitialEvents" in record.query)
    server.faults.add(Fault(action=SendLines(lines=(REFUSED_STREAM,), then="close"), match=streams))
    server.load([ingress("a"), service("web"), slice_of("web")])
    async with following(server) as source:
        snapshot = await first(source)

    assert len(snapshot.all(Ingress)) == 1


async def test_streams_can_be_switched_off(server: ApiServer) -> None:
    access = Access(server=server.url, authorization=f"Bearer {server.token}")
    async with AioTransport(StaticCredentials(access)) as transport:
        source = ClusterSource(transport, settings=replace(QUICK, watch_list="never"))
        async with running(source):
            await first(source)

    assert not [record for record in server.requests if "sendInitialEvents" in record.query]


async def test_a_word_for_streams_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'auto' or 'never'"):
        ClusterSettings(watch_list="sometimes")  # type: ignore[arg-type]


# Certificates in Secrets of other types.


def ours(name: str, *, tls: str = "", of: str = "ingresskit", namespace: str = "shop") -> Object:
    item: dict[str, Any] = {**ingress(name, namespace=namespace)}
    item["spec"] = {**item["spec"], "ingressClassName": of}
    if tls:
        item["spec"]["tls"] = [{"hosts": [f"{name}.example"], "secretName": tls}]
    return item


def ingress_class(name: str = "ingresskit", controller: str = OURS) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": name},
        "spec": {"controller": controller},
    }


def asked_by_name(server: ApiServer) -> set[str]:
    selectors = {
        record.query.get("fieldSelector", "") for record in server.requests if record.resource == "secrets"
    }
    return {text.partition("metadata.name=")[2] for text in selectors if "metadata.name=" in text}


async def test_a_certificate_in_an_opaque_secret_is_in_the_first_snapshot(server: ApiServer) -> None:
    server.load([ingress_class(), ours("a", tls="opaque"), secret("opaque"), secret("other")])
    async with following(server) as source:
        snapshot = await first(source)

    assert [key.name for key in snapshot.by_key(Secret)] == ["opaque"]
    assert asked_by_name(server) == {"opaque"}


async def test_a_certificate_in_an_opaque_secret_comes_with_its_ingress(
    server: ApiServer,
) -> None:
    server.load([ingress_class(), secret("opaque")])
    async with following(server) as source:
        await first(source)
        server.load([ours("a", tls="opaque")])
        snapshot = await until(source, has(Ingress, "a"))
        assert has(Secret, "opaque")(snapshot)
        server.delete("networking.k8s.io/v1", "Ingress", "a", namespace="shop")
        snapshot = await until(source, lambda snapshot: not has(Secret, "opaque")(snapshot))
        assert not has(Ingress, "a")(snapshot)


async def test_secrets_that_other_controllers_ingresses_name_are_left_alone(server: ApiServer) -> None:
    classes = [ingress_class(), ingress_class("other", "example.com/other")]
    server.load([*classes, ours("a", tls="opaque", of="other"), secret("opaque")])
    async with following(server) as source:
        await first(source)

    assert asked_by_name(server) == set()


async def test_a_secret_by_name_is_followed_and_one_of_the_usual_type_is_not_asked_for_twice(
    server: ApiServer,
) -> None:
    server.load([ingress_class(), ours("a", tls="typed"), ours("b", tls="late")])
    server.load([secret("typed", kind="kubernetes.io/tls")])
    async with following(server) as source:
        await first(source)
        assert asked_by_name(server) == {"late"}
        server.load([secret("late")])
        await until(source, has(Secret, "late"))
        server.delete("v1", "Secret", "late", namespace="shop")
        await until(source, lambda snapshot: not has(Secret, "late")(snapshot))
        server.load([secret("late", kind="kubernetes.io/tls")])
        await until(source, has(Secret, "late"))


async def test_what_an_integrator_wants_is_not_forgotten_when_ingresses_no_longer_name_it(
    server: ApiServer,
) -> None:
    server.load([ingress_class(), ours("a", tls="opaque"), secret("opaque")])
    async with following(server) as source:
        source.want(Secret, ObjectKey("shop", "opaque"))
        await first(source)
        server.delete("networking.k8s.io/v1", "Ingress", "a", namespace="shop")
        snapshot = await until(source, lambda snapshot: not has(Ingress, "a")(snapshot))
        assert has(Secret, "opaque")(snapshot)


async def test_more_secrets_of_other_types_than_are_followed_are_reported(server: ApiServer) -> None:
    server.load([ingress_class(), *(ours(f"i-{number:02}", tls=f"s-{number:02}") for number in range(22))])
    async with following(server) as source:
        snapshot = await first(source)

    assert len(asked_by_name(server)) == 20
    assert [(problem.kind, problem.name) for problem in snapshot.problems] == [
        ("Secret", "s-20"),
        ("Secret", "s-21"),
    ]
    assert "kubernetes.io/tls" in snapshot.problems[0].reason


async def test_without_the_right_to_secrets_none_is_asked_for_by_name(server: ApiServer) -> None:
    server.load([ingress_class(), ours("a", tls="opaque"), secret("opaque")])
    rules = tuple(rule for rule in EVERYTHING if rule is not SECRETS)
    async with following(server, rules=rules) as source:
        snapshot = await first(source)
        assert [problem.cause for problem in snapshot.problems] == [ProblemCause.RIGHT_MISSING]
        assert asked_by_name(server) == set()
        server.users.set_rules("ingresskit", EVERYTHING)
        await until(source, has(Secret, "opaque"))


# What is reported.


async def test_refused_credentials_are_reported_for_as_long_as_they_are(server: ApiServer) -> None:
    server.load([ingress("a")])
    async with following(server) as source:
        await first(source)
        fault = server.faults.add(Fault(action=Answer(status=401, message="expired"), match=Match()))
        server.drop_connections()
        snapshot = await until(source, lambda snapshot: len(snapshot.problems) == 5)
        assert {problem.cause for problem in snapshot.problems} == {ProblemCause.CREDENTIALS_REFUSED}
        assert snapshot.problems[1].reason == (
            "the API server refuses the credentials for ingresses.networking.k8s.io (401);"
            " what was known of it before still counts"
        )
        assert has(Ingress, "a")(snapshot)
        server.faults.remove(fault)
        await until(source, lambda snapshot: not snapshot.problems)


async def test_what_others_have_to_report_is_in_the_snapshot_for_as_long_as_they_do(server: ApiServer) -> None:
    problem = DecodeError(kind="Lease", namespace="shop", name="it", field="", reason="it is refused")
    held = [problem]
    async with following(server) as source:
        source.include_problems(lambda: held)
        snapshot = await until(source, lambda snapshot: bool(snapshot.problems))
        assert snapshot.problems == (problem,)
        held.clear()
        await until(source, lambda snapshot: not snapshot.problems)


def naming(name: str, config_map: str) -> Object:
    """An Ingress whose annotation names a ConfigMap."""
    annotations = {"nginx.ingress.kubernetes.io/custom-headers": f"shop/{config_map}"}
    metadata = {"name": name, "namespace": "shop", "annotations": annotations}
    return {**ingress(name), "metadata": metadata}


async def test_what_annotations_name_is_followed_by_name_with_the_settings(server: ApiServer) -> None:
    options = TranslateOptions(
        watch_ingress_without_class=True,
        policies=PolicyRegistry([IngressNginxDialect(settings=ObjectKey("shop", "settings"))]),
    )
    named = naming("a", "headers")
    maps = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}}
        for name in ("settings", "headers", "other")
    ]
    server.load([named, *maps])
    rule = Rule(
        verbs=READ, groups=[""], resources=["configmaps"], names=["settings", "headers"], namespaces=["shop"]
    )
    async with following(server, rules=(*EVERYTHING, rule), options=options) as source:
        snapshot = await until(source, lambda snapshot: len(snapshot.by_key(ConfigMap)) == 2)
        assert sorted(key.name for key in snapshot.by_key(ConfigMap)) == ["headers", "settings"]
        assert snapshot.problems == ()

        server.delete("networking.k8s.io/v1", "Ingress", "a", "shop")
        snapshot = await until(source, lambda snapshot: len(snapshot.by_key(ConfigMap)) == 1)
        assert [key.name for key in snapshot.by_key(ConfigMap)] == ["settings"]


async def test_config_maps_that_may_not_be_read_are_one_line_of_a_namespace(server: ApiServer) -> None:
    options = TranslateOptions(
        watch_ingress_without_class=True, policies=PolicyRegistry([IngressNginxDialect()])
    )
    for name in ("a", "b"):
        server.load([naming(name, name)])
    async with following(server, rules=EVERYTHING, options=options) as source:
        snapshot = await until(source, lambda snapshot: bool(snapshot.problems))
    (problem,) = snapshot.problems
    assert (problem.kind, problem.namespace, problem.name) == ("ConfigMap", "shop", "*")
    assert "annotations that name one are reported" in problem.reason


def users(password_hash: str) -> Object:
    data = {"auth": base64.b64encode(f"alice:{password_hash}".encode()).decode()}
    return {**secret("users"), "data": data}


def asking_for_users(name: str, users: str) -> Object:
    """An Ingress that lets users of a Secret in only."""
    annotations = {"ingresskit.dev/basic-auth-secret": users}
    return {**ingress(name), "metadata": {"name": name, "namespace": "shop", "annotations": annotations}}


async def test_users_of_a_secret_count_as_soon_as_it_changes_and_close_the_route_when_it_goes(
    server: ApiServer,
) -> None:
    options = TranslateOptions(watch_ingress_without_class=True)
    first_hash, second_hash = ("{SHA}" + letter * 27 + "=" for letter in "AB")
    server.load([asking_for_users("a", "users"), service("web"), slice_of("web"), users(first_hash)])
    names = replace(SECRETS, names=["users"], namespaces=["shop"])

    def state(snapshot: Snapshot) -> str:
        routes = [route for host in translate(snapshot, options).graph.virtual_hosts for route in host.routes]
        assert routes
        policy = routes[0].policies.get(BasicAuth)
        return "closed" if policy is None else policy.users[0].hash

    async with following(server, rules=(*EVERYTHING, names), options=options) as source:
        await until(source, lambda snapshot: state(snapshot) == first_hash)
        server.put(users(second_hash))
        await until(source, lambda snapshot: state(snapshot) == second_hash)
        server.delete("v1", "Secret", "users", "shop")
        await until(source, lambda snapshot: state(snapshot) == "closed")
        server.load([users(first_hash)])
        await until(source, lambda snapshot: state(snapshot) == first_hash)


async def test_what_is_not_followed_because_there_is_too_much_of_it_is_told(server: ApiServer) -> None:
    options = TranslateOptions(watch_ingress_without_class=True)
    server.load([asking_for_users(f"a-{number:02}", f"users-{number:02}") for number in range(21)])
    async with following(server, options=options) as source:
        snapshot = await until(source, lambda snapshot: bool(snapshot.problems))

    (problem,) = snapshot.problems
    assert (problem.kind, problem.name) == ("Secret", "users-20")
    assert "of those that annotations name, 20 are of one namespace" in problem.reason
