"""Canaries and regular expressions, which HAProxy and nginx leave to their delegate."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from _pytest.mark import ParameterSet

from ingresskit.models import KubeObject, Snapshot
from ingresskit.policies import IngressNginxDialect, NativeDialect, PolicyRegistry
from ingresskit.testing import Ask, answer_faults, endpoint_slice, ingress, ingress_class, service
from ingresskit.testing.loopback import open_loopback
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from ingresskit.translate import TranslateOptions, translate
from tests.dataplane.delegated import open_delegated_haproxy
from tests.dataplane.haproxy_plane import HAPROXY, PROGRAM
from tests.dataplane.inprocess_plane import INPROCESS, open_inprocess
from tests.dataplane.kind import Kind
from tests.dataplane.nginx_plane import NGINX_STATIC, open_nginx_static

pytestmark = pytest.mark.anyio

_NGINX = "nginx.ingress.kubernetes.io/"
_OPTIONS = TranslateOptions(policies=PolicyRegistry([IngressNginxDialect(), NativeDialect()]))
_CANARY = {
    f"{_NGINX}canary": "true",
    f"{_NGINX}canary-by-header": "X-Canary",
    f"{_NGINX}canary-by-cookie": "canary",
}
_ASKS = (
    Ask(host="a.test"),
    Ask(host="a.test", path="/x", headers={"X-Canary": "always"}),
    Ask(host="a.test", headers={"X-Canary": "never", "Cookie": "canary=always"}),
    Ask(host="a.test", headers={"Cookie": "canary=always"}),
    Ask(host="a.test", path="/api/x", headers={"X-Canary": "always"}),
    Ask(host="b.test", path="/V12/USERS"),
    Ask(host="b.test", path="/v12/else"),
    Ask(host="b.test", path="/plain"),
    Ask(host="b.test", path="/plainer"),
    Ask(host="c.test", path="/plain"),
    Ask(host="d.test", path="/SHOPPING/x?a=b"),
    Ask(host="d.test", path="/api/x"),
    Ask(host="d.test", path="/apis/x"),
    Ask(host="d.test", path="/v2/x"),
)


@asynccontextmanager
async def _haproxy(settings: PlaneSettings) -> AsyncGenerator[Plane]:
    async with open_delegated_haproxy(settings, program=PROGRAM) as (plane, _, _):
        yield plane


def _plane(kind: Kind, opened: Callable[[PlaneSettings], AbstractAsyncContextManager[Plane]]) -> ParameterSet:
    missing = pytest.mark.skipif(bool(kind.missing), reason=kind.missing or "there")
    return pytest.param(opened, id=kind.name, marks=missing)


@pytest.mark.parametrize(
    "opened",
    [
        _plane(HAPROXY, _haproxy),
        _plane(NGINX_STATIC, open_nginx_static),
        _plane(INPROCESS, open_inprocess),
    ],
)
async def test_answers_to_canaries_and_patterns_are_those_of_the_graph(
    opened: Callable[[PlaneSettings], AbstractAsyncContextManager[Plane]],
) -> None:
    objects: list[KubeObject] = [
        ingress_class(),
        ingress("main", {"a.test": {"/": "one", "/api": "one"}, "c.test": {"/": "one"}}),
        ingress("canary", {"a.test": {"/": "two"}}, annotations=_CANARY),
        ingress("regex", {"b.test": {"~/v[0-9]+/users": "two"}}, annotations={f"{_NGINX}use-regex": "true"}),
        ingress("beside", {"b.test": {"=/plain": "one"}}),
        ingress(
            "rewrite",
            {"d.test": {"/shop": "two", "/v2": "one"}},
            annotations={f"{_NGINX}rewrite-target": "/v2"},
        ),
        ingress("prefix", {"d.test": {"/api": "one"}}, annotations={"rewrite-prefix": "/x"}),
        *(service(name) for name in ("one", "two")),
        *(endpoint_slice(name, address) for name, address in (("one", "10.0.0.1"), ("two", "10.0.0.2"))),
    ]
    graph = translate(Snapshot.of(objects), _OPTIONS).graph

    faults: list[str] = []
    with_services: set[str] = set()
    with state_folder() as folder:
        settings = PlaneSettings(state_dir=folder)
        async with (
            opened(settings) as plane,
            open_loopback(graph) as world,
        ):
            await plane.serve(world.graph)
            for ask in _ASKS:
                answer = await world.ask(ask, http=plane.http)
                with_services |= answer.services
                faults += answer_faults(graph, ask, answer)

    assert faults == []
    assert with_services == {"default/one", "default/two"}
