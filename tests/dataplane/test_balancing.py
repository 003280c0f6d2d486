"""Which endpoint takes the requests of a client, on every plane; on HAProxy with its delegate."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from functools import partial

import pytest

from ingresskit.graph import BackendKey, Protocol
from ingresskit.models import Snapshot
from ingresskit.policies import Affinity, AffinityMode, IngressNginxDialect, PolicyRegistry
from ingresskit.proxy.endpoints import EndpointState
from ingresskit.proxy.upstreams.affinity import AffinityCookies
from ingresskit.testing import ingress, ingress_class, service
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from ingresskit.translate import TranslateOptions, translate
from tests.dataplane.conftest import EVERY_PLANE, opened
from tests.dataplane.delegated import open_delegated_haproxy
from tests.dataplane.haproxy_plane import HAPROXY, PROGRAM
from tests.dataplane.nginx_plane import AFFINITY_KEY, NGINX_DYNAMIC
from tests.dataplane.stage import HOST, LONG, OPTIONS, Stage, slices
from tests.unit.proxy.conftest import FakeEndpoint, Seen, Wire, get, reply, until

pytestmark = pytest.mark.anyio

NGINX = "nginx.ingress.kubernetes.io"


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    if request.param != HAPROXY.name:
        async with opened(request.param) as made:
            yield made
        return
    with state_folder() as folder:
        settings = PlaneSettings(state_dir=folder)
        async with open_delegated_haproxy(settings, program=PROGRAM) as (made, _, _):
            yield made


async def named(stage: Stage, *names: str) -> list[FakeEndpoint]:
    """Endpoints that respond with their names."""
    return [await stage.endpoint(reply(name.encode())) for name in names]


async def asked(client: Wire, path: str = "/", *fields: str) -> tuple[str, str]:
    """The name of the endpoint that responded, and the field ``Set-Cookie``."""
    answer = await client.ask(get(path, fields=[*fields]))
    assert answer.status == 200
    return answer.body.decode(), answer.value("set-cookie") or ""


def _have_seen(endpoints: list[FakeEndpoint], wanted: int) -> bool:
    return sum(len(one.seen) for one in endpoints) == wanted


def pair(cookie: str) -> str:
    return "Cookie: other=1; " + cookie.partition(";")[0]


@pytest.mark.parametrize("mode", ["balanced", "persistent"])
async def test_client_stays_at_its_endpoint_and_gets_one_cookie(stage: Stage, mode: str) -> None:
    endpoints = await named(stage, "a", "b", "c")
    await stage.serve(*endpoints, annotations={"affinity-cookie": "seat", "affinity-mode": mode})
    client = await stage.connect()

    homes: set[str] = set()
    for _ in range(12):
        home, cookie = await asked(client)
        homes.add(home)
        stays = [await asked(client, "/", pair(cookie)) for _ in range(3)]

        assert re.fullmatch(r"seat=[0-9a-f.]{32,64}; Path=/; HttpOnly", cookie)
        assert stays == [(home, "")] * 3

    assert len(homes) > 1


@pytest.mark.parametrize("mode", ["balanced", "persistent"])
@pytest.mark.parametrize("value", ["", "x", "127.0.0.1:80", "0" * 32, f"{'0' * 16}.{'0' * 32}", "é"])
async def test_value_that_no_proxy_made_leads_nowhere(stage: Stage, mode: str, value: str) -> None:
    await stage.serve(
        *await named(stage, "a", "b"), annotations={"affinity-cookie": "s", "affinity-mode": mode}
    )
    client = await stage.connect()

    _, cookie = await asked(client, "/", f"Cookie: s={value}")

    assert cookie.startswith("s=")
    assert not cookie.startswith(f"s={value};")


async def test_cookie_of_another_service_leads_nowhere(stage: Stage) -> None:
    endpoints = await named(stage, "a")
    annotations = {"affinity-cookie": "s", "affinity-mode": "persistent", "tls-redirect": "false"}
    await stage.serve_objects(
        ingress("web", {HOST: {"/web": "web", "/other": "other"}}, annotations=annotations),
        service("web"),
        service("other"),
        *slices("web", [endpoints[0].port]),
        *slices("other", [endpoints[0].port]),
    )
    client = await stage.connect()

    _, cookie = await asked(client, "/web")
    same = await asked(client, "/web", pair(cookie))
    _, another = await asked(client, "/other", pair(cookie))

    assert "; Path=/web; " in cookie
    assert same == ("a", "")
    assert "; Path=/other; " in another
    assert another.partition(";")[0] != cookie.partition(";")[0]


async def test_cookie_has_the_attributes_that_were_asked_for(stage: Stage) -> None:
    annotations = {
        "affinity-cookie": "s",
        "affinity-cookie-path": "/x",
        "affinity-cookie-domain": "web.example",
        "affinity-cookie-max-age": "1h",
        "affinity-cookie-expires": "1h",
        "affinity-cookie-secure": "true",
        "affinity-cookie-samesite": "None",
        "affinity-cookie-conditional-samesite-none": "true",
    }
    await stage.serve(*await named(stage, "a"), annotations=annotations)
    client = await stage.connect()

    _, modern = await asked(client)
    _, old = await asked(client, "/", "User-Agent: Mozilla/5.0 Chrome/60.0.1 Safari/537.36")

    date = r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"
    start = rf"s=[^;]+; Expires={date}; Max-Age=3600; Domain=web\.example; Path=/x; Secure; HttpOnly"
    assert re.fullmatch(start + "; SameSite=None", modern)
    assert re.fullmatch(start, old)


@pytest.mark.parametrize("mode", ["balanced", "persistent"])
@pytest.mark.parametrize("change", ["true", "false"])
async def test_client_of_an_endpoint_that_fails_changes_only_if_asked_for(
    stage: Stage, mode: str, change: str
) -> None:
    endpoints = await named(stage, "a", "b")
    annotations = {"affinity-cookie": "s", "affinity-mode": mode, "affinity-change-on-failure": change}
    await stage.serve(*endpoints, annotations=annotations)
    client = await stage.connect()
    home, cookie = await asked(client)

    async def hang_up(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    endpoints["ab".index(home)].answer = hang_up
    other, another = await asked(client, "/", pair(cookie))

    assert other == "ba"["ab".index(home)]
    assert bool(another) is (change == "true")


async def test_client_of_an_endpoint_that_is_gone_gets_another_one(stage: Stage) -> None:
    first, second = await named(stage, "a", "b")
    annotations = {"affinity-cookie": "s", "affinity-mode": "persistent"}
    await stage.serve(first, annotations=annotations)
    client = await stage.connect()
    _, cookie = await asked(client)
    await stage.serve(second, annotations=annotations)

    home, another = await asked(client, "/", pair(cookie))

    assert home == "b"
    assert await asked(client, "/", pair(another)) == ("b", "")


HASHES: Mapping[str, tuple[str, str]] = {
    "header:X-Tenant": ("/", "X-Tenant: {}"),
    "cookie:session": ("/", "Cookie: a=b; session={}"),
    "query:id": ("/?x=1&id={}", ""),
    "uri": ("/{}", ""),
    "path": ("/{}?random", ""),
    "host header:X-Tenant": ("/", "X-Tenant: {}"),
    "query": ("/?id={}", ""),
    "scheme method query:i-d": ("/?i-d={}", ""),
}


@pytest.mark.parametrize("by", HASHES)
async def test_requests_that_say_the_same_reach_the_same_endpoint(stage: Stage, by: str) -> None:
    await stage.serve(*await named(stage, "a", "b", "c"), annotations={"hash-by": by})
    clients = [await stage.connect(), await stage.connect()]
    path, field = HASHES[by]

    homes: dict[int, set[str]] = {}
    for number in range(16):
        for client in clients:
            fields = [field.format(number)] if field else []
            home, _ = await asked(client, path.format(number), *fields)
            homes.setdefault(number, set()).add(home)

    assert all(len(found) == 1 for found in homes.values())
    assert len(set[str]().union(*homes.values())) > 1


async def test_few_requests_move_when_an_endpoint_comes(stage: Stage) -> None:
    endpoints = await named(stage, "a", "b", "c", "d")
    homes: list[list[str]] = []
    for count in (3, 4):
        await stage.serve(*endpoints[:count], annotations={"hash-by": "uri"})
        client = await stage.connect()
        homes.append([(await asked(client, f"/{number}"))[0] for number in range(60)])

    moved = [(before, after) for before, after in zip(*homes, strict=True) if before != after]

    assert {after for _, after in moved} == {"d"}
    assert len(moved) < 35


async def test_hash_goes_before_an_algorithm(stage: Stage) -> None:
    annotations = {"hash-by": "header:X-Tenant", "load-balancing": "random"}
    await stage.serve(*await named(stage, "a", "b", "c"), annotations=annotations)
    client = await stage.connect()

    assert len({(await asked(client, "/", "X-Tenant: one"))[0] for _ in range(20)}) == 1


async def test_client_stays_by_its_address(stage: Stage) -> None:
    await stage.serve(*await named(stage, "a", "b", "c"), annotations={"hash-by": "client"})
    client = await stage.connect()

    assert len({(await asked(client, f"/{number}"))[0] for number in range(20)}) == 1


async def test_group_of_endpoints_takes_the_requests_of_a_hash(stage: Stage) -> None:
    annotations = {"hash-by": "header:X-Tenant", "hash-by-subset": "2"}
    await stage.serve(*await named(stage, "a", "b", "c", "d"), annotations=annotations)
    client = await stage.connect()

    homes = [{(await asked(client, "/", f"X-Tenant: {tenant}"))[0] for _ in range(30)} for tenant in range(8)]

    assert {len(found) for found in homes} == {2}
    assert len(set[str]().union(*homes)) > 2


async def test_annotations_of_ingress_nginx_hold_a_client_in_a_canary(stage: Stage) -> None:
    main, canary = await named(stage, "main", "canary")
    options = TranslateOptions(
        policies=PolicyRegistry([IngressNginxDialect()]), destinations=OPTIONS.destinations
    )
    objects = [
        ingress_class(),
        ingress(
            "web",
            {HOST: {"/": "web"}},
            created=1,
            annotations={f"{NGINX}/affinity": "cookie", f"{NGINX}/ssl-redirect": "false"},
        ),
        ingress(
            "canary",
            {HOST: {"/": "canary"}},
            created=2,
            annotations={f"{NGINX}/canary": "true", f"{NGINX}/canary-weight": "50"},
        ),
        service("web"),
        service("canary"),
        *slices("web", [main.port]),
        *slices("canary", [canary.port]),
    ]
    translation = translate(Snapshot.of(objects), options)
    assert not translation.diagnostics
    await stage.plane.serve(translation.graph)
    client = await stage.connect()

    cookies: dict[str, str] = {}
    for _ in range(60):  # that one of two never responds comes once in 2 ** 59 runs
        home, cookie = await asked(client)
        cookies.setdefault(home, cookie)
        if len(cookies) == 2:
            break

    assert cookies.keys() == {"main", "canary"}
    for home, cookie in cookies.items():
        assert cookie.startswith("INGRESSCOOKIE=")
        assert {await asked(client, "/", pair(cookie)) for _ in range(10)} == {(home, "")}


async def test_endpoint_gets_no_more_requests_at_a_time_than_it_may(stage: Stage) -> None:
    go_on = asyncio.Event()

    async def dawdle(_request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(reply(b"slow"))

    endpoints = [await stage.endpoint(dawdle) for _ in range(2)]
    await stage.serve(*endpoints, annotations={"endpoint-max-requests": "2"})
    held: list[asyncio.Task[tuple[str, str]]] = []
    for number in range(4):
        client = await stage.connect()
        held.append(asyncio.ensure_future(asked(client)))
        await until(partial(_have_seen, endpoints, number + 1))
    client = await stage.connect()
    refused = (await client.ask(get())).status
    go_on.set()
    served = {home for home, _ in await asyncio.gather(*held)}

    assert [len(one.seen) for one in endpoints] == [2, 2]
    assert refused == 503
    assert served == {"slow"}
    assert await asked(await stage.connect()) == ("slow", "")


async def test_client_stays_at_one_of_the_services_that_share_requests(stage: Stage) -> None:
    one, other = await named(stage, "one", "other")
    annotations = {"affinity-cookie": "s", "traffic-split": "web=1, other=1", "tls-redirect": "false"}
    await stage.serve_objects(
        ingress("web", {HOST: {"/": "web"}}, annotations=annotations),
        service("web"),
        service("other"),
        *slices("web", [one.port]),
        *slices("other", [other.port]),
    )
    client = await stage.connect()

    cookies = dict([await asked(client) for _ in range(10)])

    assert cookies.keys() == {"one", "other"}
    for home, cookie in cookies.items():
        assert {await asked(client, "/", pair(cookie)) for _ in range(6)} == {(home, "")}


async def test_response_after_an_interim_one_has_the_cookie_beside_those_of_the_endpoint(stage: Stage) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    endpoint = await stage.endpoint(hints + reply(b"a", fields=["Set-Cookie: own=1", "Set-Cookie: two=2"]))
    await stage.serve(endpoint, annotations={"affinity-cookie": "s"})

    # nginx lets the first one pass as it came, and its workers learn from each other in time.
    cookies: list[bytes] = []
    async with asyncio.timeout(LONG):
        while b"s" not in cookies:
            client = await stage.connect()
            await client.send(get())
            head = await client.reader.readuntil(b"\r\n\r\n")
            if b" 103 " in head:
                head = await client.reader.readuntil(b"\r\n\r\n")
            cookies = re.findall(rb"(?im)^set-cookie: (\w+)=", head)

    assert sorted(cookies) == [b"own", b"s", b"two"]


async def test_nginx_takes_the_cookies_of_other_proxies_with_its_key(stage: Stage) -> None:
    if stage.plane.name != NGINX_DYNAMIC.name:
        pytest.skip("others have it from the delegate or are it")
    endpoints = await named(stage, "a", "b", "c")
    states = [EndpointState("127.0.0.1", one.port, Protocol.HTTP) for one in endpoints]
    port = BackendKey("default", "web", 80)
    for mode in AffinityMode:
        await stage.serve(*endpoints, annotations={"affinity-cookie": "s", "affinity-mode": mode})
        client = await stage.connect()
        other = AffinityCookies(Affinity(cookie="s", mode=mode), AFFINITY_KEY, port)
        for name, state in zip("abc", states, strict=True):
            value = other.begin(states, (), 0.0)[0] or other.value_of(state)
            home, cookie = await asked(client, "/", f"Cookie: s={value.decode()}")

            assert cookie == ""
            assert home == name or mode is AffinityMode.BALANCED
