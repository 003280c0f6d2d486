"""An Ingress goes from one edge to another, and back, by one write of its status, which is never empty."""

from __future__ import annotations

import logging

import pytest

from ingresskit.errors import ConfigurationError
from ingresskit.status import Handover, StatusWriterSettings, fixed_addresses
from tests.unit.status.doubles import INGRESS
from tests.unit.status.test_writer import Rig

pytestmark = pytest.mark.anyio

OLD = fixed_addresses(["198.51.100.1"])
_OLD, _NEW = [{"ip": "198.51.100.1"}], [{"ip": "192.0.2.1"}]
NGINX = "nginx-ingress-controller"


def label(rig: Rig, name: str, value: str | None) -> None:
    item = rig.cluster.server.get(*INGRESS, name)
    item["metadata"]["labels"] = {} if value is None else {"ingresskit.dev/handed-over": value}
    rig.cluster.server.put(item)


async def test_ingresses_go_over_one_by_one_and_back() -> None:
    rig = Rig(StatusWriterSettings(handover=Handover(old=OLD)))
    for name in ("first", "second"):
        rig.cluster.add(name)
    async with rig.running():
        await rig.settle()
        assert [rig.cluster.status(name) for name in ("first", "second")] == [_OLD, _OLD]

        label(rig, "first", "true")
        await rig.settle()
        assert [rig.cluster.status(name) for name in ("first", "second")] == [_NEW, _OLD]
        label(rig, "second", "false")
        await rig.settle()
        assert rig.cluster.status("second") == _OLD

        label(rig, "first", None)
        await rig.settle(3600)
        assert rig.cluster.status("first") == _OLD
    assert rig.cluster.patches == 4


async def test_the_old_edge_is_said_before_we_are_reached_anywhere() -> None:
    rig = Rig(StatusWriterSettings(handover=Handover(old=OLD)))
    rig.addresses = ()
    rig.cluster.add("web")
    rig.cluster.add("over")
    label(rig, "over", "true")
    async with rig.running():
        await rig.settle()

        assert rig.cluster.status("web") == _OLD
        assert rig.cluster.status("over") == []


async def test_the_status_of_a_manager_that_no_longer_writes_is_taken_over_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    rig = Rig(StatusWriterSettings(taken_from=frozenset({NGINX})))
    rig.cluster.add("web")
    rig.cluster.add("other")
    rig.cluster.overwrite("web", "198.51.100.9", NGINX)
    rig.cluster.overwrite("other", "198.51.100.9", "another-controller")
    async with rig.running():
        await rig.settle(3600)

        assert rig.cluster.status("web") == _NEW
        assert rig.cluster.status("other") == [{"ip": "198.51.100.9"}]
    counts = rig.writer.statistics()
    assert (counts["takeovers"], counts["conflicts"]) == (1, 1)
    (taken,) = [record for record in caplog.records if "status taken over" in record.message]
    assert vars(taken)["from"] == NGINX


async def test_a_manager_that_still_writes_is_let_be_after_three_times(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(StatusWriterSettings(taken_from=frozenset({NGINX})))
    rig.cluster.add("web")
    async with rig.running():
        for _ in range(6):
            rig.cluster.overwrite("web", "198.51.100.9", NGINX)
            await rig.settle(120)

        assert rig.cluster.status("web") == [{"ip": "198.51.100.9"}]
    assert rig.writer.statistics()["takeovers"] <= 3
    assert "the status is overwritten again and again, it is left as it is" in caplog.text


async def test_what_was_handed_over_is_taken_back_when_the_class_changes() -> None:
    rig = Rig(StatusWriterSettings(handover=Handover(old=OLD)))
    rig.cluster.add("web")
    async with rig.running():
        await rig.settle()
        rig.cluster.add("web", ingress_class="theirs")
        await rig.settle()

        assert rig.cluster.status("web") == []


def test_an_edge_without_an_address_cannot_hand_over() -> None:
    with pytest.raises(ConfigurationError, match="has an address"):
        Handover(old=())
