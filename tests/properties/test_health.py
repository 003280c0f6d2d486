"""The state machines that judge endpoints, held to plain models of them, with a clock of the test's."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from ingresskit.graph import Termination
from ingresskit.policies import FailureKind, HealthCheck, PassiveHealth
from ingresskit.proxy.health import CheckRecord, FailureRules, HealthRecord, may_eject
from ingresskit.proxy.upstreams.budget import ALWAYS, BUDGET_WINDOW, RetryBudget
from ingresskit.proxy.upstreams.slow_start import FIRST_SHARE, share_of

# Outcomes with the seconds before each.
OUTCOMES = st.lists(st.tuples(st.booleans(), st.floats(min_value=0, max_value=40)), max_size=120)


def passive(failures: int = 0, ratio: int = 0) -> PassiveHealth:
    return PassiveHealth(
        failures=failures,
        ratio=ratio,
        requests=5,
        window=timedelta(seconds=10),
        time=timedelta(seconds=2),
        longest=timedelta(seconds=30),
    )


@given(OUTCOMES, st.integers(min_value=1, max_value=4))
def test_exactly_so_many_failures_in_a_row_eject(outcomes: list[tuple[bool, float]], failures: int) -> None:
    record, now, in_a_row = HealthRecord(passive(failures)), 0.0, 0
    for success, seconds in outcomes:
        now += seconds
        if record.is_ejected:
            break
        in_a_row = 0 if success else in_a_row + 1
        if success:
            assert not record.succeeded(now)
        elif record.failed(now):
            assert in_a_row == failures
            record.eject(now)
        else:
            assert in_a_row < failures


@given(OUTCOMES)
def test_each_ejection_is_twice_as_long_and_none_longer_than_the_longest(
    outcomes: list[tuple[bool, float]],
) -> None:
    record, now, last = HealthRecord(passive(1)), 0.0, 0.0
    well_since: float | None = None
    for success, seconds in outcomes:
        now += seconds
        ejected, until = record.is_ejected, record.until
        if success:
            returned = record.succeeded(now)
            assert returned == (ejected and now >= until)
            well_since = now if returned else well_since
        elif record.failed(now):
            assert not ejected or now >= until
            length = record.eject(now) - now
            anew = not ejected and (well_since is None or now - well_since >= 30)
            expected = 2.0 if anew else min(30.0, last * 2)
            assert abs(length - expected) < 1e-6
            last = expected
        else:
            assert ejected
            assert now < until
        assert (record.until > 0) == record.is_ejected


@given(OUTCOMES, st.integers(min_value=1, max_value=100))
def test_a_share_of_failures_ejects_only_when_it_is_reached_by_enough_requests(
    outcomes: list[tuple[bool, float]], ratio: int
) -> None:
    record, now = HealthRecord(passive(ratio=ratio)), 0.0
    began, total, failed = float("-inf"), 0, 0
    for success, seconds in outcomes:
        now += seconds
        if now - began >= 10:
            began, total, failed = now, 0, 0
        total, failed = total + 1, failed + (not success)
        if success:
            record.succeeded(now)
        elif record.failed(now) != (total >= 5 and failed / total >= ratio / 100 - 1e-9):
            raise AssertionError((total, failed))


@given(
    st.integers(min_value=0, max_value=500),
    st.integers(min_value=0, max_value=500),
    st.integers(min_value=1, max_value=100),
)
def test_one_endpoint_is_always_left(endpoints: int, ejected: int, limit: int) -> None:
    if may_eject(endpoints, ejected, limit):
        assert ejected + 1 < endpoints
        assert ejected == 0 or (ejected + 1) * 100 <= endpoints * limit
    elif endpoints >= 2:
        assert ejected > 0


@given(st.lists(st.booleans(), max_size=80), st.integers(1, 4), st.integers(1, 4))
def test_checks_decide_only_in_a_row(checks: list[bool], failures: int, successes: int) -> None:
    record = CheckRecord(HealthCheck(path="/", failures=failures, successes=successes))
    seen: list[bool] = []
    for success in checks:
        was_well = record.is_well
        changed = record.checked(success=success)
        seen.append(success)
        if changed:
            assert record.is_well is not was_well
            needed = successes if record.is_well else failures
            assert seen[-needed:] == [record.is_well] * needed
            seen.clear()
        else:
            assert record.is_well is was_well
            needed = failures if was_well else successes
            assert len(seen) < needed or seen[-needed:] != [not was_well] * needed


@given(st.lists(st.floats(min_value=-1, max_value=200), min_size=1), st.floats(min_value=0.001, max_value=100))
def test_the_share_of_a_new_endpoint_only_grows(ages: list[float], window: float) -> None:
    shares = [share_of(0.0, age, window) for age in sorted(ages)]

    assert shares == sorted(shares)
    assert all(FIRST_SHARE <= share <= 1.0 for share in shares)
    assert share_of(0.0, window, window) == 1.0
    assert share_of(5.0, 5.0, 0.0) == 1.0


@given(
    st.lists(st.tuples(st.booleans(), st.floats(min_value=0, max_value=4)), max_size=200),
    st.integers(min_value=0, max_value=100),
)
def test_further_tries_stay_within_the_budget(steps: list[tuple[bool, float]], percent: int) -> None:
    budget, now = RetryBudget(percent), 0.0
    requests: list[float] = []
    retries: list[float] = []
    for is_retry, seconds in steps:
        now += seconds
        # The budget counts by whole seconds.
        first = int(now) - BUDGET_WINDOW + 1
        recent = sum(1 for at in requests if int(at) >= first)
        used = sum(1 for at in retries if int(at) >= first)
        if not is_retry:
            budget.count_request(now)
            requests.append(now)
        else:
            allowed = budget.allows(now)
            assert allowed == (used < max(ALWAYS, percent * recent // 100))
            if allowed:
                budget.count_retry(now)
                retries.append(now)


def test_every_way_for_an_attempt_to_fail_is_some_kind_of_failure() -> None:
    rules = FailureRules(PassiveHealth(failures=1, on=tuple(FailureKind)))
    upstream = [item for item in Termination if item.startswith("upstream_")]

    assert [item for item in upstream if not rules.is_failure(item)] == []
    assert [item for item in Termination if item not in upstream and rules.is_failure(item)] == []
    assert [status for status in (200, 404, 429, 500, 501, 599) if rules.is_failed_status(status)] == [
        *(429, 500, 501, 599)
    ]
