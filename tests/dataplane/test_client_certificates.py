"""Whatever the proxy: hosts that ask clients for certificates serve nobody who has none."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from ingresskit.models import KubeObject, Secret, Snapshot
from ingresskit.policies import IngressNginxDialect, PolicyRegistry
from ingresskit.testing import ca_secret, ingress, ingress_class, make_authority, service, tls_secret
from ingresskit.testing.certificates import SampleCertificate
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from ingresskit.translate import translate
from tests.dataplane.conftest import EVERY_PLANE, opened
from tests.dataplane.delegated import open_delegated_haproxy
from tests.dataplane.haproxy_plane import PROGRAM
from tests.dataplane.stage import HOST, OPTIONS, Stage, slices, trusting
from tests.unit.proxy.conftest import FakeEndpoint, Wire, get

pytestmark = pytest.mark.anyio

OPEN = "open.example"
OTHER = "other.example"
CA, OTHER_CA = make_authority("Staff CA"), make_authority("Partner CA")
ALICE = CA.issue("alice", organization="Shop, Inc.")
BOB = CA.issue("bob")
PARTNER = OTHER_CA.issue("alice")


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    """Every kind, HAProxy with its delegate."""
    if request.param != "haproxy":
        async with opened(request.param) as made:
            yield made
        return
    with state_folder() as folder:
        async with open_delegated_haproxy(PlaneSettings(state_dir=folder), program=PROGRAM) as (made, _, _):
            yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def showing(
    shown: SampleCertificate | None, folder: Path, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """A client that has this certificate."""
    context = trusting()
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if shown is not None:
        pem = folder / f"{shown.fingerprint[:16]}.pem"
        pem.write_bytes(shown.chain + shown.private_key)
        context.load_cert_chain(pem)
    return context


def asking(
    endpoint: FakeEndpoint,
    annotations: Mapping[str, str] | None = None,
    *,
    secret: Secret | None = None,
    more: Mapping[str, str] | None = None,
) -> list[KubeObject]:
    """HOST asks for certificates of CA, OTHER for those of OTHER_CA, OPEN for none."""
    found: list[KubeObject] = [
        ingress(
            "web",
            {HOST: {"/": "web"}},
            annotations={"client-ca-secret": "ca", **(annotations or {})},
            tls={"tls": [HOST]},
        ),
        ingress(
            "other",
            {OTHER: {"/": "web"}},
            annotations={"client-ca-secret": "other-ca"},
            created=1,
            tls={"tls": [OTHER]},
        ),
        ingress("open", {OPEN: {"/": "web"}}, created=2, annotations=more, tls={"tls": [OPEN]}),
        service("web"),
        *slices("web", [endpoint.port]),
        tls_secret(HOST, OTHER, OPEN, name="tls"),
        ca_secret(OTHER_CA, name="other-ca"),
    ]
    found.append(secret or ca_secret(CA))
    return found


async def status(stage: Stage, context: ssl.SSLContext, *, name: str | None = HOST, host: str = HOST) -> int:
    """The status of one request on a connection of its own; 0: the handshake failed."""
    try:
        client = await stage.connect(tls=context, name=name)
        found = (await client.ask(get(host=host))).status
        # A process that was replaced stays for as long as it has connections, and a reload waits for it.
        await client.close()
        return found
    except (ssl.SSLError, ConnectionError, EOFError):
        return 0


async def asked(client: Wire, host: str) -> int:
    return (await client.ask(get(host=host))).status


async def test_only_clients_with_a_certificate_of_the_ca_are_served(stage: Stage, folder: Path) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*asking(endpoint))

    assert await status(stage, showing(ALICE, folder)) == 200
    assert await status(stage, showing(None, folder)) == 400
    assert await status(stage, showing(PARTNER, folder)) in (0, 400)
    assert await status(stage, showing(PARTNER, folder), name=OTHER, host=OTHER) == 200
    assert await status(stage, showing(ALICE, folder), name=OTHER, host=OTHER) in (0, 400)
    assert await status(stage, showing(None, folder), name=OPEN, host=OPEN) == 200
    assert len(endpoint.seen) == 3


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_handshake_for_another_host_is_worth_nothing(
    stage: Stage, folder: Path, version: ssl.TLSVersion
) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*asking(endpoint))
    nobody, alice = showing(None, folder, version), showing(ALICE, folder, version)

    # nginx judges what was shown first, and knows no server name but those of hosts that ask.
    refused = (400, 421) if stage.plane.name.startswith("nginx") else (421,)
    assert await status(stage, nobody, name=OPEN) in refused
    assert await status(stage, nobody, name=OPEN, host=HOST.upper()) in refused
    assert await status(stage, nobody, name="unknown.example") in (400, 421)
    assert await status(stage, nobody, name=None) in (400, 421)
    assert await status(stage, alice, name=OPEN) in refused
    assert await status(stage, alice, host=OTHER) == 421
    both = await stage.connect(tls=alice)
    assert [await asked(both, HOST), await asked(both, OTHER)] == [200, 421]
    assert len(endpoint.seen) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_session_of_another_host_is_not_resumed_into_one_that_asks(
    stage: Stage, folder: Path, version: ssl.TLSVersion
) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*asking(endpoint))
    context = showing(ALICE, folder, version)

    def ask_with(name: str, session: ssl.SSLSession | None, host: str) -> tuple[int, ssl.SSLSession | None]:
        address = stage.plane.https
        assert address is not None
        with (
            socket.create_connection(address, timeout=20) as raw,
            context.wrap_socket(raw, server_hostname=name, session=session) as client,
        ):
            client.sendall(get(host=host))
            words = client.recv(4096).split(b" ", 2)
            return int(words[1]) if len(words) > 1 else 0, client.session

    _, own = await asyncio.to_thread(ask_with, HOST, None, HOST)
    _, free = await asyncio.to_thread(ask_with, OPEN, None, OPEN)
    seen = len(endpoint.seen)

    for session in (own, free):
        if session is not None:
            try:
                found, _ = await asyncio.to_thread(ask_with, OTHER, session, OTHER)
            except (ssl.SSLError, ConnectionError):
                continue
            assert found in (0, 400, 421)
    assert len(endpoint.seen) == seen


async def test_endpoint_learns_of_the_certificate_from_the_proxy_alone(stage: Stage, folder: Path) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*asking(endpoint, {"client-certificate-header": "true"}))
    client = await stage.connect(tls=showing(ALICE, folder))
    forged = [
        "SSL-Client-Verify: FAILED:forged",
        "ssl-client-subject-dn: CN=root",
        "ssl-client-issuer-dn: CN=root",
        "ssl-client-cert: forged",
        "SSL_Client_Cert: forged",
        "Ssl.Client.Verify: forged",
        "X-SSL-Client-Cert: forged",
        "X-Forwarded-Client-Cert: forged",
    ]

    assert (await client.ask(get(fields=forged))).status == 200

    seen = endpoint.seen[-1]
    assert seen.value("ssl-client-verify") == "SUCCESS"
    assert seen.value("ssl-client-subject-dn") == "CN=alice,O=Shop\\, Inc."
    assert seen.value("ssl-client-issuer-dn") == "CN=Staff CA"
    assert unquote(seen.value("ssl-client-cert") or "").encode() == ALICE.chain
    assert b"forged" not in seen.head
    assert b"CN=root" not in seen.head


async def test_trusted_proxy_cannot_speak_for_a_certificate(trusting_stage: Stage, folder: Path) -> None:
    stage = trusting_stage
    endpoint = await stage.endpoint()
    await stage.serve_objects(*asking(endpoint))
    forged = ["X-Forwarded-Proto: https", "ssl-client-verify: SUCCESS", "ssl-client-cert: forged"]
    plain, secure = await stage.connect(), await stage.connect(tls=showing(ALICE, folder))

    assert (await plain.ask(get(fields=forged))).status == 403
    assert (await secure.ask(get(fields=forged))).status == 200

    assert [item.value("ssl-client-cert") for item in endpoint.seen] == [None]
    assert endpoint.seen[0].value("ssl-client-verify") == "SUCCESS"


async def test_plain_http_is_redirected_or_refused(stage: Stage, folder: Path) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*asking(endpoint))
    client = await stage.connect()

    answer = await client.ask(get())

    assert (answer.status, answer.value("location")) == (308, f"https://{HOST}/")
    await stage.serve_objects(*asking(endpoint, {"tls-redirect": "false"}))
    client = await stage.connect()
    assert (await client.ask(get())).status == 403
    assert endpoint.seen == []


async def test_optional_certificate_must_verify_where_there_is_one(stage: Stage, folder: Path) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*asking(endpoint, {"client-certificate": "optional"}))

    assert await status(stage, showing(None, folder)) == 200
    assert endpoint.seen[-1].value("ssl-client-verify") == "NONE"
    assert endpoint.seen[-1].value("ssl-client-subject-dn") is None
    assert await status(stage, showing(ALICE, folder)) == 200
    assert endpoint.seen[-1].value("ssl-client-verify") == "SUCCESS"
    assert await status(stage, showing(PARTNER, folder)) in (0, 400)
    assert await status(stage, showing(None, folder), name=OPEN) == 421


async def test_common_name_must_match_whole(stage: Stage, folder: Path) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*asking(endpoint, {"client-certificate-name": "al[a-z]{2}e"}))

    assert await status(stage, showing(ALICE, folder)) == 200
    for name in ("alice2", "malice", "bob", "x,CN=alice", "bob+CN=alice"):
        assert await status(stage, showing(CA.issue(name), folder)) == 403
    # Not those of the organization either.
    assert await status(stage, showing(CA.issue("bob", organization="CN=alice"), folder)) == 403
    assert await status(stage, showing(CA.issue("bob", organization="x,CN=alice"), folder)) == 403


async def test_clients_without_a_certificate_get_to_the_error_page(stage: Stage, folder: Path) -> None:
    endpoint = await stage.endpoint()
    page = "https://help.example/no-certificate?why=1"
    await stage.serve_objects(*asking(endpoint, {"client-certificate-error-page": page}))
    client = await stage.connect(tls=showing(None, folder))

    answer = await client.ask(get("/private"))

    assert (answer.status, answer.value("location")) == (302, page)
    assert endpoint.seen == []


async def test_depth_counts_the_certificates_between(stage: Stage, folder: Path) -> None:
    between = make_authority("Between CA", CA)
    deeper = make_authority("Deeper CA", between)
    endpoint = await stage.endpoint()
    await stage.serve_objects(*asking(endpoint))

    assert await status(stage, showing(between.issue("carol"), folder)) == 200
    if stage.plane.name != "haproxy":
        assert await status(stage, showing(deeper.issue("carol"), folder)) in (0, 400)
    await stage.serve_objects(*asking(endpoint, {"client-certificate-depth": "2"}))
    assert await status(stage, showing(deeper.issue("carol"), folder)) == 200


async def test_changes_of_the_ca_are_live_without_a_restart(stage: Stage, folder: Path) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*asking(endpoint))
    assert await status(stage, showing(ALICE, folder)) == 200

    await stage.serve_objects(*asking(endpoint, secret=ca_secret(OTHER_CA)))
    assert await status(stage, showing(ALICE, folder)) in (0, 400)
    assert await status(stage, showing(PARTNER, folder)) == 200

    revoked = ca_secret(CA, revoked=CA.revoke(ALICE))
    await stage.serve_objects(*asking(endpoint, secret=revoked))
    assert await status(stage, showing(ALICE, folder)) in (0, 400)
    assert await status(stage, showing(BOB, folder)) == 200

    gone = [item for item in asking(endpoint) if item.key.name != "ca"]
    await stage.serve_objects(*gone)
    assert await status(stage, showing(BOB, folder)) == 503
    assert await status(stage, showing(None, folder)) == 503
    assert await status(stage, showing(None, folder), name=OPEN, host=OPEN) == 200

    await stage.serve_objects(*asking(endpoint))
    assert await status(stage, showing(BOB, folder)) == 200


async def test_wildcard_host_asks_and_the_name_below_it_does_not(stage: Stage, folder: Path) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(
        ingress(
            "wild",
            {"*.wild.example": {"/": "web"}},
            annotations={"client-ca-secret": "ca"},
            tls={"wild": ["*.wild.example"]},
        ),
        ingress("free", {"free.wild.example": {"/": "web"}}, created=1),
        service("web"),
        *slices("web", [endpoint.port]),
        tls_secret("*.wild.example", name="wild"),
        ca_secret(CA),
    )
    nobody, alice = showing(None, folder), showing(ALICE, folder)

    for name in ("a.wild.example", "A.wild.example", "a.wild.example."):
        assert await status(stage, nobody, name=name, host="a.wild.example") == 400
        assert await status(stage, alice, name=name, host="a.wild.example") == 200
    assert await status(stage, nobody, name="free.wild.example", host="free.wild.example") == 200
    assert await status(stage, nobody, name="free.wild.example", host="a.wild.example") == 421
    assert await status(stage, alice, name="free.wild.example", host="a.wild.example.") == 421


async def test_host_for_everything_may_ask(stage: Stage, folder: Path) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(
        ingress("any", {"": {"/": "web"}}, annotations={"client-ca-secret": "ca"}),
        ingress("open", {OPEN: {"/": "web"}}, created=1, tls={"tls": [OPEN]}),
        ingress(
            "other", {OTHER: {"/": "web"}}, annotations={"client-ca-secret": "other-ca"}, tls={"tls": [OTHER]}
        ),
        service("web"),
        *slices("web", [endpoint.port]),
        tls_secret(OPEN, OTHER, name="tls"),
        ca_secret(CA),
        ca_secret(OTHER_CA, name="other-ca"),
    )
    nobody, alice = showing(None, folder), showing(ALICE, folder)

    assert await status(stage, nobody, name="x.example", host="x.example") == 400
    assert await status(stage, alice, name="x.example", host="x.example") == 200
    assert await status(stage, nobody, name=OPEN, host=OPEN) == 200
    assert await status(stage, nobody, name=OPEN, host="x.example") == 421
    # Without a server name the handshake is that of the host for everything, and of no other.
    assert await status(stage, alice, name=None, host="x.example") in (200, 421)
    assert await status(stage, alice, name=None, host=OTHER) == 421


async def test_policies_that_are_handed_over_are_behind_the_certificate(stage: Stage, folder: Path) -> None:
    endpoint = await stage.endpoint()
    annotations = {"cors-origins": "https://app.example", "client-certificate-header": "true"}
    await stage.serve_objects(*asking(endpoint, annotations))
    fields = ["ssl-client-verify: forged", "Origin: https://app.example"]

    assert await status(stage, showing(None, folder)) == 400
    assert await status(stage, showing(None, folder), name=OPEN) in (400, 421)
    client = await stage.connect(tls=showing(ALICE, folder))
    answer = await client.ask(get(fields=fields))

    assert (answer.status, answer.value("access-control-allow-origin")) == (200, "https://app.example")
    assert endpoint.seen[-1].value("ssl-client-verify") == "SUCCESS"
    assert unquote(endpoint.seen[-1].value("ssl-client-cert") or "").encode() == ALICE.chain
    assert len(endpoint.seen) == 1


async def test_any_certificate_is_judged_by_the_endpoint_where_the_host_says_so(
    stage: Stage, folder: Path
) -> None:
    endpoint = await stage.endpoint()
    await stage.serve_objects(*asking(endpoint, {"client-certificate": "optional-any"}))

    assert await status(stage, showing(None, folder)) == 200
    assert endpoint.seen[-1].value("ssl-client-verify") == "NONE"
    assert await status(stage, showing(ALICE, folder)) == 200
    assert endpoint.seen[-1].value("ssl-client-verify") == "SUCCESS"
    seen = len(endpoint.seen)
    found = await status(stage, showing(PARTNER, folder))
    # Python ends such a handshake, which the renderer reports.
    assert found == (0 if stage.plane.name == "inprocess" else 200)
    verdicts = [item.value("ssl-client-verify") or "" for item in endpoint.seen[seen:]]
    assert all(verdict.startswith("FAILED:") for verdict in verdicts)


async def test_challenge_of_acme_is_solved_over_plain_http(stage: Stage, folder: Path) -> None:
    endpoint = await stage.endpoint()
    path = "/.well-known/acme-challenge/token"
    solver = ingress("solver", {HOST: {path: "web"}}, created=5)
    await stage.serve_objects(*asking(endpoint), solver)
    client = await stage.connect()

    assert (await client.ask(get(path))).status == 200
    assert (await client.ask(get("/.well-known/acme-challenge/other"))).status == 308


async def test_host_has_ciphers_of_its_own(stage: Stage, folder: Path) -> None:
    endpoint = await stage.endpoint()
    strong, other = "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"
    await stage.serve_objects(*asking(endpoint, more={"tls-ciphers": strong}))
    found: dict[str, int] = {}

    for cipher in (strong, other):
        client = showing(None, folder, ssl.TLSVersion.TLSv1_2)
        client.set_ciphers(cipher)
        found[cipher] = await status(stage, client, name=OPEN, host=OPEN)

    assert found == {strong: 200, other: 0}


async def test_host_that_is_handed_over_whole_asks_as_ingress_nginx_does(stage: Stage, folder: Path) -> None:
    endpoint = await stage.endpoint()
    prefix = "nginx.ingress.kubernetes.io"
    annotations = {"auth-tls-secret": "default/ca", "use-regex": "true", "ssl-redirect": "false"}
    web = ingress(
        "web",
        {HOST: {"~/a[0-9]+": "web"}},
        annotations={f"{prefix}/{name}": text for name, text in annotations.items()},
        tls={"tls": [HOST]},
    )
    objects = [
        ingress_class(),
        web,
        service("web"),
        *slices("web", [endpoint.port]),
        tls_secret(HOST, name="tls"),
        ca_secret(CA),
    ]
    options = replace(OPTIONS, policies=PolicyRegistry([IngressNginxDialect()]))
    await stage.plane.serve(translate(Snapshot.of(objects), options).graph)

    async def asks(context: ssl.SSLContext, name: str | None) -> int:
        client = await stage.connect(tls=context, name=name)
        return (await client.ask(get("/a1"))).status

    plain = await stage.connect()
    assert (await plain.ask(get("/a1"))).status == 403
    assert await asks(showing(None, folder), HOST) == 400
    assert await asks(showing(None, folder), "else.example") in (400, 421)
    assert endpoint.seen == []
    assert await asks(showing(ALICE, folder), HOST) == 200
    assert endpoint.seen[-1].value("ssl-client-verify") == "SUCCESS"
