"""Kubeconfigs as kubectl reads them: what counts, what is refused, and as whom requests are made."""

from __future__ import annotations

import base64
import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingresskit.errors import CredentialsError
from ingresskit.kube import (
    Access,
    AioTransport,
    KubeconfigCredentials,
    ListOptions,
    ResourceKind,
    StaticCredentials,
)
from ingresskit.kube.impersonation import impersonation_headers
from ingresskit.models import Service
from ingresskit.testing.apiserver.certificates import Authority
from ingresskit.testing.apiserver.listening import server_context
from tests.unit.kube.stub import Asked, serving
from tests.unit.kube.test_credentials import V1, access, b64, config, plugin, write

pytestmark = pytest.mark.anyio

SERVICES = ResourceKind.of(Service)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# Data in base64.

DATA_FIELDS = ["certificate-authority-data", "client-certificate-data", "client-key-data"]
LONG = "octets enough for more than one line of base64, " * 3
ENCODED = b64(LONG)
LAYOUTS = {
    "in lines of 64 columns": "\n".join(textwrap.wrap(ENCODED, 64)),
    "with CRLF": "\r\n".join(textwrap.wrap(ENCODED, 64)),
    "with a line break at the end": ENCODED + "\n",
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", DATA_FIELDS)
async def test_line_breaks_in_data_do_not_count(tmp_path: Path, name: str, layout: str) -> None:
    tree = {name: LAYOUTS[layout]}
    it = await access(tmp_path, *(({}, tree) if name.startswith("cert") else (tree, {})))

    trust = it.trust
    assert LONG.encode() in (trust.authorities, trust.certificate, trust.key)


@pytest.mark.parametrize("data", [f"{ENCODED[:8]} {ENCODED[8:]}", "Zm9", "Zm9v\t", "Zm9vü"])
@pytest.mark.parametrize("name", DATA_FIELDS)
async def test_other_faults_in_data_do(tmp_path: Path, name: str, data: str) -> None:
    tree = {name: data}

    with pytest.raises(CredentialsError, match=f"the kubeconfig's {name} is not base64"):
        await access(tmp_path, *(({}, tree) if name.startswith("cert") else (tree, {})))


# Impersonation.


async def test_requests_are_made_as_whom_the_kubeconfig_says(tmp_path: Path) -> None:
    async def ok(asked: Asked) -> None:
        await asked.answer()

    user = {
        "token": "one",
        "as": "low",
        "as-groups": ["g", "h"],
        "as-uid": "u-1",
        "as-user-extra": {"s": ["v"]},
    }
    async with serving(ok) as stub:
        path = write(tmp_path / "config", config(user, {"server": stub.url}))
        async with AioTransport(KubeconfigCredentials(path)) as it:
            await it.request("GET", "/version")
            async with it.watch(SERVICES, "", ListOptions()):
                pass

    for asked in stub.asked:
        assert asked.headers["authorization"] == "Bearer one"
        assert asked.headers["impersonate-user"] == "low"
        assert asked.headers["impersonate-uid"] == "u-1"
        assert asked.headers["impersonate-extra-s"] == "v"


def test_impersonation_has_the_headers_of_kubectl_in_their_order() -> None:
    extra = {"scopes": ["a", "b"], "acme.com/Rolle%ä": ["x"]}

    headers = impersonation_headers(
        {"as": "me", "as-groups": ["g", "h"], "as-uid": "7", "as-user-extra": extra}
    )

    assert headers == (
        ("Impersonate-User", "me"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "g"),
        ("Impersonate-Group", "h"),
        ("Impersonate-Extra-scopes", "a"),
        ("Impersonate-Extra-scopes", "b"),
        ("Impersonate-Extra-acme.com%2FRolle%25%C3%A4", "x"),
    )


async def test_each_group_is_a_header_of_its_own() -> None:
    got: list[bytes] = []

    async def ok(asked: Asked) -> None:
        got.append(asked.raw)
        await asked.answer()

    async with serving(ok) as stub:
        groups = (("Impersonate-User", "me"), ("Impersonate-Group", "g"), ("Impersonate-Group", "h"))
        it = Access(server=stub.url, impersonation=groups)
        async with AioTransport(StaticCredentials(it)) as transport:
            await transport.request("GET", "/version")

    assert got[0].count(b"\r\nImpersonate-Group: ") == 2


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ({"as-groups": ["system:masters"]}, "but no as"),
        ({"as-uid": "1"}, "but no as"),
        ({"as-user-extra": {"a": ["b"]}}, "but no as"),
        ({"as": 7}, "as must be text"),
        ({"as": "me", "as-groups": "g"}, "as-groups must be a list"),
        ({"as": "me", "as-groups": [1]}, "as-groups must be text"),
        ({"as": "me", "as-user-extra": ["a"]}, "as-user-extra must be a map"),
        ({"as": "me", "as-user-extra": {"a": "b"}}, "a must be a list"),
        ({"as": "me\r\nX: y"}, "control characters"),
    ],
)  # fmt: skip
async def test_impersonation_that_cannot_be_done_is_refused(
    tmp_path: Path, user: dict[str, Any], message: str
) -> None:
    with pytest.raises(CredentialsError, match=message):
        await access(tmp_path, {"token": "one", **user})


# What counts, and what contradicts.


async def test_a_token_counts_while_the_file_beside_it_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "config", config({"token": "inline", "tokenFile": "token"}))
    credentials = KubeconfigCredentials(path)
    first = await credentials.access()
    write(tmp_path / "token", "fresh")
    second = await credentials.access()

    assert (first.authorization, second.authorization) == ("Bearer inline", "Bearer fresh")


async def test_a_token_counts_before_that_of_a_plugin_which_still_gives_its_certificate(tmp_path: Path) -> None:
    plugin(tmp_path, "say(token='from-plugin', clientCertificateData='CERT', clientKeyData='KEY')")
    spec = {"apiVersion": V1, "command": "./plugin"}
    it = await access(tmp_path, {"token": "inline", "exec": spec})

    assert (it.authorization, it.trust.certificate) == ("Bearer inline", b"CERT")


@pytest.mark.parametrize(
    ("user", "cluster", "message"),
    [
        ({"token": 12345}, {}, "token must be text, not a number: put it in quotes"),
        ({"username": "me", "password": 12345}, {}, "password must be text"),
        ({"token": "a", "username": "b", "password": "c"}, {}, "both a token and a password"),
        ({"tokenFile": "a", "username": "b", "password": "c"}, {}, "both a token and a password"),
        ({}, {"insecure-skip-tls-verify": "true"}, "must be true or false"),
        ({}, {"insecure-skip-tls-verify": True, "certificate-authority-data": b64("CA")}, "remove one"),
        ({}, {"insecure-skip-tls-verify": True, "certificate-authority": "ca.pem"}, "remove one"),
        ({"exec": {"command": "x", "args": [1]}}, {}, "args must be text"),
        ({"exec": {"command": "x"}, "auth-provider": {"name": "oidc"}}, {}, "both exec and auth-provider"),
        ({"auth-provider": {"name": "gcp"}}, {}, "'gcp' is not supported"),
        ({}, {"server": "https://user:s3cret@[api"}, r"server 'https://\[api' is not an address"),
    ],
)  # fmt: skip
async def test_what_kubectl_refuses_is_refused(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any], message: str
) -> None:
    with pytest.raises(CredentialsError, match=message) as caught:
        await access(tmp_path, user, cluster)

    assert "12345" not in str(caught.value)


@pytest.mark.parametrize("server", ["HTTPS://api.example:6443", "https://api.example:6443/"])
async def test_the_scheme_of_a_server_may_be_in_upper_case(tmp_path: Path, server: str) -> None:
    it = await access(tmp_path, {}, {"server": server})

    assert it.server == "https://api.example:6443"


async def test_user_and_password_in_the_servers_address_are_a_header(tmp_path: Path) -> None:
    it = await access(tmp_path, {}, {"server": "https://me:p%40ss@api.example"})

    assert (it.server, it.authorization) == ("https://api.example", f"Basic {b64('me:p@ss')}")


async def test_json_may_be_indented_with_tabs(tmp_path: Path) -> None:
    tree = yaml.safe_load(config({"token": "one"}))
    path = write(tmp_path / "config", json.dumps(tree, indent="\t"))

    assert (await KubeconfigCredentials(path).access()).authorization == "Bearer one"


async def test_a_comment_in_another_alphabet_among_the_authorities_is_no_matter(tmp_path: Path) -> None:
    authority = Authority()
    async with serving(_version, context=server_context(authority)) as stub:
        pem = "# Zertifizierungsstelle für Prüfzwecke\n".encode() + authority.pem
        cluster = {"server": stub.url, "certificate-authority-data": base64.b64encode(pem).decode()}
        path = write(tmp_path / "config", config({}, cluster))
        async with AioTransport(KubeconfigCredentials(path)) as it:
            assert (await it.request("GET", "/version")).status == 200


# Plugins.


async def test_a_plugin_gets_its_own_part_of_the_clusters_extensions(tmp_path: Path) -> None:
    plugin(tmp_path, "say(token=json.dumps(info['spec']['cluster'], sort_keys=True).replace(' ', ''))")
    spec = {"apiVersion": V1, "command": "./plugin", "provideClusterInfo": True}
    extensions = [
        {"name": "other", "extension": {"no": 1}},
        {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "me"}},
    ]

    it = await access(tmp_path, {"exec": spec}, {"extensions": extensions, "tls-server-name": "kubernetes"})

    told = json.loads(it.authorization.removeprefix("Bearer "))
    assert told == {
        "server": "https://api.example:6443/",
        "tls-server-name": "kubernetes",
        "config": {"audience": "me"},
    }


async def test_a_plugin_that_prints_without_end_is_ended(tmp_path: Path) -> None:
    plugin(tmp_path, "while True: print('x' * 65536)")

    with pytest.raises(CredentialsError, match="printed more than"):
        await access(tmp_path, {"exec": {"apiVersion": V1, "command": "./plugin"}})


async def test_a_plugin_that_complains_without_end_is_heard_to_the_end(tmp_path: Path) -> None:
    body = "for _ in range(200): print('x' * 65536, file=sys.stderr)\nsys.exit('log in at https://me:pw@idp')"
    plugin(tmp_path, body)

    with pytest.raises(CredentialsError, match=r"ended with 1: x+ log in at https://\*\*\*@idp"):
        await access(tmp_path, {"exec": {"apiVersion": V1, "command": "./plugin"}})


async def _version(asked: Asked) -> None:
    await asked.answer()
