"""Our own renderer passes the contract first; renderers that break it are caught by it."""

from __future__ import annotations

import random
from pathlib import PurePosixPath
from typing import ClassVar

import pytest
from typing_extensions import override

from ingresskit.graph import Forward, RouteGraph
from ingresskit.policies import BUILTIN_POLICIES, Policy
from ingresskit.render import RenderedFile, Renderer, Rendering
from ingresskit.render.inprocess import InProcessRenderer, RoutingTable
from ingresskit.render.judged import Restricted
from ingresskit.testing.contract import RendererContract


class TestInProcessRenderer(RendererContract[RoutingTable]):
    @override
    def renderer(self) -> InProcessRenderer:
        return InProcessRenderer()


class _TextRenderer(Renderer[Rendering]):
    """A good one, for the bad ones below to spoil."""

    name: ClassVar[str] = "text"
    supports: ClassVar[frozenset[type[Policy]]] = frozenset(BUILTIN_POLICIES)

    @override
    def render(self, graph: RouteGraph) -> Rendering:
        lines = [
            repr((host.host, route.match, route.action if isinstance(route.action, Forward) else None))
            for host in graph.virtual_hosts
            for route in host.routes
        ]
        keys = [
            RenderedFile(PurePosixPath(f"{item.digest}.pem"), item.private_key, secret=True)
            for item in graph.certificates.values()
        ]
        return Rendering((RenderedFile.text("routes", "\n".join(lines)), *keys))


class TestTextRenderer(RendererContract[Rendering]):
    @override
    def renderer(self) -> _TextRenderer:
        return _TextRenderer()


class _ByChance(_TextRenderer):
    @override
    def render(self, graph: RouteGraph) -> Rendering:
        return Rendering((RenderedFile.text("x", str(random.random())),))  # noqa: S311


class _Remembering(_TextRenderer):
    def __init__(self) -> None:
        self._seen = 0

    @override
    def render(self, graph: RouteGraph) -> Rendering:
        self._seen += 1
        return Rendering((RenderedFile.text("x", str(self._seen)),))


class _Stale(_TextRenderer):
    def __init__(self) -> None:
        self._first: Rendering | None = None

    @override
    def render(self, graph: RouteGraph) -> Rendering:
        self._first = self._first or super().render(graph)
        return self._first


class _Talkative(_TextRenderer):
    @override
    def render(self, graph: RouteGraph) -> Rendering:
        keys = b"".join(item.private_key for item in graph.certificates.values())
        return Rendering((RenderedFile(PurePosixPath("x"), keys),))


class _FailingOpen(_TextRenderer):
    @override
    def restrict(self, graph: RouteGraph) -> Restricted:
        return Restricted(graph=graph)


class _NamingFiles(_TextRenderer):
    @override
    def render(self, graph: RouteGraph) -> Rendering:
        routes = [route for host in graph.virtual_hosts for route in host.routes]
        return Rendering(tuple(RenderedFile.text("x" + item.match.value, "") for item in routes[:3]))


@pytest.mark.parametrize(
    ("renderer", "test"),
    [
        pytest.param(_ByChance, "test_every_scenario_is_rendered_the_same_twice", id="renders by chance"),
        pytest.param(_Remembering, "test_every_scenario_is_rendered_the_same_twice", id="counts its calls"),
        pytest.param(_Stale, "test_a_renderer_with_a_past_renders_like_a_new_one", id="keeps the first"),
        pytest.param(_Talkative, "test_key_material_is_in_secret_files_only", id="shows keys"),
        pytest.param(_FailingOpen, "test_a_policy_it_does_not_know_is_reported", id="ignores silently"),
        pytest.param(_FailingOpen, "test_a_protection_it_does_not_know_closes_the_route", id="fails open"),
        pytest.param(_NamingFiles, "test_files_stay_inside_and_name_no_tenant", id="names files by paths"),
    ],
)
def test_the_contract_catches_a_renderer_that(renderer: type[_TextRenderer], test: str) -> None:
    class Contract(RendererContract[Rendering]):
        @override
        def renderer(self) -> _TextRenderer:
            return renderer()

    with pytest.raises((AssertionError, ValueError)):
        getattr(Contract(), test)()
