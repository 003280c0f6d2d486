"""What a plan for the in-process proxy counts, and that counting does not visit what stayed."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING

import pytest

from ingresskit.apply import Dynamic, NoOp
from ingresskit.apply.inprocess import swap_plan
from ingresskit.render.inprocess import HostTable, RoutingTable

if TYPE_CHECKING:
    from _typeshed import TraceFunction


def _table(*names: str) -> RoutingTable:
    return RoutingTable(hosts={name: HostTable(host=name, exact={}, prefixes={}) for name in names})


def _with(table: RoutingTable, *names: str) -> RoutingTable:
    return replace(table, hosts={**table.hosts, **_table(*names).hosts})


_BASE = _table("a.test", "b.test", "c.test")


@pytest.mark.parametrize(
    ("old", "new", "summary"),
    [
        pytest.param(_BASE, _with(_BASE, "d.test"), "1 hosts", id="a host more"),
        pytest.param(_with(_BASE, "d.test"), _BASE, "1 hosts", id="a host less"),
        pytest.param(None, _BASE, "3 hosts", id="nothing before"),
        pytest.param(_BASE, _table("x.test"), "4 hosts", id="one in place of three"),
        pytest.param(
            _BASE, replace(_BASE, certificates={"a.test": None}), "1 certificates", id="a server name"
        ),
        pytest.param(_BASE, replace(_BASE, host_fallthrough=True), "settings", id="a setting"),
    ],
)
def test_a_plan_counts_what_came_went_or_changed(
    old: RoutingTable | None, new: RoutingTable, summary: str
) -> None:
    plan = swap_plan(old, new)

    assert isinstance(plan, Dynamic)
    assert plan.summary == summary


def test_equal_tables_need_nothing() -> None:
    assert swap_plan(_BASE, _table("a.test", "b.test", "c.test")) == NoOp()


def _calls(size: int) -> int:
    """How many calls and resumptions of Python functions a plan takes for one more host among *size*."""
    old = _table(*(f"h{number}.test" for number in range(size)))
    new = _with(old, "new.test")
    count = 0

    def call(frame: FrameType, event: str, _: object) -> TraceFunction | None:
        nonlocal count
        count += 1
        return None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        swap_plan(old, new)
    finally:
        sys.settrace(before)
    return count


def test_one_host_more_costs_as_many_calls_in_a_large_table_as_in_a_small_one() -> None:
    small, large = _calls(20), _calls(200)

    assert 0 < small == large
