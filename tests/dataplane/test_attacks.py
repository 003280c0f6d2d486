"""What attackers try against services that decide and against passwords: the same on every plane."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncGenerator, Mapping

import pytest

from ingresskit.models import KubeObject, ObjectMeta, Secret
from ingresskit.render.nginx import Mode
from ingresskit.testing import ingress, service
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from tests.dataplane.conftest import EVERY_PLANE, opened_with_delegate
from tests.dataplane.nginx_plane import NGINX_DYNAMIC, NGINX_STATIC, open_delegated_nginx
from tests.dataplane.stage import HOST, Stage, slices
from tests.unit.proxy.conftest import FakeEndpoint, Seen, get, reply

pytestmark = pytest.mark.anyio

_MODES = {NGINX_STATIC.name: Mode.STATIC, NGINX_DYNAMIC.name: Mode.DYNAMIC}
OTHER = "other.example"
ALLOWED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
# Responses of a service that say yes in a way that nobody may believe.
FALSE_YES: Mapping[str, bytes] = {
    "flood": b"HTTP/1.1 103 Early Hints\r\nX-User: eve\r\n\r\n" * 20 + ALLOWED + b"\r\n",
    "switch": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "old": b"welcome",
    "long": b"HTTP/1.1 2000 OK\r\n\r\n",
    "short": b"HTTP/1.1 20 OK\r\n\r\n",
    "negative": b"HTTP/1.1 -200 OK\r\n\r\n",
    "return": ALLOWED + b"X-User: a\rX-Evil: 1\r\n\r\n",
    "fold": ALLOWED + b"X-User: a\r\n X-Evil: 1\r\n\r\n",
    "nul": ALLOWED + b"X-User: a\0b\r\n\r\n",
    "tab": ALLOWED + b"X-User: a\x0bX-Evil: 1\r\n\r\n",
    "feed": b"HTTP/1.1 200 OK\nX-User: a\nX-Evil: 1\n\n",
    "huge": ALLOWED + b"X-User: %b\r\n\r\n" % (b"a" * 300_000),
    "many": ALLOWED + b"X-User: a\r\n" * 5_000 + b"\r\n",
    "lengths": ALLOWED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "cut": b"HTTP/1.1 200 OK\r\nX-User: ann",
    "elsewhere": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
}


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    if request.param not in _MODES:
        async with opened_with_delegate(request.param) as made:
            yield made
        return
    with state_folder() as folder:
        async with open_delegated_nginx(PlaneSettings(state_dir=folder), _MODES[request.param]) as made:
            yield made


def site(host: str, annotations: Mapping[str, str], path: str = "/", name: str = "web") -> KubeObject:
    return ingress(name, {host: {path: "web"}}, annotations={"tls-redirect": "false", **annotations})


async def serve(stage: Stage, endpoint: FakeEndpoint, *objects: KubeObject) -> None:
    await stage.serve_objects(*objects, service("web"), *slices("web", [endpoint.port]))


async def test_only_a_whole_and_plain_yes_lets_in(stage: Stage) -> None:
    async def lie(request: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(FALSE_YES.get(request.value("x-lie") or "", ALLOWED + b"\r\n"))
        writer.close()

    auth, endpoint = await stage.endpoint(lie), await stage.endpoint()
    for kept in ("0", "8"):
        annotations = {
            "external-auth-url": f"http://127.0.0.1:{auth.port}/",
            "external-auth-response-headers": "X-User",
            "external-auth-keepalive": kept,
        }
        await serve(stage, endpoint, site(HOST, annotations))
        client = await stage.connect()
        found = {name: (await client.ask(get(fields=[f"X-Lie: {name}"]))).status for name in FALSE_YES}

        assert found == dict.fromkeys(FALSE_YES, 500)
        assert endpoint.seen == []
    assert (await client.ask(get())).status == 200


async def test_what_requests_say_stays_in_its_place_in_urls_and_fields(stage: Stage) -> None:
    auth, endpoint = await stage.endpoint(reply(status="401 No")), await stage.endpoint()
    url = "u=$uri&h=$http_x_said&c=$cookie_said&a=$arg_said&r=$remote_user&end=1"
    annotations = {
        "external-auth-url": f"http://127.0.0.1:{auth.port}/c?{url}",
        "external-auth-request-headers": "X-One: $http_x_said\nX-Two: $cookie_said\nX-User: $remote_user",
        "external-auth-signin": "https://sign.test/in",
    }
    await serve(stage, endpoint, site(HOST, annotations))
    said = b"a&end=2#f %0d%0aX-Ok: 1 \xe9\x85"
    names = [base64.b64encode(name).decode() for name in (b"a\r\nX-Ok: 1:x", b"a&end=2#:x", b"\xe9\x85:x")]
    requests = [
        *(get(path) for path in ("//evil.test/x", "/\\evil.test/", "/%2F%2Fevil.test", "/a?said=b;c+d")),
        get().replace(b"\r\n\r\n", b"\r\nX-Said: %b\r\nCookie: said=%b\r\n\r\n" % (said, said)),
        *(get(fields=[f"Authorization: Basic {name}"]) for name in names),
    ]
    for request in requests:
        answer = await (await stage.connect()).ask(request)

        assert answer.status == 302
        place = answer.value("location") or ""
        assert place.startswith(f"https://sign.test/in?rd=http://{HOST}%2F")
        assert place.isascii()
        assert not {"&", "#", " ", ";"} & set(place)
        asked = auth.seen[-1]
        target = asked.line.split(b" ")
        assert len(target) == 3
        assert target[1].startswith(b"/c?u=/")
        assert target[1].endswith(b"&end=1")
        assert (target[1].count(b"&"), b"#" in target[1]) == (5, False)
        assert asked.values("x-ok") == []
        assert (asked.value("x-original-url") or "").startswith(f"http://{HOST}/")
    assert len(auth.seen) == len(requests)
    assert endpoint.seen == []


async def test_fields_that_a_client_calls_its_own_are_not_taken_out(stage: Stage) -> None:
    auth, endpoint = await stage.endpoint(reply(fields=["X-User: ann"])), await stage.endpoint()
    annotations = {
        "external-auth-url": f"http://127.0.0.1:{auth.port}/",
        "external-auth-response-headers": "X-User, X-Absent",
        "request-headers-set": "X-Fixed: 1",
    }
    await serve(stage, endpoint, site(HOST, annotations))
    forged = ["X-USER: eve", "X_User: eve", "X.User: eve", "x-absent: eve", "Ssl.Client.Verify: eve"]
    own = ("X-User, X-Fixed", "X-Absent", "X-Real-IP, X-Forwarded-For, X-Original-URL", "Ingresskit-Delegate")
    for names in own:
        answer = await (await stage.connect()).ask(get(fields=[f"Connection: close, {names}", *forged]))

        assert answer.status in (200, 400)  # HAProxy refuses such lists
    assert (await (await stage.connect()).ask(get(fields=["Connection: close", *forged]))).status == 200
    for seen in endpoint.seen:
        assert b"eve" not in seen.head
        assert (seen.values("x-user"), seen.values("x-fixed")) == (["ann"], ["1"])
        assert (seen.values("x-real-ip"), seen.values("x-forwarded-for")) == (["127.0.0.1"], ["127.0.0.1"])
    for asked in auth.seen:
        assert asked.values("x-original-url") == [f"http://{HOST}/"]
        assert (asked.values("x-real-ip"), asked.values("ssl.client.verify")) == (["127.0.0.1"], [])


async def test_a_password_opens_its_own_route_only(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    found = {name: _users(name) for name in ("alice", "mallory")}
    await serve(
        stage,
        endpoint,
        site(HOST, {"basic-auth-secret": "alice"}),
        site(HOST, {"basic-auth-secret": "mallory"}, "/two", "two"),
        site(OTHER, {"basic-auth-secret": "mallory"}, name="other"),
        site(
            "any.example",
            {"basic-auth-secret": "alice", "satisfy": "any", "deny-sources": "127.0.0.0/8"},
            name="any",
        ),
        *found.values(),
    )
    alice, mallory = _credentials("alice"), _credentials("mallory")
    good, bad = f"Authorization: Basic {alice}", f"Authorization: Basic {_credentials('alice', 'wrong')}"

    async def status(*fields: str, host: str = HOST, path: str = "/") -> int:
        return (await (await stage.connect()).ask(get(path, host=host, fields=list(fields)))).status

    assert await status(good) == await status(f"authorization: bAsIC {alice}") == 200
    assert await status(f"Authorization: Basic {mallory}", host=OTHER) == 200
    for path in ("/two", "//two", "/%74wo", "/x/../two/", "/two/%2e/"):
        assert await status(good, path=path) in (400, 401)
    for path in ("/", "/two/../x", "/two/%2e%2e/x"):
        assert await status(f"Authorization: Basic {mallory}", path=path) == 401
    assert await status(good, host=OTHER) == 401
    for fields in ((good, bad), (bad, good), (good, good)):
        assert await status(*fields) in (400, 401)
    for value in (f"Basic\t{alice}", f"Basic {alice}!", "Basic", f"Bearer {alice}", f"Basic {'A' * 6_000}"):
        assert await status(f"Authorization: {value}") == 401
    # An address that is kept out is kept out, whatever else suffices.
    forged = ["X-Forwarded-For: 10.0.0.1", "X-Real-IP: 10.0.0.1", "Forwarded: for=10.0.0.1"]
    assert await status(good, *forged, host="any.example") == 403
    assert len(endpoint.seen) == 3


def _credentials(name: str, password: str = "secret") -> str:  # noqa: S107 - of this test
    return base64.b64encode(f"{name}:{password}".encode()).decode()


def _users(name: str) -> Secret:
    digest = base64.b64encode(hashlib.sha1(b"secret").digest())  # noqa: S324 - of the format
    return Secret(
        metadata=ObjectMeta(namespace="default", name=name),
        type="Opaque",
        data={"auth": b"%b:{SHA}%b\n" % (name.encode(), digest)},
    )
