"""Who is let in by name and password, on every plane; on programs by their delegate."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import time
from collections.abc import AsyncGenerator, Mapping

import jwt
import pytest

from ingresskit.models import KubeObject, ObjectMeta, Secret, Snapshot
from ingresskit.policies import IngressNginxDialect, PolicyRegistry
from ingresskit.testing import Scenario, ingress, ingress_class, load_scenarios, service
from ingresskit.testing.loopback import open_loopback
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from ingresskit.translate import TranslateOptions, translate
from tests.dataplane.conftest import EVERY_PLANE, opened
from tests.dataplane.delegated import open_delegated_haproxy
from tests.dataplane.haproxy_plane import HAPROXY, PROGRAM
from tests.dataplane.stage import HOST, OPTIONS, Stage, slices
from tests.unit.proxy.conftest import Answer, get

pytestmark = pytest.mark.anyio

SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
USERS = {
    "auth": (
        f"alice:{SHA}\nbob:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n"
        "carol:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\n"
    )
}
BASIC = {"basic-auth-secret": "users"}
SHARED = b"0123456789abcdef0123456789abcdef"
NOBODY_HERE = "192.0.2.0/24"
EVERYBODY_HERE = "127.0.0.0/8, ::1"


@pytest.fixture(scope="module", params=EVERY_PLANE)
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    if request.param != HAPROXY.name:
        async with opened(request.param) as made:
            yield made
        return
    with state_folder() as folder:
        settings = PlaneSettings(state_dir=folder, public_https_port=443)
        async with open_delegated_haproxy(settings, program=PROGRAM) as (made, _, _):
            yield made


@pytest.mark.parametrize(
    "scenario", [item for item in load_scenarios() if str(item).startswith("credentials")], ids=str
)
async def test_scenario_is_answered_as_it_says(plane: Plane, scenario: Scenario) -> None:
    assert plane.missing(scenario) == ()
    async with open_loopback(scenario.translate().graph) as world:
        await plane.serve(world.graph)
        assert await world.run(scenario, http=plane.http, https=plane.https) == ()


def users(data: Mapping[str, str]) -> Secret:
    octets = {key: value.encode() for key, value in data.items()}
    return Secret(metadata=ObjectMeta(namespace="default", name="users"), data=octets)


def basic(name: str, password: str = "secret") -> str:  # noqa: S107 - of a test
    return f"Authorization: Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


async def statuses(stage: Stage, *fields: list[str]) -> list[int]:
    client = await stage.connect()
    return [(await client.ask(get(fields=item))).status for item in fields]


async def test_only_users_with_their_password_are_let_in(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    annotations = {**BASIC, "basic-auth-realm": 'The "shop" \\ a'}
    await stage.serve(endpoint, annotations=annotations, more=[users(USERS)])
    client = await stage.connect()

    asked = await client.ask(get())
    right = [basic(name) for name in ("alice", "bob", "carol", "bob")]
    wrong = [
        basic("alice", "Secret"),
        basic("bob", ""),
        basic("dave"),
        basic("alice") + "*",
        "Authorization: Bearer abc",
        "Authorization: Basic",
    ]

    assert asked.status == 401
    assert asked.values("www-authenticate") == [r'Basic realm="The \"shop\" \\ a", charset="UTF-8"']
    assert await statuses(stage, *([field] for field in right)) == [200] * 4
    assert await statuses(stage, *([field] for field in wrong)) == [401] * 6
    assert await statuses(stage, [basic("alice"), basic("alice")]) in ([401], [400])  # nginx takes no two
    assert [seen.value("authorization") for seen in endpoint.seen] == [None] * 4


async def test_the_endpoint_gets_the_password_where_it_is_asked_for(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    annotations = {**BASIC, "basic-auth-forward": "true"}
    await stage.serve(endpoint, annotations=annotations, more=[users(USERS)])

    assert await statuses(stage, [basic("alice")]) == [200]
    assert f"Authorization: {endpoint.seen[0].value('authorization')}" == basic("alice")


async def test_a_body_waits_for_the_password(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, annotations=BASIC, more=[users(USERS)])
    client = await stage.connect()
    body = b"x" * 200_000

    answer = await client.ask(get(method="POST", fields=[basic("bob"), f"Content-Length: {len(body)}"]) + body)

    assert (answer.status, len(endpoint.seen[0].body)) == (200, len(body))


async def test_many_who_come_at_once_with_one_password_are_let_in(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, annotations=BASIC, more=[users(USERS)])
    clients = [await stage.connect() for _ in range(30)]

    answers = await asyncio.gather(*(client.ask(get(fields=[basic("carol")])) for client in clients))

    assert {answer.status for answer in answers} == {200}


async def test_a_changed_secret_counts_at_once_and_one_that_is_gone_closes(stage: Stage) -> None:
    endpoint = await stage.endpoint()

    async def serve(*more: KubeObject) -> list[int]:
        await stage.serve(endpoint, annotations=BASIC, more=more)
        return await statuses(stage, [basic("alice")], [basic("dave")], [])

    assert await serve(users(USERS)) == [200, 401, 401]
    assert await serve(users({"dave": SHA})) == [401, 200, 401]
    assert await serve(users({"auth": "alice"})) == [503, 503, 503]
    assert await serve() == [503, 503, 503]


async def test_a_browser_asks_in_advance_without_a_password(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    annotations = {**BASIC, "cors-origins": "https://a.example"}
    await stage.serve(endpoint, annotations=annotations, more=[users(USERS)])
    client = await stage.connect()

    preflight = await client.ask(
        get(method="OPTIONS", fields=["Origin: https://a.example", "Access-Control-Request-Method: PUT"])
    )

    assert preflight.status == 204
    assert await statuses(stage, ["Origin: https://a.example"]) == [401]
    assert endpoint.seen == []


async def test_a_page_of_errors_takes_the_place_of_no_refusal(stage: Stage) -> None:
    endpoint, pages = await stage.endpoint(), await stage.endpoint()
    annotations = {**BASIC, "error-pages": "401, 403", "fallback-service": "pages"}
    others = [service("pages"), *slices("pages", [pages.port]), users(USERS)]
    await stage.serve(endpoint, annotations=annotations, more=others)
    client = await stage.connect()

    asked = await client.ask(get())

    assert (asked.status, asked.value("www-authenticate")) == (401, 'Basic realm="Restricted", charset="UTF-8"')
    assert await statuses(stage, [basic("alice", "x")], [basic("alice")]) == [401, 200]
    assert pages.seen == []


@pytest.mark.parametrize(
    ("satisfy", "allowed", "without", "with_password"),
    [
        ("all", EVERYBODY_HERE, 401, 200),
        ("all", NOBODY_HERE, 403, 403),
        ("any", EVERYBODY_HERE, 200, 200),
        ("any", NOBODY_HERE, 401, 200),
    ],
)
async def test_addresses_and_passwords_go_together_as_it_says(
    stage: Stage, satisfy: str, allowed: str, without: int, with_password: int
) -> None:
    endpoint = await stage.endpoint()
    annotations = {**BASIC, "allow-sources": allowed, "satisfy": satisfy}
    await stage.serve(endpoint, annotations=annotations, more=[users(USERS)])

    assert await statuses(stage, [], [basic("bob")]) == [without, with_password]
    assert all(seen.value("authorization") is None for seen in endpoint.seen)


async def test_denied_addresses_stay_out_with_any_password(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    annotations = {**BASIC, "deny-sources": EVERYBODY_HERE, "satisfy": "any"}
    await stage.serve(endpoint, annotations=annotations, more=[users(USERS)])

    assert await statuses(stage, [], [basic("alice")]) == [403, 403]
    assert endpoint.seen == []


async def test_as_in_ingress_nginx(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    prefix = "nginx.ingress.kubernetes.io"
    annotations = {
        "auth-type": "basic",
        "auth-secret": "default/users",
        "auth-secret-type": "auth-map",
        "auth-realm": "shop",
        "satisfy": "any",
        "whitelist-source-range": NOBODY_HERE,
    }
    objects = [
        ingress_class(),
        ingress("web", {HOST: {"/": "web"}}, annotations={f"{prefix}/{k}": v for k, v in annotations.items()}),
        service("web"),
        *slices("web", [endpoint.port]),
        users({"alice": SHA}),
    ]
    policies = PolicyRegistry([IngressNginxDialect()])
    options = TranslateOptions(destinations=OPTIONS.destinations, policies=policies)
    await stage.plane.serve(translate(Snapshot.of(objects), options).graph)
    client = await stage.connect()

    asked = await client.ask(get())

    assert (asked.status, asked.value("www-authenticate")) == (401, 'Basic realm="shop", charset="UTF-8"')
    assert await statuses(stage, [basic("alice")], [basic("alice", "x")]) == [200, 401]
    assert endpoint.seen[0].value("authorization") is None


class DigestClient:
    """Proves that it knows a password as RFC 7616 says."""

    def __init__(self, challenge: str, name: str = "alice", password: str = "secret") -> None:  # noqa: S107
        self.given = dict(re.findall(r'(\w+)="?([^",]*)"?', challenge))
        self.name, self.password = name, password

    def field(self, uri: str = "/", *, count: int = 1, method: str = "GET", **changed: str) -> str:
        given = self.given
        algorithm = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}[given["algorithm"]]

        def hashed(*parts: str) -> str:
            return algorithm(":".join(parts).encode()).hexdigest()

        nc, cnonce = f"{count:08x}", "0a4f113b"
        secret = hashed(self.name, given["realm"], self.password)
        response = hashed(secret, given["nonce"], nc, cnonce, "auth", hashed(method, uri))
        parameters = {
            "username": self.name,
            "realm": given["realm"],
            "nonce": given["nonce"],
            "uri": uri,
            "cnonce": cnonce,
            "response": response,
            **changed,
        }
        shown = ", ".join(f'{name}="{value}"' for name, value in parameters.items())
        return f"Authorization: Digest {shown}, algorithm={given['algorithm']}, qop=auth, nc={nc}"


def digests() -> Secret:
    md5 = hashlib.md5(b"alice:shop:secret").hexdigest()  # noqa: S324 - of the protocol
    sha256 = hashlib.sha256(b"alice:shop:secret").hexdigest()
    return users({"auth": f"alice:shop:{md5}\nalice:shop:{sha256}\n"})


async def challenges(stage: Stage) -> list[str]:
    client = await stage.connect()
    answer: Answer = await client.ask(get())
    assert answer.status == 401
    return answer.values("www-authenticate")


async def test_a_client_proves_that_it_knows_the_password(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, annotations={"digest-auth-secret": "users"}, more=[digests()])

    found = await challenges(stage)
    strong, weak = (DigestClient(challenge) for challenge in found)

    assert [client.given["algorithm"] for client in (strong, weak)] == ["SHA-256", "MD5"]
    assert strong.given["realm"] == "shop"
    client = await stage.connect()
    for number, item in enumerate((strong, weak), 1):
        answers = [
            await client.ask(get("/a%2fb?c=d", fields=[item.field("/a%2fb?c=d", count=count)]))
            for count in (1, 2)
        ]
        assert [answer.status for answer in answers] == [200, 200]
        assert len(endpoint.seen) == 2 * number
    assert {seen.value("authorization") for seen in endpoint.seen} == {None}


async def test_a_proof_holds_once_and_for_what_it_was_made_for(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, annotations={"digest-auth-secret": "users"}, more=[digests()])
    client = DigestClient((await challenges(stage))[0])
    forged = client.given["nonce"][:12] + "0" * 32
    others = [
        DigestClient((await challenges(stage))[0], name, word)
        for name, word in (("alice", "x"), ("dave", "secret"))
    ]

    refused = [
        [client.field("/other")],
        [client.field(method="POST")],
        [client.field(response="0" * 64)],
        [client.field(realm="bank")],
        [client.field(username="dave")],
        [client.field().replace("qop=auth", "qop=auth-int")],
        [client.field().replace(", qop=auth", "")],
        [client.field() + ", nc=00000001"],
        [basic("alice")],
        *([other.field()] for other in others),
    ]
    assert await statuses(stage, *refused) == [401] * len(refused)
    assert endpoint.seen == []

    assert await statuses(stage, [client.field()], [client.field()], [client.field(count=2)]) == [200, 401, 200]
    client.given["nonce"] = forged
    wire = await stage.connect()
    stale = await wire.ask(get(fields=[client.field()]))
    assert stale.status == 401
    assert all("stale=true" in challenge for challenge in stale.values("www-authenticate"))


def shared_keys() -> Secret:
    key = {"kty": "oct", "k": base64.urlsafe_b64encode(SHARED).rstrip(b"=").decode()}
    return Secret(
        metadata=ObjectMeta(namespace="default", name="keys"),
        data={"jwks.json": json.dumps({"keys": [key]}).encode()},
    )


def bearer(**changed: object) -> str:
    claims = {"sub": "alice", "aud": "shop", "exp": int(time.time()) + 300, **changed}
    return f"Authorization: Bearer {jwt.encode(claims, SHARED, algorithm='HS256')}"


async def test_a_token_lets_in_and_its_claims_take_the_place_of_what_the_client_says(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    annotations = {
        "jwt-keys-secret": "keys",
        "jwt-audiences": "shop",
        "jwt-headers": "X-User: sub\nX-Role: role",
    }
    await stage.serve(endpoint, annotations=annotations, more=[shared_keys()])
    client = await stage.connect()

    asked = await client.ask(get())
    invalid = await client.ask(get(fields=[bearer(aud="bank")]))
    let_in = await client.ask(get(fields=[bearer(), "x-user: root", "X_User: root", "X-ROLE: admin"]))

    assert (asked.status, asked.value("www-authenticate")) == (401, "Bearer")
    assert (invalid.status, invalid.value("www-authenticate")) == (401, 'Bearer error="invalid_token"')
    assert let_in.status == 200
    (seen,) = endpoint.seen
    assert seen.values("x-user") == ["alice"]
    assert (seen.values("x_user"), seen.values("x-role")) == ([], [])
    assert (seen.value("authorization") or "").startswith("Bearer ")


async def test_a_token_or_an_address_may_suffice_and_no_claim_is_forged(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    annotations = {
        "jwt-keys-secret": "keys",
        "jwt-headers": "X-User: sub",
        "jwt-forward": "false",
        "allow-sources": EVERYBODY_HERE,
        "satisfy": "any",
    }
    await stage.serve(endpoint, annotations=annotations, more=[shared_keys()])

    assert await statuses(stage, ["X-User: root"], ["X-User: root", bearer()]) == [200, 200]
    assert [seen.value("x-user") for seen in endpoint.seen] == [None, None]
    assert [seen.value("authorization") for seen in endpoint.seen] == [None, None]


async def test_keys_that_are_gone_close_the_route(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, annotations={"jwt-keys-secret": "keys"})

    assert await statuses(stage, [], [bearer()]) == [503, 503]
