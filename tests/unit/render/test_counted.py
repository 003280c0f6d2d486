"""A mapping of many contributions is what putting all of them together gives, whatever came and went."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingresskit.render.counted import CountedMap, FirstMap

_OWNERS = st.sampled_from("abcd")
_KEYS = st.sampled_from(range(6))
_STEPS = st.lists(st.tuples(_OWNERS, st.dictionaries(_KEYS, st.integers(0, 2))), max_size=20)


@given(_STEPS)
def test_counted_map_holds_each_key_as_long_as_an_owner_contributes_it(
    steps: list[tuple[str, dict[int, int]]],
) -> None:
    counted = CountedMap[int, int]()
    held: dict[str, dict[int, int]] = {}
    before = counted.mapping()

    for owner, keys in steps:
        items = {key: key * 10 for key in keys}
        counted.replace(held.get(owner, {}), items)
        held[owner] = items
        after = counted.mapping()
        assert after == {key: value for items in held.values() for key, value in items.items()}
        assert after is before or after.keys() ^ before.keys()
        before = after


@given(_STEPS)
def test_first_map_holds_what_the_first_owner_contributes(steps: list[tuple[str, dict[int, int]]]) -> None:
    first = FirstMap[int, int]()
    held: dict[str, dict[int, int]] = {}
    before = first.mapping()

    for owner, items in steps:
        first.replace(owner, items)
        held[owner] = items
        after = first.mapping()
        assert after == {key: held[name][key] for name in sorted(held, reverse=True) for key in held[name]}
        assert after is before or after != before
        before = after
