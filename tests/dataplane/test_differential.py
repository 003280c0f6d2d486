"""Random clusters and random requests: every proxy answers as `RouteGraph.resolve` says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ingresskit.graph import Protocol, RouteGraph
from ingresskit.models import KubeObject, Snapshot
from ingresskit.testing import Ask, answer_faults
from ingresskit.testing.loopback import open_loopback
from ingresskit.testing.planes import Plane
from ingresskit.testing.strategies import request_hosts, request_paths, serving_worlds
from ingresskit.translate import TranslateOptions, translate
from tests.dataplane.planes import KINDS

pytestmark = pytest.mark.anyio

_QUERIES = ("", "", "", "?", "?a=b", "?a=/../b&c=%00", "?//")
_FEW = 15
"""So many clusters are enough where each costs a reload."""
_TLS_NAMES = st.sampled_from((None, "a.test", "www.a.test", "b.test", "A.TEST", "other.example"))


def _asks() -> SearchStrategy[Ask]:
    paths = st.builds("{}{}".format, request_paths(), st.sampled_from(_QUERIES))
    plain = st.builds(Ask, host=request_hosts(), path=paths)
    secure = st.builds(Ask, host=request_hosts(), path=paths, tls=st.just(True), server_name=_TLS_NAMES)
    return st.one_of(plain, plain, plain, secure)


def _playable(graph: RouteGraph) -> RouteGraph:
    """Without what cannot be played on this machine."""
    backends = {
        key: replace(item, endpoints=()) if item.protocol is Protocol.H2C else item
        for key, item in graph.backends.items()
    }
    return replace(graph, backends=backends)


def _spent(plane: Plane) -> int:
    return sum(plane.applied.values())


@settings(max_examples=settings().max_examples * 3 // 5)  # a process hears of each
@given(serving_worlds("alpha", "beta"), st.lists(_asks(), min_size=1, max_size=8), st.booleans())
async def test_answers_are_those_of_the_graph(
    plane: Plane, objects: list[KubeObject], asks: list[Ask], fallthrough: bool
) -> None:
    if KINDS[plane.name].reloads_often and _spent(plane) > _FEW:
        return
    graph = _playable(translate(Snapshot.of(objects), TranslateOptions(host_fallthrough=fallthrough)).graph)
    async with open_loopback(graph) as world:
        await plane.serve(world.graph)
        for ask in asks:
            answer = await world.ask(ask, http=plane.http, https=plane.https)

            assert not answer_faults(graph, ask, answer)
