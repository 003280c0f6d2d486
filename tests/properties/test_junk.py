from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from ingresskit.errors import DecodeError
from ingresskit.filters import explain
from ingresskit.graph import Request, to_json
from ingresskit.models import KubeObject, Snapshot, decode_any
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.testing import EPOCH
from ingresskit.testing.strategies import junk
from ingresskit.translate import DestinationPolicy, HostOwnership, TranslateOptions, translate

Tree = dict[str, object]

_PATH: Tree = {
    "path": "/",
    "pathType": "Prefix",
    "backend": {"service": {"name": "one", "port": {"number": 80}}},
}
_WORLD: list[Tree] = [
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": "ingresskit", "creationTimestamp": "2024-01-01T00:00:00Z"},
        "spec": {"controller": "ingresskit.dev/ingress-controller"},
    },
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": "web",
            "namespace": "alpha",
            "creationTimestamp": "2024-01-01T00:00:00Z",
            "annotations": {
                "ingresskit.dev/allow-sources": "10.0.0.0/8",
                "ingresskit.dev/traffic-split": "one=1",
            },
        },
        "spec": {
            "ingressClassName": "ingresskit",
            "defaultBackend": {"service": {"name": "one", "port": {"name": "http"}}},
            "tls": [{"hosts": ["a.test"], "secretName": "tls"}],
            "rules": [
                {"host": "a.test", "http": {"paths": [_PATH, {**_PATH, "path": "/x", "pathType": "Exact"}]}}
            ],
        },
    },
    {
        "apiVersion": "extensions/v1beta1",
        "kind": "Ingress",
        "metadata": {
            "name": "old",
            "namespace": "alpha",
            "annotations": {"kubernetes.io/ingress.class": "ingresskit"},
        },
        "spec": {
            "rules": [
                {
                    "host": "b.test",
                    "http": {"paths": [{"backend": {"serviceName": "one", "servicePort": "http"}}]},
                }
            ]
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "one", "namespace": "alpha"},
        "spec": {
            "type": "ClusterIP",
            "externalName": "x.test",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "appProtocol": "http"}],
        },
    },
    {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "one-1",
            "namespace": "alpha",
            "labels": {"kubernetes.io/service-name": "one"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": True, "serving": True, "terminating": False}}
        ],
    },
    {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "one", "namespace": "alpha"},
        "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"name": "http", "port": 8080}]}],
    },
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "tls", "namespace": "alpha"},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": "eA==", "tls.key": "eA=="},
    },
]


def _places(tree: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    if isinstance(tree, dict):
        for key, value in cast(Tree, tree).items():
            yield from _places(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(cast("list[object]", tree)):
            yield from _places(value, (*path, index))


_PLACES = [(number, path) for number, tree in enumerate(_WORLD) for path in _places(tree)]

_changes = st.lists(st.tuples(st.sampled_from(_PLACES), junk()), min_size=1, max_size=4)
_options = st.builds(
    TranslateOptions,
    host_ownership=st.sampled_from(HostOwnership),
    destinations=st.builds(DestinationPolicy, external_names=st.booleans()),
    watch_ingress_without_class=st.booleans(),
)


def _put(tree: Tree, path: tuple[str | int, ...], value: object) -> None:
    """Replace what stands at *path*, as far as an earlier change has left that place there."""
    node: object = tree
    for part in path[:-1]:
        try:
            node = cast("dict[str | int, object]", node)[part]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(node, dict):
        cast("dict[str | int, object]", node)[path[-1]] = value
    elif isinstance(node, list) and isinstance(path[-1], int) and path[-1] < len(cast("list[object]", node)):
        cast("list[object]", node)[path[-1]] = value


@settings(max_examples=400)
@given(_changes, _options)
def test_junk_that_decodes_is_translated_rendered_and_explained(
    changes: list[tuple[tuple[int, tuple[str | int, ...]], object]], options: TranslateOptions
) -> None:
    world = copy.deepcopy(_WORLD)
    for (number, path), value in changes:
        _put(world[number], path, value)
    problems: list[DecodeError] = []
    objects: list[KubeObject] = []
    for tree in world:
        try:
            decoded = decode_any(tree)
        except DecodeError as exc:
            problems.append(exc)
        else:
            objects += [decoded] if decoded else []

    translation = translate(Snapshot.of(objects, problems=problems), options, now=EPOCH)
    renderer = InProcessRenderer()
    renderer.render(renderer.restrict(translation.graph).graph)

    json.loads(to_json(translation.graph))
    for host, target in (("a.test", "/x"), ("b.test", "/"), ("c.test", "//../%")):
        lines = str(explain(translation.graph, Request(host=host, path=target))).split("\n")
        assert all(line.isprintable() for line in lines)
    for item in translation.graph.unserved:
        assert f"{item.host}{item.path}{item.message}".isprintable()
    for diagnostic in translation.diagnostics:
        assert str(diagnostic).isprintable()
        assert len(diagnostic.message) <= 900
