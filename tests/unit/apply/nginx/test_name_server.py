from __future__ import annotations

import socket
import struct
from dataclasses import replace

import anyio
import pytest

from ingresskit.apply.nginx import Nginx, NginxApplier, NginxProcessSettings
from ingresskit.apply.nginx.name_server import NameServer
from ingresskit.apply.nginx.probe import find_nginx
from ingresskit.apply.plan import Dynamic
from ingresskit.errors import ApplyError
from ingresskit.graph import Endpoint, RouteGraph
from ingresskit.models import Snapshot
from ingresskit.render.nginx import Capabilities, Mode, NginxRenderer, NginxSettings
from ingresskit.testing import Ask, endpoint_slice, ingress, ingress_class, pace, service
from ingresskit.testing.loopback import open_loopback
from ingresskit.testing.planes import free_port, state_folder
from ingresskit.translate import translate
from tests.nginx_program import NGINX

pytestmark = pytest.mark.anyio

A, AAAA, SRV = 1, 28, 33
WEB = {"ik_web": (Endpoint(address="10.0.0.1", port=80), Endpoint(address="2001:db8::1", port=8080))}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def question(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def records(answer: bytes, asked: bytes) -> list[tuple[int, bytes]]:
    """The type and the data of each record of an answer."""
    found: list[tuple[int, bytes]] = []
    place = len(asked)
    for _ in range(int.from_bytes(answer[6:8])):
        kind, _, _, size = struct.unpack(">HHIH", answer[place + 2 : place + 12])
        found.append((kind, answer[place + 12 : place + 12 + size]))
        place += 12 + size
    assert place == len(answer)
    return found


def told() -> NameServer:
    server = NameServer("127.0.0.1:1")
    server.tell(WEB)
    return server


async def test_an_upstream_is_its_endpoints_and_their_names_are_addresses() -> None:
    server, asked = told(), question("_ik._tcp.ik_web.ik", SRV)
    found = records(server.answer(asked, 4096), asked)

    ports = [int.from_bytes(data[4:6]) for _, data in found]
    targets = [data[7 : 7 + data[6]].decode() for _, data in found]
    assert ports == [80, 8080]
    for target, kind, address in zip(targets, (A, AAAA), ("10.0.0.1", "2001:db8::1"), strict=True):
        asked = question(f"{target}.ik", kind)
        family = socket.AF_INET if kind == A else socket.AF_INET6
        assert records(server.answer(asked, 4096), asked) == [(kind, socket.inet_pton(family, address))]
        other = question(f"{target}.ik", AAAA if kind == A else A)
        assert records(server.answer(other, 4096), other) == []


@pytest.mark.parametrize("name", ["_ik._tcp.ik_other.ik", "example.com", "a7f00000.ik", "azzzzzzzz.ik"])
async def test_of_an_unknown_name_nothing_is_said_that_would_be_believed(name: str) -> None:
    answer = told().answer(question(name, SRV), 4096)

    assert answer[3] & 15 == 2, "a failure of the server, never that there is no such name"


@pytest.mark.parametrize(
    "packet",
    [b"", b"\0" * 12, question("a.ik", A)[:-3], question("a.ik", A)[:2] + b"\x81" + question("a.ik", A)[3:]],
)
async def test_what_is_no_question_is_not_answered(packet: bytes) -> None:
    assert told().answer(packet, 4096) == b""


async def test_many_endpoints_are_told_by_tcp() -> None:
    server, asked = NameServer("127.0.0.1:1"), question("_ik._tcp.ik_many.ik", SRV)
    server.tell({"ik_many": tuple(Endpoint(address=f"10.0.{n >> 8}.{n & 255}", port=80) for n in range(1000))})

    short, whole = server.answer(asked, 4096), server.answer(asked, 65535)

    assert short[2] & 2, "asks to come by TCP"
    assert records(short, asked) == []
    assert len(records(whole, asked)) == 1000


async def test_an_address_that_is_taken_is_one_clear_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = int(taken.getsockname()[1])
        with pytest.raises(ApplyError, match=f"cannot listen at 127.0.0.1:{port}"):
            await NameServer(f"127.0.0.1:{port}").run()


def graph(*addresses: str) -> RouteGraph:
    objects = (
        ingress_class(),
        ingress("web", {"a.test": {"/": "web"}}),
        service("web"),
        endpoint_slice("web", *addresses),
    )
    return translate(Snapshot.of(objects)).graph


def test_changed_endpoints_take_no_reload_where_they_are_looked_up() -> None:
    settings = NginxSettings(state="/run/ik", resolver="127.0.0.1:5300")
    new, old = (Capabilities(version=version) for version in ((1, 30, 4), (1, 26, 3)))
    plans: list[type[object]] = []
    for capabilities in (new, old):
        renderer = NginxRenderer(settings, capabilities, mode=Mode.STATIC)
        before, after = renderer.render(graph("10.0.0.1")), renderer.render(graph("10.0.0.2", "10.0.0.3"))
        plans.append(type(NginxApplier(Nginx(settings)).plan(before, after)))

        assert (before.upstreams == after.upstreams) is (capabilities is new)
        assert (b"10.0.0.1" in (before.upstreams.content if before.upstreams else b"")) is (capabilities is old)
    assert plans[0] is Dynamic
    assert plans[1] is not Dynamic


@pytest.fixture
async def program(anyio_backend: str) -> str:
    found = await find_nginx(NGINX)
    if not found.capabilities.follows_names:
        pytest.skip(f"nginx {found.capabilities.version_text} does not follow names; set INGRESSKIT_TEST_NGINX")
    return NGINX


async def test_nginx_follows_endpoints_without_a_reload(program: str) -> None:
    http, resolver = ("127.0.0.1", free_port()), f"127.0.0.1:{free_port()}"
    addresses = [f"10.0.0.{number}" for number in range(1, 6)]
    with state_folder() as folder:
        settings = NginxSettings(
            state=str(folder), http=(f"{http[0]}:{http[1]}",), resolver=resolver, workers=2
        )
        process = NginxProcessSettings(program=program)
        async with open_loopback(graph(*addresses)) as world, Nginx(settings, process) as nginx:
            renderer = NginxRenderer(settings, nginx.capabilities, mode=Mode.STATIC)
            applier, live = NginxApplier(nginx), None
            (key, backend), *_ = world.graph.backends.items()
            for kept in (1, 5, 2, 4, 1):
                some = replace(backend, endpoints=backend.endpoints[-kept:])
                artifact = renderer.render(replace(world.graph, backends={key: some}))
                await applier.apply(applier.plan(live, artifact))
                live = artifact
                answers = [await world.ask(Ask(host="a.test"), http=http) for _ in range(4 * kept)]
                seen = {next(iter(answer.endpoints)) for answer in answers if answer.endpoints}

                assert {answer.status for answer in answers} == {200}
                assert len(seen) == kept
            assert nginx.reloads == 0
            with anyio.fail_after(pace.within(30)):
                await nginx.drain(process.reload_timeout)
