from __future__ import annotations

import pytest

from ingresskit.errors import DecodeError
from ingresskit.models import Ingress, IngressClass, KubeObject
from ingresskit.sources.files_documents import Document, read_json, read_yaml, split_documents


def objects(document: Document) -> list[KubeObject]:
    return [piece.found for piece in document.pieces if not isinstance(piece.found, DecodeError)]


def faults(document: Document) -> list[tuple[str, str]]:
    return [(piece.item, str(piece.found)) for piece in document.pieces if isinstance(piece.found, DecodeError)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: 1\n", [(1, 1, "a: 1\n")], id="one document without a marker"),
        pytest.param("---\na: 1\n", [(1, 1, "---\na: 1\n")], id="one document with a marker"),
        pytest.param("a\n---\nb\n", [(1, 1, "a\n"), (2, 2, "---\nb\n")], id="two documents"),
        pytest.param("# c\n\n---\nb\n", [(1, 3, "---\nb\n")], id="a comment before the first is none"),
        pytest.param("%YAML 1.1\n---\nb\n", [(1, 2, "---\nb\n")], id="a directive is none"),
        pytest.param(
            "a\n---\n# c\n---\nb\n",
            [(1, 1, "a\n"), (2, 2, "---\n# c\n"), (3, 4, "---\nb\n")],
            id="an empty one between markers counts",
        ),
        pytest.param("a\n...\n# c\n", [(1, 1, "a\n")], id="the end marker ends it"),
        pytest.param("a\n...\nb\n", [(1, 1, "a\n"), (2, 2, "\nb\n")], id="the next needs no marker then"),
        pytest.param("--- {a: 1}\n--- b", [(1, 1, "--- {a: 1}\n"), (2, 2, "--- b")], id="text beside markers"),
        pytest.param("a: |\n  ---\n  b\n", [(1, 1, "a: |\n  ---\n  b\n")], id="an indented marker is text"),
        pytest.param("a: ----\n----: b\n", [(1, 1, "a: ----\n----: b\n")], id="four dashes are text"),
        pytest.param("a\r\n---\r\nb\r\n", [(1, 1, "a\r\n"), (2, 2, "---\r\nb\r\n")], id="lines of Windows"),
        pytest.param("", [], id="an empty file"),
        pytest.param("\n# only\n  # comments\n", [], id="only comments"),
    ],
)
def test_a_file_is_split_where_yaml_splits_it(text: str, expected: list[tuple[int, int, str]]) -> None:
    found = [(chunk.number, chunk.line, chunk.text.decode()) for chunk in split_documents(text.encode())]

    assert found == expected


def test_an_object_without_a_namespace_goes_into_default() -> None:
    text = b"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web, namespace: ''}\n"

    assert [str(item.ref) for item in objects(read_yaml(text))] == ["Ingress default/web"]


def test_a_cluster_scoped_object_loses_the_namespace_somebody_wrote() -> None:
    text = b"apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: mine, namespace: shop}\n"

    assert [str(item.ref) for item in objects(read_yaml(text))] == ["IngressClass mine"]


def test_the_items_of_a_typed_list_need_neither_version_nor_kind() -> None:
    text = b"""
apiVersion: networking.k8s.io/v1
kind: IngressList
items:
- metadata: {name: a}
- {apiVersion: networking.k8s.io/v1beta1, kind: Ingress, metadata: {name: b}}
"""

    found = objects(read_yaml(text))

    assert [(type(item), item.key.name) for item in found] == [(Ingress, "a"), (Ingress, "b")]


def test_a_list_of_anything_is_read_item_by_item() -> None:
    text = b"""
apiVersion: v1
kind: List
items:
- {apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a}}
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: a}}
- apiVersion: v1
  kind: List
  items: [{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: b}}]
- 5
- {apiVersion: v1, kind: Service, metadata: {name: c}, spec: {ports: 80}}
"""

    document = read_yaml(text)

    assert [type(item) for item in objects(document)] == [Ingress, IngressClass]
    assert document.ignored == 1
    assert faults(document) == [
        ("items[3]", "File (no name): must be a map with apiVersion, kind and metadata"),
        ("items[4]", "Service default/c: spec.ports: must be a list"),
    ]


@pytest.mark.parametrize("items", ["null", "[]"], ids=["null", "empty"])
def test_an_empty_list_holds_nothing(items: str) -> None:
    assert read_yaml(f"{{apiVersion: v1, kind: List, items: {items}}}".encode()) == Document()


def test_lists_without_end_are_refused() -> None:
    text = b"{apiVersion: v1, kind: List, items: [" * 20 + b"]}" * 20

    assert "lists inside lists" in faults(read_yaml(text))[0][1]


def test_an_annotation_that_yaml_reads_as_a_boolean_says_what_to_do() -> None:
    text = b"apiVersion: v1\nkind: Service\nmetadata: {name: a, annotations: {x: on}}\n"

    assert faults(read_yaml(text)) == [
        ("", "Service default/a: metadata.annotations[x]: must be text (in YAML, put it in quotes)")
    ]


def test_a_time_reaches_the_model() -> None:
    text = b"apiVersion: v1\nkind: Service\nmetadata: {name: a, creationTimestamp: 2024-01-31T12:00:00Z}\n"

    (item,) = objects(read_yaml(text))

    assert item.metadata.creation_timestamp is not None
    assert item.metadata.creation_timestamp.isoformat() == "2024-01-31T12:00:00+00:00"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param('{"a": 1, "a": 2}', "key 'a' twice", id="a key twice"),
        pytest.param('{"a": NaN}', "NaN is no number", id="not a number"),
        pytest.param('{"a": 1} {"b": 2}', "Extra data", id="two documents"),
        pytest.param("{", "is not JSON", id="cut off"),
        pytest.param("[" * 100_000, "nested too deep", id="nested too deep"),
        pytest.param('{"a": ' + "9" * 5000 + "}", "is not JSON", id="a number too long to be one"),
        pytest.param("[1]", "must be a map", id="a list"),
    ],
)
def test_json_that_no_manifest_may_be_is_a_fault(text: str, rule: str) -> None:
    (fault,) = faults(read_json(text))

    assert rule in fault[1]


def test_the_documents_of_a_file_hold_no_traceback() -> None:
    (piece,) = read_yaml(b"apiVersion: v1\nkind: Service\nmetadata: 5\n").pieces

    assert isinstance(piece.found, DecodeError)
    assert piece.found.__traceback__ is None
