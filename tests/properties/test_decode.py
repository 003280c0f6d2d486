"""No input, however wrong, makes decoding raise anything but `DecodeError`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingresskit.errors import DecodeError
from ingresskit.models import KINDS, KubeObject, decode, decode_any
from ingresskit.sources.files_documents import read_json, read_yaml, split_documents

Json = object

META = {
    "name": "web",
    "namespace": "shop",
    "creationTimestamp": "2024-01-01T00:00:00Z",
    "generation": 1,
    "labels": {"kubernetes.io/service-name": "web"},
    "annotations": {"ingresskit.dev/retries": "1"},
}
PORTS = [{"name": "http", "port": 80, "protocol": "TCP", "appProtocol": "http"}]
OLD_BACKEND = {"serviceName": "s", "servicePort": "http"}
NEW_BACKEND = {"service": {"name": "s", "port": {"number": 80}}}
VALID: tuple[dict[str, object], ...] = (
    {
        "kind": "Ingress",
        "apiVersion": "networking.k8s.io/v1",
        "metadata": META,
        "spec": {
            "ingressClassName": "mine",
            "defaultBackend": {"resource": {"kind": "K", "name": "n", "apiGroup": "g"}},
            "tls": [{"hosts": ["a.test"], "secretName": "t"}],
            "rules": [
                {
                    "host": "a.test",
                    "http": {"paths": [{"path": "/", "pathType": "Exact", "backend": NEW_BACKEND}]},
                }
            ],
        },
    },
    {
        "kind": "Ingress",
        "apiVersion": "extensions/v1beta1",
        "metadata": META,
        "spec": {
            "backend": OLD_BACKEND,
            "rules": [{"http": {"paths": [{"path": "/", "backend": OLD_BACKEND}]}}],
        },
    },
    {
        "kind": "IngressClass",
        "apiVersion": "networking.k8s.io/v1",
        "metadata": META,
        "spec": {"controller": "c", "parameters": {"kind": "K", "name": "n", "scope": "Cluster"}},
    },
    {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": META,
        "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "externalName": "x", "ports": PORTS},
    },
    {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": META,
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "zone": "z", "nodeName": "n"}],
        "ports": PORTS,
    },
    {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1beta1",
        "metadata": META,
        "endpoints": [{"addresses": ["10.0.0.1"], "topology": {"topology.kubernetes.io/zone": "z"}}],
    },
    {
        "kind": "Endpoints",
        "apiVersion": "v1",
        "metadata": META,
        "subsets": [
            {"addresses": [{"ip": "10.0.0.1"}], "notReadyAddresses": [{"ip": "10.0.0.2"}], "ports": PORTS}
        ],
    },
    {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": META,
        "type": "x",
        "data": {"a": "aA=="},
        "stringData": {"b": "c"},
    },
    {"kind": "ConfigMap", "apiVersion": "v1", "metadata": META, "data": {"a": "b"}},
    {"kind": "Namespace", "apiVersion": "v1", "metadata": META},
)

# Any text at all: half surrogate pairs, control characters, right-to-left marks.
any_text = st.text(st.characters(exclude_categories=[]), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**20, max_value=10**400)
    | st.floats()
    | any_text
    | st.sampled_from(["", "v1", "Ingress", "networking.k8s.io/v1", "2024-01-01", "0", "\ud800"])
)
keys = any_text | st.sampled_from(
    ["apiVersion", "kind", "metadata", "name", "namespace", "spec", "rules", "data", "stringData", "items"]
)
trees: st.SearchStrategy[Json] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


def paths_in(value: Json, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key, item in cast("dict[str, object]", value).items():
            found += paths_in(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(cast("list[object]", value)):
            found += paths_in(item, (*path, number))
    return found


def replaced(value: Json, path: tuple[str | int, ...], by: Json) -> Json:
    if not path:
        return by
    head, *rest = path
    if isinstance(value, dict):
        held = cast("dict[str | int, object]", value)
        return {**held, head: replaced(held[head], tuple(rest), by)}
    items = list(cast("list[object]", value))
    assert isinstance(head, int)
    items[head] = replaced(items[head], tuple(rest), by)
    return items


@st.composite
def mutants(draw: st.DrawFn) -> Json:
    """A valid object in which up to three places hold anything."""
    value: Json = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 3))):
        value = replaced(value, draw(st.sampled_from(paths_in(value))), draw(trees))
    return value


def outcome(read: Callable[[], KubeObject | None]) -> object:
    """What comes of reading; anything raised but `DecodeError` fails the test."""
    try:
        return read()
    except DecodeError as exc:
        said = exc
    assert str(said).isprintable()
    return said


@pytest.mark.parametrize("value", VALID, ids=lambda value: f"{value['apiVersion']} {value['kind']}")
def test_the_objects_that_are_mutated_are_valid(value: dict[str, object]) -> None:
    assert decode_any(value) is not None


@given(st.binary(max_size=200))
def test_junk_bytes_raise_nothing_else(raw: bytes) -> None:
    outcome(lambda: decode_any(raw))
    for kind in KINDS:
        outcome(lambda kind=kind: decode(kind, raw))  # type: ignore[misc]


@given(st.sampled_from(VALID), st.integers(0, 2000), st.binary(max_size=3))
def test_valid_bytes_with_a_scratch_raise_nothing_else(value: Json, place: int, junk: bytes) -> None:
    raw = json.dumps(value, separators=(",", ":")).encode()
    cut = place % len(raw)

    outcome(lambda: decode_any(raw[:cut] + junk + raw[cut + 1 :]))
    for kind in KINDS:
        outcome(lambda kind=kind: decode(kind, raw[:cut] + junk + raw[cut + 1 :]))  # type: ignore[misc]


@given(trees | mutants())
def test_junk_trees_raise_nothing_else(value: Json) -> None:
    tree = cast("Mapping[str, object]", value)

    outcome(lambda: decode_any(tree))
    for kind in KINDS:
        outcome(lambda kind=kind: decode(kind, tree))  # type: ignore[misc]


@given(mutants().filter(lambda value: isinstance(value, dict)))
def test_bytes_and_trees_come_to_the_same(value: Json) -> None:
    try:
        raw = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
        raw.decode()
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:  # no JSON: nothing to compare
        return

    from_bytes = outcome(lambda: decode_any(raw))
    from_tree = outcome(lambda: decode_any(cast("Mapping[str, object]", json.loads(raw))))

    assert from_bytes == from_tree


@given(st.binary(max_size=300) | st.text("-.:#&*!|>'\"%@`{}[], \n\ta1~?<=", max_size=80).map(str.encode))
def test_junk_files_raise_nothing(data: bytes) -> None:
    for chunk in split_documents(data):
        read_yaml(chunk.text)
    read_json(data.decode("utf-8", "replace"))


@given(trees | mutants())
def test_junk_json_files_raise_nothing(value: Json) -> None:
    text = json.dumps(value)

    read_json(text)
    read_yaml(text.encode())
