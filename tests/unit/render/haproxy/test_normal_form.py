"""HAProxy brings hosts and paths into the same normal form as the graph, character by character."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ingresskit.graph import HostRefused, PathRefused, normalise_host, normalise_path
from ingresskit.models import Snapshot
from ingresskit.testing import Ask, endpoint_slice, ingress, ingress_class, service
from ingresskit.testing.loopback import LoopbackWorld, open_loopback
from ingresskit.testing.planes import Plane, PlaneSettings, state_folder
from ingresskit.translate import translate
from tests.unit.render.haproxy.serving import needs_haproxy, open_restarting

pytestmark = [pytest.mark.anyio, needs_haproxy]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def served(anyio_backend: str) -> AsyncGenerator[tuple[Plane, LoopbackWorld]]:
    """One rule that takes every host and every path."""
    objects = [
        ingress_class(),
        ingress("any", {"": {"/": "one"}}),
        service("one"),
        endpoint_slice("one", "10.0.0.1"),
    ]
    with state_folder() as folder:
        async with (
            open_restarting(PlaneSettings(state_dir=folder)) as plane,
            open_loopback(translate(Snapshot.of(objects)).graph) as world,
        ):
            await plane.serve(world.graph)
            yield plane, world


def _paths() -> SearchStrategy[str]:
    """Paths of all that means something in one, and of whatever else a request line may have."""
    pieces = st.one_of(
        st.sampled_from(
            ("/", "//", "/.", "/..", "/./", "/../", "%2e", "%2E", "%2f", "%5c", ";", "%3b", "%", "%%")
        ),
        st.sampled_from(
            ("a", "b.c", "..", "...", ".", "%61", "%7E", "%00", "%1f", "%7f", "%C3%BC", "%25", "%4", "%zz")
        ),
        st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="?#"),
        st.integers(0, 255).map("%{:02x}".format),
    )
    return st.lists(pieces, max_size=12).map(lambda items: "/" + "".join(items))


@settings(max_examples=400)
@example("/a//../b")
@example("/a/%2e%2e/%2e%2e/b")
@example("/x/../../y/../..")
@example("/\\..\\x")
@example("/" + "a" * 7999)
@example("/" + "a" * 8000)
@example("/" + '"' * 2600)
@example("/" + '"' * 2700)
@example("/" + "%61" * 2600)
@given(_paths())
async def test_paths_are_those_of_the_graph(served: tuple[Plane, LoopbackWorld], path: str) -> None:
    plane, world = served

    answer = await world.ask(Ask(host="a.test", path=path), http=plane.http)

    try:
        wanted = normalise_path(path)
    except PathRefused:
        assert answer.status == 400
    else:
        assert (answer.status, answer.forwarded) == (200, wanted)


@settings(max_examples=50)
@given(_paths(), st.sampled_from(("", "a=b", "x=%61%2f", "/../", "a?b", "%", '"<>', "&=%00")))
async def test_queries_stay_as_they_are(served: tuple[Plane, LoopbackWorld], path: str, query: str) -> None:
    plane, world = served

    answer = await world.ask(Ask(host="a.test", path=f"{path}?{query}"), http=plane.http)

    try:
        wanted = normalise_path(path)
    except PathRefused:
        assert answer.status == 400
    else:
        assert (answer.status, answer.forwarded) == (200, f"{wanted}?{query}")


@settings(max_examples=200)
@example("a.test:65535")
@example("a.test:65536")
@example("[::1]:80")
@example("a..test.:")
@example("a" * 255 + ":1")
@example("a" * 256)
@given(
    st.one_of(
        st.text(st.sampled_from("aZ09._-:[]*"), min_size=1, max_size=12),
        st.builds(
            "{}{}".format,
            st.sampled_from(("a.Test", "A.", "[::ffff:1.2.3.4]", "x_y")),
            st.sampled_from((":", ":0", ":080", ".", ".:1", ":123456")),
        ),
        st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=6),
    )
)
async def test_hosts_are_those_of_the_graph(served: tuple[Plane, LoopbackWorld], host: str) -> None:
    plane, world = served

    answer = await world.ask(Ask(host=host), http=plane.http)

    try:
        name = normalise_host(host)
    except HostRefused:
        assert answer.status == 400
        return
    port = host.rpartition("]")[2].partition(":")[2]
    if port and int(port) > 65535:
        assert answer.status == 400
    elif host.startswith("[") and answer.status == 400:
        assert "]." in host  # from 3.2 on, HAProxy itself refuses that
    else:
        assert answer.status == 200
        assert answer.request_headers is not None
        assert answer.request_headers["host"] == (f"{name}:{port}" if port else name)
