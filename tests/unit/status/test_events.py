from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.errors import ApiError, ConfigurationError, Forbidden, StatusCause, TransportError
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.status import EventRecorder, EventRecorderSettings
from tests.unit.status.doubles import Cluster, Gate, Trees, always

pytestmark = pytest.mark.anyio

HOUR = 3600


def diagnostic(text: str = "the host is taken", *, name: str = "web", **changes: object) -> Diagnostic:
    made = Diagnostic(
        subject=ObjectRef("Ingress", ObjectKey("default", name)),
        field="spec.rules[0].host",
        reason=Reason.HOST_CONFLICT,
        message=text,
    )
    return replace(made, **changes)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


class Rig:
    def __init__(self, settings: EventRecorderSettings | None = None) -> None:
        self.cluster = Cluster()
        self.recorder = EventRecorder(self.cluster, settings)
        self.gate = Gate()

    def tell(self, *diagnostics: Diagnostic) -> None:
        self.recorder.update(diagnostics, self.cluster.snapshot())

    def events(self, namespace: str = "default") -> Trees:
        return self.cluster.server.list("events.k8s.io/v1", "Event", namespace)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.recorder.run, self.gate)
            yield
            tasks.cancel_scope.cancel()


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.cluster.add("web")
    return rig


async def test_an_event_says_what_is_wrong_with_which_object(rig: Rig) -> None:
    async with rig.running():
        rig.tell(diagnostic())
        await anyio.sleep(5)
    (event,) = rig.events()
    assert event["type"] == "Warning"
    assert event["reason"] == "HostConflict"
    assert event["note"] == "spec.rules[0].host: the host is taken"
    assert event["regarding"] == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "namespace": "default",
        "name": "web",
        "uid": rig.cluster.server.get("networking.k8s.io/v1", "Ingress", "web")["metadata"]["uid"],
    }


async def test_passes_make_no_events_and_time_makes_a_series(rig: Rig) -> None:
    async with rig.running():
        for _ in range(300):
            rig.tell(diagnostic())
            await anyio.sleep(1)
        assert len(rig.cluster.requests) == 1
        await anyio.sleep(2 * HOUR)
        assert len(rig.events()) == 1
        assert 3 <= rig.events()[0]["series"]["count"] <= 5
        rig.tell()
        requests = len(rig.cluster.requests)
        await anyio.sleep(5 * HOUR)
        assert len(rig.cluster.requests) == requests


async def test_a_restart_makes_no_second_event(rig: Rig) -> None:
    async with rig.running():
        rig.tell(diagnostic())
        await anyio.sleep(5)
    rig.recorder = EventRecorder(rig.cluster)
    async with rig.running():
        rig.tell(diagnostic())
        await anyio.sleep(5)
    assert len(rig.events()) == 1
    assert rig.events()[0]["series"]["count"] == 2


async def test_an_event_that_aged_away_is_made_again(rig: Rig) -> None:
    async with rig.running():
        rig.tell(diagnostic())
        await anyio.sleep(5)
        rig.cluster.server.delete("events.k8s.io/v1", "Event", rig.events()[0]["metadata"]["name"])
        await anyio.sleep(HOUR)
        assert len(rig.events()) == 1


async def test_one_object_cannot_flood(rig: Rig) -> None:
    async with rig.running():
        rig.tell(*(diagnostic(f"number {number}") for number in range(500)), diagnostic(name="other"))
        await anyio.sleep(240)
        assert len([event for event in rig.events() if event["regarding"]["name"] == "web"]) == 25
        assert len([event for event in rig.events() if event["regarding"]["name"] == "other"]) == 1
        assert rig.recorder.statistics()["limited"] == 475


async def test_the_queue_is_bounded_and_what_does_not_fit_is_counted() -> None:
    rig = Rig(EventRecorderSettings(queue_size=10))
    rig.tell(*(diagnostic(name=f"web-{number}") for number in range(100)))
    assert rig.recorder.statistics()["waiting"] == 10
    assert rig.recorder.statistics()["dropped"] == 90


async def test_cluster_scoped_objects_have_theirs_in_default_and_files_have_none(rig: Rig) -> None:
    async with rig.running():
        rig.tell(
            diagnostic(subject=ObjectRef("IngressClass", ObjectKey("", "ours")), severity=Severity.WARNING),
            diagnostic(subject=ObjectRef("File", ObjectKey("", "shop/web.yaml"))),
        )
        await anyio.sleep(5)
    (event,) = rig.events()
    assert event["regarding"] == {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "name": "ours"}
    assert len(rig.cluster.requests) == 1


async def test_a_note_is_cut_at_1024_bytes_between_characters(rig: Rig) -> None:
    async with rig.running():
        rig.tell(diagnostic("€" * 900))
        await anyio.sleep(5)
    note = rig.events()[0]["note"]
    assert 1020 <= len(note.encode()) <= 1024
    assert note.endswith("€...")


async def test_long_names_make_names_the_server_takes(rig: Rig) -> None:
    async with rig.running():
        rig.tell(diagnostic(name="a" * 199 + "." + "b" * 53))
        await anyio.sleep(5)
    assert len(rig.events()) == 1


async def test_forbidden_events_are_said_once_and_tried_now_and_then(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.cluster.error = always(Forbidden(status=403, message="no"))
    told = [diagnostic(f"number {number}") for number in range(50)]
    async with rig.running():
        rig.tell(*told)
        await anyio.sleep(3000)
        assert 60 <= len(rig.cluster.requests) <= 250
        assert rig.recorder.forbidden == {"default"}
        assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


async def test_a_right_that_comes_back_is_used_within_half_a_minute_for_all_that_waited(rig: Rig) -> None:
    rig.cluster.error = always(Forbidden(status=403, message="no"))
    async with rig.running():
        rig.tell(*(diagnostic(name=f"web-{number}") for number in range(30)))
        await anyio.sleep(3000)
        rig.cluster.error = always(None)
        await anyio.sleep(35)
        assert len(rig.events()) == 30
        assert rig.recorder.forbidden == set()


async def test_a_right_to_all_namespaces_that_comes_back_is_used_in_all_of_them(rig: Rig) -> None:
    namespaces = [f"ns-{number}" for number in range(200)]
    for it in namespaces:
        rig.cluster.server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": it}})
    rig.cluster.error = always(Forbidden(status=403, message="no"))
    async with rig.running():
        rig.tell(*(diagnostic(subject=ObjectRef("Ingress", ObjectKey(it, "web"))) for it in namespaces))
        await anyio.sleep(600)
        asked = len(rig.cluster.requests)
        await anyio.sleep(600)
        assert len(rig.cluster.requests) - asked <= 1200
        rig.cluster.error = always(None)
        await anyio.sleep(60)
        assert all(rig.events(it) for it in namespaces)


async def test_a_right_in_one_namespace_says_nothing_about_the_others(rig: Rig) -> None:
    refusal = Forbidden(status=403, message="no")
    rig.cluster.error = lambda method, path: refusal if "/closed/" in path else None
    async with rig.running():
        rig.tell(diagnostic(subject=ObjectRef("Ingress", ObjectKey("closed", "web"))), diagnostic())
        await anyio.sleep(120)
        assert len(rig.events()) == 1
        assert rig.recorder.forbidden == {"closed"}


async def test_what_does_not_fit_into_the_queue_is_told_when_it_is_empty() -> None:
    rig = Rig(EventRecorderSettings(queue_size=10))
    async with rig.running():
        rig.tell(*(diagnostic(name=f"web-{number}") for number in range(100)))
        await anyio.sleep(20)
        assert len(rig.events()) == 100


async def test_an_event_that_could_not_be_written_is_tried_again_after_some_minutes(rig: Rig) -> None:
    rig.cluster.error = always(ApiError(status=500))
    async with rig.running():
        rig.tell(diagnostic())
        await anyio.sleep(60)
        rig.cluster.error = always(None)
        await anyio.sleep(180)
        assert len(rig.events()) == 1


async def test_a_namespace_that_ends_costs_its_own_events_only(rig: Rig) -> None:
    ending = Forbidden(status=403, causes=(StatusCause("", "NamespaceTerminating", "it ends"),))
    rig.cluster.error = lambda method, path: ending if "/ending/" in path else None
    async with rig.running():
        rig.tell(diagnostic(subject=ObjectRef("Ingress", ObjectKey("ending", "web"))), diagnostic())
        await anyio.sleep(60)
    assert len(rig.events()) == 1
    assert rig.recorder.forbidden == set()


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        pytest.param(ApiError(status=500), 3, id="failing"),
        pytest.param(TransportError("refused"), 3, id="unreachable"),
        pytest.param(ApiError(status=422), 1, id="refused"),
    ],
)
async def test_one_event_is_tried_a_few_times_only(
    rig: Rig, error: ApiError | TransportError, tries: int
) -> None:
    rig.cluster.error = always(error)
    async with rig.running():
        rig.tell(diagnostic())
        await anyio.sleep(120)
    assert len(rig.cluster.requests) == tries
    assert rig.recorder.statistics()["failed"] == 1


async def test_a_closed_fence_lets_nothing_through_and_the_next_term_tells_it(rig: Rig) -> None:
    rig.gate.open = False
    async with rig.running():
        rig.tell(diagnostic())
        await anyio.sleep(60)
    assert rig.cluster.requests == []
    rig.gate.open = True
    async with rig.running():
        await anyio.sleep(5)
    assert len(rig.events()) == 1


@pytest.mark.parametrize("wrong", [{"instance": ""}, {"burst": 0}, {"refill": timedelta(0)}], ids=str)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        EventRecorderSettings(**wrong)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
