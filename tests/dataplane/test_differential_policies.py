"""Random sets of policies and random requests: all proxies answer alike, and as `decide` says."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from ingresskit.graph import Request, RouteGraph
from ingresskit.migrate import Probes, probes_of
from ingresskit.models import ConfigMap, KubeObject, ObjectMeta, Secret, Snapshot
from ingresskit.policies import IngressNginxDialect, KubernetesDialect, NativeDialect, PolicyRegistry
from ingresskit.testing import (
    Answer,
    Ask,
    answer_faults,
    ca_secret,
    endpoint_slice,
    ingress,
    ingress_class,
    make_authority,
    service,
)
from ingresskit.testing.loopback import open_loopback
from ingresskit.testing.planes import Plane
from ingresskit.translate import HostOwnership, TranslateOptions, translate
from tests.dataplane.conftest import opened_with_delegate
from tests.dataplane.planes import KINDS

pytestmark = pytest.mark.anyio

_NGINX = "nginx.ingress.kubernetes.io"
_OPTIONS = TranslateOptions(
    policies=PolicyRegistry((NativeDialect(), IngressNginxDialect(), KubernetesDialect())),
    host_ownership=HostOwnership.SHARED,
)
_AUTHORITY = make_authority("Authority")
# What one Ingress may ask for; each is one group, so that annotations that need each other stand together.
_GROUPS: tuple[Mapping[str, str], ...] = (
    {f"{_NGINX}/rewrite-target": "/new/$2"},
    {f"{_NGINX}/rewrite-target": "/whole"},
    {f"{_NGINX}/use-regex": "true"},
    {f"{_NGINX}/upstream-vhost": "inner.example"},
    {f"{_NGINX}/x-forwarded-prefix": "/pre", f"{_NGINX}/rewrite-target": "/"},
    {f"{_NGINX}/app-root": "/app"},
    {f"{_NGINX}/permanent-redirect": "https://elsewhere.example/x"},
    {f"{_NGINX}/temporal-redirect": "https://elsewhere.example/y", f"{_NGINX}/temporal-redirect-code": "307"},
    {f"{_NGINX}/ssl-redirect": "false"},
    {f"{_NGINX}/force-ssl-redirect": "true"},
    {f"{_NGINX}/whitelist-source-range": "127.0.0.0/8"},
    {f"{_NGINX}/whitelist-source-range": "10.0.0.0/8"},
    {f"{_NGINX}/denylist-source-range": "127.0.0.0/8"},
    {f"{_NGINX}/enable-cors": "true", f"{_NGINX}/cors-allow-origin": "https://app.example"},
    {f"{_NGINX}/enable-cors": "true", f"{_NGINX}/cors-allow-credentials": "false"},
    {
        f"{_NGINX}/enable-cors": "true",
        f"{_NGINX}/cors-allow-origin": "https://*.b.example, https://c.example:8443",
        f"{_NGINX}/cors-expose-headers": "X-Total",
        f"{_NGINX}/cors-allow-methods": "GET, BREW",
    },
    {"ingresskit.dev/cors-origins": "https://app.example, null", "ingresskit.dev/cors-max-age": "60"},
    {"ingresskit.dev/cors-origins": "*", "ingresskit.dev/cors-headers": "X-One"},
    {f"{_NGINX}/backend-protocol": "HTTPS"},
    {f"{_NGINX}/backend-protocol": "HTTPS", f"{_NGINX}/proxy-ssl-name": "pods.example"},
    {f"{_NGINX}/backend-protocol": "HTTPS", f"{_NGINX}/proxy-ssl-secret": "default/shown"},
    {"ingresskit.dev/upstream-protocol": "https", "ingresskit.dev/upstream-tls-versions": "1.2"},
    {"ingresskit.dev/upstream-protocol": "https", "ingresskit.dev/upstream-tls-send-name": "false"},
    {f"{_NGINX}/proxy-read-timeout": "900"},
    {f"{_NGINX}/proxy-send-timeout": "5", f"{_NGINX}/proxy-read-timeout": "30"},
    {"ingresskit.dev/read-timeout": "30s", "ingresskit.dev/send-timeout": "10s"},
    {f"{_NGINX}/custom-headers": "default/fields"},
    {f"{_NGINX}/auth-type": "basic", f"{_NGINX}/auth-secret": "users", f"{_NGINX}/auth-realm": "Here"},
    {f"{_NGINX}/proxy-body-size": "1k"},
    {f"{_NGINX}/proxy-cookie-path": "/ /new"},
    {f"{_NGINX}/from-to-www-redirect": "true"},
    {f"{_NGINX}/configuration-snippet": "deny all;"},
    {f"{_NGINX}/connection-proxy-header": "keep-alive"},
    {
        "ingresskit.dev/request-headers-set": "X-Tenant: blue",
        "ingresskit.dev/request-headers-remove": "X-Secret",
    },
    {"ingresskit.dev/response-headers-set": "X-Served: yes"},
    {"ingresskit.dev/hsts-max-age": "600"},
    {"ingresskit.dev/allow-sources": "10.0.0.0/8"},
    {"ingresskit.dev/rewrite-prefix": "/v2"},
    {"ingresskit.dev/redirect": "https://elsewhere.example/z"},
    {"ingresskit.dev/tls-redirect": "true"},
)
_HOSTS = ("a.test", "b.test", "*.w.test")
_PATHS = ("/", "/a", "=/a", "/a/b", "/x(/|$)(.*)")
_MORE_HEADERS: tuple[Mapping[str, str], ...] = (
    {},
    {"X-Secret": "s", "X-Tenant": "red"},
    {"Authorization": "Basic dTpw"},
    {"Authorization": "Basic dTp3cm9uZw=="},
    {"Origin": "https://app.example"},
    {"Origin": "HTTPS://App.example", "Access-Control-Request-Method": "GET"},
    {"Origin": "https://x.b.example"},
    {"Origin": "https://*.b.example"},
    {"Origin": "https://.b.example"},
    {"Origin": "https://x.y.b.example"},
    {"Origin": "https://c.example:8443", "Access-Control-Request-Method": "PUT"},
    {"Origin": "null"},
    {"Cookie": "canary=always"},
    {"X-Lane": "always"},
)
# Names that proxies have of their own, or that say where they listen.
_SEEN_BY_ENDPOINTS = frozenset(
    {"host", "x-tenant", "x-secret", "x-forwarded-prefix", "x-forwarded-proto", "authorization"}
)
_SEEN_BY_CLIENTS = frozenset(
    {
        *("location", "strict-transport-security", "www-authenticate", "x-served", "x-custom", "allow"),
        *("access-control-allow-origin", "access-control-allow-credentials", "access-control-allow-methods"),
        "vary",
        *("access-control-allow-headers", "access-control-max-age", "access-control-expose-headers"),
    }
)


def world(chance: random.Random) -> list[KubeObject]:
    """A cluster in which a few Ingresses ask for a few policies each."""
    users = Secret(
        metadata=ObjectMeta(namespace="default", name="users"),
        data={"auth": b"u:{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=\n"},
    )
    fields = ConfigMap(metadata=ObjectMeta(namespace="default", name="fields"), data={"X-Custom": "value"})
    shown = ca_secret(_AUTHORITY, name="shown", client=_AUTHORITY.issue("gateway"))
    made: list[KubeObject] = [ingress_class(), users, fields, shown]
    for number, name in enumerate(("web", "api")):
        made += [service(name), endpoint_slice(name, f"10.0.{number}.1")]
    for number in range(chance.choice((1, 2, 3))):
        notes: dict[str, str] = {}
        for group in chance.sample(_GROUPS, k=chance.choice((1, 2, 3))):
            notes.update(group)
        if number and chance.random() < 0.3:
            notes |= {f"{_NGINX}/canary": "true"}
            notes |= chance.choice(
                ({f"{_NGINX}/canary-by-header": "X-Lane"}, {f"{_NGINX}/canary-by-cookie": "canary"})
            )
        paths = {path: chance.choice(("web", "api")) for path in chance.sample(_PATHS, k=chance.choice((1, 2)))}
        host = chance.choice(_HOSTS)
        made.append(ingress(f"i{number}", {host: paths}, created=number, annotations=notes))
    return made


def asks(graph: RouteGraph, chance: random.Random) -> list[Ask]:
    found: list[Ask] = []
    for host in (*graph.by_host, "unknown.test"):
        probes = [item for item in probes_of(graph, host, Probes(most_per_host=60)) if _can_be_sent(item)]
        for item in chance.sample(probes, k=min(8, len(probes))):
            more = chance.choice(_MORE_HEADERS)
            found.append(_ask(replace(item, headers={**item.headers, **more})))
    return found


def _can_be_sent(request: Request) -> bool:
    """Without a body, from this machine, in plain text: certificates are another test's."""
    return "content-length" not in request.headers and request.client is None and request.scheme == "http"


def _ask(request: Request) -> Ask:
    path = f"{request.path}{request.query}"
    return Ask(host=request.host, path=path, method=request.method, headers=request.headers)


def _seen(answer: Answer) -> tuple[object, ...]:
    """What all proxies must agree on."""
    return (
        answer.status,
        answer.services,
        answer.forwarded,
        _chosen(answer.request_headers, _SEEN_BY_ENDPOINTS),
        _chosen(answer.response_headers, _SEEN_BY_CLIENTS),
    )


def _chosen(fields: Mapping[str, str] | None, names: frozenset[str]) -> dict[str, str] | None:
    return None if fields is None else {name: value for name, value in fields.items() if name in names}


async def test_all_proxies_answer_alike_and_as_decided(changes_wanted: int, anyio_backend: str) -> None:
    async with AsyncExitStack() as stack:
        planes: dict[str, Plane] = {
            name: await stack.enter_async_context(opened_with_delegate(name))
            for name, kind in KINDS.items()
            if not kind.missing
        }
        for seed in range(max(changes_wanted // 8, 1)):
            chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
            graph = translate(Snapshot.of(world(chance)), _OPTIONS).graph
            async with open_loopback(graph) as served:
                for plane in planes.values():
                    await plane.serve(served.graph)
                for ask in asks(graph, chance):
                    answers = {
                        name: await served.ask(ask, http=plane.http, https=plane.https)
                        for name, plane in planes.items()
                    }
                    for name, answer in answers.items():
                        assert not answer_faults(graph, ask, answer), (seed, name, ask, ask.headers)
                    first, *others = ((name, _seen(answer)) for name, answer in answers.items())
                    for name, seen in others:
                        assert seen == first[1], (seed, name, ask, ask.headers)
