"""Lists: pages, versions, selectors."""

from __future__ import annotations

import pytest

from ingresskit.testing.apiserver import ApiServer, Manifest
from ingresskit.testing.apiserver.calls import call
from tests.unit.testing_apiserver.samples import ALL_INGRESSES, INGRESSES, config, ingress

CONFIGS = "/api/v1/namespaces/default/configmaps"


def names(listing: Manifest) -> list[str]:
    return [item["metadata"]["name"] for item in listing["items"]]


def test_items_of_a_list_have_no_kind_and_single_objects_do(server: ApiServer) -> None:
    server.create(ingress("web"))

    listing = call(server, "GET", INGRESSES).json
    single = call(server, "GET", f"{INGRESSES}/web").json

    assert (listing["kind"], listing["apiVersion"]) == ("IngressList", "networking.k8s.io/v1")
    assert "kind" not in listing["items"][0]
    assert (single["kind"], single["apiVersion"]) == ("Ingress", "networking.k8s.io/v1")


def test_pages_together_are_the_list_at_the_revision_of_the_first(server: ApiServer) -> None:
    for name in "abcde":
        server.create(config(name))
    first = call(server, "GET", f"{CONFIGS}?limit=2").json
    server.create(config("bb"))
    server.delete("v1", "ConfigMap", "d")

    second = call(server, "GET", f"{CONFIGS}?limit=2&continue={first['metadata']['continue']}").json
    third = call(server, "GET", f"{CONFIGS}?limit=2&continue={second['metadata']['continue']}").json

    assert [names(page) for page in (first, second, third)] == [["a", "b"], ["c", "d"], ["e"]]
    assert {page["metadata"]["resourceVersion"] for page in (first, second, third)} == {
        first["metadata"]["resourceVersion"]
    }
    assert [page["metadata"].get("remainingItemCount") for page in (first, second, third)] == [3, 1, None]
    assert "continue" not in third["metadata"]


def test_a_page_after_compaction_is_410_with_a_token_for_an_inconsistent_rest(server: ApiServer) -> None:
    for name in "abc":
        server.create(config(name))
    first = call(server, "GET", f"{CONFIGS}?limit=1").json
    server.create(config("d"))
    server.compact()

    gone = call(server, "GET", f"{CONFIGS}?limit=1&continue={first['metadata']['continue']}")
    rest = call(server, "GET", f"{CONFIGS}?continue={gone.json['metadata']['continue']}").json

    assert (gone.status, gone.json["reason"]) == (410, "Expired")
    assert names(rest) == ["b", "c", "d"]


def test_an_exact_version_lists_what_there_was(server: ApiServer) -> None:
    server.create(config("a"))
    then = server.revision
    server.create(config("b"))
    server.put(config("a", data={"x": "y"}))

    listing = call(server, "GET", f"{CONFIGS}?resourceVersion={then}&resourceVersionMatch=Exact").json

    assert names(listing) == ["a"]
    assert listing["items"][0]["data"] == {} or "data" not in listing["items"][0]
    assert listing["metadata"]["resourceVersion"] == str(then)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", 2),
        ("resourceVersion=0", 2),
        ("resourceVersion={then}", 2),
        ("resourceVersion={then}&resourceVersionMatch=NotOlderThan", 2),
        ("resourceVersion={then}&resourceVersionMatch=Exact", 1),
        ("resourceVersion={then}&limit=10", 1),
        ("resourceVersion=0&limit=1", 2),
    ],
    ids=[
        "none: now",
        "0: now",
        "a version: not older",
        "not older: now",
        "exact: then",
        "a version with a limit: then",
        "0 with a limit: all, as from the watch cache",
    ],
)
def test_versions_mean_what_the_documentation_says(server: ApiServer, query: str, expected: int) -> None:
    server.create(config("a"))
    then = server.revision
    server.create(config("b"))

    listing = call(server, "GET", f"{CONFIGS}?{query.format(then=then)}").json

    assert len(listing["items"]) == expected


def test_a_version_in_the_future_is_a_timeout_with_its_cause(server: ApiServer) -> None:
    answer = call(server, "GET", f"{CONFIGS}?resourceVersion=99999")

    assert (answer.status, answer.json["reason"]) == (504, "Timeout")
    assert answer.json["message"] == f"Timeout: Too large resource version: 99999, current: {server.revision}"
    assert answer.json["details"] == {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    assert answer.headers["retry-after"] == "1"


def test_a_compacted_exact_version_is_410(server: ApiServer) -> None:
    then = server.revision
    server.create(config("a"))
    server.compact()

    answer = call(server, "GET", f"{CONFIGS}?resourceVersion={then}&resourceVersionMatch=Exact")

    assert (answer.status, answer.json["reason"]) == (410, "Expired")
    assert answer.json["message"] == "The resourceVersion for the provided list is too old."


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("app=web", ["a", "b"]),
        ("app==web,tier!=front", ["b"]),
        ("tier", ["a"]),
        ("!app", ["d"]),
        ("app in (web, db)", ["a", "b", "c"]),
        ("app notin (web)", ["c", "d"]),
        ("tier=", []),
    ],
)
def test_labels_select(server: ApiServer, selector: str, expected: list[str]) -> None:
    labels = {"a": {"app": "web", "tier": "front"}, "b": {"app": "web"}, "c": {"app": "db"}, "d": {"x": "y"}}
    for name, carried in labels.items():
        server.create(config(name, labels=carried))

    query = selector.replace(" ", "%20").replace("=", "%3D")
    listing = call(server, "GET", f"{CONFIGS}?labelSelector={query}").json

    assert names(listing) == expected


def test_fields_select_secrets_by_type(server: ApiServer) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "plain"}}
    data = {"tls.crt": "YQ==", "tls.key": "YQ=="}
    server.create(secret)
    server.create({**secret, "metadata": {"name": "cert"}, "type": "kubernetes.io/tls", "data": data})

    path = "/api/v1/secrets?fieldSelector=type%3Dkubernetes.io/tls"
    both = f"{path},metadata.name%21%3Dcert"

    assert names(call(server, "GET", path).json) == ["cert"]
    assert names(call(server, "GET", both).json) == []


def test_a_field_nobody_can_select_by_is_400(server: ApiServer) -> None:
    answer = call(server, "GET", f"{ALL_INGRESSES}?fieldSelector=spec.x%3D1")

    assert answer.status == 400
    assert "is not a known field selector" in answer.json["message"]


def test_lists_across_namespaces_sort_as_etcd_does(server: ApiServer) -> None:
    server.load([config("x", namespace="a"), config("x", namespace="a-b"), config("b", namespace="a")])

    listing = call(server, "GET", "/api/v1/configmaps").json

    keys = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in listing["items"]]
    assert keys == [("a-b", "x"), ("a", "b"), ("a", "x")]


def test_long_lists_are_compressed_for_those_who_take_it(server: ApiServer) -> None:
    import gzip
    import json

    server.load(config(f"c{number:03}", data={"k": "v" * 1000}) for number in range(200))

    answer = call(server, "GET", CONFIGS, headers={"Accept-Encoding": "gzip"})

    assert answer.headers["content-encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(answer.body))["items"]) == 200
