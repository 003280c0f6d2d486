"""Whatever the proxy: paths and names are read as the operator decided."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingresskit.graph import PathOptions
from ingresskit.models import Snapshot
from ingresskit.testing import ingress, ingress_class, service
from ingresskit.testing.planes import PlaneSettings, state_folder
from ingresskit.translate import translate
from tests.dataplane.conftest import EVERY_PLANE
from tests.dataplane.planes import KINDS
from tests.dataplane.stage import HOST, OPTIONS, Stage, slices
from tests.unit.proxy.conftest import get

pytestmark = pytest.mark.anyio

KEPT = {
    "/": "/",
    "//": "//",
    "/a//b": "/a//b",
    "/a//": "/a//",
    "//a/./b/.": "//a/b/",
    "/a//../b": "/a/b",
    "/a/%2e//%7eb?c=//d": "/a//~b?c=//d",
    "/img/http://b.test//c": "/img/http://b.test//c",
    "/../a": None,
    "/a;b/%2F": "/a;b/%2F",
}
STRICT = {
    "/a//b": "/a/b",
    "/a;b": None,
    "/a%3Bb": None,
    "/a%2fb": None,
    "/a%5cb": None,
    "/a%20b": "/a%20b",
    "/a?b;c=%2F": "/a?b;c=%2F",
}


async def test_paths_are_read_as_the_operator_decides(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    objects = (
        ingress_class(),
        ingress("web", {HOST: {"/": "web"}}),
        service("web"),
        *slices("web", [endpoint.port]),
    )
    wanted: dict[str, dict[str, str | None]] = {"kept": KEPT, "strict": STRICT}
    found: dict[str, dict[str, str | None]] = {"kept": {}, "strict": {}}

    for name, paths in (("kept", PathOptions(merge_slashes=False)), ("strict", PathOptions(strict=True))):
        graph = translate(Snapshot.of(objects), replace(OPTIONS, paths=paths)).graph
        await stage.plane.serve(graph)
        for path in wanted[name]:
            client = await stage.connect()
            before = len(endpoint.seen)
            answer = await client.ask(get(path))
            seen = endpoint.seen[before:]
            found[name][path] = seen[0].head.split()[1].decode() if seen else None
            assert answer.status == (200 if seen else 400)
            assert (graph.resolve(HOST, path.partition("?")[0]) is None) == (answer.status == 400)

    assert found == wanted


@pytest.mark.parametrize("kind", EVERY_PLANE)
async def test_names_with_underscores_pass_where_the_operator_lets_them(kind: str) -> None:
    with state_folder() as folder:
        settings = PlaneSettings(state_dir=folder, underscores_in_headers=True)
        async with KINDS[kind].open(settings) as plane, Stage(plane) as stage:
            endpoint = await stage.endpoint()
            await stage.serve(endpoint, annotations={"request-headers-set": "X-Team: shop"})
            client = await stage.connect()
            names = ["api_key", "_x", "X_Real_IP", "x_forwarded_for", "Proxy_Connection", "x_team"]

            await client.ask(get(fields=[f"{name}: 6.6.6.6" for name in names]))

            seen = endpoint.seen[0]
            assert [name for name in names if seen.value(name)] == ["api_key", "_x"]
            assert seen.value("x-team") == "shop"
