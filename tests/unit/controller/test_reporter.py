"""What a reporter says of writes that the API server refuses."""

from __future__ import annotations

import anyio
import pytest

from ingresskit.controller import Controller, StatusReporter
from ingresskit.controller.leader import LeaderElector
from ingresskit.diagnostics import Diagnostic, Reason
from ingresskit.errors import (
    ApiError,
    Conflict,
    Forbidden,
    NotFound,
    ProblemCause,
    TransportError,
    Unauthorized,
)
from ingresskit.models import ObjectRef
from ingresskit.sources import MemorySource
from ingresskit.status import EventRecorder, FixedAddresses, StatusWriter
from tests.unit.cache.virtual_time import run
from tests.unit.controller.doubles import HostsRenderer, RecordingApplier
from tests.unit.controller.lease_server import LeaseServer, LeaseTransport
from tests.unit.status.doubles import Cluster, always

FORBIDDEN = Forbidden(status=403, message="no")
EVENTS = (
    "Event default/*: the right to create and patch events is missing;"
    " what is wrong with objects is in no Event there"
)
HERE = FixedAddresses(["192.0.2.1"])


class Rig:
    """A reporter of a controller that does not run, so that what it writes is what a test tells it."""

    def __init__(self, cluster: Cluster, *, elector: LeaderElector | None = None) -> None:
        source = MemorySource()
        self.cluster, self.writer, self.events = cluster, StatusWriter(cluster), EventRecorder(cluster)
        controller = Controller(source=source, renderer=HostsRenderer(), applier=RecordingApplier())
        self.reporter = StatusReporter(
            controller,
            source=source,
            elector=elector,
            writer=self.writer,
            addresses=HERE,
            events=self.events,
        )

    def tell(self) -> None:
        taken = [
            Diagnostic(
                subject=ObjectRef("Ingress", key), field="", reason=Reason.HOST_CONFLICT, message="taken"
            )
            for key in self.cluster.ingresses()
        ]
        self.events.update(taken)
        self.writer.update(self.cluster.ingresses(), self.cluster.ownership(), HERE.addresses())

    @property
    def problems(self) -> list[str]:
        found = self.reporter.problems()
        assert {problem.cause for problem in found} <= {ProblemCause.WRITE_REFUSED}
        return [str(problem) for problem in found]


def told(cluster: Cluster, *, then: Exception | None = FORBIDDEN) -> list[str]:
    """The problems after some time with refusals, and some time with *then* in their place."""
    found: list[str] = []

    async def main() -> None:
        rig = Rig(cluster)
        assert rig.problems == []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.reporter.run)
            await anyio.sleep(1)
            rig.tell()
            await anyio.sleep(60)
            cluster.error = lambda method, path: then
            await anyio.sleep(600)
            found.extend(rig.problems)
            tasks.cancel_scope.cancel()

    cluster.error = always(FORBIDDEN)
    run(main, "asyncio")
    return found


def test_statuses_and_events_that_are_forbidden_are_reported_by_namespace() -> None:
    cluster = Cluster()
    cluster.add("web")

    assert told(cluster) == [
        "Ingress default/*: the right to patch ingresses/status is missing; addresses are not published there",
        EVENTS,
    ]


def test_many_namespaces_are_one_problem() -> None:
    cluster = Cluster()
    for number in range(8):
        name = f"ns-{number}"
        cluster.server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        cluster.add("web", namespace=name)

    status, event = told(cluster)

    assert status == (
        "Ingress *: the right to patch ingresses/status is missing in 8 namespaces, among them"
        " ns-0, ns-1, ns-2, ns-3, ns-4; addresses are not published there"
    )
    assert "create and patch events is missing in 8 namespaces" in event


def test_a_right_that_came_back_is_reported_no_longer() -> None:
    cluster = Cluster()
    cluster.add("web")

    assert told(cluster, then=None) == []


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (FORBIDDEN, "the right to get, create and update this Lease is missing"),
        (NotFound(status=404, message="namespaces infra not found"), "namespaces infra not found"),
        (Conflict(status=409), ""),
        (Unauthorized(status=401), ""),
        (ApiError(status=503), ""),
        (TransportError("refused"), ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_lease_that_is_refused_is_reported_and_one_that_is_out_of_reach_is_not(
    error: ApiError | TransportError, reported: str
) -> None:
    found: list[str] = []

    async def main() -> None:
        transport = LeaseTransport(LeaseServer())
        transport.error = error
        elector = LeaderElector(transport, namespace="infra")
        rig = Rig(Cluster(), elector=elector)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.reporter.run)
            await anyio.sleep(30)
            found.extend(rig.problems)
            transport.error = None
            await anyio.sleep(30)
            assert rig.problems == []
            tasks.cancel_scope.cancel()

    run(main, "asyncio")

    assert len(found) == bool(reported)
    assert all(text.startswith("Lease infra/ingresskit: ") and reported in text for text in found)


def test_who_no_longer_leads_says_nothing_of_writes() -> None:
    async def main() -> None:
        cluster, server = Cluster(), LeaseServer()
        cluster.add("web")
        cluster.error = always(FORBIDDEN)
        rig = Rig(cluster, elector=LeaderElector(LeaseTransport(server), namespace="infra"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.reporter.run)
            await anyio.sleep(1)
            rig.tell()
            await anyio.sleep(30)
            assert len(rig.problems) == 2
            server.hold("another")
            await anyio.sleep(10)
            assert rig.problems == []
            tasks.cancel_scope.cancel()

    run(main, "asyncio")
