"""Watches: where they start, what they tell, how they end."""

from __future__ import annotations

import pytest

from ingresskit.testing.apiserver import ApiServer
from ingresskit.testing.apiserver.calls import call
from tests.unit.testing_apiserver.samples import config, watching

CONFIGS = "/api/v1/namespaces/default/configmaps"
INITIAL = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"


def test_a_watch_from_a_version_tells_all_later_changes_in_order(server: ApiServer) -> None:
    server.create(config("before"))
    then = server.revision
    server.create(config("a"))
    server.put(config("a", data={"x": "1"}))

    with watching(server, CONFIGS, f"resourceVersion={then}") as watch:
        server.delete("v1", "ConfigMap", "a")
        server.create(config("b"))
        seen = [watch.event() for _ in range(4)]

    assert [(event["type"], event["object"]["metadata"]["name"]) for event in seen] == [
        ("ADDED", "a"),
        ("MODIFIED", "a"),
        ("DELETED", "a"),
        ("ADDED", "b"),
    ]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in seen]
    assert versions == list(range(then + 1, then + 5))
    assert all(event["object"]["kind"] == "ConfigMap" for event in seen)


@pytest.mark.parametrize("query", ["", "resourceVersion=0"], ids=["no version", "version 0"])
def test_a_watch_from_anywhere_starts_with_what_there_is(server: ApiServer, query: str) -> None:
    server.create(config("a"))

    with watching(server, CONFIGS, query) as watch:
        first = watch.change()
        server.create(config("b"))
        second = watch.change()

    assert (first, second) == (("ADDED", "a"), ("ADDED", "b"))


def test_the_initial_events_end_with_a_bookmark_that_says_so(server: ApiServer) -> None:
    server.create(config("a"))
    server.advance(10)

    with watching(server, CONFIGS, INITIAL) as watch:
        first, end = watch.event(), watch.event()

    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "a")
    assert end["type"] == "BOOKMARK"
    assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert end["object"]["metadata"]["resourceVersion"] == str(server.revision)


@pytest.mark.parametrize(
    "query",
    [
        "sendInitialEvents=true",
        "sendInitialEvents=true&resourceVersionMatch=Exact",
        "resourceVersionMatch=Exact",
    ],
)
def test_options_that_do_not_fit_together_are_422(server: ApiServer, query: str) -> None:
    assert call(server, "GET", f"{CONFIGS}?watch=1&{query}").status == 422


def test_a_server_without_watch_lists_refuses_them(server: ApiServer) -> None:
    server.set_watch_list(understood=False)

    answer = call(server, "GET", f"{CONFIGS}?watch=1&{INITIAL}")

    assert answer.status == 422
    assert "WatchList feature gate" in answer.json["message"]


def test_bookmarks_come_regularly_and_move_with_other_resources(server: ApiServer) -> None:
    with watching(server, CONFIGS, f"resourceVersion={server.revision}&allowWatchBookmarks=true") as watch:
        first = watch.event()
        server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
        second = watch.event()

    assert first["type"] == second["type"] == "BOOKMARK"
    assert int(second["object"]["metadata"]["resourceVersion"]) == server.revision
    assert set(second["object"]) == {"kind", "apiVersion", "metadata"}


def test_nobody_gets_bookmarks_who_did_not_ask(server: ApiServer) -> None:
    with watching(server, CONFIGS, f"resourceVersion={server.revision}&timeoutSeconds=1") as watch:
        assert watch.rest() == []


def test_a_watch_ends_in_good_order_after_its_time(server: ApiServer) -> None:
    server.create(config("a"))

    with watching(server, CONFIGS, "timeoutSeconds=1") as watch:
        events = watch.rest()

    assert [event["type"] for event in events] == ["ADDED"]
    server.requests.wait_for(lambda log: not log.select(verb="watch", open_only=True))
    (record,) = server.requests.select(verb="watch")
    assert record.ended is not None
    assert 0.9 < record.ended - record.time < 5


def test_objects_come_and_go_with_their_labels(server: ApiServer) -> None:
    server.create(config("a", labels={"app": "web"}))

    with watching(server, CONFIGS, f"resourceVersion={server.revision}&labelSelector=app%3Dweb") as watch:
        server.put(config("a", labels={"app": "db"}))
        left = watch.event()
        server.put(config("a", labels={"app": "db", "x": "y"}))
        server.put(config("a", labels={"app": "web"}))
        back = watch.event()

    assert (left["type"], left["object"]["metadata"]["labels"]) == ("DELETED", {"app": "web"})
    assert int(left["object"]["metadata"]["resourceVersion"]) == server.revision - 2
    assert (back["type"], back["object"]["metadata"]["labels"]) == ("ADDED", {"app": "web"})


def test_one_object_is_watched_by_its_name(server: ApiServer) -> None:
    query = f"resourceVersion={server.revision}&fieldSelector=metadata.name%3Db"

    with watching(server, CONFIGS, query) as watch:
        server.create(config("a"))
        server.create(config("b"))

        assert watch.change() == ("ADDED", "b")


def test_a_watch_of_a_namespace_hears_nothing_of_others(server: ApiServer) -> None:
    with watching(server, CONFIGS, f"resourceVersion={server.revision}") as watch:
        server.load([config("theirs", namespace="other"), config("ours")])

        assert watch.change() == ("ADDED", "ours")


def test_a_watch_from_a_compacted_version_is_told_410_in_the_stream(server: ApiServer) -> None:
    then = server.revision
    server.create(config("a"))
    server.compact()

    with watching(server, CONFIGS, f"resourceVersion={then}") as watch:
        events = watch.rest()

    assert [event["type"] for event in events] == ["ERROR"]
    status = events[0]["object"]
    assert (status["code"], status["reason"]) == (410, "Expired")
    assert status["message"] == f"too old resource version: {then} ({server.revision})"


def test_a_watch_from_a_compacted_version_may_be_410_at_once() -> None:
    with ApiServer.in_thread(expired_watch="status") as server:
        then = server.revision
        server.create(config("a"))
        server.compact()

        answer = call(server, "GET", f"{CONFIGS}?watch=1&resourceVersion={then}")

    assert (answer.status, answer.json["reason"]) == (410, "Expired")


def test_compaction_does_not_hurt_open_watches(server: ApiServer) -> None:
    with watching(server, CONFIGS, f"resourceVersion={server.revision}") as watch:
        server.create(config("a"))
        server.create(config("b"))
        server.compact()

        assert [watch.change(), watch.change()] == [("ADDED", "a"), ("ADDED", "b")]


def test_after_a_restore_a_watch_from_later_is_silent_and_lists_go_back(server: ApiServer) -> None:
    server.create(config("a"))
    then = server.revision
    server.create(config("b"))
    server.create(config("c"))
    later = server.revision
    server.restore(then)
    server.create(config("d"))

    with watching(
        server, CONFIGS, f"resourceVersion={later}&timeoutSeconds=1&allowWatchBookmarks=true"
    ) as watch:
        told = watch.rest()
    listing = call(server, "GET", CONFIGS).json

    assert told == []
    assert [item["metadata"]["name"] for item in listing["items"]] == ["a", "d"]
    assert listing["metadata"]["resourceVersion"] == str(then + 1)


def test_a_history_that_ran_over_is_410() -> None:
    with ApiServer.in_thread(history_limit=4) as server:
        then = server.revision
        for number in range(6):
            server.create(config(f"c{number}"))

        with watching(server, CONFIGS, f"resourceVersion={then}") as watch:
            assert [event["type"] for event in watch.rest()] == ["ERROR"]


def test_a_client_that_goes_ends_its_watch(server: ApiServer) -> None:
    with watching(server, CONFIGS):
        assert len(server.requests.select(verb="watch", open_only=True)) == 1

    server.requests.wait_for(lambda log: not log.select(verb="watch", open_only=True))
