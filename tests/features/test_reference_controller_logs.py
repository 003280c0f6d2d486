"""What the reference controller writes: one record is one line, whatever is in it."""

from __future__ import annotations

import errno
import io
import json
import logging
import re
from dataclasses import replace

import anyio
import pytest
from typing_extensions import override

from ingresskit.app.logs import AccessLog, log_handler
from ingresskit.graph import BackendKey
from ingresskit.migrate.access_log import logged_requests
from ingresskit.models import Ingress, decode
from ingresskit.proxy import AccessRecord

NASTY = 'evil\n2026 info forged: "x"\x1b[31m\x7f\u2028\u0085end'


class Log:
    """A logger of its own, and what it wrote."""

    def __init__(self, form: str) -> None:
        self.stream = io.StringIO()
        self.logger = logging.Logger("mine", logging.INFO)
        self.logger.addHandler(log_handler(form, self.stream))

    @property
    def line(self) -> str:
        text = self.stream.getvalue()
        assert text.endswith("\n")
        return text.removesuffix("\n")


def boom() -> None:
    raise ValueError(NASTY)


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_that_is_logged_can_forge_a_line(form: str) -> None:
    log = Log(form)

    log.logger.warning("fixed %s", NASTY, extra={"object": NASTY})

    assert log.line.isprintable()
    assert "fixed evil" in log.line


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_is_one_line_too(form: str) -> None:
    log = Log(form)

    try:
        boom()
    except ValueError:
        log.logger.exception("it failed")

    assert log.line.isprintable()
    assert "Traceback" in log.line
    assert "in boom" in log.line


def test_json_records_have_their_facts_beside_the_message() -> None:
    log = Log("json")

    log.logger.info("live", extra={"revision": 3, "object": NASTY})

    record = json.loads(log.line)
    assert record.pop("time").endswith("Z")
    assert record == {"level": "info", "logger": "mine", "message": "live", "revision": 3, "object": NASTY}


def test_text_records_show_their_facts() -> None:
    log = Log("text")

    log.logger.info("live", extra={"revision": 3, "text": "two words", "none": ""})

    assert log.line.endswith(' info mine: live revision=3 text="two words" none=""')


def request(path: str = "/") -> AccessRecord:
    return AccessRecord(
        client="192.0.2.1",
        method="GET",
        host="shop.test",
        path=path,
        rule_host="shop.test",
        status=200,
        sent_bytes=12,
        duration=0.0015,
        backend=BackendKey("web", "shop", 80),
        endpoint="10.0.0.1:8080",
        attempts=1,
        request_id="abc",
    )


class Disk(io.RawIOBase):
    """Takes at most *room* bytes at a time; refuses all while it is full."""

    def __init__(self, room: int = 1000) -> None:
        self.content = b""
        self.room = room
        self.full = False

    @override
    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]  # no other buffers here
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.content += bytes(data[: self.room])
        return len(data[: self.room])

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.content.splitlines()]


async def write(log: AccessLog) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await log.run()


def test_a_request_is_a_line_of_json() -> None:
    disk = Disk(room=10)
    log = AccessLog(disk)

    log.record(request())
    log.record(request("/\u2028two"))
    anyio.run(write, log)

    first, second = disk.lines
    assert str(first.pop("time")).endswith("Z")
    assert first == {
        "client": "192.0.2.1",
        "method": "GET",
        "host": "shop.test",
        "path": "/",
        "status": 200,
        "sentBytes": 12,
        "durationMs": 1.5,
        "ruleHost": "shop.test",
        "backend": "web/shop:80",
        "endpoint": "10.0.0.1:8080",
        "attempts": 1,
        "requestId": "abc",
        "termination": None,
        "detail": "",
        "tried": [],
        "connectMs": None,
        "firstByteMs": None,
        "upstreamStatus": None,
    }
    assert second["path"] == "/\u2028two"


def test_a_request_is_a_line_of_ingress_nginx() -> None:
    disk = Disk()
    log = AccessLog(disk, form="ingress-nginx")
    backend = {"service": {"name": "shop", "port": {"number": 80}}}
    ingress = decode(
        Ingress,
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "a", "namespace": "web"},
            "spec": {
                "rules": [
                    {
                        "host": "shop.test",
                        "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
                    }
                ]
            },
        },
    )

    log.record(request("/a"))
    log.record(replace(request('/"\u2028b'), tried=("10.0.0.2:80",), first_byte_time=0.25, upstream_status=200))
    log.record(replace(request(""), method="", status=400, backend=None, endpoint="", request_id=""))
    anyio.run(write, log)

    first, second, third = disk.content.decode().splitlines()
    one = (
        r'192\.0\.2\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET /a HTTP/1\.1" 200 12 '
        r'"-" "-" 0 0\.00[12] \[web-shop-80\] \[\] 10\.0\.0\.1:8080 - - - abc'
    )
    assert re.fullmatch(one, first), first
    assert '"GET /\\x22\\xE2\\x80\\xA8b HTTP/1.1"' in second
    assert second.endswith("[web-shop-80] [] 10.0.0.2:80, 10.0.0.1:8080 - -, 0.250 -, 200 abc")
    assert third.endswith('"" 400 12 "-" "-" 0 0.002 [-] [] - - - - -')
    (read, *_) = logged_requests([first], [ingress])
    assert (read.host, read.path, read.method, read.client) == ("shop.test", "/a", "GET", "192.0.2.1")


def test_the_format_of_ingress_nginx_says_elsewhere_what_was_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ingresskit.app.logs._MOST_WAITING", 1)
    disk = Disk()
    log = AccessLog(disk, form="ingress-nginx")

    for _ in range(3):
        log.record(request())
    anyio.run(write, log)

    assert disk.content.count(b"\n") == 1
    assert "lines left out of the access log count=2" in caplog.messages


def test_lines_that_do_not_fit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingresskit.app.logs._MOST_WAITING", 2)
    disk = Disk()
    log = AccessLog(disk)

    for _ in range(5):
        log.record(request())
    anyio.run(write, log)

    assert [line.get("path") for line in disk.lines] == ["/", "/", None]
    assert disk.lines[-1] == {"dropped": 3}


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    disk = Disk()
    log = AccessLog(disk)

    disk.full = True
    log.record(request("/lost"))
    anyio.run(write, log)
    disk.full = False
    log.record(request("/kept"))
    anyio.run(write, log)

    assert [line.get("path", line) for line in disk.lines] == ["/kept", {"dropped": 1}]
