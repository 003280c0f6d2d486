"""Which proxy leads to the API server: each row is what Go's httpproxy, and so kubectl, makes of it."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from ingresskit.errors import CredentialsError, TransportError
from ingresskit.kube import Access, AioTransport, StaticCredentials, TrustMaterial
from ingresskit.kube.proxies import environment_proxy, proxy_for
from ingresskit.kube.redaction import without_credentials, without_user
from ingresskit.testing.apiserver.certificates import Authority
from ingresskit.testing.apiserver.listening import server_context
from tests.unit.kube.stub import Asked, Stub, serving

pytestmark = pytest.mark.anyio

PROXY = "http://proxy.example:3128"
SERVER = "https://198.18.0.1:6443"
NAMED = "https://api.corp.example"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("server", "no_proxy", "used"),
    [
        (SERVER, "", True),
        (SERVER, "198.18.0.1", False),
        (SERVER, "10.0.0.0/8, 198.18.0.0/16,.svc", False),
        (SERVER, "198.19.0.0/16", True),
        (SERVER, "198.18.0.1:6443", False),
        (SERVER, "198.18.0.1:443", True),
        (SERVER, "198.18", True),
        (SERVER, "198.18.0.0/255.255.0.0", True),
        (SERVER, "*", False),
        (SERVER, "example.com,*", False),
        (NAMED, "corp.example", False),
        (NAMED, ".corp.example", False),
        (NAMED, "*.corp.example", False),
        (NAMED, "CORP.Example", False),
        (NAMED, "api.corp.example:443", False),
        (NAMED, "api.corp.example:8443", True),
        (NAMED, "rp.example", True),
        (NAMED, ",, :443,", True),
        ("https://corp.example", "corp.example", False),
        ("https://corp.example", ".corp.example", True),
        ("https://corp.example", "*.corp.example", True),
        ("https://[2001:db8::1]:6443", "2001:db8::1", False),
        ("https://[2001:db8::1]:6443", "[2001:db8::1]:6443", False),
        ("https://[2001:db8::1]:6443", "[2001:db8::1]:443", True),
        ("https://[2001:db8::1]:6443", "2001:db8::/32", False),
        ("https://[::ffff:198.18.0.1]", "198.18.0.0/16", False),
        ("https://bücher.example", "xn--bcher-kva.example", False),
        ("https://localhost:6443", "", False),
        ("https://127.0.0.1:6443", "", False),
        ("https://127.8.9.10:6443", "", False),
        ("https://[::1]:6443", "", False),
        ("https://localhost.example", "", True),
    ],
)  # fmt: skip
def test_no_proxy_is_read_as_go_reads_it(server: str, no_proxy: str, used: bool) -> None:
    found = environment_proxy(server, {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy})

    assert (found is not None) is used


@pytest.mark.parametrize(
    ("server", "environ", "url"),
    [
        (SERVER, {}, None),
        (SERVER, {"HTTPS_PROXY": "up:1", "https_proxy": "http://low:2"}, "http://up:1"),
        (SERVER, {"HTTPS_PROXY": "", "https_proxy": "http://low:2"}, "http://low:2"),
        (SERVER, {"HTTP_PROXY": PROXY}, None),
        (SERVER, {"ALL_PROXY": PROXY}, None),
        (SERVER, {"HTTPS_PROXY": "https://proxy:8443/path"}, "https://proxy:8443"),
        ("http://198.18.0.1", {"HTTPS_PROXY": "http://x:1", "HTTP_PROXY": PROXY}, PROXY),
        (SERVER, {"HTTPS_PROXY": PROXY, "NO_PROXY": "a", "no_proxy": "*"}, PROXY),
    ],
)  # fmt: skip
def test_upper_case_variables_count_and_a_scheme_is_not_needed(
    server: str, environ: dict[str, str], url: str | None
) -> None:
    found = environment_proxy(server, environ)

    assert (found.url if found else None) == url


def test_a_cgi_program_takes_no_proxy_from_a_header() -> None:
    with pytest.raises(CredentialsError, match="CGI"):
        environment_proxy("http://198.18.0.1", {"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"})


def test_the_proxy_of_the_kubeconfig_comes_first_and_knows_no_exceptions() -> None:
    access = Access(server=SERVER, trust=TrustMaterial(proxy="http://mine:1"))

    found = proxy_for(access, {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"})

    assert found is not None
    assert found.url == "http://mine:1"


def test_user_and_password_are_decoded_and_kept_apart_from_the_address() -> None:
    found = environment_proxy(SERVER, {"HTTPS_PROXY": "http://me:p%40ss%3Aword@proxy:3128"})

    assert found is not None
    assert found.url == "http://proxy:3128"
    assert found.authorization == "Basic bWU6cEBzczp3b3Jk"
    assert "bWU6" not in repr(found)


@pytest.mark.parametrize(
    "address",
    [
        "socks5://user:s3cret@proxy:1080",
        "socks5://user:s3/cr@et@proxy:1080",
        "http://user:s3cret@proxy:port",
        "http://user:s3cret@[proxy",
        "user:s3cret@proxy:3128",
    ],
)
def test_an_address_that_is_refused_is_shown_without_its_password(address: str) -> None:
    access = Access(server=SERVER, trust=TrustMaterial(proxy=address))

    with pytest.raises(CredentialsError, match=r"proxy-url '.*proxy") as caught:
        proxy_for(access, {})
    assert "s3" not in str(caught.value)
    assert "s3" not in repr(access)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET of https://u:p@api.example/x failed", "GET of https://***@api.example/x failed"),
        ("'http://u@h' and http://h:1/a@b", "'http://***@h' and http://h:1/a@b"),
        ("mail me@example.com", "mail me@example.com"),
    ],
)
def test_sentences_lose_the_credentials_of_their_addresses(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


def test_an_address_loses_all_before_its_last_at_sign() -> None:
    assert without_user("http://u:p@ss/w@proxy:1/x") == "http://proxy:1/x"
    assert without_user("proxy:1") == "proxy:1"


# Through the transport.


@asynccontextmanager
async def proxied(stub: Stub, server: str) -> AsyncGenerator[AioTransport]:
    address = f"http://me:s3cret@127.0.0.1:{stub.port}"
    access = Access(server=server, authorization="Bearer one", trust=TrustMaterial(proxy=address))
    async with AioTransport(StaticCredentials(access)) as transport:
        yield transport


async def test_a_proxy_that_refuses_is_named_as_who_refused() -> None:
    async def refuse(asked: Asked) -> None:
        await asked.answer(b"", status=403)

    async with serving(refuse) as stub, proxied(stub, SERVER) as it:
        with pytest.raises(
            TransportError, match=r"the proxy http://127\.0\.0\.1:[0-9]+ refused .*403"
        ) as caught:
            await it.request("GET", "/version")

    assert "s3cret" not in str(caught.value)
    assert (stub.asked[0].method, stub.asked[0].target) == ("CONNECT", "198.18.0.1:6443")
    assert stub.asked[0].headers["proxy-authorization"] == "Basic bWU6czNjcmV0"


async def test_a_proxy_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        stub = Stub(port=held.getsockname()[1])
    async with proxied(stub, SERVER) as it:
        with pytest.raises(TransportError, match=r"the proxy http://127\.0\.0\.1:[0-9]+ cannot be reached"):
            await it.request("GET", "/version")


async def test_a_refusal_of_a_plain_request_names_the_proxy_it_came_through() -> None:
    async def refuse(asked: Asked) -> None:
        await asked.answer(b"no http://u:p4ss@there", status=502, kind="text/plain")

    async with serving(refuse) as stub, proxied(stub, "http://api.example") as it:
        with pytest.raises(Exception, match=r"through the proxy http://127\.0\.0\.1:") as caught:
            await it.request("GET", "/version")

    assert "p4ss" not in str(caught.value)
    assert stub.asked[0].target == "http://api.example/version"
    assert stub.asked[0].headers["proxy-authorization"] == "Basic bWU6czNjcmV0"


async def test_the_server_behind_a_proxy_is_reached_and_does_not_see_its_password() -> None:
    authority = Authority()
    target = 0

    async def ok(asked: Asked) -> None:
        await asked.answer()

    async def tunnel(asked: Asked) -> None:
        await asked.tunnel(target)

    async with serving(ok, context=server_context(authority)) as server, serving(tunnel) as proxy:
        target = server.port
        trust = TrustMaterial(authorities=authority.pem, proxy=f"http://me:s3cret@127.0.0.1:{proxy.port}")
        async with AioTransport(StaticCredentials(Access(server=server.url, trust=trust))) as it:
            assert (await it.request("GET", "/version")).status == 200

    assert b"Proxy-Authorization: Basic" in proxy.asked[0].raw
    assert b"Proxy-Authorization" not in server.asked[0].raw
