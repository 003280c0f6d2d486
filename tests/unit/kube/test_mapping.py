"""Answers become errors, values become paths, and bytes become lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ingresskit.errors import (
    ApiError,
    ConfigurationError,
    Conflict,
    Expired,
    Forbidden,
    IdleTimeout,
    NotFound,
    StatusCause,
    TooManyRequests,
    TransportError,
    Unauthorized,
)
from ingresskit.kube import LineReader, ListOptions, ResourceKind, status_error
from ingresskit.kube.lines import LineSplitter
from ingresskit.kube.mapping import api_error
from ingresskit.models import Ingress, IngressClass, Service


def status(**fields: object) -> bytes:
    return json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", **fields}).encode()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (401, Unauthorized), (403, Forbidden), (404, NotFound), (409, Conflict), (410, Expired),
        (429, TooManyRequests), (500, ApiError), (422, ApiError),
    ],
)  # fmt: skip
def test_each_status_has_its_error(code: int, kind: type[ApiError]) -> None:
    error = api_error(code, {}, status(code=code, reason="Because", message="so"), request="GET /api")

    assert type(error) is kind
    assert (error.status, error.reason, error.message) == (code, "Because", "so")
    assert str(error) == f"GET /api got {code} Because: so"


def test_causes_are_kept() -> None:
    causes = [{"field": "spec", "reason": "FieldValueInvalid", "message": "bad"}, {"reason": "Other"}, 7]
    error = api_error(422, {}, status(details={"causes": causes}))

    assert error.causes == (
        StatusCause("spec", "FieldValueInvalid", "bad"),
        StatusCause("", "Other", ""),
        StatusCause("", "", ""),
    )


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7), (" 7 ", 7), ("0", 0), ("", None), ("soon", None), ("-1", None), ("1.5", None),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30), ("Thu, 01 Jan 2026 00:00:30", 30),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 0), ("Thu, 01 Jan 2036 00:00:00 GMT", 600),
        ("9" * 5000, 600), ("٣", None), ("1" * 20, 600),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date_and_never_absurd(header: str, seconds: int | None) -> None:
    error = api_error(429, {"retry-after": header}, b"", now=NOW)

    assert error.retry_after == (None if seconds is None else timedelta(seconds=seconds))


def test_the_status_may_say_when_to_come_back() -> None:
    assert api_error(504, {}, status(details={"retryAfterSeconds": 3})).retry_after == timedelta(seconds=3)
    assert api_error(504, {}, status(details={"retryAfterSeconds": 10**30})).retry_after == timedelta(
        minutes=10
    )


@pytest.mark.parametrize(
    "body", [b"", b"<html>502</html>", b"\xff\xfe", b"[]", b'{"kind":"Pod"}', b"{", b"busy"], ids=repr
)
def test_a_body_that_is_no_status_is_no_trouble(body: bytes) -> None:
    error = api_error(502, {}, body, request="GET /api")

    assert (error.status, error.reason) == (502, "")
    assert "<" not in str(error)


@pytest.mark.parametrize(
    ("fields", "kind", "code"),
    [
        ({"code": 410, "reason": "Expired"}, Expired, 410),
        ({"code": 410, "reason": "Gone"}, Expired, 410),
        ({"reason": "Expired"}, Expired, 410),
        ({"code": 500, "reason": "Expired"}, Expired, 500),
        ({"code": 429}, TooManyRequests, 429),
        ({}, ApiError, 500),
        ({"code": "410"}, ApiError, 500),
    ],
)
def test_an_error_inside_a_watch_is_told_by_code_or_reason(
    fields: dict[str, Any], kind: type[ApiError], code: int
) -> None:
    error = status_error({"kind": "Status", **fields})

    assert (type(error), error.status) == (kind, code)


def test_paths_are_those_of_the_api() -> None:
    services, ingresses = ResourceKind.of(Service), ResourceKind.of(Ingress)

    assert services.path() == "/api/v1/services"
    assert services.path("shop") == "/api/v1/namespaces/shop/services"
    assert ingresses.path("shop", "web") == "/apis/networking.k8s.io/v1/namespaces/shop/ingresses/web"
    assert ingresses.path("shop", "web", "status").endswith("/ingresses/web/status")
    assert ResourceKind.of(IngressClass).path("", "a") == "/apis/networking.k8s.io/v1/ingressclasses/a"
    assert services.path("a/b", "c?d#e%f") == "/api/v1/namespaces/a%2Fb/services/c%3Fd%23e%25f"
    assert (str(services), str(ingresses)) == ("services", "ingresses.networking.k8s.io")


@pytest.mark.parametrize(
    ("namespace", "name", "subresource"),
    [("..", "", ""), ("shop", ".", ""), ("", "web", ""), ("shop", "", "status")],
)
def test_paths_that_would_mean_something_else_are_refused(namespace: str, name: str, subresource: str) -> None:
    with pytest.raises(ConfigurationError):
        ResourceKind.of(Service).path(namespace, name, subresource)


def test_a_namespace_for_a_kind_without_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="do not live in namespaces"):
        ResourceKind.of(IngressClass).path("shop")


def test_options_are_sent_only_if_they_say_something() -> None:
    assert ListOptions().query() == []
    options = ListOptions(
        label_selector="a=b",
        limit=5,
        resource_version="7",
        resource_version_match="NotOlderThan",
        timeout=timedelta(seconds=45.9),
        allow_bookmarks=True,
    )
    assert dict(options.query(watch=True)) == {
        "watch": "true", "labelSelector": "a=b", "limit": "5", "resourceVersion": "7",
        "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true", "timeoutSeconds": "45",
    }  # fmt: skip


@pytest.mark.parametrize("size", range(1, 12))
def test_lines_are_the_same_however_they_are_cut(size: int) -> None:
    data = "one\n\ncafé\r\n  \nthree\n".encode()
    splitter = LineSplitter()
    lines = [line for at in range(0, len(data), size) for line in splitter.feed(data[at : at + size])]

    assert lines == [b"one", "café\r".encode(), b"three"]
    assert splitter.pending_bytes == 0


@pytest.mark.parametrize("chunks", [[b"x" * 11], [b"x" * 6] * 2, [b"x" * 11 + b"\n"]])
def test_a_line_without_an_end_is_given_up(chunks: list[bytes]) -> None:
    splitter = LineSplitter(max_line_bytes=10)

    *first, last = chunks
    for chunk in first:
        splitter.feed(chunk)
    with pytest.raises(TransportError, match="longer than 10"):
        splitter.feed(last)


class Chunks:
    """A stream of these, then silence, or an end."""

    def __init__(self, *chunks: bytes, ends: bool = True) -> None:
        self.chunks = list(chunks)
        self.ends = ends

    async def receive(self) -> bytes:
        if self.chunks:
            return self.chunks.pop(0)
        if self.ends:
            raise anyio.EndOfStream
        await anyio.sleep_forever()
        raise AssertionError


async def read(reader: LineReader) -> tuple[list[bytes], BaseException]:
    lines: list[bytes] = []
    try:
        while True:
            lines.append(await reader.line())
    except (anyio.EndOfStream, TransportError) as error:
        return lines, error


@pytest.mark.anyio
async def test_a_stream_ends_in_good_order_or_in_the_middle_of_a_line() -> None:
    whole = await read(LineReader(Chunks(b"a\nb", b"c\n"), idle_timeout=timedelta(seconds=5)))
    cut = await read(LineReader(Chunks(b"a\nb", b"c"), idle_timeout=timedelta(seconds=5)))

    assert (whole[0], type(whole[1])) == ([b"a", b"bc"], anyio.EndOfStream)
    assert (cut[0], type(cut[1])) == ([b"a"], TransportError)


@pytest.mark.anyio
async def test_silence_has_an_end() -> None:
    lines, error = await read(LineReader(Chunks(b"a\n", ends=False), idle_timeout=timedelta(milliseconds=20)))

    assert (lines, type(error)) == ([b"a"], IdleTimeout)


@pytest.mark.anyio
async def test_many_lines_at_once_let_others_run() -> None:
    reader = LineReader(Chunks((b"x" * 1023 + b"\n") * 4096), idle_timeout=timedelta(seconds=5))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        lines, _ = await read(reader)
        assert len(lines) == 4096
        assert turns >= 10
        group.cancel_scope.cancel()
