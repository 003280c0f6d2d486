"""The HAProxy renderer: what it promises as a renderer, and what its artifacts share."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from ingresskit.diagnostics import Reason
from ingresskit.graph import PathMatch
from ingresskit.models import KubeObject, Snapshot
from ingresskit.policies import Algorithm
from ingresskit.render import Restricted
from ingresskit.render.haproxy import (
    Block,
    HaproxyArtifact,
    HaproxyRenderer,
    MapName,
    MapRow,
    Pointer,
    SlotClass,
)
from ingresskit.testing import (
    RendererContract,
    endpoint_slice,
    ingress,
    ingress_class,
    service,
    tls_secret,
)
from ingresskit.testing.strategies import worlds
from ingresskit.translate import DestinationPolicy, TranslateOptions, Translator


class TestHaproxyRenderer(RendererContract[HaproxyArtifact]):
    @override
    def renderer(self) -> HaproxyRenderer:
        return HaproxyRenderer()


class World:
    """Objects, and a translator and a renderer that have seen them change."""

    def __init__(self, *objects: KubeObject) -> None:
        self._held: dict[tuple[str, str], KubeObject] = {}
        self._translator = Translator(TranslateOptions(destinations=DestinationPolicy(external_names=True)))
        self._renderer = HaproxyRenderer()
        self.put(ingress_class(), *objects)

    def put(self, *objects: KubeObject) -> None:
        self._held.update(((item.kind, item.metadata.name), item) for item in objects)

    def restrict(self) -> Restricted:
        graph = self._translator.translate(Snapshot.of(self._held.values())).graph
        return self._renderer.restrict(graph)

    def render(self) -> HaproxyArtifact:
        return self._renderer.render(self.restrict().graph)


@pytest.fixture
def world() -> World:
    return World(
        ingress("a", {"a.test": {"/": "one", "/two": "two"}}, tls={"tls": ["a.test"]}),
        ingress("b", {"b.test": {"/": "one"}}, annotations={"read-timeout": "30s"}),
        service("one"),
        service("two"),
        endpoint_slice("one", "10.0.0.1"),
        endpoint_slice("two", "10.0.0.2", "2001:db8::1"),
        tls_secret("a.test"),
    )


def table(artifact: HaproxyArtifact, host: str) -> Block:
    return artifact.blocks[artifact.pointers[Pointer(MapName.HOSTS, host)]]


def rows(artifact: HaproxyArtifact, name: MapName) -> list[MapRow]:
    return [row for block in artifact.blocks.values() for row in block.rows if row.map is name]


def shares(artifact: HaproxyArtifact) -> list[MapRow]:
    return rows(artifact, MapName.SHARES)


def referred(artifact: HaproxyArtifact) -> set[str]:
    """What rows and pointers lead to."""
    routes = [*rows(artifact, MapName.EXACT), *rows(artifact, MapName.PREFIXES)]
    fields = {field for row in routes for field in row.value.split("|")}
    return fields | {row.value for row in shares(artifact)} | set(artifact.pointers.values())


def test_an_endpoint_that_changes_touches_its_backend_only(world: World) -> None:
    before = world.render()
    world.put(endpoint_slice("two", "10.0.0.3"))
    after = world.render()

    changed = [name for name, item in after.backends.items() if before.backends[name] is not item]
    assert [after.backends[name].key.service for name in changed] == ["two"]
    assert after.pointers is before.pointers
    assert after.blocks is before.blocks
    assert after.certificates is before.certificates
    assert after.needs == before.needs


def test_a_host_that_changes_leaves_the_blocks_of_others_as_they_are(world: World) -> None:
    before = world.render()
    world.put(ingress("b", {"b.test": {"/": "two"}}, annotations={"read-timeout": "30s"}))
    after = world.render()

    assert table(after, "a.test") is table(before, "a.test")
    assert table(after, "b.test").id != table(before, "b.test").id
    assert all(after.backends[name] is item for name, item in before.backends.items() if name in after.backends)


def test_nothing_that_changed_is_the_same_planes(world: World) -> None:
    before, after = world.render(), world.render()

    assert after == before
    assert after.pointers is before.pointers
    assert after.blocks is before.blocks
    assert after.backends is before.backends
    assert after.certificates is before.certificates


def test_a_renewed_certificate_is_the_same_bundle_with_another_digest(world: World) -> None:
    before = world.render()
    world.put(tls_secret("a.test", salt="renewed"))
    after = world.render()

    (old,), (new,) = before.certificates.values(), after.certificates.values()
    assert (old.id, old.path) == (new.id, new.path)
    assert old.digest != new.digest
    assert after.server_names == before.server_names
    assert after.blocks is before.blocks


def test_hosts_with_the_same_paths_share_a_table() -> None:
    world = World(ingress("many", {f"h{number}.test": {"/": "one"} for number in range(5)}), service("one"))

    artifact = world.render()

    assert len(set(artifact.pointers.values())) == 1
    assert len(artifact.blocks) == 1


def test_everything_is_referred_to_and_nothing_is_missing(world: World) -> None:
    world.put(
        ingress("split", {"c.test": {"/": "one"}}, annotations={"traffic-split": "one=3, two=1"}),
        ingress("go", {"d.test": {"/": "one"}}, annotations={"redirect": "https://else.test/"}),
        ingress("guard", {"e.test": {"/": "one"}}, annotations={"allow-sources": "10.0.0.0/8"}),
    )
    artifact = world.render()

    names = referred(artifact)
    assert set(artifact.blocks) <= names
    assert set(artifact.backends) <= names
    known = {*artifact.blocks, *artifact.backends, *(key for _, key in artifact.pointers)}
    assert {name for name in names if len(name) == 25} <= known


@pytest.mark.parametrize(
    ("annotations", "wanted"),
    [
        pytest.param({}, SlotClass(), id="none"),
        pytest.param({"retries": "0"}, SlotClass(retries=0), id="retries"),
        pytest.param(
            {"load-balancing": "client-hash"}, SlotClass(algorithm=Algorithm.CLIENT_HASH), id="balancing"
        ),
        pytest.param(
            {"connect-timeout": "500ms", "read-timeout": "1m"},
            SlotClass(connect=timedelta(milliseconds=500)),
            id="connect time-out",
        ),
    ],
)
def test_only_what_haproxy_fixes_makes_a_class(annotations: dict[str, str], wanted: SlotClass) -> None:
    world = World(ingress("web", {"a.test": {"/": "one"}}, annotations=annotations), service("one"))

    artifact = world.render()

    assert [item.slot_class for item in artifact.backends.values()] == [wanted]
    assert list(artifact.needs.classes) == [wanted]
    assert artifact.needs.classes[wanted].subject.key.name == "web"


def test_routes_of_two_classes_to_one_service_are_two_backends(world: World) -> None:
    world.put(ingress("c", {"c.test": {"/": "one"}}, annotations={"retries": "3"}))

    held = [item for item in world.render().backends.values() if item.key.service == "one"]

    assert len({item.id for item in held}) == 2
    assert held[0].servers == held[1].servers


def test_a_share_of_a_backend_without_servers_goes_to_the_others() -> None:
    world = World(
        ingress("web", {"a.test": {"/": "one"}}, annotations={"traffic-split": "one=1, two=1"}),
        service("one"),
        service("two"),
        endpoint_slice("one", "10.0.0.1"),
    )
    before = world.render()
    world.put(endpoint_slice("two", "10.0.0.2"))
    after = world.render()

    assert table(after, "a.test") is table(before, "a.test")
    services = [{item.backends[row.value].key.service for row in shares(item)} for item in (before, after)]
    assert services == [{"one"}, {"one", "two"}]


def test_a_split_of_nothing_has_a_layout_without_shares() -> None:
    split = {"traffic-split": "one=1, two=1"}
    world = World(ingress("web", {"a.test": {"/": "one"}}, annotations=split), service("one"), service("two"))

    artifact = world.render()

    (layout,) = (value for (where, _), value in artifact.pointers.items() if where is MapName.SPLITS)
    assert artifact.blocks[layout].rows == ()


def test_shares_are_by_weight() -> None:
    world = World(
        ingress("web", {"a.test": {"/": "one"}}, annotations={"traffic-split": "one=1, two=999999"}),
        *(service(name) for name in ("one", "two")),
        *(endpoint_slice(name, "10.0.0.1") for name in ("one", "two")),
    )
    artifact = world.render()

    taken: dict[str, int] = {"one": 0, "two": 0}
    for row in shares(artifact):
        digits = row.key.partition("/")[2]
        taken[artifact.backends[row.value].key.service] += 16 ** (16 - len(digits))
    assert taken == {"one": 1, "two": 16**5 - 1}


def test_a_name_in_place_of_an_address_is_told_and_answers_503(world: World) -> None:
    world.put(ingress("ext", {"x.test": {"/": "ext"}}), service("ext", external_name="example.com"))

    restricted = world.restrict()

    (diagnostic,) = restricted.diagnostics
    assert diagnostic.reason is Reason.EXTERNAL_NAME_REFUSED
    assert str(diagnostic.subject) == "Service default/ext"
    assert "example.com" in diagnostic.message
    assert [item.servers for item in world.render().backends.values() if item.key.service == "ext"] == [()]


def test_a_time_out_to_send_of_its_own_is_told_and_ignored() -> None:
    annotations = {"read-timeout": "30s", "send-timeout": "1m"}
    world = World(ingress("web", {"a.test": {"/": "one"}}, annotations=annotations), service("one"))

    (diagnostic,) = world.restrict().diagnostics

    assert diagnostic.reason is Reason.POLICY_UNSUPPORTED
    assert diagnostic.field == "metadata.annotations[ingresskit.dev/send-timeout]"
    assert "it is ignored" in diagnostic.message


def test_equal_time_outs_to_read_and_send_are_honoured() -> None:
    annotations = {"read-timeout": "30s", "send-timeout": "30s"}
    world = World(ingress("web", {"a.test": {"/": "one"}}, annotations=annotations), service("one"))

    assert world.restrict().diagnostics == ()


def test_usual_header_fields_need_no_program_of_their_own() -> None:
    annotations = {
        "response-headers-set": "X-Frame-Options: DENY\nX-Team: shop",
        "response-headers-remove": "Server, X-Inner",
        "request-headers-set": "Accept-Encoding: identity",
    }
    world = World(ingress("web", {"a.test": {"/": "one"}}, annotations=annotations), service("one"))

    needs = world.render().needs

    assert sorted(needs.response_headers) == ["x-inner", "x-team"]
    assert not needs.request_headers
    assert needs.response_headers["x-team"].field == "metadata.annotations[ingresskit.dev/response-headers-set]"


def test_the_most_and_longest_header_fields_fit_into_rows() -> None:
    names = [f"X-{number:02}-{'n' * 120}" for number in range(60)]
    annotations = {"response-headers-remove": ",".join(names), "response-headers-set": f"X-Long: {'v' * 4000}"}
    world = World(ingress("web", {"a.test": {"/": "one"}}, annotations=annotations), service("one"))

    artifact = world.render()

    assert len(artifact.needs.response_headers) == 61
    assert max(len(row.value) for row in rows(artifact, MapName.SETTINGS)) == 4001


@settings(max_examples=60)
@given(st.lists(worlds("alpha", "beta"), min_size=2, max_size=4))
def test_any_past_leaves_nothing_behind(history: list[list[KubeObject]]) -> None:
    translator, renderer = Translator(), HaproxyRenderer()

    for objects in history:
        graph = renderer.restrict(translator.translate(Snapshot.of(objects)).graph).graph
        assert renderer.render(graph) == HaproxyRenderer().render(graph)


@pytest.mark.parametrize(
    "path", ["/" + "a" * 4000, "/a b", "/\u00fc", "/\n"], ids=["long", "space", "letter", "line end"]
)
def test_a_path_that_a_map_cannot_hold_costs_its_route(world: World, path: str) -> None:
    graph = world.restrict().graph
    host = graph.virtual_host("a.test")
    assert host is not None
    odd = replace(host, routes=(replace(host.routes[0], match=PathMatch.exact(path)), *host.routes))
    hosts = tuple(odd if item is host else item for item in graph.virtual_hosts)
    renderer = HaproxyRenderer()

    restricted = renderer.restrict(replace(graph, virtual_hosts=hosts))

    assert [item.reason for item in restricted.diagnostics] == [Reason.INVALID_PATH]
    assert renderer.render(restricted.graph) == renderer.render(graph)
