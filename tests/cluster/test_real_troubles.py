"""A controller on a real API server that is restarted, set back, and takes rights and tokens away.

What embedded servers are told to do here really happens: watches end because their server does, versions
are gone because its memory is, and they go back because etcd's data does.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random

import anyio
import anyio.to_thread
import pytest

from ingresskit.controller import reconcile
from ingresskit.controller.leader import LeaderElector, LeaderSettings, Term
from ingresskit.graph import to_json
from ingresskit.kube import AioTransport, InClusterCredentials
from ingresskit.models import Ingress, KubeObject, ObjectKey
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.sources import ClusterSource
from ingresskit.testing.apiserver import RealApiServer, Rule, real_api_server
from ingresskit.testing.apiserver.calls import call
from ingresskit.testing.apiserver.real import assets_folder
from tests.faults.chain import OPTIONS, QUICK, Chain, chain, credentials, until
from tests.faults.histories import KINDS, Versions, change, held, populate, seeded
from tests.faults.test_histories_served import Remote
from tests.features.cluster_scene import ingress, ingress_class, service

pytestmark = pytest.mark.anyio

BRISK = LeaderSettings(
    lease_duration=timedelta(seconds=2),
    renew_deadline=timedelta(seconds=1.5),
    retry_period=timedelta(seconds=0.3),
)

READ = [
    Rule(verbs=["list", "watch"], groups=["networking.k8s.io"], resources=["ingresses", "ingressclasses"]),
    Rule(verbs=["list", "watch"], groups=["discovery.k8s.io"], resources=["endpointslices"]),
]
SERVICES = Rule(verbs=["list", "watch"], groups=[""], resources=["services"])
SECRETS = Rule(verbs=["list", "watch"], groups=[""], resources=["secrets"])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the transport runs on nothing else


@pytest.fixture(scope="module")
def server() -> Generator[RealApiServer]:
    assets = assets_folder()
    assert assets is not None
    with real_api_server(assets) as running:
        yield running


@pytest.fixture
def cluster(server: RealApiServer) -> Generator[Remote]:
    found = Remote(server)
    yield found
    found.clear()


async def outside(function: Callable[[], object]) -> None:
    """Do what blocks without blocking the controller."""
    await anyio.to_thread.run_sync(function)


def everything(cluster: Remote) -> Mapping[type[KubeObject], Versions]:
    return {model: cluster.versions(model) for model in KINDS}


def problems(running: Chain) -> str:
    snapshot = running.source.snapshot()
    return "" if snapshot is None else "\n".join(map(str, snapshot.problems))


async def settled(running: Chain, cluster: Remote) -> None:
    """Return once what is held is what is there, and what is live is what a newcomer would make of it."""
    await until(lambda: held(running.source.snapshot()) == everything(cluster), every=0.2)
    snapshot = running.source.snapshot()
    assert snapshot is not None
    graph = to_json(reconcile(snapshot, InProcessRenderer(), OPTIONS).graph)
    await until(lambda: running.graph() == graph)


async def test_a_restart_is_survived_and_what_went_meanwhile_is_found(
    server: RealApiServer, cluster: Remote
) -> None:
    for name in ("n0", "n1"):
        cluster.put(ingress(name, namespace="one"))
    cluster.put(ingress_class())
    async with chain(server) as running:
        await settled(running, cluster)
        await outside(server.stop)
        await anyio.sleep(0.5)
        assert "n0.example" in running.hosts()
        server.start()  # and until the next await nobody but us knows
        cluster.delete(Ingress, ObjectKey("one", "n0"))
        cluster.put(ingress("n2", namespace="one"))
        await settled(running, cluster)

        assert running.hosts() == ["n1.example", "n2.example"]


async def test_versions_that_were_forgotten_cost_one_list(server: RealApiServer, cluster: Remote) -> None:
    cluster.put(ingress_class())
    async with chain(server) as running:
        await settled(running, cluster)
        before = running.source.statistics().caches["Ingress"]
        await outside(server.restart)
        await until(lambda: running.source.statistics().caches["Ingress"].watches > before.watches)
        cluster.put(ingress("n0", namespace="one"))
        await settled(running, cluster)


async def test_a_database_set_back_to_a_backup_is_found_out(server: RealApiServer, cluster: Remote) -> None:
    cluster.put(ingress_class())
    cluster.put(ingress("n0", namespace="one"))
    backup = server.backup()
    async with chain(server) as running:
        cluster.delete(Ingress, ObjectKey("one", "n0"))
        for turn in range(3):
            cluster.put(ingress("n1", host=f"h{turn}.example", namespace="one"))
        await settled(running, cluster)
        assert running.hosts() == ["h2.example"]
        await outside(partial(server.restore, backup))
        await settled(running, cluster)

        assert running.hosts() == ["n0.example"]


async def test_rights_taken_and_given_are_noticed(server: RealApiServer, cluster: Remote) -> None:
    cluster.put(ingress_class())
    cluster.put(ingress("n0", namespace="one"))
    token = server.token_for("looker", [*READ, SERVICES, SECRETS])
    async with chain(server, token=token) as running:
        await settled(running, cluster)
        server.token_for("looker", [*READ, SERVICES])
        await until(lambda: "403" in running.source.statistics().caches["Secret"].error, 60, every=0.2)
        cluster.put(ingress("n1", namespace="one"))
        await until(lambda: running.hosts() == ["n0.example", "n1.example"])
        await until(lambda: "the right to list and watch secrets" in problems(running))
        server.token_for("looker", [*READ, SERVICES, SECRETS])
        await until(lambda: not running.source.statistics().caches["Secret"].error, 60, every=0.2)
        await settled(running, cluster)


async def test_a_pod_goes_on_with_its_next_token(
    server: RealApiServer, cluster: Remote, tmp_path: Path
) -> None:
    cluster.put(ingress_class())
    cluster.put(service("n0", namespace="one"))
    rules = [*READ, SERVICES, SECRETS]
    (tmp_path / "token").write_text(server.token_for("rotated", rules))
    (tmp_path / "ca.crt").write_bytes(server.ca)
    _, host, port = server.url.split(":")
    environ = {"KUBERNETES_SERVICE_HOST": host.strip("/"), "KUBERNETES_SERVICE_PORT": port}
    pod = InClusterCredentials(environ=environ, directory=tmp_path)
    async with AioTransport(pod) as transport, anyio.create_task_group() as group:
        source = ClusterSource(transport, settings=QUICK)
        group.start_soon(source.run)
        await until(lambda: held(source.snapshot()) == everything(cluster), every=0.2)
        account = "/api/v1/namespaces/test-users/serviceaccounts/rotated"
        assert call(server, "DELETE", account).status == 200  # and with it every token it has
        await until(lambda: "401" in source.statistics().caches["Service"].error, 60, every=0.2)
        (tmp_path / "token").write_text(server.token_for("rotated", rules))
        cluster.put(service("n1", namespace="one"))
        await until(lambda: held(source.snapshot()) == everything(cluster), every=0.2)
        await until(lambda: not source.statistics().caches["Service"].error)
        group.cancel_scope.cancel()


async def test_a_server_that_stands_still_is_found_out_and_followed_again(
    server: RealApiServer, cluster: Remote
) -> None:
    cluster.put(ingress_class())
    cluster.put(ingress("n0", namespace="one"))
    async with chain(server) as running:
        await settled(running, cluster)
        server.pause()
        try:
            await until(lambda: bool(running.source.statistics().caches["Ingress"].error))
            assert running.hosts() == ["n0.example"]
        finally:
            server.resume()
        cluster.put(ingress("n1", namespace="one"))
        await settled(running, cluster)


async def test_there_are_never_two_leaders_though_the_server_stands_still(server: RealApiServer) -> None:
    leading: set[str] = set()
    terms: list[str] = []

    async def candidate(name: str) -> None:
        async with AioTransport(credentials(server)) as transport:
            elector = LeaderElector(
                transport, namespace="default", name="troubled", identity=name, settings=BRISK
            )

            async def work(term: Term) -> None:
                assert not leading, f"{name} leads beside {leading}"
                leading.add(name)
                terms.append(name)
                try:
                    await anyio.sleep_forever()
                finally:
                    leading.discard(name)

            await elector.run(work)

    async with anyio.create_task_group() as group:
        for name in ("left", "right"):
            group.start_soon(candidate, name)
        for count in range(1, 4):
            await until(lambda: bool(leading) and len(terms) >= count)  # noqa: B023 - waited for in this turn
            server.pause()
            try:
                await until(lambda: not leading, within=BRISK.renew_deadline.total_seconds() + 1)
            finally:
                server.resume()
        await until(lambda: bool(leading))
        group.cancel_scope.cancel()

    assert len(terms) >= 4


@pytest.mark.parametrize("seed", range(2))
async def test_histories_with_restarts_end_as_a_fresh_controller_begins(
    server: RealApiServer, cluster: Remote, seed: int
) -> None:
    rng = seeded(seed)
    populate(cluster, rng)
    async with chain(server) as running:
        for _ in range(4):
            await _trouble(server, cluster, running, rng)
            for _ in range(rng.randrange(1, 6)):
                await outside(lambda: change(cluster, rng))
        await settled(running, cluster)
        async with chain(server) as fresh:
            await settled(fresh, cluster)
            assert fresh.graph() == running.graph()


async def _trouble(server: RealApiServer, cluster: Remote, running: Chain, rng: Random) -> None:
    match rng.choice(["restarted", "away", "set back"]):
        case "restarted":
            await outside(server.restart)
        case "away":
            await outside(server.stop)
            await anyio.sleep(rng.random())
            await outside(server.start)
        case _:
            backup = await anyio.to_thread.run_sync(server.backup)
            for _ in range(rng.randrange(1, 6)):
                await outside(lambda: change(cluster, rng))
            await settled(running, cluster)
            await outside(partial(server.restore, backup))
