"""Where the reference controller believes that it runs."""

from __future__ import annotations

import pytest

from ingresskit.app.flags import Flags, parse_flags
from ingresskit.app.place import place_of
from ingresskit.facts import fact_logger
from ingresskit.kube import ResourceKind
from ingresskit.models import Node
from ingresskit.testing.fake_transport import FakeTransport
from ingresskit.translate import Place

pytestmark = pytest.mark.anyio

KIND = ResourceKind.of(Node)
NODE = {"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "eu-1a"}}}


@pytest.fixture
def cluster() -> FakeTransport:
    """Has one node."""
    made = FakeTransport()
    made.put(KIND, NODE)
    return made


@pytest.fixture(autouse=True)
def no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NODE_NAME", raising=False)
    monkeypatch.delenv("NODE_ZONE", raising=False)


def flags(*words: str) -> Flags:
    return parse_flags(words)


async def found(given: Flags, cluster: FakeTransport | None) -> Place:
    return await place_of(given, cluster, fact_logger(__name__))


async def test_zone_is_read_from_the_node(cluster: FakeTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_NAME", "n1")

    assert await found(flags(), cluster) == Place(zone="eu-1a", node="n1")
    assert [request.path for request in cluster.requests] == ["GET /api/v1/nodes/n1"]


async def test_what_flags_and_environment_say_is_not_asked_for(
    cluster: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_NAME", "other")
    monkeypatch.setenv("NODE_ZONE", "eu-1b")

    assert await found(flags("--node-name", "n1"), cluster) == Place(zone="eu-1b", node="n1")
    assert await found(flags("--zone", "eu-1c"), cluster) == Place(zone="eu-1c", node="other")
    assert cluster.requests == []


async def test_nothing_is_asked_where_no_node_is_named(cluster: FakeTransport) -> None:
    assert await found(flags(), cluster) == Place()
    assert cluster.requests == []


async def test_node_that_may_not_be_read_is_reported(
    cluster: FakeTransport, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.forbid(KIND)

    assert await found(flags("--node-name", "n1"), cluster) == Place(node="n1")
    assert "the zone of the node is not known" in caplog.text


@pytest.mark.parametrize("words", [("--zone", "a b"), ("--node-name", ""), ("--zone", "a-")])
def test_what_is_no_name_is_refused(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_flags(words)

    assert "is not the name of a node or zone" in capsys.readouterr().err
