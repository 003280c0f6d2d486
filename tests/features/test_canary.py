"""Canaries of ingress-nginx: from annotations to responses of the in-process proxy over real sockets."""

from __future__ import annotations

import pytest

from ingresskit.models import KubeObject, Snapshot
from ingresskit.policies import IngressNginxDialect, NativeDialect, PolicyRegistry
from ingresskit.proxy import Proxy, ProxySettings
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.testing import (
    Ask,
    answer_faults,
    endpoint_slice,
    ingress,
    ingress_class,
    possible_answers,
    service,
)
from ingresskit.testing.loopback import open_loopback
from ingresskit.translate import TranslateOptions, translate

pytestmark = pytest.mark.anyio

_NGINX = "nginx.ingress.kubernetes.io/"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _objects(**annotations: str) -> list[KubeObject]:
    wanted = {f"{_NGINX}{key.replace('_', '-')}": value for key, value in annotations.items()}
    return [
        ingress_class(),
        ingress("main", {"a.test": {"/": "one", "/api": "one"}}),
        ingress("canary", {"a.test": {"/": "two"}}, annotations={f"{_NGINX}canary": "true", **wanted}),
        *(service(name) for name in ("one", "two")),
        *(endpoint_slice(name, address) for name, address in (("one", "10.0.0.1"), ("two", "10.0.0.2"))),
    ]


@pytest.mark.parametrize(
    ("headers", "path", "services"),
    [
        ({}, "/", ["default/one"]),
        ({"X-Canary": "always"}, "/", ["default/two"]),
        ({"X-Canary": "always"}, "/api", ["default/one"]),
        ({"X-Canary": "never", "Cookie": "canary=always"}, "/", ["default/one"]),
        ({"Cookie": "canary=always"}, "/x", ["default/two"]),
    ],
)
async def test_a_canary_by_header_and_cookie(headers: dict[str, str], path: str, services: list[str]) -> None:
    options = TranslateOptions(policies=PolicyRegistry([IngressNginxDialect(), NativeDialect()]))
    objects = _objects(canary_by_header="X-Canary", canary_by_cookie="canary")
    graph = translate(Snapshot.of(objects), options).graph
    ask = Ask(host="a.test", path=path, headers=headers)

    async with open_loopback(graph) as world, Proxy(ProxySettings()) as proxy:
        renderer = InProcessRenderer()
        proxy.swap(renderer.render(renderer.restrict(world.graph).graph))
        listener = await proxy.listen("127.0.0.1", 0)
        answer = await world.ask(ask, http=listener.address)

    assert sorted(answer.services) == services
    assert answer_faults(graph, ask, answer) == ()


async def test_a_canary_by_weight_answers_as_the_oracle_allows() -> None:
    options = TranslateOptions(policies=PolicyRegistry([IngressNginxDialect(), NativeDialect()]))
    graph = translate(Snapshot.of(_objects(canary_weight="50")), options).graph
    ask = Ask(host="a.test")

    async with open_loopback(graph) as world, Proxy(ProxySettings()) as proxy:
        proxy.swap(InProcessRenderer().render(world.graph))
        listener = await proxy.listen("127.0.0.1", 0)
        # That 40 draws of a half are all alike comes once in 5 * 10^11 runs.
        answers = [await world.ask(ask, http=listener.address) for _ in range(40)]

    assert {name for answer in answers for name in answer.services} == {"default/one", "default/two"}
    assert [answer_faults(graph, ask, answer) for answer in answers] == [()] * 40
    assert len(possible_answers(graph, ask)) == 2
