"""`ingresskit._doubling`: waits that double with each failure."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingresskit._doubling import Doubling

SECOND = timedelta(seconds=1)


def test_waits_double_up_to_the_ceiling() -> None:
    waits = Doubling(SECOND, timedelta(seconds=30))

    assert [waits.after(failures).total_seconds() for failures in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize("failures", [0, -1])
def test_fewer_than_one_failure_count_as_one(failures: int) -> None:
    assert Doubling(SECOND, timedelta(seconds=30)).after(failures) == SECOND


def test_a_ceiling_below_the_first_wait_goes_before_it() -> None:
    assert Doubling(SECOND, timedelta(milliseconds=10)).after(1) == timedelta(milliseconds=10)


@given(
    st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=1)),
    st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=1)),
    st.integers(min_value=1, max_value=24),
)
def test_a_wait_is_the_lesser_of_ceiling_and_doubled_first(
    first: timedelta, ceiling: timedelta, failures: int
) -> None:
    assert Doubling(first, ceiling).after(failures) == min(ceiling, first * 2 ** (failures - 1))


def test_no_number_of_failures_overflows() -> None:
    assert Doubling(SECOND, timedelta.max).after(10_000) == timedelta.max
