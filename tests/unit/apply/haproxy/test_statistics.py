from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from ingresskit.apply.haproxy.accesslog import AccessLogSocket, read_record
from ingresskit.apply.haproxy.cli_responses import read_crt_list, read_processes, read_stat
from ingresskit.apply.haproxy.statistics import HaproxyBackendStatistics, HaproxyStatistics, Tally
from ingresskit.graph import BackendKey
from ingresskit.render.access import AccessRecord
from ingresskit.testing import pace
from ingresskit.traffic import DURATION_BOUNDS

SHOP, BLOG = BackendKey("shop", "web", 80), BackendKey("blog", "web", 80)


def frontend(**columns: int) -> Mapping[str, str]:
    return {"pxname": "edge", "svname": "FRONTEND", **{name: str(value) for name, value in columns.items()}}


def server(slot: str, **columns: int) -> Mapping[str, str]:
    return {"pxname": slot, "svname": "s1", **{name: str(value) for name, value in columns.items()}}


def counted(tally: Tally, *, timed: bool = False) -> HaproxyStatistics:
    return tally.statistics(reloads=1, old_workers=0, slots_free=3, dropped=0, unreadable=0, timed=timed)


def test_counts_of_one_process_grow() -> None:
    tally = Tally()
    tally.take("1", [frontend(conn_tot=5, hrsp_2xx=4, bin=100)], {})
    tally.take("1", [frontend(conn_tot=7, hrsp_2xx=5, hrsp_5xx=1, bin=150)], {})

    seen = counted(tally)

    assert (seen.connections_total, seen.received_bytes) == (7, 150)
    assert seen.requests_by_class == {2: 5, 5: 1}


def test_a_new_process_counts_from_zero_and_the_sum_goes_on() -> None:
    tally = Tally()
    tally.take("1", [frontend(conn_tot=5)], {})
    tally.take("2", [frontend(conn_tot=2)], {})

    assert counted(tally).connections_total == 7


def test_what_a_slot_counted_belongs_to_who_stands_in_it() -> None:
    tally = Tally()
    tally.take("1", [server("a.1", stot=5, econ=1)], {"a.1": SHOP})
    tally.take("1", [], {})
    tally.take("1", [server("a.1", stot=2, eresp=1, scur=1)], {"a.1": BLOG})

    assert counted(tally).backends == {BLOG: HaproxyBackendStatistics(requests=2, failures=1, active=1)}


def test_hosts_that_are_gone_are_counted_as_nobodys() -> None:
    tally = Tally()
    tally.count_request("a.test", 200)
    tally.count_request("a.test", 404)
    tally.count_request("b.test", 200)

    tally.keep_hosts(["b.test"])

    assert counted(tally).requests == {"": {2: 1, 4: 1}, "b.test": {2: 1}}


def test_durations_are_counted_where_there_is_an_access_log() -> None:
    tally = Tally()
    tally.count_request("a.test", 200, duration=0.02, first_byte=0.004)
    tally.count_request("a.test", 404, duration=3600.0)

    found = counted(tally, timed=True)
    without = counted(tally)

    assert {bound: n for bound, n in zip((*DURATION_BOUNDS, None), found.durations, strict=True) if n} == {
        0.025: 1,
        None: 1,
    }
    assert {bound: n for bound, n in zip(DURATION_BOUNDS, found.first_bytes, strict=False) if n} == {0.005: 1}
    assert (found.duration_sum, found.first_byte_sum) == (3600.02, 0.004)
    assert without.durations == without.first_bytes == ()


def test_they_state_their_metrics() -> None:
    tally = Tally()
    tally.take("1", [frontend(hrsp_2xx=4), server("a.1", stot=5)], {"a.1": SHOP})

    found = {item.name: item for item in counted(tally).families()}

    assert found["requests"].samples[0].value == 4
    assert found["backend_requests"].samples[0].labels == (("backend", "shop/web:80"),)
    assert found["slots_open"].kind == "gauge"


LINE = {
    "client": "192.0.2.1",
    "method": "GET",
    "host": "a.test",
    "path": "/x",
    "rule_host": "*.test",
    "route": "forward",
    "status": "200",
    "sent_bytes": "12",
    "milliseconds": "1500",
    "backend": "b1",
    "endpoint": "10.0.0.1:80",
    "retries": "+1",
    "request_id": "r1",
    "sent": "200",
    "upstream": "200",
    "ended": "--",
    "waited": "0",
    "connected": "3",
    "responded": "20",
    "error": "0",
}


def test_a_line_of_the_access_log_becomes_a_record() -> None:
    read = read_record(json.dumps(LINE).encode(), {"b1": SHOP}.get)

    assert (read.client, read.host, read.path, read.rule_host) == ("192.0.2.1", "a.test", "/x", "*.test")
    assert (read.status, read.sent_bytes, read.duration) == (200, 12, 1.5)
    assert (read.backend, read.endpoint, read.attempts, read.request_id) == (SHOP, "10.0.0.1:80", 2, "r1")
    assert (read.termination, read.detail, read.upstream_status) == (None, "", 200)
    assert (read.connect_time, read.first_byte_time) == (0.003, 0.023)


@pytest.mark.parametrize(
    ("fields", "status", "termination", "detail"),
    [
        pytest.param(
            {"ended": "SC", "status": "503", "sent": "502"}, 502, "upstream_refused", "", id="refused"
        ),
        pytest.param(
            {"ended": "SC", "status": "503", "sent": "502", "endpoint": "-:-"},
            502,
            "upstream_refused",
            "no endpoint takes connections",
            id="every endpoint is left out",
        ),
        pytest.param(
            {"ended": "sC", "status": "503", "sent": "502"}, 502, "upstream_connect_timeout", "", id="late"
        ),
        pytest.param({"ended": "SC", "sent": "502", "error": "34"}, 502, "upstream_tls", "", id="handshake"),
        pytest.param({"ended": "SH", "sent": "502"}, 502, "upstream_closed", "", id="closed"),
        pytest.param({"ended": "PH", "sent": "502"}, 502, "upstream_malformed", "", id="malformed"),
        pytest.param({"ended": "sH", "sent": "504"}, 504, "upstream_read_timeout", "", id="silent"),
        pytest.param({"ended": "CH", "sent": "400"}, 499, "client_left", "", id="client left before"),
        pytest.param({"ended": "CD", "upstream": "200"}, 200, "client_left", "", id="client left in the body"),
        pytest.param({"ended": "SD", "upstream": "200"}, 200, "upstream_truncated", "", id="truncated"),
        pytest.param({"ended": "SD", "upstream": "101", "sent": "101"}, 101, None, "", id="tunnel ended"),
        pytest.param({"ended": "PR", "sent": "403", "endpoint": "-:-"}, 403, "denied", "", id="source"),
        pytest.param({"ended": "PR", "sent": "413", "endpoint": "-:-"}, 413, "body_too_large", "", id="length"),
        pytest.param(
            {"ended": "PR", "sent": "503", "endpoint": "-:-"}, 503, "no_endpoint", "", id="no endpoint"
        ),
        pytest.param(
            {"ended": "PR", "sent": "404", "endpoint": "-:-", "route": "-"}, 404, "no_route", "", id="no route"
        ),
        pytest.param(
            {"ended": "LR", "sent": "503", "endpoint": "-:-", "route": "respond-503"},
            503,
            "unavailable",
            "",
            id="closed route",
        ),
        pytest.param(
            {"ended": "LR", "sent": "308", "endpoint": "-:-", "route": "redirect-308"},
            308,
            None,
            "",
            id="redirect",
        ),
        pytest.param(
            {"ended": "LR", "sent": "200", "endpoint": "-:-", "route": "-", "rule_host": "-"},
            200,
            None,
            "",
            id="the proxy itself was asked",
        ),
        pytest.param(
            {"ended": "cR", "sent": "-", "status": "408", "endpoint": "-:-"},
            408,
            "client_timeout",
            "",
            id="no head",
        ),
        pytest.param(
            {"ended": "PR", "sent": "-", "status": "400", "endpoint": "-:-"},
            400,
            "bad_request",
            "",
            id="no request",
        ),
    ],
)
def test_a_line_says_why_a_request_ended(
    fields: dict[str, str], status: int, termination: str | None, detail: str
) -> None:
    read = read_record(json.dumps(LINE | {"upstream": "-"} | fields).encode(), {"b1": SHOP}.get)

    assert (read.status, read.termination, read.detail) == (status, termination, detail)


def test_a_request_that_haproxy_answered_by_itself_went_nowhere() -> None:
    line = LINE | {"status": "404", "backend": "-", "endpoint": "-:-", "route": "-", "rule_host": "*"}
    read = read_record(json.dumps(line).encode(), {"b1": SHOP}.get)

    assert (read.backend, read.endpoint, read.attempts, read.request_id) == (None, "", 0, "")
    assert read.rule_host == ""


def test_a_client_that_left_is_written_down_as_499() -> None:
    line = LINE | {"status": "-1", "sent": "-", "upstream": "-"}
    read = read_record(json.dumps(line).encode(), {"b1": SHOP}.get)

    assert read.status == 499


@pytest.mark.parametrize(
    "data",
    [b"", b"not json", b"[]", b"{}", b'{"status": "x"}', "ä".encode()],
    ids=["empty", "text", "a list", "nothing in it", "a word for a number", "not ascii"],
)
def test_what_is_no_line_of_the_log_is_refused(data: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        read_record(data, {"b1": SHOP}.get)


@pytest.mark.anyio
async def test_the_socket_of_the_log_reads_on_after_a_line_that_is_none(short_path: Path) -> None:
    taken: list[AccessRecord] = []
    log = AccessLogSocket(short_path / "log", keys={"b1": SHOP}.get, record=taken.append)
    log.open()
    with anyio.fail_after(pace.within(10)):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log.run)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as haproxy:
                for data in (
                    json.dumps(LINE),
                    "{nonsense",
                    "Proxy http stopped",
                    json.dumps(LINE | {"host": "b.test"}),
                ):
                    haproxy.sendto(data.encode(), str(log.path))
            while len(taken) < 2:  # noqa: ASYNC110 - another task is waited for
                await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
    log.close()

    assert [item.host for item in taken] == ["a.test", "b.test"]
    assert log.unreadable == 1
    assert not log.path.exists()


@pytest.mark.anyio
async def test_what_came_before_the_end_is_read_at_the_end(short_path: Path) -> None:
    taken: list[AccessRecord] = []
    log = AccessLogSocket(short_path / "log", keys={"b1": SHOP}.get, record=taken.append)
    log.open()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as haproxy:
        for _ in range(5):
            haproxy.sendto(json.dumps(LINE).encode(), str(log.path))
    log.close()

    assert len(taken) == 5


def test_processes_are_read_with_failures_and_old_workers() -> None:
    found = read_processes(
        "#<PID>          <type>          <reloads>       <uptime>        <version>\n"
        "10 master 2 [failed: 1] 0d00h00m02s 3.2.0\n# workers\n# old workers\n21 worker 1 0d00h00m01s 3.2.0\n\n"
    )

    assert (found.master, found.reloads, found.failed) == (10, 2, 1)
    assert [item.pid for item in found.old_workers] == [21]
    assert found.workers == ()


def test_an_answer_that_lists_no_processes_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a list of processes"):
        read_processes("Unknown command")


def test_a_line_of_certificates_has_its_options_left_out() -> None:
    (listed,) = read_crt_list("# list\ncertificates/a.pem:3 [alpn h2] a.test *.a.test\n")

    assert (listed.file, listed.line, listed.names) == ("certificates/a.pem", 3, ("a.test", "*.a.test"))


def test_rows_of_counts_are_read_by_their_columns() -> None:
    (row,) = read_stat("# pxname,svname,stot,\nedge,FRONTEND,3,\n\n")

    assert (row["pxname"], row["stot"]) == ("edge", "3")
