"""Whoever asked for protection and cannot have it gets 503, not an open route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.graph import Redirect, Respond, Route, RouteGraph
from ingresskit.models import Ingress, Snapshot, decode
from ingresskit.policies import (
    AllowedSources,
    Dialect,
    DialectContext,
    PolicyRegistry,
    Reading,
    default_policies,
)
from ingresskit.render.base import Renderer
from ingresskit.testing.builders import backend, endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import TranslateOptions, translate


def _graph(*ingresses: Ingress, options: TranslateOptions | None = None) -> RouteGraph:
    world = (ingress_class(), service("shop"), endpoint_slice("shop", "10.0.0.1"))
    return translate(Snapshot.of((*world, *ingresses)), options).graph


def _protected(annotations: Mapping[str, str]) -> Route:
    open_to_all = ingress("open", {"h.test": {"/": "shop"}}, created=0)
    closed = ingress("closed", {"h.test": {"/admin": "shop"}}, created=1, annotations=annotations)
    route = _graph(open_to_all, closed).resolve("h.test", "/admin/keys")
    assert route is not None
    assert route.origin.subject == closed.ref
    return route


@pytest.mark.parametrize(
    "name",
    [
        "allow-source",
        "allowed-sources",
        "alow-sources",
        "Allow-Sources",
        "ALLOW-SOURCES",
        "allow_sources",
        "allowsources",
        "allow-source-range",
        "whitelist-source-range",
        "deny-source-range",
        "auth-url",
        "auth",
    ],
)
def test_an_unknown_annotation_that_means_protection_closes_the_route(name: str) -> None:
    assert isinstance(_protected({f"ingresskit.dev/{name}": "10.0.0.0/8"}).action, Respond)


@pytest.mark.parametrize("name", ["rewrite-target", "conect-timeout", "author", "body-limits", "x"])
def test_an_unknown_annotation_that_means_no_protection_closes_nothing(name: str) -> None:
    assert not isinstance(_protected({f"ingresskit.dev/{name}": "1"}).action, Respond)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        ",",
        "10.0.0.0/8,",
        "10.0.0.1/8",
        "10.0.0.0/0.0.0.255",
        "all",
        "10.0.0.0/8\x00",
        "10.0.0.0/8;0.0.0.0/0",
        "\u0661\u0660.0.0.1",
        "10.0.0.0/33",
        "fe80::1%eth0",
        "2130706433",
        "[]",
    ],
)
def test_an_allow_list_that_cannot_be_read_closes_the_route(value: str) -> None:
    assert isinstance(_protected({"ingresskit.dev/allow-sources": value}).action, Respond)


def test_an_annotation_without_a_value_closes_the_route() -> None:
    """In YAML that is a null, and a null is no absence here."""
    tree = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": "web",
            "namespace": "default",
            "annotations": {"ingresskit.dev/allow-sources": None},
        },
        "spec": {
            "ingressClassName": "ingresskit",
            "defaultBackend": {"service": {"name": "shop", "port": {"number": 80}}},
        },
    }

    route = _graph(decode(Ingress, tree)).resolve("any.test", "/")

    assert route is not None
    assert isinstance(route.action, Respond)


@pytest.mark.parametrize(
    "annotations",
    [
        {"ingresskit.dev/redirect": "https://else.test/"},
        {"ingresskit.dev/tls-redirect": "true"},
        {"ingresskit.dev/traffic-split": "shop=1"},
        {"ingresskit.dev/rewrite-prefix": "/"},
    ],
)
def test_protection_stands_beside_every_other_annotation(annotations: Mapping[str, str]) -> None:
    allowed = _protected({"ingresskit.dev/allow-sources": "10.0.0.0/8", **annotations})
    broken = _protected({"ingresskit.dev/allow-sources": "nobody", **annotations})

    assert AllowedSources in allowed.policies
    assert isinstance(broken.action, Respond)


@pytest.mark.parametrize("rules", [None, {"h.test": {"/x": "shop"}}, {"h.test": None}, {"": {"/x": "shop"}}])
def test_default_backends_of_a_protected_ingress_are_protected(
    rules: Mapping[str, Mapping[str, str] | None] | None,
) -> None:
    made = {host: None if paths is None else dict(paths) for host, paths in (rules or {}).items()} or None
    for value, respond in (("10.0.0.0/8", False), ("nobody", True)):
        item = ingress("web", made, default="shop", annotations={"ingresskit.dev/allow-sources": value})
        route = _graph(item).resolve("h.test", "/else")
        assert route is not None
        assert isinstance(route.action, Respond) is respond
        assert respond or AllowedSources in route.policies


class _Deaf(Renderer[int]):
    name: ClassVar[str] = "deaf"

    def render(self, graph: RouteGraph) -> int:
        return len(graph.virtual_hosts)


@pytest.mark.parametrize("redirect", [False, True])
def test_a_renderer_without_the_protection_serves_neither_route_nor_redirect(redirect: bool) -> None:
    annotations = {"ingresskit.dev/allow-sources": "10.0.0.0/8"}
    if redirect:
        annotations["ingresskit.dev/redirect"] = "https://else.test/"
    graph = _graph(ingress("web", {"h.test": {"/": "shop"}}, annotations=annotations))
    before = graph.resolve("h.test", "/")
    assert before is not None
    assert isinstance(before.action, Redirect) is redirect

    route = _Deaf().restrict(graph).graph.resolve("h.test", "/")

    assert route is not None
    assert isinstance(route.action, Respond)


class _Raising(Dialect):
    prefix: str = "raising.test"

    def read(self, context: DialectContext) -> Reading:
        if "raising.test/now" in context.annotations:
            raise RuntimeError("a fault of the integrator's")
        return Reading()


def test_an_ingress_that_makes_a_dialect_raise_keeps_its_paths_closed_and_its_host() -> None:
    options = TranslateOptions(policies=default_policies().with_dialect(_Raising()))
    wide = ingress("wide", {"h.test": {"/": "shop"}}, created=1)
    bad = ingress("bad", {"h.test": {"/admin": "shop"}}, created=2, annotations={"raising.test/now": ""})
    first = ingress("first", {"own.test": {"/": "shop"}}, created=0, annotations={"raising.test/now": ""})
    thief = ingress("thief", {"own.test": {"/": "shop"}}, namespace="thief", created=3)

    graph = _graph(wide, bad, first, thief, options=options)

    admin, rest, own = (
        graph.resolve("h.test", "/admin/x"),
        graph.resolve("h.test", "/"),
        graph.resolve("own.test", "/"),
    )
    assert admin is not None
    assert rest is not None
    assert own is not None
    assert isinstance(admin.action, Respond)
    assert admin.action.reason is Reason.INTERNAL_ERROR
    assert rest.origin.subject == wide.ref
    assert own.origin.subject == first.ref


def test_the_registry_alone_reports_what_a_dialect_raises() -> None:
    """It is the translator that keeps it to one object."""
    with pytest.raises(RuntimeError):
        PolicyRegistry([_Raising()]).read({"raising.test/now": ""}, ingress().ref)


@pytest.mark.parametrize("faults", [10_000])
def test_an_object_of_ten_thousand_faults_is_told_of_a_hundred_and_how_many_more(faults: int) -> None:
    item = ingress("web", {"h.test": {f"//{number}": backend("shop") for number in range(faults)}})

    translation = translate(Snapshot.of([ingress_class(), item]))

    assert len(translation.diagnostics) == 101
    assert any(f"and {faults - 100} more" in told.message for told in translation.diagnostics)
