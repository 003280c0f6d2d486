"""Whatever the proxy: the certificate is that of the graph at the moment of the handshake."""

from __future__ import annotations

import ssl
import warnings
from pathlib import Path

import pytest

from ingresskit.models import KubeObject
from ingresskit.testing import endpoint_slice, ingress, make_certificate, service, tls_secret
from tests.dataplane.stage import HOST, Stage, slices, trusting
from tests.unit.proxy.conftest import FakeEndpoint, Wire, get

pytestmark = pytest.mark.anyio


def shown(client: Wire) -> bytes:
    """The certificate the client was shown, as PEM."""
    connection: ssl.SSLObject = client.writer.get_extra_info("ssl_object")
    der = connection.getpeercert(binary_form=True)
    assert der is not None
    return ssl.DER_cert_to_PEM_cert(der).encode()


def certified(endpoint: FakeEndpoint, *, salt: str = "", created: int = 0) -> list[KubeObject]:
    tls = {"plain": [HOST], "wild": ["*.wild.example"]}
    return [
        ingress(
            "web", {HOST: {"/": "web"}, "*.wild.example": {"/": "web"}, "bare.example": {"/": "web"}}, tls=tls
        ),
        service("web"),
        *slices("web", [endpoint.port]),
        tls_secret(HOST, name="plain", salt=salt),
        tls_secret("*.wild.example", name="wild"),
    ]


async def test_certificate_is_chosen_by_server_name(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*certified(endpoint))
    plain, wild = make_certificate(HOST).chain, make_certificate("*.wild.example").chain
    found: dict[str, bytes] = {}

    names = (
        HOST,
        HOST.upper(),
        f"{HOST}.",
        "x.wild.example",
        "x.wild.example.",
        "x.y.wild.example",
        "bare.example",
    )
    for name in names:
        client = await stage.connect(tls=trusting(), name=name)
        await client.ask(get(host=name))
        found[name] = shown(client)

    assert found[HOST] == found[HOST.upper()] == found[f"{HOST}."] == plain
    assert found["x.wild.example"] == found["x.wild.example."] == wild
    assert not {found["x.y.wild.example"], found["bare.example"]} & {plain, wild}


async def test_client_without_a_server_name_gets_the_proxy_s_own_certificate(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*certified(endpoint))

    client = await stage.connect(tls=trusting(), name=None)

    assert (await client.ask(get())).status == 200
    assert shown(client) not in (make_certificate(HOST).chain, make_certificate("*.wild.example").chain)


async def test_endpoint_is_told_that_the_client_used_tls(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*certified(endpoint))
    client = await stage.connect(tls=trusting())

    await client.ask(get(fields=["X-Forwarded-Proto: http"]))

    assert endpoint.seen[0].value("x-forwarded-proto") == "https"


async def test_new_certificate_is_for_new_handshakes_and_touches_no_connection(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*certified(endpoint))
    before = await stage.connect(tls=trusting())
    await before.ask(get())

    for salt in ("one", "two", "three"):
        await stage.serve_objects(*certified(endpoint, salt=salt))
        after = await stage.connect(tls=trusting())

        assert shown(after) == make_certificate(HOST, salt=salt).chain
        assert (await after.ask(get())).status == 200
    assert (await before.ask(get())).status == 200


async def test_certificate_that_is_gone_is_shown_no_more(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*certified(endpoint))
    objects = [item for item in certified(endpoint) if item.key.name != "plain"]

    await stage.serve_objects(*objects)
    client = await stage.connect(tls=trusting())

    assert shown(client) != make_certificate(HOST).chain
    assert (await client.ask(get())).status == 200


async def test_key_that_does_not_fit_costs_its_host_only(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    broken = tls_secret("broken.example", name="broken", key=make_certificate("other.example").private_key)
    await stage.serve_objects(
        *certified(endpoint),
        ingress("broken", {"broken.example": {"/": "web"}}, created=1, tls={"broken": ["broken.example"]}),
        broken,
    )

    good = await stage.connect(tls=trusting())
    bad = await stage.connect(tls=trusting(), name="broken.example")

    assert shown(good) == make_certificate(HOST).chain
    assert shown(bad) != make_certificate("broken.example").chain
    assert (await bad.ask(get(host="broken.example"))).status == 200


@pytest.mark.parametrize(
    ("host", "path", "location"),
    [
        (HOST, "/", f"https://{HOST}/"),
        (f"{HOST}:8080", "/a//b?c=d", f"https://{HOST}/a/b?c=d"),
        (HOST.upper(), "/%61", f"https://{HOST}/a"),
        ("x.wild.example", "/x", "https://x.wild.example/x"),
    ],
)
async def test_plain_requests_are_redirected(stage: Stage, host: str, path: str, location: str) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*certified(endpoint))
    client, secure = await stage.connect(), await stage.connect(tls=trusting())

    answer = await client.ask(get(path, host=host))

    assert (answer.status, answer.value("location")) == (308, location)
    assert (await client.ask(get(host="bare.example"))).status == 200
    assert (await secure.ask(get())).status == 200


@pytest.mark.parametrize(
    ("annotations", "name"),
    [
        ({}, HOST),
        ({"upstream-host": "inner.example:8443"}, "inner.example"),
        ({"upstream-host": "10.0.0.1"}, None),
    ],
    ids=["the client's host", "another host", "an address"],
)
async def test_endpoints_may_speak_tls(
    stage: Stage, tmp_path: Path, annotations: dict[str, str], name: str | None
) -> None:
    own = make_certificate("endpoint.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = tmp_path / "endpoint.pem"
    pem.write_bytes(own.chain + own.private_key)
    context.load_cert_chain(pem)
    asked: list[str | None] = []
    context.sni_callback = lambda _connection, name, _context: asked.append(name)
    endpoint = await stage.endpoint(tls=context)
    await stage.serve(endpoint, app_protocol="https", annotations=annotations)
    client = await stage.connect()

    statuses = [(await client.ask(get())).status for _ in range(3)]

    assert statuses == [200] * 3
    assert name in asked
    assert asked.count(name) == len(asked)


@pytest.mark.parametrize(
    ("version", "served"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
    ids=["1.1", "1.2", "1.3"],
)
async def test_tls_is_served_from_1_2_on(stage: Stage, version: ssl.TLSVersion, served: bool) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*certified(endpoint))
    context = trusting()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what is deprecated is what is tried here
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version

    if served:
        client = await stage.connect(tls=context)
        assert (await client.ask(get())).status == 200
    else:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await stage.connect(tls=context)


async def test_plain_request_to_a_tls_port_harms_nobody(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*certified(endpoint), endpoint_slice("none"))
    address = stage.plane.https
    assert address is not None
    wrong = await stage.connect_to(address)
    await wrong.send(get())
    right = await stage.connect(tls=trusting())

    assert b" 200 " not in (await wrong.rest())[:20]
    assert (await right.ask(get())).status == 200
    assert len(endpoint.seen) == 1
