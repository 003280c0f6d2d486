"""Requests that a proxy program in front hands over on a private socket, with the route it chose."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from ingresskit.graph import Forward, WeightedBackend
from ingresskit.policies import AllowedSources, TlsRedirect
from ingresskit.policies.values import parse_networks
from ingresskit.proxy import AccessRecord, Proxy
from ingresskit.render.inprocess import RoutingTable
from tests.unit.proxy.conftest import Answer, Stage, Wire, forward, get, make_backend, make_table, make_target

pytestmark = pytest.mark.anyio

OFFICE = AllowedSources(networks=parse_networks("203.0.113.0/24"))
SAID = "Ingresskit-Delegate: 1 203.0.113.7 https https 8443 * Prefix /"


async def open_front(proxy: Proxy, path: Path) -> Wire:
    await proxy.listen_front(path, https_port=8443)
    return await connect(path)


async def connect(path: Path) -> Wire:
    return Wire(*await asyncio.open_unix_connection(str(path)))


async def ask(wire: Wire, *fields: str, path: str = "/") -> Answer:
    return await wire.ask(get(path, fields=fields))


async def test_header_of_the_front_says_who_the_client_is(stage: Stage, tmp_path: Path) -> None:
    endpoint = await stage.endpoint()
    records: list[AccessRecord] = []
    proxy = await stage.proxy(forward(endpoint.port), access_log=records.append)
    wire = await open_front(proxy, tmp_path / "front.sock")

    answer = await ask(wire, SAID, "X-Forwarded-For: 198.51.100.1, 203.0.113.7", "X-Request-ID: abc")

    assert answer.status == 200
    assert endpoint.seen[0].values("x-forwarded-for") == ["198.51.100.1, 203.0.113.7"]
    assert endpoint.seen[0].values("x-request-id") == ["abc"]
    assert records[0].client == "203.0.113.7"
    await wire.close()


async def test_header_of_the_front_never_reaches_an_endpoint(stage: Stage, tmp_path: Path) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    wire = await open_front(proxy, tmp_path / "front.sock")

    await ask(wire, SAID)

    assert endpoint.seen[0].values("ingresskit-delegate") == []
    await wire.close()


@pytest.mark.parametrize("trusted", [False, True], ids=["any client", "a trusted proxy"])
async def test_same_header_means_nothing_on_other_listeners(stage: Stage, trusted: bool) -> None:
    endpoint = await stage.endpoint()
    table = forward(endpoint.port, policies=[OFFICE])
    proxies = parse_networks("127.0.0.0/8") if trusted else ()
    proxy = await stage.proxy(table, trusted_proxies=proxies)
    wire = await stage.connect(proxy)

    assert (await ask(wire, SAID)).status == 403
    proxy.swap(forward(endpoint.port))
    assert (await ask(wire, SAID, "X-Forwarded-For: 203.0.113.7")).status == 200
    assert endpoint.seen[0].values("ingresskit-delegate") == []


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param((), id="no header"),
        pytest.param((SAID, SAID), id="two headers"),
        pytest.param((SAID.replace(" 1 ", " 2 "),), id="another version"),
        pytest.param((SAID.replace("203.0.113.7", "203.0.113.700"),), id="no address"),
        pytest.param((SAID.replace("Prefix", "Regex"),), id="an unknown kind"),
    ],
)
async def test_request_that_says_no_client_and_route_is_refused(
    stage: Stage, tmp_path: Path, fields: tuple[str, ...]
) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    wire = await open_front(proxy, tmp_path / "front.sock")

    assert (await ask(wire, *fields)).status == 400
    assert endpoint.seen == []
    await wire.close()


async def test_route_that_the_front_chose_is_taken_whatever_else_matches(stage: Stage, tmp_path: Path) -> None:
    short, long = (
        await stage.endpoint(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nshort"),
        await stage.endpoint(),
    )
    proxy = await stage.proxy(_two_routes(short.port, long.port))
    wire = await open_front(proxy, tmp_path / "front.sock")

    answer = await ask(wire, SAID, path="/long/path")

    assert answer.body == b"short"
    await wire.close()


async def test_route_that_is_unknown_is_503(stage: Stage, tmp_path: Path) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port))
    wire = await open_front(proxy, tmp_path / "front.sock")

    assert (await ask(wire, SAID + "other", path="/other")).status == 503
    await wire.close()


async def test_route_of_a_fading_table_is_served_until_that_is_gone(stage: Stage, tmp_path: Path) -> None:
    endpoint = await stage.endpoint()
    older = forward(endpoint.port)
    proxy = await stage.proxy(older)
    wire = await open_front(proxy, tmp_path / "front.sock")

    proxy.swap(RoutingTable(), (older,))
    assert (await ask(wire, SAID)).status == 200
    proxy.swap(RoutingTable())
    assert (await ask(wire, SAID)).status == 503
    await wire.close()


async def test_policies_see_the_client_of_the_front(stage: Stage, tmp_path: Path) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port, policies=[OFFICE]))
    wire = await open_front(proxy, tmp_path / "front.sock")

    assert (await ask(wire, SAID)).status == 200
    assert (await ask(wire, SAID.replace("203.0.113.7", "2001:db8::1"))).status == 403
    await wire.close()


async def test_redirect_to_tls_leads_to_the_port_of_the_front(stage: Stage, tmp_path: Path) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(
        forward(endpoint.port, policies=[TlsRedirect(enabled=True)]), public_https_port=443
    )
    wire = await open_front(proxy, tmp_path / "front.sock")

    plain = SAID.replace("https https 8443", "http 0 8080")
    public = await ask(wire, plain, path="/a?b")
    direct = await wire.ask(get("/a", host="web.example:8080", fields=[plain]))

    assert public.status == direct.status == 308
    assert public.value("location") == "https://web.example/a?b"
    assert direct.value("location") == "https://web.example:8443/a"
    await wire.close()


async def test_socket_is_for_its_owner_only(stage: Stage, tmp_path: Path) -> None:
    proxy = await stage.proxy(RoutingTable())
    path = tmp_path / "front.sock"
    path.touch()

    await proxy.listen_front(path)

    found = path.stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600
    await proxy.close()
    assert not path.exists()


def _two_routes(short: int, long: int) -> RoutingTable:
    first, second = make_backend(short, service="short"), make_backend(long, service="long")
    return make_table(
        make_target(Forward(backends=(WeightedBackend(first.key),))),
        make_target(Forward(backends=(WeightedBackend(second.key),)), path="/long"),
        backends=[first, second],
    )
