"""A random history, seen by list and watch from any point, is the store."""

from __future__ import annotations

from itertools import groupby
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from ingresskit.testing.apiserver import ApiServer, Manifest
from ingresskit.testing.apiserver.calls import call
from tests.unit.testing_apiserver.samples import Watched, config, watching

CONFIGS = "/api/v1/configmaps"
NAMES = st.sampled_from("abc")
STEPS = st.one_of(
    st.tuples(st.just("put"), NAMES, st.sampled_from(["x", "y"]), st.integers(0, 2)),
    st.tuples(st.just("delete"), NAMES, st.just(""), st.just(0)),
)


Step: TypeAlias = tuple[str, str, str, int]


def play(server: ApiServer, step: Step) -> None:
    what, name, label, value = step
    if what == "put":
        server.put(config(name, data={"v": str(value)}, labels={"side": label}))
    elif name in state(server.list("v1", "ConfigMap")):
        server.delete("v1", "ConfigMap", name)


def state(items: list[Manifest]) -> dict[str, str]:
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}


def chosen(server: ApiServer, label: str) -> dict[str, str]:
    items = server.list("v1", "ConfigMap")
    return state([item for item in items if not label or item["metadata"]["labels"]["side"] == label])


def follow(watch: Watched, known: dict[str, str], version: int, end: str) -> list[dict[str, str]]:
    """The states that a client goes through, from *known* until the object *end* comes."""
    states = [dict(known)]
    while True:
        event = watch.event()
        metadata = event["object"]["metadata"]
        assert int(metadata["resourceVersion"]) > version
        version, name = int(metadata["resourceVersion"]), metadata["name"]
        if name == end:
            return states
        # Nothing is added twice, and nothing changes or goes that was not there.
        assert (event["type"] == "ADDED") is (name not in known)
        if event["type"] == "DELETED":
            del known[name]
        else:
            known[name] = metadata["resourceVersion"]
        states.append(dict(known))


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(STEPS, max_size=25),
    live=st.lists(STEPS, max_size=10),
    start=st.integers(0, 100),
    label=st.sampled_from(["", "x"]),
)
def test_list_and_watch_from_any_point_go_through_the_states_of_the_store(
    steps: list[Step], live: list[Step], start: int, label: str
) -> None:
    query = f"labelSelector=side%3D{label}" if label else ""
    server = ApiServer()
    first = server.revision
    snapshots = {first: chosen(server, label)}
    for step in steps:
        play(server, step)
        snapshots[server.revision] = chosen(server, label)
    version = first + start % (server.revision - first + 1)

    with server.running_in_thread():
        exact = f"resourceVersion={version}&resourceVersionMatch=Exact&{query}"
        listing = call(server, "GET", f"{CONFIGS}?{exact}").json
        known = state(listing["items"])
        assert listing["metadata"]["resourceVersion"] == str(version)
        assert known == snapshots[version]
        with watching(server, CONFIGS, f"resourceVersion={version}&{query}") as watch:
            for step in live:
                play(server, step)
                snapshots[server.revision] = chosen(server, label)
            server.create(config("end", labels={"side": label}))
            states = follow(watch, known, version, "end")

    lived = [snapshots[revision] for revision in sorted(snapshots) if revision >= version]
    assert states == [now for now, _ in groupby(lived)]


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(STEPS, max_size=25), limit=st.integers(1, 4), more=st.lists(STEPS, max_size=5))
def test_pages_of_any_size_are_one_list(steps: list[Step], limit: int, more: list[Step]) -> None:
    server = ApiServer()
    for step in steps:
        play(server, step)
    expected = state(server.list("v1", "ConfigMap"))

    with server.running_in_thread():
        page = call(server, "GET", f"{CONFIGS}?limit={limit}").json
        items = list(page["items"])
        for step in more:
            play(server, step)
        while token := page["metadata"].get("continue"):
            page = call(server, "GET", f"{CONFIGS}?limit={limit}&continue={token}").json
            assert 0 < len(page["items"]) <= limit
            items += page["items"]

    assert state(items) == expected
    assert len(items) == len(expected)
