"""What the failure of a watch means."""

from __future__ import annotations

import pytest

from ingresskit.cache.verdict import Verdict, is_too_large, judge
from ingresskit.errors import (
    ApiError,
    Expired,
    Forbidden,
    IdleTimeout,
    StatusCause,
    TooManyRequests,
    TransportError,
)

TOO_LARGE = StatusCause("", "ResourceVersionTooLarge", "")


@pytest.mark.parametrize(
    ("error", "was_open", "verdict"),
    [
        (Expired(status=410), True, Verdict(relist="not older", pause=False)),
        (Expired(status=410), False, Verdict(relist="not older", pause=False)),
        (ApiError(status=504, causes=(TOO_LARGE,)), False, Verdict(relist="most recent", pause=False)),
        (ApiError(status=500, reason="StorageReadError"), True, Verdict(relist="most recent", pause=False)),
        (TooManyRequests(status=429), False, Verdict()),
        (TooManyRequests(status=429), True, Verdict()),
        (ApiError(status=503), False, Verdict(doubt=True)),
        (ApiError(status=500), True, Verdict(strike=True)),
        (ApiError(status=400), False, Verdict(strike=True)),
        (Forbidden(status=403), False, Verdict(strike=True)),
        (IdleTimeout("silent"), True, Verdict(doubt=True, pause=False)),
        (TransportError("refused"), False, Verdict(doubt=True)),
        (TransportError("cut"), True, Verdict(doubt=True, strike=True)),
    ],
)  # fmt: skip
def test_each_failure_has_its_meaning(
    error: ApiError | TransportError, was_open: bool, verdict: Verdict
) -> None:
    assert judge(error, was_open=was_open) == verdict


@pytest.mark.parametrize(
    ("error", "too_large"),
    [
        (ApiError(status=504, message="Too large resource version: 5, current: 3"), True),
        (ApiError(status=500, causes=(TOO_LARGE,)), True),
        (ApiError(status=504, message="etcd is slow"), False),
        (ApiError(status=400, message="too large resource version"), False),
    ],
)  # fmt: skip
def test_too_large_is_told_by_its_cause_or_by_the_words_of_old_servers(
    error: ApiError, too_large: bool
) -> None:
    assert is_too_large(error) is too_large
