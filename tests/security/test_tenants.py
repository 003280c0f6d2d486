"""Whatever one namespace writes, the routes, certificates and endpoints of another stay what they are."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import cast

import pytest

from ingresskit.errors import DecodeError
from ingresskit.filters import explain
from ingresskit.graph import Request, Respond, RouteGraph, to_json
from ingresskit.models import KubeObject, Snapshot, decode_any
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.testing.builders import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import Translation, translate

HOSTILE: tuple[object, ...] = (
    *("", " ", "\x00", "\n", "\r\nX: y", "\x1b[2J", "\u202egnp", "\ufeff", "\ud7ff", "\U0001f4a9", "a" * 300),
    *('"', "'", "`", "\\", "{}", "{{.}}", "${x}", "$(x)", "%0a", "%s", ";", "# x", "*", "*.*", "**.test"),
    *(
        "victim.test",
        "*.test",
        "VICTIM.TEST",
        "victim.test.",
        "victim.test:80",
        ".victim.test",
        "v\u0131ctim.test",
    ),
    *("/", "//", "/../", "/..;/", "/%2e%2e/", "/%00", "/a\\b", "/" * 5_000, "/a/../" * 2_000, "^/(a+)+$"),
    *(
        "../victim",
        "victim/shop",
        "victim-shop-80",
        "127.0.0.1",
        "::ffff:127.0.0.1",
        "2130706433",
        "fd00:ec2::254",
    ),
    *(0, -1, 70_000, 2**63, 1.5, True, None),
    *cast("tuple[object, ...]", ([], {}, ["x"], {"x": "y"}, [[[[]]]])),
)

OBJECTS: dict[str, dict[str, object]] = {
    "Ingress": {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": "web",
            "namespace": "evil",
            "creationTimestamp": "2020-01-01T00:00:00Z",
            "annotations": {"ingresskit.dev/redirect": "https://else.test/", "x": "y"},
            "labels": {"x": "y"},
        },
        "spec": {
            "ingressClassName": "ingresskit",
            "defaultBackend": {"service": {"name": "shop", "port": {"number": 80}}},
            "tls": [{"hosts": ["evil.test"], "secretName": "cert"}],
            "rules": [
                {
                    "host": "evil.test",
                    "http": {
                        "paths": [
                            {
                                "path": "/x",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "shop", "port": {"number": 80, "name": ""}}},
                            },
                            {
                                "path": "/y",
                                "pathType": "ImplementationSpecific",
                                "backend": {"resource": {"kind": "Bucket", "name": "b", "apiGroup": "g"}},
                            },
                        ]
                    },
                }
            ],
        },
    },
    "Service": {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "shop", "namespace": "evil"},
        "spec": {
            "type": "ClusterIP",
            "externalName": "else.test",
            "ports": [
                {"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP", "appProtocol": "http"}
            ],
        },
    },
    "EndpointSlice": {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "shop-1", "namespace": "evil", "labels": {"kubernetes.io/service-name": "shop"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.9.0.1"], "conditions": {"ready": True}, "zone": "z"}],
    },
    "Secret": {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "cert", "namespace": "evil"},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": "eA==", "tls.key": "eA=="},
    },
    "ConfigMap": {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "config", "namespace": "evil"},
        "data": {"x": "y"},
    },
}


def _places(value: object, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place inside *value* but what makes it an object of its kind and namespace."""
    if place and place not in (("kind",), ("apiVersion",), ("metadata", "namespace"), ("metadata",)):
        yield place
    if isinstance(value, dict):
        for key, item in cast("dict[str, object]", value).items():
            yield from _places(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[object]", value)):
            yield from _places(item, (*place, index))


def _with(tree: dict[str, object], place: tuple[str | int, ...], value: object) -> dict[str, object]:
    made = copy.deepcopy(tree)
    at: object = made
    for step in place[:-1]:
        at = at[step]  # type: ignore[index]
    at[place[-1]] = value  # type: ignore[index]
    return made


def _victim() -> list[KubeObject]:
    return [
        ingress_class(),
        ingress("web", {"victim.test": {"/": "shop"}}, namespace="victim", created=-5_000),
        service("shop", namespace="victim"),
        endpoint_slice("shop", "10.1.0.1", namespace="victim"),
    ]


def _translated(*trees: dict[str, object]) -> Translation:
    objects = {item.ref: item for item in _victim()}
    problems: list[DecodeError] = []
    for tree in trees:
        try:
            item = decode_any(tree)
        except DecodeError as exc:
            problems.append(exc)
        else:
            if item is not None:
                objects[item.ref] = item
    return translate(Snapshot.of(objects.values(), problems=problems))


def _untouched(graph: RouteGraph) -> bool:
    table = InProcessRenderer().render(graph)
    before = translate(Snapshot.of(_victim())).graph
    mine = before.virtual_host("victim.test")
    target = table.find("victim.test", "/x")
    return (
        target is not None
        and graph.virtual_host("victim.test") == mine
        and all(graph.backends[key] == backend for key, backend in before.backends.items())
        and "victim.test" not in {name for name, key in graph.server_names.items() if key is not None}
    )


@pytest.mark.parametrize("kind", OBJECTS)
def test_a_hostile_value_in_any_field_costs_nobody_else(kind: str) -> None:
    others = [tree for name, tree in OBJECTS.items() if name != kind]
    for place in _places(OBJECTS[kind]):
        for value in HOSTILE:
            translation = _translated(*others, _with(OBJECTS[kind], place, value))

            assert _untouched(translation.graph), (place, value)
            assert all(str(told).isprintable() for told in translation.diagnostics), (place, value)
            assert all(len(str(told)) < 3_000 for told in translation.diagnostics), (place, value)
            json.loads(to_json(translation.graph))


def test_texts_as_large_as_the_api_server_lets_them_be_are_cut_in_what_is_said() -> None:
    for place in _places(OBJECTS["Ingress"]):
        translation = _translated(_with(OBJECTS["Ingress"], place, "\n" * 262_144))

        assert _untouched(translation.graph)
        assert len(to_json(translation.graph)) < 100_000, place


DOORS = {
    "the same host": {"victim.test": {"/": "shop"}},
    "another path of it": {"victim.test": {"/login": "shop"}},
    "an exact path of it": {"victim.test": {"=/": "shop"}},
    "another spelling": {"VICTIM.test": {"/login": "shop"}},
    "no path at all": {"victim.test": None},
    "a wildcard over it": {"*.test": {"/": "shop"}},
    "no host": {"": {"/": "shop"}},
    "both": {"": {"/": "shop"}, "victim.test": {"/x": "shop"}},
}


@pytest.mark.parametrize("rules", DOORS.values(), ids=DOORS.keys())
@pytest.mark.parametrize("default", [None, "shop"])
@pytest.mark.parametrize("created", [-5_000, -4_999])
def test_no_younger_rule_of_another_namespace_gets_a_request_for_a_held_host(
    rules: dict[str, dict[str, str] | None], default: str | None, created: float
) -> None:
    """Equal ages go by namespace; this one comes after the victim's."""
    thief = ingress(
        "aaa",
        rules,
        namespace="zzz",
        created=created,
        default=default,
        tls={"cert": ["victim.test", "*.test"]},
        annotations={"ingresskit.dev/redirect": "https://zzz.test/"},
    )
    held = [ingress("narrow", {"victim.test": {"/only": "shop"}}, namespace="victim", created=-5_001)]
    world = [
        *_victim(),
        *held,
        thief,
        service("shop", namespace="zzz"),
        endpoint_slice("shop", "10.6.6.6", namespace="zzz"),
    ]
    graph = translate(Snapshot.of(world)).graph

    for path in ("/", "/login", "/only", "/only/x", "/x"):
        route = graph.resolve("victim.test", path)
        assert route is not None
        assert route.origin.subject.key.namespace == "victim"


def test_a_catch_all_of_another_namespace_does_not_take_what_a_held_host_leaves() -> None:
    owner = ingress("web", {"victim.test": {"/only": "shop"}}, namespace="victim", created=5)
    thief = ingress("all", namespace="zzz", default="shop", created=0)

    graph = translate(Snapshot.of([ingress_class(), owner, thief])).graph

    assert graph.resolve("victim.test", "/else") is None
    assert graph.resolve("other.test", "/") is not None


def test_a_host_goes_to_the_next_when_its_last_rule_is_gone_and_not_back_to_a_newcomer() -> None:
    first = ingress("web", {"h.test": {"/": "shop"}}, namespace="one", created=0)
    second = ingress("web", {"h.test": {"/": "shop"}}, namespace="two", created=1)
    again = ingress("web", {"h.test": {"/": "shop"}}, namespace="one", created=2)

    holders = [
        translate(Snapshot.of([ingress_class(), *items])).graph.resolve("h.test", "/")
        for items in ([first, second], [second], [again, second])
    ]

    assert [route.origin.subject.key.namespace for route in holders if route] == ["one", "two", "two"]


@pytest.mark.parametrize(
    "named", ["victim/shop", "../victim/shop", "shop.victim", "victim-shop", "shop.victim.svc"]
)
def test_no_spelling_of_a_backend_leads_into_another_namespace(named: str) -> None:
    thief = ingress("web", {"zzz.test": {"/": named}}, namespace="zzz")
    split = ingress(
        "split",
        {"split.test": {"/": "own"}},
        namespace="zzz",
        annotations={"ingresskit.dev/traffic-split": f"own=1,{named}=99"},
    )

    graph = translate(Snapshot.of([*_victim(), thief, split, service("own", namespace="zzz")])).graph

    route = graph.resolve("zzz.test", "/")
    assert route is not None
    assert isinstance(route.action, Respond)
    assert {key.namespace for key in graph.backends} <= {"zzz", "victim"}
    victims = [
        route.origin.subject.key.namespace
        for host in graph.virtual_hosts
        for route in host.routes
        if "namespace='victim'" in repr(route.action)
    ]
    assert set(victims) == {"victim"}


def test_names_that_are_equal_when_joined_by_hyphens_stay_apart() -> None:
    left = ingress("web", {"left.test": {"/": "b-c"}}, namespace="a")
    right = ingress("web", {"right.test": {"/": "c"}}, namespace="a-b")
    world = (
        *(ingress_class(), left, right, service("b-c", namespace="a"), service("c", namespace="a-b")),
        endpoint_slice("b-c", "10.0.0.1", namespace="a", name="x"),
        endpoint_slice("c", "10.0.0.2", namespace="a-b", name="x"),
    )

    graph = translate(Snapshot.of(world)).graph

    addresses = {
        str(key): [item.address for item in backend.endpoints] for key, backend in graph.backends.items()
    }
    assert addresses == {"a-b/c:80": ["10.0.0.2"], "a/b-c:80": ["10.0.0.1"]}


@pytest.mark.parametrize(
    "text", ["\x00", "\u202e", "[::1", "victim.test/../x", "a" * 5_000, "victim.test\r\nX: y"]
)
def test_explain_takes_any_host_and_path(text: str) -> None:
    graph = translate(Snapshot.of(_victim())).graph

    assert explain(graph, Request(host=text, path="/")).verdict
    assert explain(graph, Request(host="victim.test", path=text)).verdict
