"""In which order a program and its delegate get a change."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from typing_extensions import override

from ingresskit.apply import Dynamic, NoOp, Plan, Reload
from ingresskit.apply.delegate import Delegate, DelegatingApplier
from ingresskit.errors import ApplyError
from ingresskit.render.delegate import Delegated, DelegateSettings
from ingresskit.render.inprocess import HostTable, RoutingTable

pytestmark = pytest.mark.anyio


class _Delegate(Delegate):
    """A delegate that only writes down what it is told."""

    def __init__(self, steps: list[str]) -> None:
        super().__init__(DelegateSettings(), state=Path(tempfile.gettempdir()))
        self._steps = steps
        self.table = RoutingTable()

    @override
    def holds(self, table: RoutingTable) -> bool:
        return table == self.table

    @override
    async def serve(self, table: RoutingTable) -> None:
        self._steps.append("delegate serves")
        self.table = table

    @override
    def settle(self) -> None:
        self._steps.append("delegate forgets")


class _Front:
    """A program whose artifacts are texts; a text with ``!`` cannot be put live."""

    def __init__(self, steps: list[str]) -> None:
        self._steps = steps

    def plan(self, old: str | None, new: str) -> Plan[str]:
        if old == new:
            return NoOp()
        return Reload(artifact=new, reason="the first") if old is None else Dynamic(artifact=new)

    async def apply(self, plan: Plan[str]) -> None:
        if isinstance(plan, NoOp):
            self._steps.append("front untouched")
            return
        if "!" in plan.artifact:
            raise ApplyError("refused")
        self._steps.append(f"front serves {plan.artifact}")


FIRST = RoutingTable(hosts={"a.test": HostTable(host="a.test")})
SECOND = RoutingTable(hosts={"b.test": HostTable(host="b.test")})


async def test_delegate_is_first_with_what_is_new_and_last_with_what_is_gone() -> None:
    steps: list[str] = []
    applier = DelegatingApplier[str](_Front(steps), _Delegate(steps))

    plan = applier.plan(None, Delegated(front="one", table=FIRST))
    await applier.apply(plan)

    assert isinstance(plan, Reload)
    assert steps == ["delegate serves", "front serves one", "delegate forgets"]


async def test_change_of_the_delegate_alone_does_not_touch_the_program() -> None:
    steps: list[str] = []
    applier = DelegatingApplier[str](_Front(steps), _Delegate(steps))
    one, two = Delegated(front="same", table=FIRST), Delegated(front="same", table=SECOND)
    await applier.apply(applier.plan(None, one))
    steps.clear()

    plan = applier.plan(one, two)
    await applier.apply(plan)

    assert isinstance(plan, Dynamic)
    assert steps == ["delegate serves", "front untouched", "delegate forgets"]
    assert isinstance(applier.plan(two, two), NoOp)


async def test_delegate_forgets_nothing_when_the_program_refuses() -> None:
    steps: list[str] = []
    applier = DelegatingApplier[str](_Front(steps), _Delegate(steps))

    with pytest.raises(ApplyError):
        await applier.apply(applier.plan(None, Delegated(front="!", table=FIRST)))

    assert steps == ["delegate serves"]
