"""How many clients move when endpoints come or go: those of that endpoint, and no others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingresskit.graph import Protocol
from ingresskit.proxy.endpoints import EndpointState
from ingresskit.proxy.upstreams.hashing import highest, score

HASHES = st.lists(st.integers(min_value=0, max_value=2**64 - 1), min_size=1, max_size=50)
NUMBERS = st.lists(st.integers(min_value=1, max_value=65535), min_size=2, max_size=12, unique=True)


def endpoints(numbers: list[int]) -> list[EndpointState]:
    return [EndpointState("10.0.0.1", number, Protocol.HTTP) for number in numbers]


def home(items: list[EndpointState], hashed: int, count: int = 1) -> set[str]:
    return {str(item) for item in highest(items, hashed, lambda item: item.seed, count)}


@given(HASHES, NUMBERS, st.integers(min_value=1, max_value=4))
def test_a_new_endpoint_takes_over_what_it_gets_and_nothing_else_moves(
    hashes: list[int], numbers: list[int], count: int
) -> None:
    after = endpoints(numbers)
    before, new = after[:-1], str(after[-1])
    for hashed in hashes:
        old, now = home(before, hashed, count), home(after, hashed, count)
        assert now - old <= {new}


@given(HASHES, NUMBERS)
def test_the_order_of_endpoints_decides_nothing(hashes: list[int], numbers: list[int]) -> None:
    items = endpoints(numbers)
    for hashed in hashes:
        assert home(items, hashed) == home(items[::-1], hashed)


def test_every_endpoint_gets_about_its_share() -> None:
    items = endpoints(list(range(8001, 8009)))
    counts = dict.fromkeys(map(str, items), 0)
    for hashed in range(0, 2**64, 2**64 // 8000):
        counts[home(items, hashed).pop()] += 1

    assert all(800 < count < 1200 for count in counts.values())
    assert score(1, 2) != score(2, 2)
