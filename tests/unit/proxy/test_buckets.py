"""Token buckets: how much they let through, and that there are never too many of them."""

from __future__ import annotations

from ingresskit.proxy.limits.buckets import TokenBuckets
from ingresskit.proxy.limits.places import Places


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_lets_its_burst_through_and_then_its_rate() -> None:
    clock = Clock()
    buckets = TokenBuckets(clock)

    at_once = [buckets.take(("a",), 2.0, 3) for _ in range(5)]
    clock.now += 0.5
    after_half_a_second = [buckets.take(("a",), 2.0, 3) for _ in range(2)]
    clock.now += 3600
    after_an_hour = [buckets.take(("a",), 2.0, 3) for _ in range(5)]

    assert at_once == [True, True, True, False, False]
    assert after_half_a_second == [True, False]
    assert after_an_hour == [True, True, True, False, False]


def test_refusals_do_not_put_the_next_token_off() -> None:
    clock = Clock()
    buckets = TokenBuckets(clock)
    buckets.take(("a",), 1.0, 1)

    refusals: list[bool] = []
    for _ in range(7):
        clock.now += 0.125
        refusals.append(buckets.take(("a",), 1.0, 1))
    clock.now += 0.125
    last = buckets.take(("a",), 1.0, 1)

    assert not any(refusals)
    assert last


def test_buckets_are_apart_by_key() -> None:
    buckets = TokenBuckets(Clock())

    assert [buckets.take(key, 0.0, 1) for key in (("a",), ("b",), ("a",), ("b",))] == [True, True, False, False]


def test_there_are_never_more_buckets_than_allowed_and_the_one_in_use_stays() -> None:
    buckets = TokenBuckets(Clock(), most=3)
    buckets.take(("in use",), 0.0, 1)

    for number in range(100):
        buckets.take((number,), 0.0, 1)
        assert not buckets.take(("in use",), 0.0, 1)

    assert len(buckets) == 3


def test_a_request_takes_of_all_buckets_or_of_none() -> None:
    clock = Clock()
    buckets = TokenBuckets(clock)

    wide, narrow = (("wide",), 0.0, 3), (("narrow",), 1.0, 1)
    found = [buckets.take_all([wide, narrow]) for _ in range(3)]
    left = [buckets.take(*wide) for _ in range(3)]

    assert found == [True, False, False]
    assert left == [True, True, False]


def test_places_are_known_only_while_they_are_held() -> None:
    places = Places()

    assert [places.take(("a",), 2) for _ in range(3)] == [True, True, False]
    places.leave(("a",))
    assert places.take(("a",), 2)
    places.leave(("a",))
    places.leave(("a",))
    assert len(places) == 0
