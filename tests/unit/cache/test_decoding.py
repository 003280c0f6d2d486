"""From bytes to objects, and what becomes of those that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ingresskit.cache import ObjectDecoder, Page
from ingresskit.cache.decoding import Bookmark, ObjectEvent, ObjectFailed, UnknownEvent, WatchError
from ingresskit.errors import Expired, TransportError
from ingresskit.models import Ingress, KubeObject, ObjectKey, Secret, Service

DECODER = ObjectDecoder(Service)


def service(name: str, **spec: object) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": "7"},
        "spec": spec,
    }


def envelope(items: list[object], **metadata: object) -> dict[str, Any]:
    return {
        "kind": "ServiceList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "9", **metadata},
        "items": items,
    }


COMPACT: Mapping[str, Any] = {"separators": (",", ":")}
LAYOUTS: dict[str, Mapping[str, Any]] = {
    "as the API server writes": COMPACT,
    "with keys sorted": {**COMPACT, "sort_keys": True},
    "with spaces": {},
    "indented": {"indent": 2},
}


async def read(body: bytes) -> Page[Service]:
    return await DECODER.page(body)


@pytest.mark.anyio
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("count", [0, 1, 2, 3000])
async def test_a_page_holds_every_item_in_order_however_it_is_written(
    layout: Mapping[str, Any], count: int
) -> None:
    items: list[object] = [service(f"s{number}", clusterIP="10.0.0.1") for number in range(count)]
    body = json.dumps(envelope(items, **{"continue": "more"}), **layout).encode()

    page = await read(body)

    assert [item.metadata.name for item in page.objects] == [f"s{number}" for number in range(count)]
    assert (page.resource_version, page.continue_token, page.failures) == ("9", "more", ())


@pytest.mark.anyio
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
async def test_items_that_cannot_be_read_are_named_and_cost_no_other(layout: Mapping[str, Any]) -> None:
    items: list[object] = [service(f"s{number}") for number in range(1000)]
    items[500] = service("s500", ports="eighty")
    items[999] = 7
    body = json.dumps(envelope(items), **layout).encode()

    page = await read(body)

    assert len(page.objects) == 998
    assert [failure.key for failure in page.failures] == [ObjectKey("shop", "s500"), ObjectKey("", "")]
    assert page.failures[0].uid == "uid-s500"
    assert str(page.failures[0].error) == "Service shop/s500: spec.ports: must be a list"


@pytest.mark.anyio
async def test_text_that_looks_like_the_end_of_an_item_is_text() -> None:
    trap = '},{"metadata":{"name":"x"}}],"items":[{"metadata":'
    items: list[object] = []
    for number in range(200):
        item = service(f"s{number}")
        item["metadata"]["annotations"] = {"trap": trap * 40}
        item["other"] = [{"metadata": {"name": "nested"}}, {"metadata": {"name": "nested"}}] * 40
        items.append(item)
    body = json.dumps(envelope(items), **COMPACT).encode()

    page = await read(body)

    assert len(page.objects) == 200
    assert {item.metadata.annotations["trap"] for item in page.objects} == {trap * 40}


@pytest.mark.anyio
async def test_others_run_while_a_large_page_is_read() -> None:
    items: list[object] = [service(f"s{number}", clusterIP="10.0.0.1") for number in range(20000)]
    body = json.dumps(envelope(items), **COMPACT).encode()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        page = await read(body)
        assert len(page.objects) == 20000
        assert turns >= len(body) // (256 * 1024)
        group.cancel_scope.cancel()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b'{"kind":"ServiceList","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"a"}}',
        b'{"kind":"ServiceList","metadata":{"resourceVersion":"1"},"items":7}',
        b'{"kind":"ServiceList","items":[]}',
        b"[]",
        b'{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"\xff"}}]}',
    ],
    ids=["nothing", "HTML", "cut", "no items", "no metadata", "an array", "not UTF-8"],
)
async def test_what_is_no_list_is_an_error_of_the_transport(body: bytes) -> None:
    with pytest.raises(TransportError):
        await read(body)


@pytest.mark.anyio
async def test_null_for_items_is_an_empty_list() -> None:
    page = await read(b'{"metadata":{"resourceVersion":"3"},"items":null}')

    assert (page.objects, page.resource_version) == ((), "3")


@pytest.mark.anyio
async def test_a_secret_that_cannot_be_read_is_named_without_its_content() -> None:
    item = {"metadata": {"name": "tls", "namespace": "shop"}, "data": {"tls.key": "s3cret!"}}
    body = json.dumps({"metadata": {"resourceVersion": "3"}, "items": [item]}).encode()

    page = await ObjectDecoder(Secret).page(body)

    assert "tls" in str(page.failures[0].error)
    assert "s3cret" not in repr(page.failures)


def event(kind: str, item: object, layout: Mapping[str, Any] = COMPACT) -> bytes:
    return json.dumps({"type": kind, "object": item}, **layout).encode()


@pytest.mark.parametrize(
    "layout", [COMPACT, {"indent": 1}, {"sort_keys": True}], ids=["compact", "indented", "sorted"]
)
@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED"])
def test_events_hold_their_object_however_they_are_written(layout: Mapping[str, Any], kind: str) -> None:
    read = DECODER.event(event(kind, {"kind": "Service", "apiVersion": "v1", **service("web")}, layout))

    assert isinstance(read, ObjectEvent)
    assert (read.type, read.item.metadata.name) == (kind, "web")


def test_an_event_of_an_object_that_cannot_be_read_names_it() -> None:
    read = DECODER.event(event("MODIFIED", service("web", ports=7)))

    assert isinstance(read, ObjectFailed)
    assert (read.failure.key, read.failure.resource_version) == (ObjectKey("shop", "web"), "7")


def test_bookmarks_say_up_to_where_and_whether_the_beginning_is_over() -> None:
    metadata: dict[str, object] = {"resourceVersion": "12"}
    plain = event("BOOKMARK", {"kind": "Service", "metadata": metadata})
    metadata = {**metadata, "annotations": {"k8s.io/initial-events-end": "true"}}
    last = event("BOOKMARK", {"kind": "Service", "metadata": metadata})

    assert DECODER.event(plain) == Bookmark("12", False)
    assert DECODER.event(last) == Bookmark("12", True)


def test_an_error_event_is_the_error_it_states() -> None:
    read = DECODER.event(event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "old"}))

    assert isinstance(read, WatchError)
    assert isinstance(read.error, Expired)


def test_an_unknown_event_is_just_that() -> None:
    assert DECODER.event(event("RENAMED", service("web"))) == UnknownEvent("RENAMED")


@pytest.mark.parametrize(
    "line", [b"{}", b"[]", b"7", b"{", b'{"type":"ADDED","object":{}}}', b'{"type":"ADDED","object":7}']
)
def test_a_line_that_is_no_event_is_an_error_of_the_transport(line: bytes) -> None:
    with pytest.raises(TransportError):
        DECODER.event(line)


def test_strings_are_shared_between_objects() -> None:
    decoder: ObjectDecoder[Ingress] = ObjectDecoder(Ingress)
    raw = json.dumps({"metadata": {"name": "a", "namespace": "a-rather-long-namespace"}, "spec": {}}).encode()

    first, second = decoder.decode(raw), decoder.decode(raw)

    assert first.metadata.namespace is second.metadata.namespace
    assert isinstance(first, KubeObject)
