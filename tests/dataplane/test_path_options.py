"""Whatever the proxy: paths are read as the operator decided, and as the route graph resolves them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingresskit.graph import PathOptions
from ingresskit.models import Snapshot
from ingresskit.testing import ingress, ingress_class, service
from ingresskit.translate import translate
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
