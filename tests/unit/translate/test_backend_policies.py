"""Policies that belong to a backend: routes that ask for others have another backend of the Service port."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pytest

from ingresskit.graph import Backend, BackendKey, Forward, RouteGraph, digest
from ingresskit.models import Ingress, KubeObject, ObjectKey, ObjectRef, Snapshot
from ingresskit.policies import (
    IngressNginxDialect,
    NativeDialect,
    Policy,
    PolicyRegistry,
    PolicyScope,
    PolicySet,
    Timeouts,
    annotated,
    identity_of,
)
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import TranslateOptions, Translator, translate


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmth(Policy):
    scope: ClassVar[PolicyScope] = PolicyScope.BACKEND

    degrees: int = annotated("warmth", int, default=0, grammar="a number", summary="How warm.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed(Policy):
    scope: ClassVar[PolicyScope] = PolicyScope.BACKEND

    word: str = annotated("sealed", str, default="", grammar="a word", summary="A word.", secret=True)


_OPTIONS = TranslateOptions(policies=PolicyRegistry([NativeDialect((Warmth, Sealed, Timeouts))]))
_WORLD = (ingress_class(), service("one"), endpoint_slice("one", "10.0.0.1"))


def _web(name: str, host: str, created: int = 1, **annotations: str) -> Ingress:
    named = {f"ingresskit.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return ingress(name, {host: {"/": "one"}}, created=created, annotations=named)


def _graph(*items: KubeObject) -> RouteGraph:
    translation = translate(Snapshot.of([*_WORLD, *items]), _OPTIONS)
    assert not translation.diagnostics
    return translation.graph


def _keys(graph: RouteGraph) -> Mapping[str, BackendKey]:
    return {
        host.host: route.action.backends[0].key
        for host in graph.virtual_hosts
        for route in host.routes
        if isinstance(route.action, Forward)
    }


def test_policies_of_a_backend_stand_there_and_not_in_its_routes() -> None:
    graph = _graph(_web("web", "a.test", warmth="7", read_timeout="3s"))

    (backend,) = graph.backends.values()
    (route,) = graph.virtual_hosts[0].routes
    assert [*backend.policies] == [Warmth(degrees=7)]
    assert [type(policy) for policy in route.policies] == [Timeouts]
    origin = backend.policies.origin(Warmth, "degrees")
    assert origin is not None
    assert origin.subject == ObjectRef("Ingress", ObjectKey("default", "web"))


def test_routes_that_ask_for_other_policies_have_another_backend_of_the_same_endpoints() -> None:
    graph = _graph(_web("a", "a.test", warmth="7"), _web("b", "b.test", warmth="8"), _web("c", "c.test"))

    keys = _keys(graph)
    assert len({*keys.values()}) == 3
    assert keys["c.test"] == BackendKey("default", "one", 80)
    assert len({backend.endpoints for backend in graph.backends.values()}) == 1
    assert {host: [*graph.backends[key].policies] for host, key in keys.items()} == {
        "a.test": [Warmth(degrees=7)],
        "b.test": [Warmth(degrees=8)],
        "c.test": [],
    }


def test_routes_that_ask_for_the_same_share_a_backend() -> None:
    graph = _graph(_web("a", "a.test", warmth="7"), _web("b", "b.test", warmth="7", read_timeout="9s"))

    assert len(graph.backends) == 1
    assert len({*_keys(graph).values()}) == 1


def test_the_identity_depends_on_all_values_and_on_nothing_else() -> None:
    one = PolicySet([Warmth(degrees=1), Sealed(word="x")])
    same = PolicySet([Sealed(word="x"), Warmth(degrees=1)])
    hidden = PolicySet([Sealed(word="y"), Warmth(degrees=1)])

    assert identity_of(PolicySet()) == ""
    assert identity_of(one) == identity_of(same)
    assert identity_of(one) != identity_of(hidden)
    assert repr(Sealed(word="x")) == repr(Sealed(word="y"))


def test_a_change_of_endpoints_reaches_every_backend_of_the_service_and_no_host() -> None:
    items = [_web("a", "a.test", warmth="7"), _web("b", "b.test")]
    translator = Translator(_OPTIONS)
    before = translator.translate(Snapshot.of([*_WORLD, *items], revision=1)).graph
    moved = [*_WORLD[:2], endpoint_slice("one", "10.0.0.9"), *items]
    after = translator.translate(Snapshot.of(moved, revision=2)).graph

    changed = after.changed_since(before)
    assert changed is not None
    assert not changed.hosts
    assert changed.backends == {*before.backends}
    assert {item.address for backend in after.backends.values() for item in backend.endpoints} == {"10.0.0.9"}
    assert {key: [*item.policies] for key, item in after.backends.items()} == {
        key: [*item.policies] for key, item in before.backends.items()
    }


def test_another_value_is_another_backend_and_the_old_one_goes() -> None:
    translator = Translator(_OPTIONS)
    for revision, degrees in enumerate(("7", "8", "7"), 1):
        graph = translator.translate(
            Snapshot.of([*_WORLD, _web("a", "a.test", warmth=degrees)], revision=revision)
        ).graph
        (backend,) = graph.backends.values()
        assert backend.policies.get(Warmth) == Warmth(degrees=int(degrees))
        assert backend.key == _keys(graph)["a.test"]


@pytest.mark.parametrize("steps", ["abcdabcd", "dcbadcba", "bacbdacb", "cacabdbdc"])
def test_what_a_backend_says_of_its_origin_does_not_depend_on_what_came_first(steps: str) -> None:
    items = {name: _web(name, f"{name}.test", warmth="7") for name in "abcd"}
    translator = Translator(_OPTIONS)
    held: dict[str, Ingress] = {}
    for revision, name in enumerate(steps, 1):
        if name in held:
            del held[name]
        else:
            held[name] = items[name]
        snapshot = Snapshot.of([*_WORLD, *held.values()], revision=revision)
        found = translator.translate(snapshot).graph

        assert digest(found) == digest(translate(snapshot, _OPTIONS).graph)


def test_a_canary_has_the_policies_of_its_main_path_for_its_own_service() -> None:
    prefix = "nginx.ingress.kubernetes.io"
    options = TranslateOptions(policies=PolicyRegistry([NativeDialect((Warmth,)), IngressNginxDialect()]))
    main = ingress("web", {"a.test": {"/": "one"}}, created=1, annotations={"ingresskit.dev/warmth": "7"})
    canary = ingress(
        "canary",
        {"a.test": {"/": "two"}},
        created=2,
        annotations={
            f"{prefix}/canary": "true",
            f"{prefix}/canary-weight": "10",
            "ingresskit.dev/warmth": "9",
        },
    )
    world = [*_WORLD, service("two"), endpoint_slice("two", "10.0.0.2"), main, canary]

    graph = translate(Snapshot.of(world), options).graph

    found: dict[str, Backend] = {backend.key.service: backend for backend in graph.backends.values()}
    assert found.keys() == {"one", "two"}
    assert {backend.policies.get(Warmth) for backend in found.values()} == {Warmth(degrees=7)}
