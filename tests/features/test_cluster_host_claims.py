"""Who holds a host, over restarts, changes of the leader and lost rights: controllers against an API server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import anyio
import pytest

from ingresskit.cache import ReflectorSettings
from ingresskit.controller import Controller, StatusReporter
from ingresskit.controller.claims import ClaimKeeper, HostClaimSettings, HostClaimWriter
from ingresskit.controller.leader import LeaderElector, LeaderSettings
from ingresskit.kube import Access, AioTransport, StaticCredentials
from ingresskit.models import HostClaim, HostClaims, ObjectKey, Snapshot
from ingresskit.sources import ClusterSettings, ClusterSource
from ingresskit.status import NoFence
from ingresskit.testing.apiserver import ApiServer, Rule
from ingresskit.translate import TranslateOptions
from tests.features.cluster_scene import ingress, ingress_class, service
from tests.features.reference_process import ReferenceController
from tests.unit.controller.doubles import QUICK, Hosts, HostsRenderer, RecordingApplier

pytestmark = pytest.mark.anyio

RECORD = ObjectKey("infra", "ingresskit-hosts")
_LEASE = ObjectKey("infra", "ingresskit")
_DEADLINE = 40.0
_SOON = HostClaimSettings(
    quiet=timedelta(milliseconds=10),
    interval=timedelta(milliseconds=20),
    retry_first=timedelta(milliseconds=50),
    retry_ceiling=timedelta(milliseconds=400),
)
_CLUSTER = ClusterSettings(
    interval=timedelta(milliseconds=20),
    look_again=timedelta(milliseconds=50),
    reflector=ReflectorSettings(
        initial_pause=timedelta(milliseconds=50), longest_pause=timedelta(milliseconds=400)
    ),
)
_ELECTION = LeaderSettings(
    lease_duration=timedelta(seconds=4),
    renew_deadline=timedelta(seconds=3),
    retry_period=timedelta(milliseconds=200),
)
_OBJECTS = [
    Rule(verbs=["list", "watch"], groups=["networking.k8s.io"], resources=["ingresses", "ingressclasses"]),
    Rule(verbs=["list", "watch"], groups=[""], resources=["services", "secrets", "namespaces"]),
    Rule(verbs=["list", "watch"], groups=["discovery.k8s.io"], resources=["endpointslices"]),
    Rule(verbs=["get", "create", "update"], groups=["coordination.k8s.io"], resources=["leases"]),
]
_READ = Rule(verbs=["get", "list", "watch"], groups=[""], resources=["configmaps"], namespaces=["infra"])
_WRITE = Rule(verbs=["create", "update", "delete"], groups=[""], resources=["configmaps"], namespaces=["infra"])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Generator[ApiServer]:
    with ApiServer.in_thread() as running:
        running.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "infra"}})
        running.load([ingress_class(), service(namespace="victim"), service(namespace="evil")])
        yield running


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A controller at work."""

    controller: Controller[Hosts]
    elector: LeaderElector

    def owner(self, host: str) -> str | None:
        """The namespace that is served on *host*."""
        outcome = self.controller.outcome
        found = None if outcome is None else outcome.graph.virtual_host(host)
        return None if found is None else found.owner

    def told(self) -> str:
        """All diagnostics."""
        return "\n".join(map(str, self.controller.diagnostics))


@asynccontextmanager
async def replica(
    server: ApiServer, *, rules: Sequence[Rule] | None = None, options: TranslateOptions | None = None
) -> AsyncGenerator[Replica]:
    token = server.token if rules is None else server.token_for("controller", list(rules))
    access = Access(server=server.url, authorization=f"Bearer {token}")
    async with AioTransport(StaticCredentials(access)) as transport:
        source = ClusterSource(transport, namespace_labels=True, host_claims=RECORD, settings=_CLUSTER)
        keeper = ClaimKeeper(RECORD)
        controller = Controller(
            source=source,
            renderer=HostsRenderer(),
            applier=RecordingApplier(),
            options=options,
            settings=QUICK,
            claims=keeper,
        )
        elector = LeaderElector(transport, namespace=_LEASE.namespace, name=_LEASE.name, settings=_ELECTION)
        reporter = StatusReporter(
            controller,
            source=source,
            options=options,
            elector=elector,
            claims=HostClaimWriter(transport, keeper, RECORD, _SOON),
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(controller.run)
            tasks.start_soon(reporter.run)
            await controller.wait_applied(0)
            yield Replica(controller=controller, elector=elector)
            tasks.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(_DEADLINE):
        while not condition():  # noqa: ASYNC110 - conditions of all kinds
            await anyio.sleep(0.02)


def lines(server: ApiServer) -> list[str]:
    """The record, as all its ConfigMaps have it; without times."""
    texts = [item["data"]["hosts"] for item in server.list("v1", "ConfigMap", "infra")]
    return sorted(" ".join(line.split()[:2]) for text in texts for line in text.splitlines()[1:])


def spread(server: ApiServer, hosts: int, config_maps: int) -> bool:
    """Whether so many hosts stand in so many ConfigMaps."""
    return (len(lines(server)), len(server.list("v1", "ConfigMap", "infra"))) == (hosts, config_maps)


def claim(server: ApiServer, namespace: str, *hosts: str) -> None:
    """One Ingress of *namespace* for these hosts; its age is that of the first call."""
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    rules = [{"host": host, "http": {"paths": paths}} for host in hosts]
    made = ingress("web", namespace=namespace)
    server.put({**made, "spec": {"ingressClassName": "ingresskit", "rules": rules}})


async def test_a_namespace_keeps_its_host_over_a_restart(server: ApiServer) -> None:
    claim(server, "evil", "blog.example")
    claim(server, "victim", "shop.example")
    async with replica(server):
        await until(lambda: lines(server) == ["blog.example evil", "shop.example victim"])
    claim(server, "evil", "blog.example", "shop.example")

    async with replica(server) as restarted:
        assert restarted.owner("shop.example") == "victim"
        assert "HostConflict Ingress evil/web" in restarted.told()


async def test_without_the_record_the_oldest_claim_decides_after_a_restart(server: ApiServer) -> None:
    claim(server, "evil", "blog.example")
    claim(server, "victim", "shop.example")
    async with replica(server):
        await until(lambda: len(lines(server)) == 2)
    server.delete("v1", "ConfigMap", "ingresskit-hosts", "infra")
    claim(server, "evil", "blog.example", "shop.example")

    async with replica(server) as restarted:
        assert restarted.owner("shop.example") == "evil"


async def test_the_next_leader_goes_on_with_the_record(server: ApiServer) -> None:
    claim(server, "evil", "blog.example")
    claim(server, "victim", "shop.example")
    async with replica(server) as other:
        async with replica(server) as first:
            await until(lambda: first.elector.is_leader or other.elector.is_leader)
            await until(lambda: lines(server) == ["blog.example evil", "shop.example victim"])
            claim(server, "evil", "blog.example", "shop.example", "new.example")
            await until(lambda: first.owner("new.example") == "evil" == other.owner("new.example"))
            assert (first.owner("shop.example"), other.owner("shop.example")) == ("victim", "victim")
        await until(lambda: other.elector.is_leader)
        server.delete("networking.k8s.io/v1", "Ingress", "web", "victim")
        await until(lambda: other.owner("shop.example") == "evil")
        await until(lambda: lines(server) == ["blog.example evil", "new.example evil", "shop.example evil"])
        claim(server, "victim", "shop.example")
        await until(lambda: "HostConflict Ingress victim/web" in other.told())


async def test_a_record_that_somebody_edits_or_deletes_is_written_again(server: ApiServer) -> None:
    claim(server, "victim", "shop.example")
    async with replica(server) as running:
        await until(lambda: lines(server) == ["shop.example victim"])
        item = server.get("v1", "ConfigMap", "ingresskit-hosts", "infra")
        server.put({**item, "data": {"hosts": "# edited\nshop.example evil -\nwhat is this?\n"}})
        await until(lambda: lines(server) == ["shop.example victim"])
        assert running.owner("shop.example") == "victim"
        server.delete("v1", "ConfigMap", "ingresskit-hosts", "infra")
        await until(lambda: lines(server) == ["shop.example victim"])


async def test_what_changed_while_the_api_server_was_away_is_written_when_it_is_back(server: ApiServer) -> None:
    claim(server, "victim", "shop.example")
    async with replica(server) as running:
        await until(lambda: lines(server) == ["shop.example victim"])
        server.refuse_connections()
        await until(lambda: not running.elector.is_leader)
        claim(server, "evil", "shop.example", "new.example")
        server.accept_connections()
        await until(lambda: lines(server) == ["new.example evil", "shop.example victim"])
        assert running.owner("shop.example") == "victim"
        assert "ConfigMap" not in running.told()


async def test_nothing_is_written_without_leave(server: ApiServer) -> None:
    class Closed:
        def is_valid(self) -> bool:
            return False

        def remaining(self) -> float:
            return 0.0

    keeper = ClaimKeeper(RECORD)
    keeper.learn(HostClaims(by_host={"a.test": HostClaim(namespace="victim")}))
    access = Access(server=server.url, authorization=f"Bearer {server.token}")
    async with AioTransport(StaticCredentials(access)) as transport:
        await HostClaimWriter(transport, keeper, RECORD, _SOON).run(Closed())

    assert not [item for item in server.requests if item.resource == "configmaps"]


async def test_a_config_map_of_somebody_else_is_left_alone(server: ApiServer) -> None:
    claim(server, "victim", "shop.example")
    theirs = {"metadata": {"name": "ingresskit-hosts", "namespace": "infra"}, "data": {"notes": "mine"}}
    server.put({"apiVersion": "v1", "kind": "ConfigMap", **theirs})
    async with replica(server) as running:
        await until(lambda: "has other data and no label ingresskit.dev/host-claims" in running.told())
        assert server.get("v1", "ConfigMap", "ingresskit-hosts", "infra")["data"] == {"notes": "mine"}
        server.delete("v1", "ConfigMap", "ingresskit-hosts", "infra")
        await until(lambda: lines(server) == ["shop.example victim"])
        await until(lambda: "has other data" not in running.told())


@pytest.mark.parametrize(
    ("granted", "missing"),
    [((), "the right to list and watch configmaps"), ((_READ,), "the right to create and update configmaps")],
    ids=["neither read nor written", "read only"],
)
async def test_without_a_right_to_the_record_memory_keeps_it_and_a_diagnostic_says_so(
    server: ApiServer, granted: Sequence[Rule], missing: str
) -> None:
    claim(server, "evil", "blog.example")
    claim(server, "victim", "shop.example")
    async with replica(server, rules=[*_OBJECTS, *granted]) as running:
        await until(lambda: missing in running.told())
        assert "after a restart the oldest claim decides" in running.told()
        assert running.told().count("ConfigMap") == 1
        claim(server, "evil", "blog.example", "shop.example")
        await until(lambda: "HostConflict Ingress evil/web" in running.told())
        assert running.owner("shop.example") == "victim"
        server.users.set_rules("controller", [*_OBJECTS, _READ, _WRITE])
        await until(lambda: lines(server) == ["blog.example evil", "shop.example victim"])
        await until(lambda: missing not in running.told())


async def test_thousands_of_hosts_are_spread_over_config_maps_and_come_back(server: ApiServer) -> None:
    label = "x" * 60
    names = [f"n{number}.{label}.{label}.{label}.test" for number in range(4_000)]
    claims = HostClaims(by_host={name: HostClaim(namespace="victim") for name in names})
    access = Access(server=server.url, authorization=f"Bearer {server.token}")
    async with AioTransport(StaticCredentials(access)) as transport, anyio.create_task_group() as tasks:
        keeper = ClaimKeeper(RECORD)
        tasks.start_soon(HostClaimWriter(transport, keeper, RECORD, _SOON).run, NoFence())
        await keeper.wait_wanted()
        one = HostClaims(by_host={names[0]: HostClaim(namespace="victim")})
        for record, count in ((claims, 8), (one, 1), (claims, 8)):
            keeper.add_to(Snapshot())
            keeper.learn(record)
            keeper.announce()
            await until(partial(spread, server, len(record), count))
            assert all(len(str(item)) <= 256 * 1024 for item in server.list("v1", "ConfigMap", "infra"))
        tasks.cancel_scope.cancel()

    async with replica(server) as restarted:
        await until(lambda: restarted.controller.object_counts()["ConfigMap"] == 8)


async def test_nothing_is_written_while_nobody_claims_anything(server: ApiServer) -> None:
    async with replica(server) as running:
        await until(lambda: running.elector.is_leader)
        claim(server, "victim", "shop.example")
        await until(lambda: lines(server) == ["shop.example victim"])
    writes = [item.method for item in server.requests if item.resource == "configmaps" and item.method != "GET"]
    assert writes == ["POST"]


async def test_an_administrators_list_moves_a_host_at_once(server: ApiServer) -> None:
    claim(server, "evil", "shop.example")
    claim(server, "victim", "shop.example")
    listed = {"name": "victim", "annotations": {"ingresskit.dev/hosts": "shop.example"}}
    async with replica(server) as running:
        assert running.owner("shop.example") == "evil"
        server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": listed})
        await until(lambda: running.owner("shop.example") == "victim")
        assert "HostNotAllowed Ingress evil/web" in running.told()
        await until(lambda: lines(server) == ["shop.example victim"])


async def test_without_a_right_to_namespaces_lists_are_not_used_and_a_diagnostic_says_so(
    server: ApiServer,
) -> None:
    claim(server, "evil", "shop.example")
    listed = {"name": "victim", "annotations": {"ingresskit.dev/hosts": "shop.example"}}
    server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": listed})
    without = [rule for rule in _OBJECTS if "namespaces" not in rule.resources]
    rest = Rule(verbs=["list", "watch"], groups=[""], resources=["services", "secrets"])
    async with replica(server, rules=[*without, rest, _READ, _WRITE]) as running:
        assert running.owner("shop.example") == "evil"
        assert "the right to list and watch namespaces is missing; their annotation" in running.told()


def test_a_controller_that_needs_lists_and_may_not_read_them_does_not_start(
    server: ApiServer, tmp_path: Path
) -> None:
    without = [rule for rule in _OBJECTS if "namespaces" not in rule.resources]
    config = server.kubeconfig(tmp_path / "config", token=server.token_for("controller", without))
    with ReferenceController("--kubeconfig", config, "--require-namespace-hosts") as running:
        assert running.wait() == 1

    assert running.log.seen == [
        "reference_controller.py: --require-namespace-hosts needs the right to list and watch namespaces"
    ]


def test_a_folder_has_lists_too(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {ingresskit.dev/hosts: a.test}}\n"
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web, namespace: evil}\n"
        "spec: {ingressClassName: ingresskit, rules: [{host: a.test}]}\n"
        "---\napiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: ingresskit}\n"
        "spec: {controller: ingresskit.dev/ingress-controller}\n"
    )
    with ReferenceController("--manifests", tmp_path, "--print-config") as running:
        assert running.wait() == 1
    assert any("HostNotAllowed Ingress evil/web" in line for line in running.log.seen)
