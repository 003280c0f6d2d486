"""What a renderer promises, as tests its author inherits.

A class of tests without a test framework in it: pytest collects it, and so does whatever else calls
methods whose names begin with ``test_``.
"""

from __future__ import annotations

import base64
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Generic

from ingresskit.diagnostics import Reason
from ingresskit.graph import Respond, RouteGraph
from ingresskit.models import KubeObject, Snapshot
from ingresskit.policies import Origin, Policy, PolicySet
from ingresskit.render import Renderer, Rendering
from ingresskit.render.base import ArtifactT
from ingresskit.testing.builders import endpoint_slice, ingress, ingress_class, service
from ingresskit.testing.certificates import tls_secret
from ingresskit.testing.hostile import hostile_cases, victim_objects
from ingresskit.testing.scenario import Scenario
from ingresskit.testing.scenario_files import load_scenarios
from ingresskit.translate import Translator, translate

__all__ = ["RendererContract"]


class RendererContract(ABC, Generic[ArtifactT]):
    """Tests of what `ingresskit.Renderer` promises. Inherit it, name it ``Test…``, write `renderer`.

    ```python
    class TestCaddyRenderer(RendererContract[Rendering]):
        def renderer(self) -> CaddyRenderer:
            return CaddyRenderer()
    ```

    It says nothing of what the proxy does with the artifact: for that, drive the proxy with
    `ingresskit.testing.loopback`.
    """

    @abstractmethod
    def renderer(self) -> Renderer[ArtifactT]:
        """A new renderer, which has rendered nothing yet."""

    def same(self, one: ArtifactT, other: ArtifactT) -> bool:
        """Whether two artifacts are equal, byte for byte. Override it where ``==`` does not say that."""
        return one == other

    def readable(self, artifact: ArtifactT) -> bytes:
        """All of the artifact that people who may not read Secrets may see.

        Of a `Rendering` these are its paths and its files but the secret ones, of anything else its
        ``repr``. Override it where that is not so.
        """
        if not isinstance(artifact, Rendering):
            return repr(artifact).encode()
        parts = (b"" if item.secret else item.content for item in artifact.files)
        return b"\n".join((*parts, *(str(item.path).encode() for item in artifact.files)))

    def scenarios(self) -> Sequence[Scenario]:
        """What is rendered: every scenario that comes with ingresskit. Override it to add your own."""
        return load_scenarios()

    def test_an_empty_graph_is_rendered(self) -> None:
        """A controller starts with nothing, and serves that."""
        assert self.same(self.renderer().render(RouteGraph()), self.renderer().render(RouteGraph()))

    def test_every_scenario_is_rendered_the_same_twice(self) -> None:
        """By two renderers, and once more by the second: nothing is left over, nothing is by chance."""
        unlike: list[str] = []
        for scenario in self.scenarios():
            graph = self._restricted(scenario.translate().graph)
            renderer = self.renderer()
            first, second = self.renderer().render(graph), renderer.render(graph)
            if not (self.same(first, second) and self.same(first, renderer.render(graph))):
                unlike.append(str(scenario))
        assert not unlike, f"rendered differently: {'; '.join(unlike)}"

    def test_the_order_of_objects_changes_nothing(self) -> None:
        """The API lists objects in whatever order it likes."""
        unlike: list[str] = []
        for scenario in self.scenarios():
            one = translate(Snapshot.of(scenario.objects), scenario.options).graph
            other = translate(Snapshot.of(reversed(scenario.objects)), scenario.options).graph
            artifacts = (self.renderer().render(self._restricted(graph)) for graph in (one, other))
            if not self.same(*artifacts):
                unlike.append(str(scenario))
        assert not unlike, f"rendered differently: {'; '.join(unlike)}"

    def test_a_renderer_with_a_past_renders_like_a_new_one(self) -> None:
        """What a renderer remembers saves work and changes no byte."""
        renderer = self.renderer()
        for what, graph in _history():
            graph = self._restricted(graph)
            assert self.same(renderer.render(graph), self.renderer().render(graph)), f"differs {what}"

    def test_key_material_is_in_secret_files_only(self) -> None:
        """Keys are never shown: not in a dry run, not in the admin API."""
        for scenario in self.scenarios():
            graph = self._restricted(scenario.translate().graph)
            seen = self.readable(self.renderer().render(graph))
            assert b"PRIVATE KEY" not in seen, _shown(scenario)
            for certificate in graph.certificates.values():
                lines = certificate.private_key.split(b"\n")
                assert not any(line in seen for line in lines if len(line) > 20), _shown(scenario)
                raw = base64.b64encode(certificate.private_key)
                assert raw not in seen, _shown(scenario)

    def test_a_policy_it_does_not_know_is_reported(self) -> None:
        """Nothing is ignored silently."""
        graph = _with_policy(_Unknown())
        restricted = self.renderer().restrict(graph)

        assert [item.reason for item in restricted.diagnostics] == [Reason.POLICY_UNSUPPORTED]
        self.renderer().render(restricted.graph)

    def test_a_protection_it_does_not_know_closes_the_route(self) -> None:
        """Rather no answer than one without the protection."""
        restricted = self.renderer().restrict(_with_policy(_UnknownProtection()))
        route = restricted.graph.resolve("a.test", "/")

        assert route is not None
        assert isinstance(route.action, Respond)
        assert route.action.status == 503
        self.renderer().render(restricted.graph)

    def test_hostile_text_is_rendered(self) -> None:
        """Paths and values as a tenant who knows the proxy's language would write them."""
        artifact = self.renderer().render(self._restricted(_hostile_graph()))

        assert self.same(artifact, self.renderer().render(self._restricted(_hostile_graph())))

    def test_every_hostile_object_is_rendered(self) -> None:
        """All of `hostile_cases` in one graph: none of them may cost another its route."""
        held = {(item.kind, item.key): item for case in hostile_cases() for item in case.objects}
        graph = translate(Snapshot.of([*victim_objects(), *held.values()])).graph
        artifact = self.renderer().render(self._restricted(graph))

        assert self.same(artifact, self.renderer().render(self._restricted(graph)))

    def test_files_stay_inside_and_name_no_tenant(self) -> None:
        """Of a `Rendering`: a path is never made of a tenant's text."""
        artifact = self.renderer().render(self._restricted(_hostile_graph()))
        if isinstance(artifact, Rendering):
            for item in artifact.files:
                assert re.fullmatch(r"[A-Za-z0-9._/-]+", str(item.path)), f"{item.path} is no name for a file"
                assert len(item.path.name) <= 255

    def _restricted(self, graph: RouteGraph) -> RouteGraph:
        return self.renderer().restrict(graph).graph


def _shown(scenario: Scenario) -> str:
    return f"{scenario}: a key can be read"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unknown(Policy):
    """A policy that no renderer can know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnknownProtection(Policy):
    """A protection that no renderer can know."""

    protects: ClassVar[bool] = True


def _with_policy(policy: Policy) -> RouteGraph:
    graph = translate(Snapshot.of(_world())).graph
    host = graph.virtual_host("a.test")
    assert host is not None
    origin = Origin(_world()[0].ref, "metadata.annotations[example.com/policy]")
    policies = PolicySet([policy], {type(policy): {"value": origin}})
    routes = tuple(replace(route, policies=policies) for route in host.routes)
    hosts = tuple(replace(item, routes=routes) if item is host else item for item in graph.virtual_hosts)
    return replace(graph, virtual_hosts=hosts)


def _world() -> list[KubeObject]:
    return [
        ingress("web", {"a.test": {"/": "one"}, "b.test": {"=/x": "two"}}, tls={"tls": ["a.test"]}),
        ingress_class(),
        service("one"),
        service("two"),
        endpoint_slice("one", "10.0.0.1", "10.0.0.2"),
        endpoint_slice("two", "10.0.0.3"),
        tls_secret("a.test"),
    ]


def _history() -> Iterable[tuple[str, RouteGraph]]:
    held: dict[tuple[str, str], KubeObject] = {(item.kind, item.metadata.name): item for item in _world()}
    translator = Translator()

    def graph() -> RouteGraph:
        return translator.translate(Snapshot.of(held.values())).graph

    yield "at first", graph()
    changes: Iterable[tuple[str, KubeObject]] = (
        ("after an endpoint was added", endpoint_slice("one", "10.0.0.1", "10.0.0.2", "10.0.0.9")),
        ("after a path was added", ingress("more", {"a.test": {"/more": "two"}}, created=1)),
        ("after a host was added", ingress("host", {"*.c.test": {"/": "two"}}, created=1)),
        ("after a certificate was rotated", tls_secret("a.test", salt="rotated")),
        ("after a policy was added", ingress("host", {"*.c.test": {"/": "two"}}, annotations={"retries": "3"})),
        ("after a backend was gone", endpoint_slice("two")),
        ("after a default backend was added", ingress("default", default="one", created=2)),
    )
    for what, item in changes:
        held[item.kind, item.metadata.name] = item
        yield what, graph()
    for kind, name in (("Ingress", "host"), ("Secret", "tls"), ("EndpointSlice", "one-1"), ("Ingress", "web")):
        del held[kind, name]
        yield f"after {kind} {name} was deleted", graph()
    held.clear()
    yield "after everything was deleted", graph()
    held.update(((item.kind, item.metadata.name), item) for item in _world())
    yield "after everything was back", graph()


_HOSTILE_PATHS = (
    '/"; } location /x { return 200; }',
    "/'; http-request deny; '",
    "/$uri$host",
    "/%[src]",
    "/{{ .Env }}",
    "/#comment",
    "/a b\\c",
    "/(?i).*$",
    "/" + "a" * 2000,
    "/../../etc/passwd",
)


def _hostile_graph() -> RouteGraph:
    annotations = {
        "request-headers-set": "X-A: \"; } $x %[src] \\ ' #",
        "response-headers-set": "X-B: {{ 1 }}",
        "redirect-status": "308",
        "rewrite-prefix": "/$1;{}",
    }
    objects = [
        ingress("hostile", {"a.test": {f"~{path}": "one" for path in _HOSTILE_PATHS}}, annotations=annotations),
        ingress("exact", {"b.test": {f"={path}": "two" for path in _HOSTILE_PATHS}}),
    ]
    return translate(Snapshot.of([*_world()[1:], *objects])).graph
