"""Requests as a controller hears of them."""

from __future__ import annotations

import json
from datetime import timedelta

import anyio
import pytest

from ingresskit.apply.nginx import Nginx, NginxApplier, NginxProcessSettings
from ingresskit.apply.nginx.accesslog import read_record
from ingresskit.graph import BackendKey, RouteGraph, Termination
from ingresskit.render.access import AccessRecord
from ingresskit.render.nginx import Mode, NginxRenderer, NginxSettings
from ingresskit.render.nginx.logline import LOG_VARIABLES
from ingresskit.testing import pace
from ingresskit.testing.planes import free_port, state_folder

KEY = BackendKey("shop", "web", 80)
# A good response of an endpoint, as nginx writes its variables.
GOOD = {
    "client": "192.0.2.1",
    "method": "GET",
    "host": "a.test",
    "path": "/x",
    "status": "200",
    "sent": "5",
    "seconds": "0.012",
    "rule": "a.test",
    "backend": "ik_1",
    "id": "abc",
    "reason": "",
    "complete": "OK",
    "length": "5",
    "upstream": "10.0.0.1:80",
    "upstreamStatus": "200",
    "upstreamConnect": "0.001",
    "upstreamHeader": "0.010",
    "upstreamLength": "5",
    "upstreamReceived": "120",
}
NO_HEADER = {"status": "502", "upstreamStatus": "502", "upstreamHeader": "-", "upstreamLength": "0"}


def read(**changed: str) -> AccessRecord:
    record = read_record(
        "<190>Nov  3 12:00:00 nginx: " + json.dumps({**GOOD, **changed}),
        lambda name: KEY if name == "ik_1" else None,
    )
    assert record is not None
    return record


def test_a_whole_response_has_no_termination() -> None:
    record = read()

    assert (record.status, record.termination, record.backend, record.endpoint) == (
        200,
        None,
        KEY,
        "10.0.0.1:80",
    )
    assert (record.connect_time, record.first_byte_time, record.duration) == (0.001, 0.01, 0.012)
    assert (record.upstream_status, record.attempts, record.tried) == (200, 1, ())


@pytest.mark.parametrize(
    ("changed", "termination"),
    [
        (NO_HEADER | {"upstreamConnect": "-"}, Termination.UPSTREAM_REFUSED),
        (NO_HEADER | {"upstreamReceived": "0"}, Termination.UPSTREAM_CLOSED),
        (NO_HEADER | {"upstreamReceived": "17"}, Termination.UPSTREAM_MALFORMED),
        (NO_HEADER | {"status": "504", "upstreamConnect": "-"}, Termination.UPSTREAM_CONNECT_TIMEOUT),
        (NO_HEADER | {"status": "504"}, Termination.UPSTREAM_READ_TIMEOUT),
        ({"upstreamLength": "3"}, Termination.UPSTREAM_TRUNCATED),
        ({"upstreamLength": "0", "method": "HEAD"}, None),
        ({"upstreamLength": "0", "status": "304"}, None),
        ({"complete": "", "upstreamLength": "3"}, Termination.CLIENT_LEFT),
        ({"status": "499", "upstreamHeader": "-"}, Termination.CLIENT_LEFT),
        ({"status": "101", "complete": ""}, None),
        ({"status": "404", "upstream": "-", "upstreamHeader": "-"}, Termination.NO_ROUTE),
        ({"status": "403", "upstream": ""}, Termination.DENIED),
        ({"status": "431", "upstream": ""}, Termination.BAD_REQUEST),
        ({"status": "308", "upstream": ""}, None),
        ({"status": "200", "reason": "unavailable"}, Termination.UNAVAILABLE),
        ({"reason": "no such word"}, None),
    ],
)
def test_a_failure_has_its_cause(changed: dict[str, str], termination: Termination | None) -> None:
    assert read(**changed).termination is termination


def test_tries_are_told_one_by_one() -> None:
    record = read(
        upstream="10.0.0.1:80, 10.0.0.2:80 : [2001:db8::1]:80",
        upstreamConnect="-, 0.002 : 0.003",
        upstreamStatus="502, 502 : 200",
        upstreamHeader="-, - : 0.020",
    )

    assert (record.endpoint, record.attempts) == ("[2001:db8::1]:80", 3)
    assert record.tried == ("10.0.0.1:80", "10.0.0.2:80")
    assert (record.connect_time, record.first_byte_time) == (0.003, 0.02)


@pytest.mark.parametrize(
    ("name", "host"), [("_", "*"), (r"~^[^.]+\.shop\.test$", "*.shop.test"), ("*.shop.test", "*.shop.test")]
)
def test_the_rule_host_is_read_back_from_the_name_of_a_server(name: str, host: str) -> None:
    assert read(rule=name).rule_host == host


@pytest.mark.parametrize("line", ["", "nonsense", "[1]", "{", "<190>Nov  3 12:00:00 nginx: 5"])
def test_a_line_that_is_none_is_left_out(line: str) -> None:
    assert read_record(line, lambda _: None) is None


def test_a_line_without_members_is_read_all_the_same() -> None:
    record = read_record("{}", lambda _: None)

    assert record is not None
    assert (record.status, record.host, record.endpoint) == (0, "", "")


@pytest.mark.anyio
@pytest.mark.usefixtures("nginx_there")
@pytest.mark.parametrize("mode", list(Mode))
async def test_each_request_is_one_record(mode: Mode) -> None:
    records: list[AccessRecord] = []
    with state_folder() as folder:
        port = free_port()
        settings = NginxSettings(state=str(folder), http=(f"127.0.0.1:{port}",), workers=1, access_log="socket")
        process = NginxProcessSettings(reload_gap=timedelta(0))
        async with Nginx(settings, process, access_log=records.append) as nginx:
            if mode is Mode.DYNAMIC and not nginx.capabilities.lua:
                pytest.skip("nginx has no Lua module here")
            renderer, applier = NginxRenderer(settings, nginx.capabilities, mode=mode), NginxApplier(nginx)
            await applier.apply(applier.plan(None, renderer.render(RouteGraph())))
            for path in ("/one", '/two"\x5c', "/%zz"):
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    request = f"GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
                    await stream.send(request.encode())
                    await stream.receive()
            with anyio.fail_after(pace.within(20)):
                while len(records) < 3:  # noqa: ASYNC110 - a datagram of another process
                    await anyio.sleep(0.01)

    assert [(item.client, item.host, item.status, item.termination) for item in records[:2]] == [
        ("127.0.0.1", "a.test", 404, Termination.NO_ROUTE)
    ] * 2
    # nginx matches some paths in their decoded form, and writes them so.
    assert [item.path for item in records[:2]] == ["/one", "/two%22%5C" if mode is Mode.DYNAMIC else '/two"\\']
    assert (records[2].status, records[2].termination) == (400, Termination.BAD_REQUEST)


def test_every_member_that_is_read_is_written() -> None:
    assert GOOD.keys() <= LOG_VARIABLES.keys()
