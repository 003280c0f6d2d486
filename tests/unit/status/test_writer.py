from __future__ import annotations

import itertools
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import pytest
from typing_extensions import override

from ingresskit.errors import ApiError, ConfigurationError, Forbidden, TooManyRequests, TransportError
from ingresskit.models import Ingress, ObjectKey
from ingresskit.status import Addresses, Ownership, StatusWriter, StatusWriterSettings, fixed_addresses
from tests.unit.status.doubles import Cluster, Gate, always

pytestmark = pytest.mark.anyio

HERE = fixed_addresses(["192.0.2.1"])
THERE = fixed_addresses(["192.0.2.2", "lb.example"])


class Rig:
    """A cluster and a writer that is told of every change when `settle` is called."""

    def __init__(self, settings: StatusWriterSettings | None = None) -> None:
        self.cluster = Cluster()
        self.writer = StatusWriter(self.cluster, settings)
        self.gate = Gate()
        self.addresses: Addresses = HERE

    def tell(self) -> None:
        self.writer.update(self.cluster.ingresses(), self.cluster.ownership(), self.addresses)

    async def settle(self, seconds: float = 5) -> None:
        """Let the watch deliver and the writer work for some time."""
        for _ in range(5):
            self.tell()
            await anyio.sleep(seconds / 5)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.writer.run, self.gate)
            yield
            tasks.cancel_scope.cancel()


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_addresses_are_written_once_and_on_change_only(rig: Rig) -> None:
    rig.cluster.add("web")
    rig.cluster.add("foreign", ingress_class="theirs")
    async with rig.running():
        await rig.settle()
        assert rig.cluster.status("web") == [{"ip": "192.0.2.1"}]
        assert rig.cluster.status("foreign") == []
        assert rig.cluster.managers("web") == ["ingresskit"]
        await rig.settle(3600)
        assert rig.cluster.patches == 1

        rig.addresses = THERE
        await rig.settle()
        assert rig.cluster.status("web") == [{"ip": "192.0.2.2"}, {"hostname": "lb.example"}]
        assert rig.cluster.patches == 2


async def test_a_status_that_is_right_already_is_not_written(rig: Rig) -> None:
    rig.cluster.add("web")
    rig.cluster.overwrite("web", "192.0.2.1", "somebody")
    async with rig.running():
        await rig.settle()
    assert rig.cluster.requests == []


async def test_no_addresses_change_nothing_and_are_said_once(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.cluster.add("web")
    async with rig.running():
        await rig.settle()
        rig.addresses = ()
        await rig.settle()
        assert rig.cluster.status("web") == [{"ip": "192.0.2.1"}]
        assert rig.cluster.patches == 1
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "no address to publish, the status of ingresses is left as it is ingresses=1"
    ]


async def test_a_watch_that_lags_behind_causes_no_second_write(rig: Rig) -> None:
    rig.cluster.add("web")
    before = rig.cluster.ingresses()
    async with rig.running():
        for _ in range(10):
            rig.writer.update(before, rig.cluster.ownership(), HERE)
            await anyio.sleep(1)
    assert rig.cluster.patches == 1


async def test_another_field_manager_is_not_fought_and_named_once(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.cluster.add("web")
    rig.cluster.overwrite("web", "198.51.100.9", "other-controller")
    async with rig.running():
        await rig.settle(600)
        assert rig.cluster.status("web") == [{"ip": "198.51.100.9"}]
        assert rig.cluster.patches == 1
        assert rig.writer.statistics()["conflicts"] == 1
        warnings = [record for record in caplog.records if record.levelname == "WARNING"]
        assert len(warnings) == 1
        assert 'conflict with "other-controller"' in str(vars(warnings[0])["error"])

        rig.addresses = THERE  # something new to say: asked once more, and refused once more
        await rig.settle(600)
        assert rig.cluster.patches == 2


async def test_two_controllers_with_one_name_stop_overwriting_each_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = Rig(), Rig()
    second.cluster = first.cluster
    second.writer = StatusWriter(first.cluster)
    second.addresses = THERE
    first.cluster.add("web")
    async with first.running(), second.running():
        for _ in range(200):
            first.tell()
            await anyio.sleep(3)
            second.tell()
            await anyio.sleep(3)
    assert first.cluster.patches <= 8
    assert any("again and again" in record.message for record in caplog.records)


async def test_a_status_overwritten_by_hand_is_written_again(rig: Rig) -> None:
    rig.cluster.add("web")
    async with rig.running():
        await rig.settle()
        rig.cluster.overwrite("web", "203.0.113.7", "ingresskit")
        await rig.settle()
        assert rig.cluster.status("web") == [{"ip": "192.0.2.1"}]


async def test_what_is_ours_is_taken_back_when_the_class_changes(rig: Rig) -> None:
    rig.cluster.add("web")
    async with rig.running():
        await rig.settle()
        rig.cluster.add("web", ingress_class="theirs")
        await rig.settle()
        assert rig.cluster.status("web") == []
        assert rig.writer.statistics()["withdrawals"] == 1
        requests = len(rig.cluster.requests)
        await rig.settle(600)
        assert len(rig.cluster.requests) == requests


async def test_what_was_written_before_a_restart_is_taken_back_too(rig: Rig) -> None:
    rig.cluster.add("web", ingress_class="theirs")
    rig.cluster.overwrite("web", "192.0.2.1", "ingresskit")
    async with rig.running():
        await rig.settle()
    assert rig.cluster.status("web") == []


async def test_the_same_address_written_by_somebody_else_is_left(rig: Rig) -> None:
    rig.cluster.add("web", ingress_class="theirs")
    rig.cluster.overwrite("web", "192.0.2.1", "somebody")
    async with rig.running():
        await rig.settle(600)
    assert rig.cluster.status("web") == [{"ip": "192.0.2.1"}]
    assert [method for _, method, _ in rig.cluster.requests] == ["GET"]


async def test_an_ingress_whose_owner_is_not_known_keeps_its_status(rig: Rig) -> None:
    rig.cluster.add("web")
    async with rig.running():
        await rig.settle()
        for _ in range(5):
            rig.writer.update(rig.cluster.ingresses(), Ownership(), HERE)
            await anyio.sleep(60)
    assert rig.cluster.status("web") == [{"ip": "192.0.2.1"}]
    assert len(rig.cluster.requests) == 1


async def test_a_closed_fence_lets_nothing_through(rig: Rig) -> None:
    rig.cluster.add("web")
    rig.gate.open = False
    async with rig.running():
        await rig.settle(60)
        assert rig.cluster.requests == []
    rig.gate.open = True
    async with rig.running():  # the next term begins with a look at everything
        await anyio.sleep(1)
    assert rig.cluster.status("web") == [{"ip": "192.0.2.1"}]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Forbidden(status=403, message="no"), id="forbidden"),
        pytest.param(ApiError(status=500), id="failing"),
        pytest.param(TransportError("refused"), id="unreachable"),
        pytest.param(TooManyRequests(status=429, retry_after=timedelta(seconds=20)), id="told to wait"),
        pytest.param(ApiError(status=409, reason="Conflict"), id="in conflict"),
        pytest.param(ApiError(status=422, reason="Invalid"), id="refused"),
    ],
)
async def test_failures_are_tried_again_ever_less_often(rig: Rig, error: ApiError | TransportError) -> None:
    rig.cluster.add("web")
    rig.cluster.error = always(error)
    async with rig.running():
        await rig.settle(3600)
        times = [at for at, _, _ in rig.cluster.requests]
        assert 3 <= len(times) <= 250
        assert min(after - before for before, after in itertools.pairwise(times)) >= 0.9


async def test_a_right_that_comes_back_is_used(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for name in "abcdefgh":
        rig.cluster.add(name)
    rig.cluster.error = always(Forbidden(status=403, message="no"))
    async with rig.running():
        await rig.settle(3600)
        assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
        assert len(rig.cluster.requests) < 60  # not eight times as many as for one
        rig.cluster.error = lambda method, path: None
        await rig.settle(600)
        assert all(rig.cluster.status(name) for name in "abcdefgh")


async def test_a_right_in_one_more_namespace_is_a_reason_to_ask_in_all(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    for namespace in ("b", "c", "d"):
        rig.cluster.server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        rig.cluster.add("web", namespace=namespace)
    rig.cluster.error = always(Forbidden(status=403, message="no"))
    async with rig.running():
        await rig.settle(3600)
        assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
        rig.cluster.error = always(None)
        first = len(rig.cluster.requests)
        while len(rig.cluster.requests) == first:
            await rig.settle(1)
        await rig.settle(2)
        assert all(rig.cluster.status("web", namespace=namespace) for namespace in ("b", "c", "d"))


async def test_refused_writes_are_given_up_until_there_is_something_new(rig: Rig) -> None:
    rig.cluster.add("web")
    rig.cluster.error = always(ApiError(status=422, reason="Invalid"))
    async with rig.running():
        await rig.settle(3600)
        assert rig.cluster.patches == 5
        rig.cluster.error = lambda method, path: None
        rig.addresses = THERE
        await rig.settle()
        assert rig.cluster.status("web")


async def test_an_ingress_that_is_gone_or_made_anew_is_not_mistaken(rig: Rig) -> None:
    rig.cluster.add("web")
    rig.cluster.add("stays")
    before = rig.cluster.ingresses()
    rig.cluster.server.delete("networking.k8s.io/v1", "Ingress", "web")
    async with rig.running():
        rig.writer.update(before, Ownership(ours=frozenset(before)), HERE)
        await anyio.sleep(60)
        assert rig.cluster.status("stays")
        assert rig.cluster.patches == 2
        rig.cluster.add("web")
        await rig.settle()
        assert rig.cluster.status("web") == [{"ip": "192.0.2.1"}]


async def test_a_request_without_an_answer_holds_nothing_up_for_ever(rig: Rig) -> None:
    rig.cluster.add("web")
    rig.cluster.hangs = True
    async with rig.running():
        await rig.settle(60)
        rig.cluster.hangs = False
        await rig.settle(60)
        assert rig.cluster.status("web") == [{"ip": "192.0.2.1"}]


async def test_many_are_written_at_the_rate_that_is_set() -> None:
    rig = Rig(StatusWriterSettings(rate=5))
    for number in range(60):
        rig.cluster.add(f"web-{number}")
    async with rig.running():
        rig.tell()
        begun = anyio.current_time()
        await rig.writer.wait_idle()
        took = anyio.current_time() - begun
    assert rig.cluster.patches == 60
    assert 10.9 <= took <= 12.5


@pytest.mark.parametrize(
    "wrong", [{"field_manager": ""}, {"rate": 0.0}, {"retry_first": timedelta(0)}, {"attempts": 0}], ids=str
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        StatusWriterSettings(**wrong)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def test_what_is_gone_is_forgotten(rig: Rig) -> None:
    rig.cluster.add("web")
    rig.cluster.overwrite("web", "198.51.100.9", "other")
    async with rig.running():
        await rig.settle()
        assert rig.writer.statistics()["held"] == 1
        rig.cluster.server.delete("networking.k8s.io/v1", "Ingress", "web")
        await rig.settle()
    assert rig.writer.statistics()["held"] == 0
    assert ObjectKey("default", "web") not in rig.writer._written


class _Read(dict[ObjectKey, Ingress]):
    """Ingresses that count how often they are asked for."""

    count = 0

    @override
    def __getitem__(self, key: ObjectKey, /) -> Ingress:
        self.count += 1
        return super().__getitem__(key)

    @override
    def get(self, key: ObjectKey, default: Any = None, /) -> Any:
        self.count += 1
        return super().get(key, default)


async def test_one_change_among_many_looks_at_no_other_ingress(rig: Rig) -> None:
    for number in range(50):
        rig.cluster.add(f"web-{number}")
    rig.tell()
    known = _Read(rig.cluster.ingresses())
    changed = frozenset({ObjectKey("default", "web-7")})

    rig.writer.update(known, rig.cluster.ownership(), HERE, changed=changed)
    few = known.count
    rig.writer.update(known, rig.cluster.ownership(), THERE, changed=changed)

    assert 1 <= few <= 2
    assert known.count - few >= 50, "other addresses are a reason to look at all"


async def test_changes_by_key_are_written_and_what_is_gone_is_forgotten(rig: Rig) -> None:
    async with rig.running():
        await rig.settle()
        rig.cluster.add("web")
        changed = frozenset({ObjectKey("default", "web")})
        rig.writer.update(rig.cluster.ingresses(), rig.cluster.ownership(), HERE, changed=changed)
        await rig.writer.wait_idle()
        assert rig.writer.statistics()["writes"] == 1
        rig.cluster.server.delete("networking.k8s.io/v1", "Ingress", "web")
        rig.writer.update(rig.cluster.ingresses(), rig.cluster.ownership(), HERE, changed=changed)

    assert ObjectKey("default", "web") not in rig.writer._written


async def test_a_write_names_the_object_by_its_uid_and_uses_no_force(rig: Rig) -> None:
    """So that one that was deleted and made anew in between is refused by the server, not written."""
    rig.cluster.add("web")
    async with rig.running():
        await rig.settle()
    uid = rig.cluster.server.get("networking.k8s.io/v1", "Ingress", "web")["metadata"]["uid"]
    (body,) = rig.cluster.bodies
    assert json.loads(body)["metadata"] == {"name": "web", "namespace": "default", "uid": uid}
    assert rig.cluster.queries == [{"fieldManager": "ingresskit", "force": "false"}]


async def test_many_statuses_are_one_line_in_the_log(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for number in range(50):
        rig.cluster.add(f"web-{number}")
    async with rig.running():
        await rig.settle(60)
        assert rig.cluster.patches == 50

    lines = [record for record in caplog.records if "status" in record.message]
    assert sum(getattr(record, "ingresses", 0) for record in lines) == 50
    assert len(lines) <= 3
