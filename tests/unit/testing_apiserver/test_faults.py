"""Faults: each does what its name says, to the requests it is for, as often as it was told."""

from __future__ import annotations

import http.client
import json
import socket
import time

import pytest

from ingresskit.testing import pace
from ingresskit.testing.apiserver import (
    Answer,
    ApiServer,
    CloseWatch,
    Cut,
    Delay,
    Disconnect,
    DropEvents,
    Fault,
    HalfOpen,
    Match,
    ReorderEvents,
    RepeatEvents,
    SendLines,
    expired,
    too_large_version,
)
from ingresskit.testing.apiserver.calls import call, opened
from tests.unit.testing_apiserver.samples import INGRESSES, config, ingress, watching

CONFIGS = "/api/v1/namespaces/default/configmaps"
LISTS = Match(verbs=["list"])
WATCHES = Match(verbs=["watch"])


def statuses(server: ApiServer, path: str, times: int) -> list[int]:
    return [call(server, "GET", path).status for _ in range(times)]


def test_an_answer_is_given_as_often_as_it_was_told_and_waits_are_said(server: ApiServer) -> None:
    action = Answer(status=429, reason="TooManyRequests", retry_after=3)
    active = server.faults.add(Fault(action=action, match=LISTS, count=2))

    first = call(server, "GET", CONFIGS)
    rest = statuses(server, CONFIGS, 2)

    assert (first.status, first.headers["retry-after"]) == (429, "3")
    assert first.json["reason"] == "TooManyRequests"
    assert rest == [429, 200]
    assert active.hits == 2


def test_requests_are_spared_before_a_fault_begins(server: ApiServer) -> None:
    server.faults.add(Fault(action=Answer(status=500), match=LISTS, skip=1, count=1))

    assert statuses(server, CONFIGS, 3) == [200, 500, 200]


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        (Match(resources=["ingresses"]), True),
        (Match(resources=["configmaps"]), False),
        (Match(verbs=["list"], namespaces=["default"]), True),
        (Match(namespaces=[""]), False),
        (Match(users=["test-admin"]), True),
        (Match(users=["somebody"]), False),
        (Match(paths=["/apis/"]), True),
        (Match(paths=["/api/"]), False),
        (Match(where=lambda record: "limit" in record.query), False),
    ],
)
def test_a_fault_is_for_what_it_matches(server: ApiServer, match: Match, hit: bool) -> None:
    server.faults.add(Fault(action=Answer(status=503), match=match))

    assert (call(server, "GET", INGRESSES).status == 503) is hit


def test_a_page_of_a_proxy_is_html(server: ApiServer) -> None:
    server.faults.add(Fault(action=Answer.html(502)))

    answer = call(server, "GET", CONFIGS)

    assert (answer.status, answer.headers["content-type"]) == (502, "text/html")
    assert answer.body.startswith(b"<html>")


def test_a_body_may_be_broken_json_with_status_200(server: ApiServer) -> None:
    server.faults.add(Fault(action=Answer(status=200, body=b'{"kind":"ConfigMapList","items":[{')))

    with pytest.raises(ValueError, match="Expecting"):
        _ = call(server, "GET", CONFIGS).json


def test_the_servers_own_errors_can_be_given_at_will(server: ApiServer) -> None:
    server.faults.add(Fault(action=Answer.of(too_large_version(7, 5)), match=LISTS, count=1))

    answer = call(server, "GET", CONFIGS)

    assert (answer.status, answer.json["reason"], answer.headers["retry-after"]) == (504, "Timeout", "1")


def test_a_fault_ends_with_its_time(server: ApiServer) -> None:
    server.faults.add(Fault(action=Answer(status=500), seconds=0.05))
    started = time.monotonic()

    while call(server, "GET", CONFIGS).status == 500:
        assert time.monotonic() - started < 10

    assert time.monotonic() - started >= 0.05


def test_removed_faults_are_over(server: ApiServer) -> None:
    active = server.faults.add(Fault(action=Answer(status=500)))
    server.faults.remove(active)

    assert statuses(server, CONFIGS, 1) == [200]
    assert len(server.faults) == 0


def test_delays_add_up_and_end_when_the_client_goes(server: ApiServer) -> None:
    server.faults.add(Fault(action=Delay(seconds=0.1), match=LISTS))
    server.faults.add(Fault(action=Delay(seconds=0.1), match=LISTS))
    started = time.monotonic()
    assert call(server, "GET", CONFIGS).status == 200
    assert time.monotonic() - started >= 0.2

    server.faults.clear()
    server.faults.add(Fault(action=Delay(seconds=3600)))
    with pytest.raises(TimeoutError):
        call(server, "GET", CONFIGS, timeout=0.1)
    server.requests.wait_for(lambda log: not log.select(open_only=True))


@pytest.mark.parametrize("reset", [False, True], ids=["in order", "by a reset"])
def test_a_connection_may_be_closed_without_an_answer(server: ApiServer, reset: bool) -> None:
    server.faults.add(Fault(action=Disconnect(reset=reset), count=1))
    expected = ConnectionResetError if reset else http.client.RemoteDisconnected

    with pytest.raises(expected):
        call(server, "GET", CONFIGS)

    assert statuses(server, CONFIGS, 1) == [200]


def test_a_list_is_cut_after_so_many_octets(server: ApiServer) -> None:
    server.create(config("a"))
    server.faults.add(Fault(action=Cut(after=40), match=LISTS, count=1))

    with pytest.raises(http.client.IncompleteRead) as caught:
        call(server, "GET", CONFIGS)

    assert len(caught.value.partial) == 40


def test_a_list_is_cut_inside_a_character(server: ApiServer) -> None:
    server.create(config("a", data={"greeting": "grüß"}))
    server.faults.add(Fault(action=Cut(inside="character"), match=LISTS))

    with pytest.raises(http.client.IncompleteRead) as caught:
        call(server, "GET", CONFIGS)

    with pytest.raises(UnicodeDecodeError, match="unexpected end of data"):
        caught.value.partial.decode()


def test_an_open_watch_is_cut_inside_a_line(server: ApiServer) -> None:
    with watching(server, CONFIGS, f"resourceVersion={server.revision}") as watch:
        server.create(config("a"))
        assert watch.change() == ("ADDED", "a")
        server.faults.add(Fault(action=Cut(inside="line"), match=WATCHES))
        server.create(config("b"))

        try:
            last = watch.line()
        except http.client.IncompleteRead as exc:
            last = exc.partial

    assert last.startswith(b'{"type":"ADDED"')
    with pytest.raises(json.JSONDecodeError):
        json.loads(last)


def test_an_open_watch_goes_silent_and_stays_open(server: ApiServer) -> None:
    with watching(server, CONFIGS, f"resourceVersion={server.revision}", timeout=0.3) as watch:
        server.create(config("a"))
        assert watch.change() == ("ADDED", "a")
        server.faults.add(Fault(action=HalfOpen(), match=WATCHES, count=1))
        server.create(config("b"))

        with pytest.raises(TimeoutError):
            watch.line()
        assert len(server.requests.select(verb="watch", open_only=True)) == 1

    with watching(server, CONFIGS, f"resourceVersion={server.revision - 1}") as watch:
        assert watch.change() == ("ADDED", "b")


def test_watches_are_closed_every_so_often(server: ApiServer) -> None:
    server.faults.add(Fault(action=CloseWatch(after_seconds=0.1), match=WATCHES))

    for _ in range(2):
        started = time.monotonic()
        with watching(server, CONFIGS, f"resourceVersion={server.revision}") as watch:
            assert watch.rest() == []
        assert 0.1 <= time.monotonic() - started < 5


def test_watches_are_closed_after_so_many_events(server: ApiServer) -> None:
    server.load([config("a"), config("b"), config("c")])
    server.faults.add(Fault(action=CloseWatch(after_events=2), match=WATCHES))

    with watching(server, CONFIGS) as watch:
        assert len(watch.rest()) == 2


def test_chosen_events_are_lost(server: ApiServer) -> None:
    server.load([config("a"), config("b")])
    active = server.faults.add(Fault(action=DropEvents(types=["DELETED"], names=["a"], count=1)))

    with watching(server, CONFIGS, f"resourceVersion={server.revision}") as watch:
        server.delete("v1", "ConfigMap", "a")
        server.delete("v1", "ConfigMap", "b")
        server.create(config("a"))
        seen = [watch.change() for _ in range(2)]

    assert seen == [("DELETED", "b"), ("ADDED", "a")]
    assert active.events == 1


def test_bookmarks_are_all_that_is_left_when_changes_are_dropped(server: ApiServer) -> None:
    server.faults.add(Fault(action=DropEvents(), match=WATCHES))

    with watching(server, CONFIGS, f"resourceVersion={server.revision}&allowWatchBookmarks=true") as watch:
        server.create(config("a"))
        while (event := watch.event())["object"]["metadata"]["resourceVersion"] != str(server.revision):
            assert event["type"] == "BOOKMARK"

    assert event["type"] == "BOOKMARK"


def test_events_are_repeated(server: ApiServer) -> None:
    server.faults.add(Fault(action=RepeatEvents(times=3), match=WATCHES))

    with watching(server, CONFIGS, f"resourceVersion={server.revision}") as watch:
        server.create(config("a"))
        server.create(config("b"))
        seen = [watch.change() for _ in range(6)]

    assert seen == [("ADDED", "a")] * 3 + [("ADDED", "b")] * 3


def test_events_come_in_another_order(server: ApiServer) -> None:
    server.faults.add(Fault(action=ReorderEvents(window=2), match=WATCHES))

    with watching(server, CONFIGS, f"resourceVersion={server.revision}") as watch:
        server.create(config("a"))
        server.put(config("a", data={"k": "v"}))
        seen = [watch.change() for _ in range(2)]

    assert seen == [("MODIFIED", "a"), ("ADDED", "a")]


def test_an_error_event_ends_the_watch(server: ApiServer) -> None:
    server.create(config("a"))
    action = SendLines.error(expired("too old resource version: 1 (2)"), after_events=1)
    server.faults.add(Fault(action=action, match=WATCHES, count=1))

    with watching(server, CONFIGS) as watch:
        events = watch.rest()

    assert [event["type"] for event in events] == ["ADDED", "ERROR"]
    assert (events[1]["object"]["code"], events[1]["object"]["reason"]) == (410, "Expired")


def test_lines_that_are_no_events_are_sent_once_and_the_watch_goes_on(server: ApiServer) -> None:
    server.faults.add(Fault(action=SendLines(lines=(b"\n", b"not json\n")), match=WATCHES))
    server.faults.add(Fault(action=SendLines.event("SYNC", {"kind": "Odd"}), match=WATCHES))

    with watching(server, CONFIGS, f"resourceVersion={server.revision}") as watch:
        first, second, third = watch.line(), watch.line(), watch.event()
        server.create(config("a"))

        assert (first, second) == (b"\n", b"not json\n")
        assert third == {"type": "SYNC", "object": {"kind": "Odd"}}
        assert watch.change() == ("ADDED", "a")


def test_refused_connections_are_refused_until_they_are_accepted_again(server: ApiServer) -> None:
    url = server.url
    with watching(server, CONFIGS) as watch:
        server.refuse_connections()
        with pytest.raises((http.client.HTTPException, ConnectionError, EOFError)):
            watch.line()

    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            call(server, "GET", CONFIGS)
    server.accept_connections()

    assert server.url == url
    assert statuses(server, CONFIGS, 1) == [200]


def test_refusing_may_leave_open_connections_alone(server: ApiServer) -> None:
    with watching(server, CONFIGS) as watch:
        server.refuse_connections(drop=False)
        server.create(config("a"))

        assert watch.change() == ("ADDED", "a")


def test_connections_are_dropped_by_resets(server: ApiServer) -> None:
    with watching(server, CONFIGS) as watch:
        server.drop_connections(reset=True)

        with pytest.raises(ConnectionResetError):
            watch.line()


def test_a_paused_server_takes_connections_and_does_nothing(server: ApiServer) -> None:
    server.pause()
    with opened(server, timeout=0.2) as connection:
        connection.request(
            "POST", CONFIGS, json.dumps(config("a")), {"Authorization": f"Bearer {server.token}"}
        )
        with pytest.raises(TimeoutError):
            connection.getresponse()
    assert server.list("v1", "ConfigMap") == []

    server.resume()

    assert statuses(server, CONFIGS, 1) == [200]


def test_what_is_no_http_is_answered_with_400(server: ApiServer) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=pace.within(5)) as raw:
        raw.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")

        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")


def test_an_object_too_large_is_413(server: ApiServer) -> None:
    answer = call(server, "POST", CONFIGS, config("big", data={"k": "x" * (3 * 1024 * 1024)}))

    assert answer.status == 413


def test_the_log_counts_rates_and_what_was_under_way_at_once(server: ApiServer) -> None:
    server.create(ingress("web"))
    statuses(server, CONFIGS, 3)
    with watching(server, CONFIGS), watching(server, CONFIGS):
        pass
    server.requests.wait_for(lambda log: not log.select(open_only=True))

    assert server.requests.busiest(10.0, verb="list", resource="configmaps") == 3
    assert server.requests.busiest(0.0, verb="list") == 1
    assert server.requests.peak(verb="list") == 1
    assert server.requests.peak(verb="watch") == 2
    first = next(iter(server.requests))
    assert (first.verb, first.resource, first.user, first.status) == ("list", "configmaps", "test-admin", 200)


def test_waiting_for_a_request_that_never_comes_is_an_error(server: ApiServer) -> None:
    with pytest.raises(TimeoutError, match="0 requests"):
        server.requests.wait_for(lambda log: len(log) > 0, timeout=0.01)
