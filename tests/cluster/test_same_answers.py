"""The embedded and the real API server answer the same."""

from __future__ import annotations

import json

import pytest

from ingresskit.testing.apiserver import AnyApiServer, Manifest, Rule
from ingresskit.testing.apiserver.calls import Answered, call

APPLY = "application/apply-patch+yaml"


def config(name: str, **data: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def ingress(**spec: object) -> Manifest:
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"}, "spec": spec}


def configs(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


def events(server: AnyApiServer, path: str, query: str) -> list[Manifest]:
    answer = call(server, "GET", f"{path}?watch=1&timeoutSeconds=1&{query}")
    assert answer.status == 200, answer.body
    return [json.loads(line) for line in answer.body.splitlines()]


def test_rules_of_users_are_kept_and_refusals_name_what_is_missing(
    api_server: AnyApiServer, api_namespace: str
) -> None:
    rules = [
        Rule(verbs=["get", "list"], groups=[""], resources=["configmaps"], namespaces=[api_namespace]),
        Rule(verbs=["list"], groups=["networking.k8s.io"], resources=["ingresses"]),
    ]
    token = api_server.token_for("eve", rules)

    def asked(path: str) -> Answered:
        return call(api_server, "GET", path, token=token)

    assert asked(configs(api_namespace)).status == 200
    assert asked("/apis/networking.k8s.io/v1/ingresses").status == 200
    refused = asked("/api/v1/namespaces/default/configmaps").json
    assert (refused["code"], refused["reason"]) == (403, "Forbidden")
    assert refused["message"].startswith('configmaps is forbidden: User "')
    assert refused["message"].endswith(
        'cannot list resource "configmaps" in API group "" in the namespace "default"'
    )
    everywhere = asked("/apis/networking.k8s.io/v1/ingressclasses").json["message"]
    assert everywhere.endswith('in API group "networking.k8s.io" at the cluster scope')
    assert call(api_server, "GET", "/api/v1/configmaps", token="made-up").status == 401


def test_a_watch_tells_what_came_after_a_list(api_server: AnyApiServer, api_namespace: str) -> None:
    path = configs(api_namespace)
    version = call(api_server, "GET", path).json["metadata"]["resourceVersion"]
    call(api_server, "POST", path, config("a", k="1"))
    call(api_server, "PATCH", f"{path}/a", {"data": {"k": "2"}})
    call(api_server, "DELETE", f"{path}/a")

    seen = events(api_server, path, f"resourceVersion={version}")

    assert [(event["type"], event["object"]["data"]) for event in seen] == [
        ("ADDED", {"k": "1"}),
        ("MODIFIED", {"k": "2"}),
        ("DELETED", {"k": "2"}),
    ]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in seen]
    assert int(version) < versions[0] < versions[1] < versions[2]


def test_initial_events_end_with_their_bookmark(api_server: AnyApiServer, api_namespace: str) -> None:
    path = configs(api_namespace)
    call(api_server, "POST", path, config("a"))

    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    seen = events(api_server, path, query)

    assert [event["type"] for event in seen[:2]] == ["ADDED", "BOOKMARK"]
    assert seen[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_an_object_leaves_a_watch_with_its_label(api_server: AnyApiServer, api_namespace: str) -> None:
    path = configs(api_namespace)
    labelled = {**config("a"), "metadata": {"name": "a", "labels": {"app": "web"}}}
    version = call(api_server, "POST", path, labelled).json["metadata"]["resourceVersion"]
    changed = call(api_server, "PATCH", f"{path}/a", {"metadata": {"labels": {"app": "db"}}}).json

    (left,) = events(api_server, path, f"resourceVersion={version}&labelSelector=app%3Dweb")

    assert (left["type"], left["object"]["metadata"]["labels"]) == ("DELETED", {"app": "web"})
    assert left["object"]["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]


def test_an_exact_version_is_listed_as_it_was(api_server: AnyApiServer, api_namespace: str) -> None:
    path = configs(api_namespace)
    then = call(api_server, "POST", path, config("a")).json["metadata"]["resourceVersion"]
    call(api_server, "POST", path, config("b"))

    listing = call(api_server, "GET", f"{path}?resourceVersion={then}&resourceVersionMatch=Exact").json

    assert [item["metadata"]["name"] for item in listing["items"]] == ["a"]


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ("resourceVersion=99999999", 504, "Timeout"),
        ("resourceVersion=abc", 400, "BadRequest"),
        ("resourceVersionMatch=Exact", 422, "Invalid"),
        ("continue=xx", 400, "BadRequest"),
        ("fieldSelector=spec.x%3D1", 400, "BadRequest"),
        ("sendInitialEvents=true", 422, "Invalid"),
        ("watch=1&sendInitialEvents=true", 422, "Invalid"),
    ],
)
def test_lists_are_refused_for_the_same_reasons(
    api_server: AnyApiServer, api_namespace: str, query: str, status: int, reason: str
) -> None:
    answer = call(api_server, "GET", f"{configs(api_namespace)}?{query}")

    assert (answer.status, answer.json["reason"]) == (status, reason)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"rules": [{"host": "Foo"}]}, "spec.rules[0].host"),
        ({"rules": [{"host": "*"}]}, "spec.rules[0].host"),
        ({"defaultBackend": {"service": {"name": "a"}}}, "spec.defaultBackend"),
        ({"rules": [{"host": "a.example"}], "ingressClassName": "B_"}, "spec.ingressClassName"),
        ({"rules": [{"host": "a.example"}], "tls": [{"secretName": "B_"}]}, "spec.tls[0].secretName"),
    ],
)
def test_an_ingress_is_refused_for_the_same_field(
    api_server: AnyApiServer, api_namespace: str, spec: Manifest, field: str
) -> None:
    path = f"/apis/networking.k8s.io/v1/namespaces/{api_namespace}/ingresses"

    answer = call(api_server, "POST", path, ingress(**spec))

    assert answer.status == 422
    assert [cause["field"] for cause in answer.json["details"]["causes"]] == [field]


def test_fields_belong_to_who_applied_them(api_server: AnyApiServer, api_namespace: str) -> None:
    path = f"{configs(api_namespace)}/a"

    def applied(manager: str, query: str = "", **data: str) -> Answered:
        target = f"{path}?fieldManager={manager}{query}"
        return call(api_server, "PATCH", target, config("a", **data), content_type=APPLY)

    made = applied("one", x="1", y="1", z="1")
    shared = applied("two", y="1")
    refused = applied("two", y="2").json
    forced = applied("two", "&force=true", y="2").json
    left = applied("one", z="1").json

    assert (made.status, shared.status) == (201, 200)
    assert refused["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.y'
    assert forced["data"] == {"x": "1", "y": "2", "z": "1"}
    assert left["data"] == {"y": "2", "z": "1"}
    assert {entry["manager"]: entry["fieldsV1"] for entry in left["metadata"]["managedFields"]} == {
        "one": {"f:data": {"f:z": {}}},
        "two": {"f:data": {"f:y": {}}},
    }


def test_status_is_written_apart_and_finalizers_hold(api_server: AnyApiServer, api_namespace: str) -> None:
    path = f"/apis/networking.k8s.io/v1/namespaces/{api_namespace}/ingresses"
    call(api_server, "POST", path, ingress(rules=[{"host": "a.example"}]))
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}

    main = call(api_server, "PATCH", f"{path}/web", {"status": status, "metadata": {"finalizers": ["a.io/b"]}})
    sub = call(api_server, "PATCH", f"{path}/web/status", {"status": status, "spec": {"ingressClassName": "x"}})
    marked = call(api_server, "DELETE", f"{path}/web").json
    call(api_server, "PATCH", f"{path}/web", {"metadata": {"finalizers": None}})

    assert main.json["status"] == {"loadBalancer": {}}
    assert (sub.json["status"], sub.json["spec"]) == (status, {"rules": [{"host": "a.example"}]})
    assert "deletionTimestamp" in marked["metadata"]
    assert call(api_server, "GET", f"{path}/web").status == 404
