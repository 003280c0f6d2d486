"""A live plane counts what it took to serve, and comes back when told to; the graph judges answers."""

from __future__ import annotations

import socket
from datetime import timedelta

import pytest

from ingresskit.apply import Dynamic, NoOp, Plan, Reload
from ingresskit.controller.statistics import ApplyKind
from ingresskit.errors import ApplyError, ApplyPostponed
from ingresskit.graph import RouteGraph
from ingresskit.models import Snapshot
from ingresskit.render.inprocess import InProcessRenderer, RoutingTable
from ingresskit.testing import (
    Answer,
    Ask,
    answer_faults,
    endpoint_slice,
    ingress,
    ingress_class,
    service,
)
from ingresskit.testing.planes import LivePlane, free_port, state_folder
from ingresskit.translate import translate


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _graph(*paths: str, redirect: str = "") -> RouteGraph:
    annotations = {"redirect": redirect} if redirect else {}
    written = ingress("web", {"a.test": dict.fromkeys(paths, "web")}, annotations=annotations)
    return translate(
        Snapshot.of([ingress_class(), written, service("web"), endpoint_slice("web", "10.0.0.1")])
    ).graph


class _Applier:
    """Reloads for each change; postpones or fails as often as it is told."""

    def __init__(self, postponed: int = 0, failing: bool = False) -> None:
        self.calls = 0
        self._postponed = postponed
        self._failing = failing

    def plan(self, old: RoutingTable | None, new: RoutingTable) -> Plan[RoutingTable]:
        if old == new:
            return NoOp()
        return Dynamic(artifact=new) if old is None else Reload(artifact=new, reason="it changed")

    async def apply(self, plan: Plan[RoutingTable]) -> None:
        self.calls += 1
        if self.calls <= self._postponed:
            raise ApplyPostponed("not yet", retry_after=timedelta(milliseconds=1))
        if self._failing:
            raise ApplyError("never")


def _plane(applier: _Applier) -> LivePlane[RoutingTable]:
    return LivePlane(renderer=InProcessRenderer(), applier=applier, http=("127.0.0.1", 1))


@pytest.mark.anyio
async def test_what_it_took_is_counted() -> None:
    plane = _plane(_Applier())

    kinds = [await plane.serve(_graph(*paths)) for paths in (["/a"], ["/a"], ["/b"])]

    assert kinds == [ApplyKind.DYNAMIC, ApplyKind.NO_OP, ApplyKind.RELOAD]
    assert plane.applied == {ApplyKind.DYNAMIC: 1, ApplyKind.NO_OP: 1, ApplyKind.RELOAD: 1}
    assert plane.reasons == ("it changed",)
    assert plane.name == "inprocess"


@pytest.mark.anyio
async def test_what_is_postponed_is_tried_again() -> None:
    applier = _Applier(postponed=3)
    plane = _plane(applier)

    assert await plane.serve(_graph("/a")) is ApplyKind.DYNAMIC
    assert applier.calls == 4


@pytest.mark.anyio
async def test_what_failed_counts_as_nothing() -> None:
    plane = _plane(_Applier(failing=True))

    with pytest.raises(ApplyError, match="never"):
        await plane.serve(_graph("/a"))

    assert sum(plane.applied.values()) == 0


def test_a_free_port_can_be_listened_on() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        assert server.getsockname()[1] < 32_768


def test_a_state_folder_is_short_and_gone_afterwards() -> None:
    with state_folder() as folder:
        (folder / "file").write_bytes(b"x")
        assert len(str(folder / "configurations" / "sockets" / "control.sock")) < 100
    assert not folder.exists()


@pytest.mark.parametrize(
    ("ask", "answer", "fault"),
    [
        pytest.param(
            Ask(host="a.test", path="/a"), Answer(status=404), "the status is 404, not 200", id="status"
        ),
        pytest.param(
            Ask(host="a.test", path="/a"),
            Answer(status=200, services=frozenset({"default/other"})),
            "answered by default/other, not by 10.0.0.1:8080, default/web",
            id="service",
        ),
        pytest.param(
            Ask(host="a.test", path="/a//b?c"),
            Answer(status=200, forwarded="/a//b?c"),
            "the forwarded target is '/a//b?c', not '/a/b?c'",
            id="path that is not in normal form",
        ),
        pytest.param(
            Ask(host="b.test", path="/a"), Answer(status=200), "the status is 200, not 404", id="host"
        ),
        pytest.param(
            Ask(host="a.test", path="/%zz"), Answer(status=200), "the status is 200, not 400", id="400"
        ),
    ],
)
def test_a_wrong_answer_is_told(ask: Ask, answer: Answer, fault: str) -> None:
    (told,) = answer_faults(_graph("/a"), ask, answer)

    assert told.endswith(fault)


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        pytest.param(Ask(host="a.test", path="/a/\u00fc"), Answer(status=400), id="not a URL, refused"),
        pytest.param(Ask(host="a.test:99999", path="/a"), Answer(status=400), id="not a port, refused"),
        pytest.param(Ask(host="a.test:99999", path="/a"), Answer(status=200), id="not a port, answered"),
    ],
)
def test_what_no_client_may_send_may_be_refused(ask: Ask, answer: Answer) -> None:
    assert answer_faults(_graph("/a"), ask, answer) == ()


def test_another_place_of_a_redirect_is_told() -> None:
    graph = _graph("/a", redirect="https://else.test/x")

    assert (
        answer_faults(graph, Ask(host="a.test", path="/a"), Answer(status=308, location="https://else.test/x"))
        == ()
    )
    assert (
        answer_faults(graph, Ask(host="a.test", path="/a"), Answer(status=308, location="https://else.test/"))
        != ()
    )
