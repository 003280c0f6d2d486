"""Patches of every kind, and server-side apply."""

from __future__ import annotations

import pytest

from ingresskit.testing.apiserver import ApiServer, Manifest
from ingresskit.testing.apiserver.calls import Answered, call
from tests.unit.testing_apiserver.samples import INGRESSES, config, ingress

CONFIGS = "/api/v1/namespaces/default/configmaps"
SERVICES = "/api/v1/namespaces/default/services"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


def service(**spec: object) -> Manifest:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}


def applied(server: ApiServer, path: str, manifest: Manifest, manager: str, *, force: bool = False) -> Answered:
    query = f"?fieldManager={manager}" + ("&force=true" if force else "")
    return call(server, "PATCH", path + query, manifest, content_type=APPLY)


def managers(manifest: Manifest) -> dict[str, Manifest]:
    return {entry["manager"]: entry["fieldsV1"] for entry in manifest["metadata"]["managedFields"]}


def test_merge_patches_set_merge_and_remove(server: ApiServer) -> None:
    server.create(config("a", data={"x": "1", "y": "2"}))

    answer = call(server, "PATCH", f"{CONFIGS}/a", {"data": {"x": None, "z": "3"}})

    assert answer.json["data"] == {"y": "2", "z": "3"}


def test_json_patches_do_all_they_say_or_nothing(server: ApiServer) -> None:
    server.create(ingress("web"))
    rules = "/spec/rules"
    good: list[Manifest] = [
        {"op": "test", "path": f"{rules}/0/host", "value": "a.example"},
        {"op": "copy", "from": f"{rules}/0", "path": f"{rules}/-"},
        {"op": "replace", "path": f"{rules}/1/host", "value": "b.example"},
        {"op": "add", "path": "/metadata/annotations", "value": {}},
        {"op": "add", "path": "/metadata/annotations/example.com~1a", "value": "~"},
        {"op": "move", "from": f"{rules}/0", "path": f"{rules}/1"},
    ]
    bad: list[Manifest] = [
        {"op": "remove", "path": f"{rules}/0"},
        {"op": "test", "path": f"{rules}/0/host", "value": "no"},
    ]

    done = call(server, "PATCH", f"{INGRESSES}/web", good, content_type=JSON_PATCH)
    refused = call(server, "PATCH", f"{INGRESSES}/web", bad, content_type=JSON_PATCH)

    assert [rule["host"] for rule in done.json["spec"]["rules"]] == ["b.example", "a.example"]
    assert done.json["metadata"]["annotations"] == {"example.com/a": "~"}
    assert (refused.status, refused.json["reason"]) == (422, "Invalid")
    assert len(server.get("networking.k8s.io/v1", "Ingress", "web")["spec"]["rules"]) == 2


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "/spec/rules/7", "value": {}},
        {"op": "dance", "path": "/spec"},
        {"path": "/spec"},
    ],
)
def test_json_patches_that_cannot_be_done_are_422(server: ApiServer, operation: Manifest) -> None:
    server.create(ingress("web"))

    assert call(server, "PATCH", f"{INGRESSES}/web", [operation], content_type=JSON_PATCH).status == 422


def test_strategic_patches_merge_lists_by_key(server: ApiServer) -> None:
    server.create(service(ports=[{"port": 80, "name": "http"}, {"port": 443, "name": "https"}]))
    patch = {
        "spec": {
            "ports": [
                {"port": 443, "targetPort": 8443},
                {"port": 80, "$patch": "delete"},
                {"port": 81, "name": "new"},
            ]
        }
    }

    ports = call(server, "PATCH", f"{SERVICES}/web", patch, content_type=STRATEGIC).json["spec"]["ports"]

    assert {(port["port"], port["name"], port["targetPort"]) for port in ports} == {
        (81, "new", 81),
        (443, "https", 8443),
    }


def test_strategic_patches_keep_the_order_they_are_given(server: ApiServer) -> None:
    server.create(service(ports=[{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]))
    order = [{"port": 81}, {"port": 80}]
    patch = {"spec": {"$setElementOrder/ports": order, "ports": [{"port": 80, "name": "c"}]}}

    ports = call(server, "PATCH", f"{SERVICES}/web", patch, content_type=STRATEGIC).json["spec"]["ports"]

    assert [(port["port"], port["name"]) for port in ports] == [(81, "b"), (80, "c")]


def test_strategic_patches_replace_and_take_from_lists_when_told(server: ApiServer) -> None:
    server.create(config("a", data={"x": "1", "y": "2"}, finalizers=["a.io/a", "a.io/b"]))
    patch = {
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["a.io/a"]},
        "data": {"$patch": "replace", "z": "3"},
    }

    after = call(server, "PATCH", f"{CONFIGS}/a", patch, content_type=STRATEGIC).json

    assert after["data"] == {"z": "3"}
    assert after["metadata"]["finalizers"] == ["a.io/b"]


def test_lists_of_an_ingress_are_replaced_whole_by_strategic_patches(server: ApiServer) -> None:
    server.create(ingress("web"))

    patch = {"spec": {"rules": [{"host": "b.example"}]}}
    after = call(server, "PATCH", f"{INGRESSES}/web", patch, content_type=STRATEGIC).json

    assert after["spec"]["rules"] == [{"host": "b.example"}]


def test_applying_creates_then_changes_then_changes_nothing(server: ApiServer) -> None:
    made = applied(server, f"{CONFIGS}/a", config("a", data={"x": "1"}), "one")
    changed = applied(server, f"{CONFIGS}/a", config("a", data={"x": "2"}), "one")
    before = server.revision
    same = applied(server, f"{CONFIGS}/a", config("a", data={"x": "2"}), "one")

    assert (made.status, changed.status, same.status) == (201, 200, 200)
    assert changed.json["data"] == {"x": "2"}
    assert server.revision == before
    assert managers(same.json) == {"one": {"f:data": {"f:x": {}}}}


def test_what_is_no_longer_applied_goes_unless_others_own_it(server: ApiServer) -> None:
    applied(server, f"{CONFIGS}/a", config("a", data={"x": "1", "y": "1", "z": "1"}), "one")
    applied(server, f"{CONFIGS}/a", config("a", data={"y": "1"}), "two")

    after = applied(server, f"{CONFIGS}/a", config("a", data={"z": "1"}), "one").json

    assert after["data"] == {"y": "1", "z": "1"}
    assert managers(after) == {"one": {"f:data": {"f:z": {}}}, "two": {"f:data": {"f:y": {}}}}


def test_what_others_own_is_a_conflict_that_names_them(server: ApiServer) -> None:
    applied(server, f"{CONFIGS}/a", config("a", data={"x": "1", "y": "1"}), "one")
    before = server.revision

    answer = applied(server, f"{CONFIGS}/a", config("a", data={"x": "2", "y": "1"}), "two")

    assert (answer.status, answer.json["reason"]) == (409, "Conflict")
    assert answer.json["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.x'
    assert answer.json["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.x"}
    ]
    assert server.revision == before


def test_force_takes_fields_over(server: ApiServer) -> None:
    applied(server, f"{CONFIGS}/a", config("a", data={"x": "1", "y": "1"}), "one")

    after = applied(server, f"{CONFIGS}/a", config("a", data={"x": "2"}), "two", force=True).json

    assert after["data"] == {"x": "2", "y": "1"}
    assert managers(after) == {"one": {"f:data": {"f:y": {}}}, "two": {"f:data": {"f:x": {}}}}


def test_a_plain_write_takes_over_what_it_changes(server: ApiServer) -> None:
    applied(server, f"{CONFIGS}/a", config("a", data={"x": "1", "y": "1"}), "one")
    call(server, "PATCH", f"{CONFIGS}/a?fieldManager=editor", {"data": {"x": "2"}})

    answer = applied(server, f"{CONFIGS}/a", config("a", data={"x": "1", "y": "1"}), "one")

    assert answer.json["message"] == 'Apply failed with 1 conflict: conflict with "editor" using v1: .data.x'


def test_items_of_lists_are_owned_by_their_keys(server: ApiServer) -> None:
    path = f"{SERVICES}/web"
    applied(server, path, service(ports=[{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]), "one")
    both = applied(server, path, service(ports=[{"port": 82, "name": "c"}]), "two").json

    conflict = applied(server, path, service(ports=[{"port": 80, "name": "z"}]), "two")
    after = applied(server, path, service(ports=[{"port": 80, "name": "a"}]), "one").json

    assert [port["port"] for port in both["spec"]["ports"]] == [80, 81, 82]
    assert conflict.json["details"]["causes"][0]["field"] == '.spec.ports[port=80,protocol="TCP"].name'
    assert [port["port"] for port in after["spec"]["ports"]] == [80, 82]


def test_status_and_spec_are_applied_apart(server: ApiServer) -> None:
    server.create(ingress("web"))
    status: Manifest = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "web"},
        "spec": {"ingressClassName": "hacked"},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    }

    after = applied(server, f"{INGRESSES}/web/status", status, "ours").json

    assert after["status"] == status["status"]
    assert "ingressClassName" not in after["spec"]
    entry = next(item for item in after["metadata"]["managedFields"] if item["manager"] == "ours")
    assert (entry["subresource"], entry["operation"]) == ("status", "Apply")
    assert entry["fieldsV1"] == {"f:status": {"f:loadBalancer": {"f:ingress": {}}}}


def test_the_status_of_what_is_not_there_cannot_be_applied(server: ApiServer) -> None:
    status: Manifest = {**ingress("nope"), "status": {}}

    assert applied(server, f"{INGRESSES}/nope/status", status, "ours").status == 404


def test_applying_needs_a_manager_and_no_book(server: ApiServer) -> None:
    nobody = call(server, "PATCH", f"{CONFIGS}/a", config("a"), content_type=APPLY)
    booked = applied(server, f"{CONFIGS}/a", config("a", managedFields=[{"manager": "x"}]), "one")

    assert nobody.status == 422
    assert "fieldManager: Required value: is required for apply patch" in nobody.json["message"]
    assert (booked.status, booked.json["message"]) == (400, "metadata.managedFields must be nil")
