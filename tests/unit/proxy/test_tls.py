"""TLS: the certificate is that of the table at the moment of the handshake."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import ssl
import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ingresskit.graph import Certificate, Protocol
from ingresskit.models import ObjectKey
from ingresskit.policies import TlsRedirect
from tests.unit.proxy.conftest import Seen, Stage, Wire, forward, get, reply, until

pytestmark = pytest.mark.anyio


def make_certificate(name: str) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain = leaf.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(
        secret=ObjectKey("shop", name.replace(".", "-")),
        chain=chain,
        private_key=private,
        digest=hashlib.sha256(chain + private).hexdigest(),
        names=(name,),
        not_before=now,
        not_after=now + datetime.timedelta(days=30),
    )


def trusting(*protocols: str) -> ssl.SSLContext:
    """A context that trusts every certificate, and offers these protocols: HTTP/1.1 alone by default."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols) or ["http/1.1"])
    return context


def shown(client: Wire) -> str:
    """The name on the certificate the client was shown."""
    connection: ssl.SSLObject = client.writer.get_extra_info("ssl_object")
    der = connection.getpeercert(binary_form=True)
    assert der is not None
    names = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value)


@pytest.fixture(scope="module")
def certificate() -> Callable[[str], Certificate]:
    made: dict[str, Certificate] = {}

    def get_or_make(name: str) -> Certificate:
        if name not in made:
            made[name] = make_certificate(name)
        return made[name]

    return get_or_make


async def test_certificate_is_chosen_by_server_name(
    stage: Stage, certificate: Callable[[str], Certificate]
) -> None:
    endpoint = await stage.endpoint()
    table = replace(
        forward(endpoint.port),
        certificates={
            "a.example": certificate("a.example"),
            "*.b.example": certificate("wild.b.example"),
            "broken.example": None,
        },
        default_certificate=certificate("default.example"),
    )
    proxy = await stage.proxy(table, tls=True)
    names: dict[str, str] = {}

    for name in ("a.example", "A.EXAMPLE", "x.b.example", "x.y.b.example", "other.example", "broken.example"):
        client = await stage.connect(proxy, listener=1, tls=trusting(), name=name)
        assert (await client.ask(get(host=name))).status == 200
        names[name] = shown(client)

    assert names == {
        "a.example": "a.example",
        "A.EXAMPLE": "a.example",
        "x.b.example": "wild.b.example",
        "x.y.b.example": "default.example",
        "other.example": "default.example",
        "broken.example": "default.example",
    }


async def test_client_without_a_server_name_gets_the_default(
    stage: Stage, certificate: Callable[[str], Certificate]
) -> None:
    endpoint = await stage.endpoint()
    table = replace(forward(endpoint.port), default_certificate=certificate("default.example"))
    proxy = await stage.proxy(table, tls=True)

    client = await stage.connect(proxy, listener=1, tls=trusting(), name="127.0.0.1")

    assert shown(client) == "default.example"


async def test_without_a_default_the_proxy_shows_its_own(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port), tls=True)

    client = await stage.connect(proxy, listener=1, tls=trusting())

    assert shown(client) == "ingresskit default certificate"
    connection = client.writer.get_extra_info("ssl_object")
    assert connection.selected_alpn_protocol() == "http/1.1"
    assert (await client.ask(get())).status == 200
    assert endpoint.seen[0].value("x-forwarded-proto") == "https"


async def test_new_certificate_is_for_new_handshakes_and_touches_no_connection(
    stage: Stage, certificate: Callable[[str], Certificate]
) -> None:
    endpoint = await stage.endpoint()
    table = forward(endpoint.port)
    proxy = await stage.proxy(
        replace(table, certificates={"web.example": certificate("old.example")}), tls=True
    )
    before = await stage.connect(proxy, listener=1, tls=trusting())
    await before.ask(get())

    proxy.swap(replace(table, certificates={"web.example": certificate("new.example")}))
    after = await stage.connect(proxy, listener=1, tls=trusting())

    assert shown(after) == "new.example"
    assert (await after.ask(get())).status == 200
    assert (await before.ask(get())).status == 200


async def test_certificate_that_openssl_refuses_costs_its_names_only(
    stage: Stage, certificate: Callable[[str], Certificate], caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = await stage.endpoint()
    good, other = certificate("a.example"), certificate("b.example")
    mixed = replace(good, private_key=other.private_key, digest="mixed")
    table = replace(
        forward(endpoint.port),
        certificates={"a.example": mixed, "b.example": other},
        default_certificate=certificate("default.example"),
    )
    proxy = await stage.proxy(table, tls=True)

    clients = [
        await stage.connect(proxy, listener=1, tls=trusting(), name=name)
        for name in ("a.example", "a.example", "b.example")
    ]

    assert [shown(client) for client in clients] == ["default.example", "default.example", "b.example"]
    logged = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(logged) == 1
    assert other.private_key.decode() not in caplog.text


async def test_old_tls_is_refused(stage: Stage) -> None:
    proxy = await stage.proxy(forward(), tls=True)
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    old = trusting()
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1

    with pytest.raises((ssl.SSLError, ConnectionError)):
        await stage.connect(proxy, listener=1, tls=old)
    client = await stage.connect(proxy, listener=1, tls=context)

    assert client.writer.get_extra_info("ssl_object").version() == "TLSv1.2"
    assert (await client.ask(get())).status == 503


async def test_of_too_many_handshakes_the_one_that_takes_longest_is_given_up(stage: Stage) -> None:
    proxy = await stage.proxy(forward(), tls=True, max_handshakes=3)
    silent = [await stage.connect(proxy, listener=1) for _ in range(3)]

    client = await stage.connect(proxy, listener=1, tls=trusting())

    assert (await client.ask(get())).status == 503
    assert await silent[0].is_closed()
    later = await stage.connect(proxy, listener=1, tls=trusting())
    assert (await later.ask(get())).status == 503
    await silent[2].send(b"nonsense that no handshake begins with")
    assert await silent[2].rest() is not None


async def test_too_many_connections_are_closed_before_their_handshake(stage: Stage) -> None:
    async def never(_request: Seen, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    endpoint = await stage.endpoint(never)
    proxy = await stage.proxy(forward(endpoint.port), tls=True, max_connections=1)
    kept = await stage.connect(proxy, listener=1, tls=trusting())
    await kept.send(get())
    await until(lambda: len(endpoint.seen) == 1)

    silent = await stage.connect(proxy, listener=1)

    assert await silent.is_closed()
    assert proxy.statistics().connections_refused == 1
    assert proxy.statistics().connections_open == 1


async def test_idle_connection_stays_until_a_handshake_for_its_place_is_done(stage: Stage) -> None:
    proxy = await stage.proxy(forward(), tls=True, max_connections=1)
    kept = await stage.connect(proxy, listener=1, tls=trusting())
    await kept.ask(get())

    silent = await stage.connect(proxy, listener=1)
    assert (await kept.ask(get())).status == 503
    silent.writer.close()
    new = await stage.connect(proxy, listener=1, tls=trusting())

    assert (await new.ask(get())).status == 503
    assert await kept.is_closed()


async def test_handshake_that_takes_too_long_is_given_up(stage: Stage) -> None:
    proxy = await stage.proxy(forward(), tls=True, handshake_timeout=datetime.timedelta(seconds=0.2))

    silent = await stage.connect(proxy, listener=1)

    assert await silent.is_closed()


async def test_handshakes_under_way_do_not_hold_up_the_end(stage: Stage) -> None:
    proxy = await stage.proxy(forward(), tls=True)
    silent = await stage.connect(proxy, listener=1)
    client = await stage.connect(proxy, listener=1, tls=trusting())
    await client.ask(get())

    await proxy.drain(datetime.timedelta(seconds=60))

    assert await silent.is_closed()
    assert await client.is_closed()


@pytest.mark.parametrize(
    ("settings", "port"),
    [({}, ""), ({"public_https_port": 443}, ""), ({"public_https_port": 8443}, ":8443")],
    ids=["443 unless told", "443", "another port"],
)
async def test_plain_requests_are_redirected(stage: Stage, settings: dict[str, int], port: str) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(
        forward(endpoint.port, policies=[TlsRedirect(enabled=True)]), tls=True, **settings
    )
    client = await stage.connect(proxy)

    answer = await client.ask(get("/a//b?c=d", host="web.example:8080"))
    secure = await stage.connect(proxy, listener=1, tls=trusting())

    assert answer.status == 308
    assert answer.value("location") == f"https://web.example{port}/a/b?c=d"
    assert (await secure.ask(get())).status == 200


async def test_a_client_without_a_port_mapping_is_redirected_to_the_tls_listener(stage: Stage) -> None:
    proxy = await stage.proxy(forward(1, policies=[TlsRedirect(enabled=True)]), tls=True, public_https_port=443)
    client = await stage.connect(proxy)
    plain, secure = (listener.address[1] for listener in proxy.listeners)

    answer = await client.ask(get("/a", host=f"web.example:{plain}"))

    assert answer.value("location") == f"https://web.example:{secure}/a"


async def test_plain_requests_are_redirected_to_tls_that_others_take(stage: Stage) -> None:
    proxy = await stage.proxy(forward(1, policies=[TlsRedirect(enabled=True)]), public_https_port=9443)
    client = await stage.connect(proxy)

    answer = await client.ask(get("/a", host=f"web.example:{proxy.listeners[0].address[1]}"))

    assert answer.value("location") == "https://web.example:9443/a"


async def test_nothing_is_redirected_to_tls_that_is_not_served(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(forward(endpoint.port, policies=[TlsRedirect(enabled=True)]))
    client = await stage.connect(proxy)

    assert (await client.ask(get())).status == 200


async def test_large_bodies_pass_through_tls(stage: Stage) -> None:
    body = bytes(range(256)) * 20000
    endpoint = await stage.endpoint(reply(body))
    proxy = await stage.proxy(forward(endpoint.port), tls=True)
    client = await stage.connect(proxy, listener=1, tls=trusting())

    for _ in range(2):
        answer = await client.ask(get(method="POST", fields=[f"Content-Length: {len(body)}"]) + body)
        assert answer.body == body
    assert endpoint.seen[1].body == body


async def test_endpoints_may_speak_tls(
    stage: Stage, certificate: Callable[[str], Certificate], tmp_path: object
) -> None:
    own = certificate("endpoint.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = f"{tmp_path}/endpoint.pem"
    with open(pem, "wb") as file:  # noqa: PTH123, ASYNC230
        file.write(own.chain + own.private_key)
    context.load_cert_chain(pem)
    asked: list[str | None] = []
    context.sni_callback = lambda _connection, name, _context: asked.append(name)
    endpoint = await stage.endpoint(tls=context)
    proxy = await stage.proxy(forward(endpoint.port, protocol=Protocol.HTTPS))
    client = await stage.connect(proxy)

    statuses = [
        (await client.ask(get(host=host))).status
        for host in ("web.example", "web.example:81", "a_b.example", "127.0.0.1")
    ]

    assert statuses == [200] * 4
    # One connection for each server name; a host that cannot be one goes without.
    assert asked == ["web.example", None]
    assert endpoint.connections == 2


async def test_plain_request_to_a_tls_port_harms_nobody(stage: Stage) -> None:
    proxy = await stage.proxy(forward(), tls=True)
    wrong = await stage.connect(proxy, listener=1)
    await wrong.send(get())
    right = await stage.connect(proxy, listener=1, tls=trusting())

    assert await wrong.rest() is not None
    assert (await right.ask(get())).status == 503
    await asyncio.sleep(0)
