"""Annotations of ingress-nginx: from Ingresses to responses of the in-process proxy over real sockets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from ingresskit.models import ConfigMap, KubeObject, ObjectKey, ObjectMeta, Secret, Snapshot
from ingresskit.policies import IngressNginxDialect, NativeDialect, PolicyRegistry
from ingresskit.proxy import Proxy, ProxySettings
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.testing import Ask, answer_faults, endpoint_slice, ingress, ingress_class, service
from ingresskit.testing.loopback import open_loopback
from ingresskit.translate import TranslateOptions, translate

pytestmark = pytest.mark.anyio

PREFIX = "nginx.ingress.kubernetes.io"
SETTINGS = ObjectKey("ops", "settings")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


HOME = Ask(host="a.test")


@dataclass(frozen=True, kw_only=True)
class Case:
    """An Ingress for a.test with these annotations, and what a request gets.

    Attributes:
        paths: Of the Ingress, as `ingresskit.testing.ingress` takes them; all lead to the Service web.
        status: 200 comes from the endpoint.
        forwarded: The path that the endpoint gets.
    """

    annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    paths: tuple[str, ...] = ("/",)
    ask: Ask = HOME
    status: int = 200
    location: str | None = None
    forwarded: str | None = None
    request: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    response: Mapping[str, str] = field(default_factory=dict[str, str])


def at(path: str, **headers: str) -> Ask:
    return Ask(
        host="a.test", path=path, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


def posting(length: int) -> Ask:
    """The head of a request; what is judged is its length."""
    return Ask(host="a.test", method="POST", headers={"Content-Length": str(length)})


CAPTURES = {"rewrite-target": "/$2", "use-regex": "true"}
USERS = {"auth-type": "basic", "auth-secret": "default/staff", "auth-realm": "Staff"}
CASES: dict[str, Case] = {
    "no annotation": Case(),
    "a body over the default limit": Case(ask=posting(1024 * 1024 + 1), status=413),
    "a body over the limit is refused before the address": Case(
        annotations={"proxy-body-size": "10", "whitelist-source-range": "192.0.2.0/24"},
        ask=posting(11),
        status=413,
    ),
    "a client that is let in": Case(annotations={"whitelist-source-range": "127.0.0.0/8,::1"}),
    "a client that is kept out": Case(annotations={"allowlist-source-range": "192.0.2.0/24"}, status=403),
    "the allow list of the ConfigMap": Case(settings={"whitelist-source-range": "192.0.2.0/24"}, status=403),
    "an annotation in the place of that list": Case(
        settings={"whitelist-source-range": "192.0.2.0/24"},
        annotations={"whitelist-source-range": "127.0.0.0/8,::1"},
    ),
    "plain HTTP without TLS": Case(annotations={"ssl-redirect": "true"}),
    "plain HTTP that is redirected": Case(
        annotations={"force-ssl-redirect": "true"},
        ask=at("/x?a=b"),
        status=308,
        location="https://a.test/x?a=b",
    ),
    "a refusal that a page may read": Case(
        annotations={
            "enable-cors": "true",
            "cors-allow-origin": "https://b.test",
            "whitelist-source-range": "192.0.2.0/24",
        },
        ask=at("/", Origin="https://b.test"),
        status=403,
        response={"Access-Control-Allow-Origin": "https://b.test"},
    ),
    "a slash at the end that goes": Case(
        annotations={"force-ssl-redirect": "true"}, ask=at("/x/"), status=308, location="https://a.test/x"
    ),
    "a slash at the end that stays": Case(
        annotations={"force-ssl-redirect": "true", "preserve-trailing-slash": "true"},
        ask=at("/x/"),
        status=308,
        location="https://a.test/x/",
    ),
    "the code and the port of redirects": Case(
        annotations={"force-ssl-redirect": "true"},
        settings={"http-redirect-code": "301", "use-port-in-redirects": "true"},
        ask=at("/x"),
        status=301,
        location="https://a.test:443/x",
    ),
    "a path without a redirect": Case(
        annotations={"force-ssl-redirect": "true"},
        settings={"no-tls-redirect-locations": "/.well-known/acme-challenge,/open"},
        paths=("/", "/open"),
        ask=at("/open/x"),
    ),
    "the root of an application before everything": Case(
        annotations={
            "app-root": "/app",
            "force-ssl-redirect": "true",
            "whitelist-source-range": "192.0.2.0/24",
            "temporal-redirect": "https://b.test/",
        },
        status=302,
        location="http://a.test/app",
    ),
    "the root of an application at another port": Case(
        annotations={"app-root": "/app"},
        ask=Ask(host="a.test:8080", path="/?x=1"),
        status=302,
        location="http://a.test:8080/app",
    ),
    "a body over the limit is refused before the root of an application": Case(
        annotations={"app-root": "/app", "proxy-body-size": "10"}, ask=posting(11), status=413
    ),
    "the root of an application whose paths are patterns": Case(
        annotations={"app-root": "/app", "use-regex": "true"},
        paths=("~/()(.*)", "~/app"),
        status=302,
        location="http://a.test/app",
    ),
    "not the root of an application": Case(
        annotations={"app-root": "/app", "use-regex": "true"}, paths=("~/()(.*)", "~/app"), ask=at("/x")
    ),
    "a path without the slash that its rule ends with": Case(
        annotations={"allowlist-source-range": "192.0.2.0/24"},
        paths=("/foo/",),
        ask=at("/foo?a=b"),
        status=301,
        location="http://a.test/foo/?a=b",
    ),
    "the same of an exact rule": Case(
        paths=("=/foo/",), ask=at("/foo"), status=301, location="http://a.test/foo/"
    ),
    "a path with the slash that its rule ends with": Case(paths=("/foo/",), ask=at("/foo/x")),
    "a path without the slash that has a rule itself": Case(paths=("/foo/", "=/foo"), ask=at("/foo")),
    "a path without the slash of a rule without one": Case(paths=("/foo",), ask=at("/foo")),
    "a path without the slash where paths are patterns": Case(
        annotations={"use-regex": "true"}, paths=("/foo/",), ask=at("/foo"), status=404
    ),
    "a twin": Case(
        annotations={"from-to-www-redirect": "true", "whitelist-source-range": "192.0.2.0/24"},
        settings={"http-redirect-code": "302"},
        ask=Ask(host="www.a.test", path="/x?y=1"),
        status=302,
        location="http://a.test/x?y=1",
    ),
    "a twin of a host whose paths are patterns": Case(
        annotations={"from-to-www-redirect": "true", "use-regex": "true"},
        paths=("~/x.*",),
        ask=Ask(host="www.a.test", path="/y"),
        status=308,
        location="http://a.test/y",
    ),
    "a redirect before the address is judged": Case(
        annotations={"permanent-redirect": "https://b.test/", "whitelist-source-range": "192.0.2.0/24"},
        status=301,
        location="https://b.test/",
    ),
    "a redirect before the one to HTTPS": Case(
        annotations={"temporal-redirect": "https://b.test/", "force-ssl-redirect": "true"},
        status=302,
        location="https://b.test/",
    ),
    "a redirect to HTTPS before the address is judged": Case(
        annotations={"force-ssl-redirect": "true", "whitelist-source-range": "192.0.2.0/24"},
        status=308,
        location="https://a.test/",
    ),
    "a capture behind a slash": Case(
        annotations=CAPTURES, paths=("~/shop(/|$)(.*)",), ask=at("/shop/cart?a=b"), forwarded="/cart?a=b"
    ),
    "a capture of nothing": Case(
        annotations=CAPTURES, paths=("~/shop(/|$)(.*)",), ask=at("/shop"), forwarded="/"
    ),
    "a pattern in either case": Case(
        annotations=CAPTURES, paths=("~/shop(/|$)(.*)",), ask=at("/SHOP/x"), forwarded="/x"
    ),
    "a pattern that takes whole elements": Case(
        annotations=CAPTURES, paths=("~/shop(/|$)(.*)",), ask=at("/shopping"), status=404
    ),
    "a capture behind a prefix": Case(
        annotations={"rewrite-target": "/v2/$1"}, paths=("~/api/(.*)",), ask=at("/api/x/y"), forwarded="/v2/x/y"
    ),
    "two captures, turned round": Case(
        annotations={"rewrite-target": "/$2/$1"},
        paths=("~/api/([a-z]+)/([0-9]+)",),
        ask=at("/API/x/9/z?a=b"),
        forwarded="/9/x?a=b",
    ),
    "a capture of everything, with its slash": Case(
        annotations={"rewrite-target": "$1"}, paths=("~/api(/.*)",), ask=at("/api/x"), forwarded="/x"
    ),
    "a capture that makes two slashes": Case(
        annotations={"rewrite-target": "/v2/$1"}, paths=("~/api(.*)",), ask=at("/api/x"), forwarded="/v2/x"
    ),
    "a capture that leads away": Case(
        annotations={"rewrite-target": "/v2/$1"}, paths=("~/api(.*)",), ask=at("/api..%2Fadmin"), status=400
    ),
    "a capture beside a path without groups": Case(
        annotations={"rewrite-target": "/v2/$1"},
        paths=("~/api/(.*)", "/plain"),
        ask=at("/plain/x"),
        forwarded="/v2/",
    ),
    "another host for endpoints": Case(
        annotations={"upstream-vhost": "inner.example"},
        request={"Host": "inner.example", "X-Forwarded-Host": "a.test"},
    ),
    "a target that is the path": Case(annotations={"rewrite-target": "/"}, ask=at("/x"), forwarded="/x"),
    "a target without captures": Case(
        annotations={"rewrite-target": "/v2/", "x-forwarded-prefix": "/shop"},
        paths=("/shop", "/v2/"),
        ask=at("/Shopping/x?a=b", X_Forwarded_Prefix="/forged"),
        forwarded="/v2/?a=b",
        request={"X-Forwarded-Prefix": "/shop"},
    ),
    "the path that is the target beside others": Case(
        annotations={"rewrite-target": "/"}, paths=("/", "/api"), ask=at("/x/y"), forwarded="/x/y"
    ),
    "the others beside it": Case(
        annotations={"rewrite-target": "/"}, paths=("/", "/api"), ask=at("/api/y"), forwarded="/"
    ),
    "the prefix that was taken away": Case(
        annotations={**CAPTURES, "x-forwarded-prefix": "/shop"},
        paths=("~/shop(/|$)(.*)",),
        ask=at("/shop/x", X_Forwarded_Prefix="/forged"),
        request={"X-Forwarded-Prefix": "/shop"},
    ),
    "header fields of a ConfigMap": Case(
        annotations={"custom-headers": "default/headers"},
        settings={"global-allowed-response-headers": "X-Served-By"},
        response={"X-Served-By": "us"},
    ),
    "header fields that are not allowed": Case(annotations={"custom-headers": "default/headers"}, status=503),
    "users that are not there": Case(annotations={"auth-type": "basic", "auth-secret": "users"}, status=503),
    "nobody without a password": Case(annotations=USERS, status=401),
    "a user with the password": Case(
        annotations=USERS, ask=at("/", Authorization="Basic YWxpY2U6c2VjcmV0"), request={"Authorization": None}
    ),
    "a user with another password": Case(
        annotations=USERS, ask=at("/", Authorization="Basic YWxpY2U6d3Jvbmc="), status=401
    ),
    "an address in place of a password": Case(
        annotations={**USERS, "satisfy": "any", "whitelist-source-range": "127.0.0.0/8,::1"}
    ),
    "a password in place of an address": Case(
        annotations={**USERS, "satisfy": "any", "whitelist-source-range": "192.0.2.0/24"},
        ask=at("/", Authorization="Basic YWxpY2U6c2VjcmV0"),
    ),
    "an address before a password": Case(
        annotations={**USERS, "whitelist-source-range": "192.0.2.0/24"},
        ask=at("/", Authorization="Basic YWxpY2U6c2VjcmV0"),
        status=403,
    ),
    "a redirect before a password": Case(
        annotations={**USERS, "permanent-redirect": "https://b.test/"}, status=301, location="https://b.test/"
    ),
    "a path of a solver without a password": Case(
        annotations=USERS,
        paths=("=/.well-known/acme-challenge/token",),
        ask=at("/.well-known/acme-challenge/token"),
    ),
    "a proof of a password": Case(annotations={**USERS, "auth-type": "digest"}, status=503),
    "a protection that is not built": Case(annotations={"enable-modsecurity": "true"}, status=503),
    "a solver's path beside it": Case(
        annotations={"auth-url": "https://auth.test/"},
        paths=("=/.well-known/acme-challenge/token",),
        ask=at("/.well-known/acme-challenge/token"),
    ),
    "a snippet": Case(annotations={"configuration-snippet": "deny all;"}, status=503),
    "a program that is kept out, before all else": Case(
        settings={"block-user-agents": "~*curl/[0-9], Evil Robot"},
        annotations={"permanent-redirect": "https://b.test/"},
        ask=at("/", User_Agent="my CURL/8"),
        status=403,
    ),
    "a program that is kept out by its whole name": Case(
        settings={"block-user-agents": "~*curl/[0-9], Evil Robot"},
        ask=at("/", User_Agent="evil robot"),
        status=403,
    ),
    "a program whose name has more to it": Case(
        settings={"block-user-agents": "Evil Robot", "block-referers": "~^https://spam"},
        ask=at("/", User_Agent="Evil Robot 2", Referer="http://a.test/?https://spam.test"),
    ),
    "a page that requests must not come from": Case(
        settings={"block-referers": "~^https://spam"}, ask=at("/", Referer="https://spam.test/x"), status=403
    ),
    "a list of programs that cannot be matched": Case(settings={"block-user-agents": "~(?=x)"}, status=503),
    "a global protection that is not built": Case(settings={"enable-modsecurity": "true"}, status=503),
    "a client that is blocked everywhere": Case(
        settings={"block-cidrs": "192.0.2.0/24, 127.0.0.0/8"}, status=403
    ),
    "a client that is not blocked": Case(settings={"block-cidrs": "192.0.2.0/24"}),
    "a client that is denied": Case(annotations={"denylist-source-range": "127.0.0.1/8"}, status=403),
}


def world_of(case: Case) -> list[KubeObject]:
    annotations = {f"{PREFIX}/{name}": text for name, text in case.annotations.items()}
    return [
        ingress_class(),
        service("web"),
        endpoint_slice("web", "10.0.0.1"),
        ingress("web", {"a.test": dict.fromkeys(case.paths, "web")}, annotations=annotations),
        ConfigMap(metadata=ObjectMeta(namespace="ops", name="settings"), data=case.settings),
        ConfigMap(metadata=ObjectMeta(namespace="default", name="headers"), data={"X-Served-By": "us"}),
        Secret(
            metadata=ObjectMeta(namespace="default", name="staff"),
            data={"auth": b"alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="},
        ),
    ]


OPTIONS = TranslateOptions(policies=PolicyRegistry([IngressNginxDialect(settings=SETTINGS), NativeDialect()]))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_request_gets_what_ingress_nginx_would_give(case: Case) -> None:
    graph = translate(Snapshot.of(world_of(case)), OPTIONS).graph

    async with open_loopback(graph) as world, Proxy(ProxySettings()) as proxy:
        renderer = InProcessRenderer()
        proxy.swap(renderer.render(renderer.restrict(world.graph).graph))
        await proxy.listen("127.0.0.1", 0, tls=True)
        listener = await proxy.listen("127.0.0.1", 0)
        answer = await world.ask(case.ask, http=listener.address)

    assert (answer.status, answer.location) == (case.status, case.location)
    if case.forwarded is not None:
        assert answer.forwarded == case.forwarded
    for wanted, found in ((case.request, answer.request_headers), (case.response, answer.response_headers)):
        for name, value in wanted.items():
            assert found is not None
            assert found.get(name.lower()) == value
    assert answer_faults(graph, case.ask, answer) == ()
