"""What clients and endpoints send to the proxy reaches nobody but those it is for."""

from __future__ import annotations

import asyncio
import ipaddress
import time

import pytest

from ingresskit.filters import AddressRanges, explain
from ingresskit.graph import Request, RouteGraph, digest, normalise_path, to_json
from ingresskit.models import Snapshot
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.testing import pace
from ingresskit.testing.builders import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import translate
from tests.unit.proxy.conftest import Seen, Stage, anyio_backend, forward, get, reply, stage

__all__ = ["anyio_backend", "stage"]

STRAY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 44\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 44\r\n\r\n"),
    ],
)
async def test_a_body_that_comes_late_and_unasked_is_nobodys_answer(
    stage: Stage, method: str, head: bytes
) -> None:
    """An endpoint that sends the body of an answer that has none, after the next request was sent."""
    second = asyncio.Event()

    async def late(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.line.startswith(f"{method} /first ".encode()):
            writer.write(head)
            await writer.drain()
            await second.wait()
            writer.write(STRAY)
        else:
            second.set()
            writer.write(reply(b"mine"))

    endpoint = await stage.endpoint(late)
    proxy = await stage.proxy(forward(endpoint.port))
    first, other = await stage.connect(proxy), await stage.connect(proxy)

    await first.ask(get("/first", method=method), head_only=True)
    async with asyncio.timeout(pace.within(5)):
        asked = asyncio.ensure_future(other.ask(get("/second")))
        answer = await asked

    assert answer.body == b"mine"


def test_an_allow_list_of_thousands_is_asked_in_no_time() -> None:
    networks = tuple(
        ipaddress.ip_network(f"10.{number // 250}.{number % 250}.0/25") for number in range(16_000)
    )
    ranges = AddressRanges(networks)
    outside = ipaddress.ip_address("203.0.113.9")
    begun = time.process_time()

    assert not any(outside in ranges for _ in range(10_000))

    assert time.process_time() - begun < pace.within(1)


@pytest.mark.parametrize(
    ("networks", "inside", "outside"),
    [
        (["10.0.0.0/8"], ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0", "::a00:0", "::"]),
        (["0.0.0.0/0"], ["0.0.0.1", "255.255.255.255"], ["::", "::1", "ffff::"]),
        (["::/0"], ["::", "ffff::"], ["0.0.0.1", "255.255.255.255"]),
        (["10.0.0.0/8", "10.1.0.0/16", "10.200.0.1/32"], ["10.1.2.3", "10.254.0.1"], ["11.0.0.1"]),
        (["10.0.0.0/9", "10.128.0.0/9", "2001:db8::/32"], ["10.128.0.0", "2001:db8::1"], ["2001:db9::"]),
        (["192.0.2.1/32", "192.0.2.3/32"], ["192.0.2.1", "192.0.2.3"], ["192.0.2.0", "192.0.2.2", "192.0.2.4"]),
    ],
)
def test_ranges_hold_what_their_networks_hold(
    networks: list[str], inside: list[str], outside: list[str]
) -> None:
    ranges = AddressRanges(ipaddress.ip_network(text) for text in networks)

    assert all(ipaddress.ip_address(text) in ranges for text in inside)
    assert not any(ipaddress.ip_address(text) in ranges for text in outside)


def _graph_with_a_long_allow_list(paths: int) -> RouteGraph:
    allowed = ",".join(f"10.{number // 250}.{number % 250}.1" for number in range(10_000))
    item = ingress(
        "big",
        {"h.test": {f"/p{number}": "shop" for number in range(paths)}},
        annotations={"ingresskit.dev/allow-sources": allowed},
    )
    world = (ingress_class(), service("shop"), endpoint_slice("shop", "10.0.0.1"))
    return translate(Snapshot.of([*world, item])).graph


def test_a_dump_does_not_repeat_a_long_list_for_each_route() -> None:
    one, many = _graph_with_a_long_allow_list(1), _graph_with_a_long_allow_list(200)

    assert len(to_json(many)) < 2_000_000
    assert digest(one) != digest(many)


@pytest.mark.parametrize("path", ["/a" * 3_990, "/" + "%41" * 2_600, "/" + "%fF" * 2_600, "/a/.." * 1_300])
def test_no_path_costs_much_to_match(path: str) -> None:
    """Sixteen of these a second would else be a CPU's whole time for everybody."""
    world = (ingress_class(), ingress("web", {"h.test": {"/x/y": "shop", "=/z": "shop"}}))
    table = InProcessRenderer().render(translate(Snapshot.of(world)).graph)
    begun = time.process_time()

    for _ in range(100):
        assert table.find("h.test", normalise_path(path)) is None

    assert time.process_time() - begun < pace.within(0.4)


@pytest.mark.parametrize(
    ("client", "status"),
    [
        ("10.1.2.3", None),
        ("::ffff:10.1.2.3", None),
        ("203.0.113.9", 403),
        ("::1", 403),
        ("nobody", 403),
        ("10.1.2.3, 203.0.113.9", 403),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_explain_lets_in_whom_the_proxy_lets_in(client: str, status: int | None, scheme: str) -> None:
    item = ingress(
        "web",
        {"h.test": {"/": "shop"}},
        annotations={"ingresskit.dev/allow-sources": "10.0.0.0/8", "ingresskit.dev/tls-redirect": "false"},
    )
    world = (ingress_class(), item, service("shop"), endpoint_slice("shop", "10.9.9.9"))
    graph = translate(Snapshot.of(world)).graph

    assert explain(graph, Request(scheme=scheme, host="h.test", path="/", client=client)).status == status
