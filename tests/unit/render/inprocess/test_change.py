"""The difference between two routing tables, sent to a process that has the first of them."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from ingresskit.graph import Backend, BackendKey, Endpoint
from ingresskit.render.inprocess import HostTable, RoutingTable, TableChange, table_change

WORLDS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2), max_size=6)
HOSTS = {(name, version): HostTable(host=f"{name}{version}.test") for name in "abcdef" for version in range(3)}
KEYS = {name: BackendKey("shop", name, 80) for name in "abcdef"}
BACKENDS = {
    (name, version): Backend(key=KEYS[name], endpoints=(Endpoint(address=f"10.0.0.{version}", port=80),))
    for name in "abcdef"
    for version in range(3)
}


def make_table(world: dict[str, int], *, fallthrough: bool = False) -> RoutingTable:
    return RoutingTable(
        hosts={f"{name}.test": HOSTS[item] for item in world.items() for name in [item[0]]},
        backends={KEYS[item[0]]: BACKENDS[item] for item in world.items()},
        certificates=dict.fromkeys(world),
        host_fallthrough=fallthrough,
    )


@given(WORLDS, WORLDS, st.booleans())
def test_the_second_table_is_made_of_the_first_and_what_was_sent(
    first: dict[str, int], second: dict[str, int], fallthrough: bool
) -> None:
    before, after = make_table(first), make_table(second, fallthrough=fallthrough)
    change: TableChange = pickle.loads(pickle.dumps(table_change(before, after)))  # noqa: S301

    assert change.applied(before) == after


@given(WORLDS, WORLDS)
def test_only_what_differs_is_sent(first: dict[str, int], second: dict[str, int]) -> None:
    change = table_change(make_table(first), make_table(second))
    differing = {f"{name}.test" for name, version in second.items() if first.get(name) != version}

    assert change.hosts.put.keys() == differing
    assert set(change.hosts.gone) == {f"{name}.test" for name in first.keys() - second.keys()}


def test_what_did_not_change_stays_the_same_object() -> None:
    before = make_table({"a": 0, "b": 0})
    after = table_change(before, make_table({"a": 0, "b": 1})).applied(before)

    assert after.hosts["a.test"] is before.hosts["a.test"]
    assert after.backends[KEYS["a"]] is before.backends[KEYS["a"]]
    assert after.certificates == before.certificates
