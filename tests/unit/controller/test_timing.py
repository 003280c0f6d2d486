from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ingresskit.controller.timing import next_turn, retry_delay
from ingresskit.graph import Certificate
from ingresskit.models import ObjectKey

FIRST, CEILING = timedelta(milliseconds=500), timedelta(seconds=30)


def test_waits_double_up_to_the_ceiling() -> None:
    waits = [retry_delay(failures, FIRST, CEILING, 0).total_seconds() for failures in range(1, 10)]

    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize("failures", [1, 5, 40, 10**9], ids=str)
def test_jitter_leaves_out_half_a_wait_at_most(failures: int) -> None:
    whole = retry_delay(failures, FIRST, CEILING, 0)

    assert retry_delay(failures, FIRST, CEILING, 0.999) >= whole / 2
    assert retry_delay(failures, FIRST, CEILING, 0.5) < whole


NOW = datetime(2026, 6, 1, tzinfo=UTC)


def certificate(begins: int, ends: int) -> Certificate:
    """Valid from and to so many days from now."""
    return Certificate(
        secret=ObjectKey("shop", "tls"),
        chain=b"",
        private_key=b"",
        digest="",
        names=(),
        not_before=NOW + timedelta(days=begins),
        not_after=NOW + timedelta(days=ends),
    )


@pytest.mark.parametrize(
    ("certificates", "days"),
    [
        pytest.param([certificate(-9, 5), certificate(-9, 3)], 3, id="the first to expire"),
        pytest.param([certificate(2, 9), certificate(-9, 5)], 2, id="one that begins to be valid"),
        pytest.param(
            [certificate(-9, -1), certificate(-9, 7)], 7, id="one that expired long ago does not count"
        ),
    ],
)
def test_the_next_turn_is_when_a_certificate_begins_or_ends(certificates: list[Certificate], days: int) -> None:
    assert next_turn(certificates, NOW) == NOW + timedelta(days=days)


def test_without_certificates_there_is_no_turn() -> None:
    assert next_turn([certificate(-9, -8)], NOW) is None
