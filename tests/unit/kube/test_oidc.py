"""The auth-provider oidc: tokens that are renewed at an identity provider whose certificate is verified."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from urllib.parse import parse_qs

import anyio
import pytest

from ingresskit.errors import CredentialsError
from ingresskit.kube import KubeconfigCredentials
from ingresskit.testing.apiserver.certificates import Authority
from ingresskit.testing.apiserver.listening import server_context
from tests.unit.kube.stub import Asked, Stub, serving
from tests.unit.kube.test_credentials import b64, config, jwt, write

pytestmark = pytest.mark.anyio

AUTHORITY = Authority("of the identity provider")
ENDED, LASTING = jwt({"exp": 1_000_000_000}), jwt({"exp": 4_102_444_800})
# Its payload has both characters that base64url has and base64 has not.
ODD = jwt({"exp": 4_102_444_800, "name": "\x7f\x7f?>?>\x7f"})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Provider:
    """An identity provider: what it says, and what it was sent."""

    stub: Stub
    token: str = LASTING
    following: str = ""
    takes_header: bool = True
    discovery: dict[str, object] = field(default_factory=dict[str, object])
    forms: list[dict[str, list[str]]] = field(default_factory=list[dict[str, list[str]]])
    answer: tuple[int, bytes] | None = None

    async def serve(self, asked: Asked) -> None:
        if asked.target == "/dex/.well-known/openid-configuration":
            known: dict[str, object] = {"token_endpoint": f"{self.stub.url}/dex/token"}
            await asked.answer(json.dumps({**known, **self.discovery}).encode())
            return
        self.forms.append(parse_qs(asked.body.decode()))
        if self.answer is not None:
            await asked.answer(self.answer[1], status=self.answer[0])
        elif "authorization" in asked.headers and not self.takes_header:
            await asked.answer(b'{"error":"invalid_client"}', status=401)
        else:
            tokens = {"id_token": self.token, "refresh_token": self.following}
            await asked.answer(json.dumps({name: text for name, text in tokens.items() if text}).encode())

    def config(self, **fields: str) -> dict[str, str]:
        return {
            "idp-issuer-url": f"{self.stub.url}/dex",
            "client-id": "kubernetes",
            "refresh-token": "r3fresh",
            "idp-certificate-authority-data": base64.b64encode(AUTHORITY.pem).decode(),
            **fields,
        }

    @property
    def posts(self) -> list[Asked]:
        return [asked for asked in self.stub.asked if asked.method == "POST"]


@pytest.fixture
async def provider() -> AsyncGenerator[Provider]:
    async with providing(tls=True) as made:
        yield made


@asynccontextmanager
async def providing(*, tls: bool) -> AsyncGenerator[Provider]:
    made: list[Provider] = []

    async def script(asked: Asked) -> None:
        await made[0].serve(asked)

    async with serving(script, context=server_context(AUTHORITY) if tls else None) as stub:
        made.append(Provider(stub))
        yield made[0]


def credentials(folder: Path, fields: dict[str, str]) -> KubeconfigCredentials:
    user = {"auth-provider": {"name": "oidc", "config": fields}}
    return KubeconfigCredentials(write(folder / "config", config(user)))


async def token(folder: Path, fields: dict[str, str]) -> str:
    return (await credentials(folder, fields).access()).authorization.removeprefix("Bearer ")


@pytest.mark.parametrize("held", [LASTING, ODD], ids=["plain", "with the characters of base64url"])
async def test_a_token_that_lasts_is_used_and_nobody_is_asked(
    provider: Provider, tmp_path: Path, held: str
) -> None:
    assert await token(tmp_path, provider.config(**{"id-token": held})) == held
    assert not provider.stub.asked


@pytest.mark.parametrize(
    "held", [ENDED, "", jwt({"exp": int(time()) + 5})], ids=["ended", "missing", "about to end"]
)
async def test_a_public_client_renews_its_token_without_a_secret(
    provider: Provider, tmp_path: Path, held: str
) -> None:
    assert await token(tmp_path, provider.config(**{"id-token": held})) == LASTING

    (post,) = provider.posts
    assert "authorization" not in post.headers
    assert provider.forms == [
        {"grant_type": ["refresh_token"], "refresh_token": ["r3fresh"], "client_id": ["kubernetes"]}
    ]


async def test_the_authority_may_be_a_file_beside_the_kubeconfig(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "idp.pem").write_bytes(AUTHORITY.pem)
    fields = provider.config(**{"idp-certificate-authority": "idp.pem"})
    del fields["idp-certificate-authority-data"]

    assert await token(tmp_path, fields) == LASTING


async def test_a_client_with_a_secret_sends_it_in_the_header(provider: Provider, tmp_path: Path) -> None:
    assert await token(tmp_path, provider.config(**{"client-secret": "s3:cret"})) == LASTING

    (post,) = provider.posts
    assert post.headers["authorization"] == f"Basic {b64('kubernetes:s3%3Acret')}"
    assert b"s3" not in post.body


async def test_a_provider_that_takes_no_header_gets_the_form(provider: Provider, tmp_path: Path) -> None:
    provider.takes_header = False

    assert await token(tmp_path, provider.config(**{"client-secret": "s3cret"})) == LASTING
    assert provider.forms[-1]["client_secret"] == ["s3cret"]


@pytest.mark.parametrize("given", ["none", "another"])
async def test_no_secret_goes_to_a_provider_whose_certificate_is_not_trusted(
    provider: Provider, tmp_path: Path, given: str
) -> None:
    fields = provider.config(**{"client-secret": "s3cret"})
    fields["idp-certificate-authority-data"] = b64("") if given == "none" else b64(Authority().pem.decode())

    with pytest.raises(CredentialsError, match="certificate is not trusted"):
        await token(tmp_path, fields)
    assert not provider.stub.asked


async def test_no_secret_goes_over_plain_http_to_another_machine(tmp_path: Path) -> None:
    async with providing(tls=False) as plain:
        fields = plain.config()
        assert await token(tmp_path, fields) == LASTING

        fields["idp-issuer-url"] = "http://idp.example/dex"
        with pytest.raises(CredentialsError, match="not an https address"):
            await token(tmp_path, fields)

        fields = plain.config()
        plain.discovery["token_endpoint"] = "http://idp.example/token"
        with pytest.raises(CredentialsError, match="not an https address"):
            await token(tmp_path, fields)


async def test_a_refresh_token_that_is_replaced_is_used_next(
    provider: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    provider.following = "n3xt"
    it = credentials(tmp_path, provider.config())
    first = await it.access()
    provider.token = ODD
    async with anyio.create_task_group() as group:  # refused to many at once: one renewal
        for _ in range(3):
            group.start_soon(it.renew, first)
    second = await it.access()

    assert second.authorization == f"Bearer {ODD}"
    assert [form["refresh_token"] for form in provider.forms] == [["r3fresh"], ["n3xt"]]
    assert "kept in memory only" in caplog.text
    assert "n3xt" not in caplog.text


FAULTS = {
    "a refusal": (
        (400, b'{"error":"invalid_grant","error_description":"too old"}'),
        "400 .invalid_grant: too old",
    ),
    "a web page": ((502, b"<html>secret</html>"), "responded with 502$"),
    "a web page as success": ((200, b"<html>secret</html>"), "did not respond with a JSON object"),
    "no token": ((200, b"{}"), "no id_token: was the scope openid asked for"),
    "a token that is none": ((200, b'{"id_token":"opaque"}'), "not a JWT"),
    "a redirect": ((302, b""), "responded with 302"),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_why_there_is_no_token_is_said_without_secrets(
    provider: Provider, tmp_path: Path, name: str
) -> None:
    provider.answer, message = FAULTS[name]

    with pytest.raises(CredentialsError, match=f"auth-provider failed: .*{message}") as caught:
        await token(tmp_path, provider.config(**{"client-secret": "s3cret"}))
    for secret in ("s3cret", "r3fresh", "secret"):
        assert secret not in str(caught.value).replace("client-secret", "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id-token": "s3cret"}, "not a JWT"),
        ({"refresh-token": ""}, "no refresh-token"),
        ({"idp-issuer-url": ""}, "no idp-issuer-url"),
        ({"client-id": ""}, "no client-id"),
        ({"idp-certificate-authority-data": "%"}, "is not base64"),
        ({"idp-certificate-authority-data": "bm9uZQ=="}, "no certificate among the authorities"),
    ],
)  # fmt: skip
async def test_what_is_missing_in_the_kubeconfig_is_said(
    provider: Provider, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    with pytest.raises(CredentialsError, match=message) as caught:
        await token(tmp_path, provider.config(**change))

    assert "s3cret" not in str(caught.value)


async def test_a_provider_whose_discovery_names_no_endpoint_is_named(
    provider: Provider, tmp_path: Path
) -> None:
    provider.discovery["token_endpoint"] = None

    with pytest.raises(CredentialsError, match="names no token_endpoint"):
        await token(tmp_path, provider.config())
