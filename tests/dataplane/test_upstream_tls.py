"""Whatever the proxy: endpoints that must be verified are, and routes that verify otherwise share nothing."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import pytest

from ingresskit.models import ConfigMap, KubeObject, ObjectMeta
from ingresskit.testing import ca_secret, ingress, make_authority, service
from ingresskit.testing.builders import EPOCH
from ingresskit.testing.certificates import SampleCertificate
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from tests.dataplane.conftest import EVERY_PLANE, opened
from tests.dataplane.delegated import open_delegated_haproxy
from tests.dataplane.haproxy_plane import PROGRAM
from tests.dataplane.stage import HOST, Stage, slices
from tests.unit.proxy.conftest import FakeEndpoint, get

pytestmark = pytest.mark.anyio

CA, OTHER_CA = make_authority("Endpoint CA"), make_authority("Other CA")
BETWEEN = make_authority("Between CA", CA)
DEEPER = make_authority("Deeper CA", BETWEEN)
OURS = OTHER_CA.issue("gateway")
NAME = "pods.example"
SERVICE_NAME = "web.default.svc"


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


def serving(
    shown: SampleCertificate, folder: Path, *, asks: bool = False
) -> tuple[ssl.SSLContext, list[str | None]]:
    """The TLS of an endpoint with that certificate, and the server names that it is asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = folder / f"{shown.fingerprint[:16]}.pem"
    pem.write_bytes(shown.chain + shown.private_key)
    context.load_cert_chain(pem)
    if asks:
        ca = folder / "clients.pem"
        ca.write_bytes(OTHER_CA.certificate)
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
    asked: list[str | None] = []
    context.sni_callback = lambda _connection, name, _context: asked.append(name)
    return context, asked


def routes(endpoint: FakeEndpoint, paths: Mapping[str, Mapping[str, str]]) -> list[KubeObject]:
    """One Ingress for each path, all to the same Service."""
    found: list[KubeObject] = [
        ingress(
            f"at-{number}",
            {HOST: {path: "web"}},
            annotations={"upstream-protocol": "https", "tls-redirect": "false", **annotations},
            created=number,
        )
        for number, (path, annotations) in enumerate(paths.items())
    ]
    bundle = {"ca.crt": CA.certificate.decode()}
    return [
        *found,
        service("web"),
        *slices("web", [endpoint.port]),
        ca_secret(CA),
        ca_secret(OTHER_CA, name="other-ca", client=OURS),
        ca_secret(CA, name="revoking", revoked=CA.revoke(CA.issue(NAME, NAME, SERVICE_NAME))),
        ConfigMap(
            metadata=ObjectMeta(name="bundle", namespace="default", creation_timestamp=EPOCH), data=bundle
        ),
    ]


async def statuses(stage: Stage, *paths: str) -> list[int]:
    """The status for each path, each on a connection of its own: one may end with a failure."""
    return [(await (await stage.connect()).ask(get(path))).status for path in paths]


async def test_endpoints_are_verified_by_ca_and_name(stage: Stage, tmp_path: Path) -> None:
    tls, asked = serving(CA.issue(NAME, NAME, SERVICE_NAME), tmp_path)
    endpoint = await stage.endpoint(tls=tls)
    paths = {
        "/unverified": {},
        "/named": {"upstream-tls-ca-secret": "ca", "upstream-tls-name": NAME},
        "/service": {"upstream-tls-ca-secret": "ca"},
        "/bundle": {"upstream-tls-ca-config-map": "bundle", "upstream-tls-name": NAME},
        "/wrong-ca": {"upstream-tls-ca-secret": "other-ca", "upstream-tls-name": NAME},
        "/wrong-name": {"upstream-tls-ca-secret": "ca", "upstream-tls-name": "else.example"},
        "/revoked": {"upstream-tls-ca-secret": "revoking", "upstream-tls-name": NAME},
        "/off": {
            "upstream-tls-ca-secret": "other-ca",
            "upstream-tls-verify": "false",
            "upstream-tls-name": "else.example",
        },
        "/no-ca": {"upstream-tls-verify": "true"},
        "/gone": {"upstream-tls-ca-secret": "gone"},
        "/plain": {"upstream-tls-ca-secret": "ca", "upstream-protocol": "http"},
    }
    await stage.serve_objects(*routes(endpoint, paths))

    found = dict(zip(paths, await statuses(stage, *paths), strict=True))

    assert found == {
        "/unverified": 200,
        "/named": 200,
        "/service": 200,
        "/bundle": 200,
        "/wrong-ca": 502,
        "/wrong-name": 502,
        "/revoked": 502,
        "/off": 200,
        "/no-ca": 503,
        "/gone": 503,
        "/plain": 503,
    }
    assert len(endpoint.seen) == 5
    assert {NAME, SERVICE_NAME, "else.example"} <= set(asked)


async def test_connections_of_one_verification_are_not_used_by_another(stage: Stage, tmp_path: Path) -> None:
    tls, _ = serving(CA.issue(NAME, NAME), tmp_path)
    endpoint = await stage.endpoint(tls=tls)
    wrong = {"upstream-tls-ca-secret": "other-ca", "upstream-tls-name": NAME}
    await stage.serve_objects(*routes(endpoint, {"/open": {}, "/verified": wrong}))

    assert await statuses(stage, "/open", "/verified", "/open", "/verified") == [200, 502, 200, 502]


async def test_endpoints_are_shown_a_certificate(stage: Stage, tmp_path: Path) -> None:
    tls, _ = serving(CA.issue(NAME, NAME), tmp_path, asks=True)
    endpoint = await stage.endpoint(tls=tls)
    shown = {"upstream-tls-client-secret": "other-ca"}
    verified = {**shown, "upstream-tls-ca-secret": "ca", "upstream-tls-name": NAME}
    await stage.serve_objects(*routes(endpoint, {"/shown": shown, "/verified": verified, "/nothing": {}}))

    found = await statuses(stage, "/shown", "/verified", "/nothing")

    assert found[:2] == [200, 200]
    assert found[2] in (502, 503, 504)


async def test_depth_counts_the_certificates_between(stage: Stage, tmp_path: Path) -> None:
    tls, _ = serving(DEEPER.issue(NAME, NAME), tmp_path)
    endpoint = await stage.endpoint(tls=tls)
    base = {"upstream-tls-ca-secret": "ca", "upstream-tls-name": NAME}
    await stage.serve_objects(*routes(endpoint, {"/one": base, "/two": {**base, "upstream-tls-depth": "2"}}))

    assert await statuses(stage, "/one", "/two") == [502, 200]


async def test_versions_and_ciphers_are_those_asked_for(stage: Stage, tmp_path: Path) -> None:
    tls, _ = serving(CA.issue(NAME, NAME), tmp_path)
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    tls.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    endpoint = await stage.endpoint(tls=tls)
    paths = {
        "/1.2": {"upstream-tls-versions": "1.2"},
        "/1.3": {"upstream-tls-versions": "1.3"},
        "/same": {"upstream-tls-ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"},
        "/other": {"upstream-tls-ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256"},
    }
    await stage.serve_objects(*routes(endpoint, paths))

    assert await statuses(stage, *paths) == [200, 502, 200, 502]


async def test_change_of_the_ca_is_live_and_its_end_closes(stage: Stage, tmp_path: Path) -> None:
    tls, _ = serving(CA.issue(NAME, NAME), tmp_path)
    endpoint = await stage.endpoint(tls=tls)
    objects = routes(endpoint, {"/": {"upstream-tls-ca-secret": "ca", "upstream-tls-name": NAME}})
    others = [item for item in objects if item.key.name != "ca"]
    await stage.serve_objects(*objects)
    assert await statuses(stage, "/") == [200]

    await stage.serve_objects(*others, ca_secret(OTHER_CA))
    assert await statuses(stage, "/") == [502]
    await stage.serve_objects(*others)
    assert await statuses(stage, "/") == [503]
    await stage.serve_objects(*objects)
    assert await statuses(stage, "/") == [200]


async def test_common_name_does_not_stand_in_for_a_dns_name(stage: Stage, tmp_path: Path) -> None:
    tls, _ = serving(CA.issue(NAME, "else.example"), tmp_path)
    endpoint = await stage.endpoint(tls=tls)
    paths = {
        "/common": {"upstream-tls-ca-secret": "ca", "upstream-tls-name": NAME},
        "/dns": {"upstream-tls-ca-secret": "ca", "upstream-tls-name": "else.example"},
    }
    await stage.serve_objects(*routes(endpoint, paths))

    assert await statuses(stage, *paths) == [502, 200]


async def test_server_name_is_that_of_the_policy_that_of_the_request_or_none(
    stage: Stage, tmp_path: Path
) -> None:
    tls, asked = serving(CA.issue(NAME, NAME), tmp_path)
    endpoint = await stage.endpoint(tls=tls)
    found: dict[str, list[str | None]] = {}
    paths = {
        "/request": {"upstream-tls-versions": "1.2"},
        "/host": {"upstream-tls-versions": "1.3", "upstream-host": "inner.example"},
        "/policy": {"upstream-tls-name": NAME, "upstream-host": "inner.example"},
        "/none": {"upstream-tls-send-name": "false"},
        "/none-of-policy": {"upstream-tls-send-name": "false", "upstream-tls-name": NAME},
    }
    await stage.serve_objects(*routes(endpoint, paths))
    for path in paths:
        asked.clear()
        assert await statuses(stage, path) == [200]
        found[path] = list(asked)

    assert found == {
        "/request": [HOST],
        "/host": ["inner.example"],
        "/policy": [NAME],
        "/none": [None],
        "/none-of-policy": [None],
    }


async def test_certificate_that_is_shown_changes_without_a_reload(
    stage: Stage, plane: Plane, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tls, _ = serving(CA.issue(NAME, NAME), tmp_path, asks=True)
    endpoint = await stage.endpoint(tls=tls)
    objects = routes(endpoint, {"/": {"upstream-tls-client-secret": "other-ca"}})
    others = [item for item in objects if item.key.name != "other-ca"]
    stranger = ca_secret(CA, name="other-ca", client=CA.issue("stranger"))
    await stage.serve_objects(*objects)
    assert await statuses(stage, "/") == [200]
    before = plane.reasons

    for _ in range(3):
        await stage.serve_objects(*others, stranger)
        assert (await statuses(stage, "/"))[0] in (502, 503, 504)
        await stage.serve_objects(*objects)
        assert await statuses(stage, "/") == [200]

    if "nginx-static" not in request.node.name:
        assert plane.reasons == before
