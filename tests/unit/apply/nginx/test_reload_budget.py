"""When the next reload may come."""

from __future__ import annotations

from ingresskit.apply.nginx.reload_budget import ReloadBudget


def test_first_two_reloads_need_not_wait() -> None:
    budget = ReloadBudget()

    assert budget.wait(0.0, 10.0) == 0.0
    budget.spend(0.0, 10.0, 0.1)
    assert budget.wait(0.0, 10.0) == 0.0
    budget.spend(0.0, 10.0, 0.1)
    assert budget.wait(0.0, 10.0) == 10.0


def test_one_is_earned_back_after_a_gap_and_never_more_than_two() -> None:
    budget = ReloadBudget()
    for _ in range(2):
        budget.spend(0.0, 10.0, 0.1)

    assert budget.wait(4.0, 10.0) == 6.0
    assert budget.wait(10.0, 10.0) == 0.0
    budget.spend(1000.0, 10.0, 0.1)
    budget.spend(1000.0, 10.0, 0.1)
    assert budget.wait(1000.0, 10.0) == 10.0


def test_slow_reloads_are_further_apart() -> None:
    budget = ReloadBudget()
    for _ in range(2):
        budget.spend(0.0, 10.0, 8.0)

    assert budget.wait(0.0, 10.0) == 40.0


def test_without_a_gap_nothing_waits() -> None:
    budget = ReloadBudget()
    for _ in range(5):
        budget.spend(0.0, 0.0, 8.0)

    assert budget.wait(0.0, 0.0) == 0.0
