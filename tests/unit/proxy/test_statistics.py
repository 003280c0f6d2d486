"""Counting requests."""

from __future__ import annotations

from ingresskit.proxy import DURATION_BOUNDS
from ingresskit.proxy.statistics import Counters


def test_totals_never_go_back_when_a_host_goes() -> None:
    counters = Counters()
    counters.count_request("a.test", 200, 0.01)
    counters.count_request("b.test", 404, 0.01)

    counters.keep_hosts({"b.test": None})

    after = counters.freeze({})
    assert set(after.requests) == {"", "b.test"}
    assert after.requests_by_class == {2: 1, 4: 1}


def test_durations_come_with_their_bounds() -> None:
    counters = Counters()
    counters.count_request("a.test", 200, DURATION_BOUNDS[0])
    counters.count_request("a.test", 200, 3600.0)

    after = counters.freeze({})

    assert len(after.durations) == len(after.duration_bounds) + 1
    assert (after.durations[0], after.durations[-1]) == (1, 1)
