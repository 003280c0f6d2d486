"""Writes: what the server fills in, refuses, counts, and keeps apart."""

from __future__ import annotations

import base64

import pytest

from ingresskit.testing.apiserver import ApiServer, Manifest, StatusError
from ingresskit.testing.apiserver.calls import call
from tests.unit.testing_apiserver.samples import INGRESSES, config, ingress

CONFIGS = "/api/v1/namespaces/default/configmaps"
SERVICES = "/api/v1/namespaces/default/services"


def service(name: str, **spec: object) -> Manifest:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def test_creating_fills_in_what_servers_fill_in(server: ApiServer) -> None:
    answer = call(server, "POST", f"{INGRESSES}?fieldManager=me", ingress("web"))

    metadata = answer.json["metadata"]
    assert answer.status == 201
    assert metadata["resourceVersion"] == str(server.revision)
    assert metadata["generation"] == 1
    assert len(metadata["uid"]) == 36
    assert metadata["creationTimestamp"].endswith("Z")
    assert [entry["manager"] for entry in metadata["managedFields"]] == ["me"]
    assert answer.json["status"] == {"loadBalancer": {}}


def test_every_write_has_a_revision_of_its_own(server: ApiServer) -> None:
    before = server.revision

    versions = [int(server.create(config(name))["metadata"]["resourceVersion"]) for name in "abc"]

    assert versions == [before + 1, before + 2, before + 3]


def test_names_are_made_from_a_beginning(server: ApiServer) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "web-"}}

    names = {str(server.create(manifest)["metadata"]["name"]) for _ in range(3)}

    assert len(names) == 3
    assert all(name.startswith("web-") and len(name) == 9 for name in names)


def test_services_get_an_address_and_ports(server: ApiServer) -> None:
    plain = server.create(service("a", ports=[{"port": 80}]))["spec"]
    node = server.create(service("b", type="NodePort", ports=[{"port": 80}]))["spec"]
    outside = server.create(service("c", type="ExternalName", externalName="x.example"))["spec"]

    assert plain["type"] == "ClusterIP"
    assert plain["clusterIPs"] == [plain["clusterIP"]] != node["clusterIPs"]
    assert plain["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert 30000 <= node["ports"][0]["nodePort"] <= 32767
    assert "clusterIP" not in outside


def test_an_address_stays_when_a_service_is_replaced_without_it(server: ApiServer) -> None:
    first = server.create(service("a", type="NodePort", ports=[{"port": 80}]))["spec"]

    second = server.update(service("a", type="NodePort", ports=[{"port": 80, "name": "http"}]))["spec"]

    assert second["clusterIP"] == first["clusterIP"]
    assert second["ports"][0]["nodePort"] == first["ports"][0]["nodePort"]


def test_plain_texts_become_data_of_a_secret(server: ApiServer) -> None:
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}

    secret = server.create(manifest)

    assert (secret["type"], secret["data"]) == ("Opaque", {"a": base64.b64encode(b"b").decode()})
    assert "stringData" not in secret


def ingress_class(name: str, *, default: bool = False) -> Manifest:
    annotations = {"ingressclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"controller": "example.com/ours"},
    }


def test_the_default_class_is_given_at_creation_only(server: ApiServer) -> None:
    early = server.create(ingress("early"))
    server.create(ingress_class("ours", default=True))
    server.create(ingress_class("other"))

    late = server.create(ingress("late"))
    annotated = server.create(ingress("annotated", annotations={"kubernetes.io/ingress.class": "nginx"}))

    assert "ingressClassName" not in early["spec"]
    assert "ingressClassName" not in server.put(ingress("early", labels={"a": "b"}))["spec"]
    assert late["spec"]["ingressClassName"] == "ours"
    assert "ingressClassName" not in annotated["spec"]


def test_generation_counts_changes_of_the_spec_only(server: ApiServer) -> None:
    server.create(ingress("web"))

    labelled = server.put(ingress("web", labels={"a": "b"}))
    changed = server.put(ingress("web", host="b.example"))

    assert labelled["metadata"]["generation"] == 1
    assert changed["metadata"]["generation"] == 2


def test_a_stale_version_is_409(server: ApiServer) -> None:
    old = server.create(ingress("web"))
    server.put(ingress("web", host="b.example"))

    answer = call(server, "PUT", f"{INGRESSES}/web", old)

    assert (answer.status, answer.json["reason"]) == (409, "Conflict")
    assert answer.json["message"].endswith(
        "the object has been modified; please apply your changes to the latest version and try again"
    )


def test_a_write_that_changes_nothing_makes_no_version(server: ApiServer) -> None:
    made = server.create(ingress("web"))
    before = server.revision

    again = call(server, "PUT", f"{INGRESSES}/web?fieldManager=other", made)
    patched = call(server, "PATCH", f"{INGRESSES}/web", {"metadata": {"labels": {}}})

    assert (again.status, patched.status) == (200, 200)
    assert server.revision == before


def test_status_and_spec_are_written_apart(server: ApiServer) -> None:
    server.create(ingress("web"))
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    both = {"spec": {"ingressClassName": "hacked"}, "status": status}

    main = call(server, "PATCH", f"{INGRESSES}/web", {"status": status}).json
    sub = call(server, "PATCH", f"{INGRESSES}/web/status", both).json

    assert main["status"] == {"loadBalancer": {}}
    assert sub["status"] == status
    assert "ingressClassName" not in sub["spec"]
    assert sub["metadata"]["generation"] == 1


def test_dry_runs_answer_and_store_nothing(server: ApiServer) -> None:
    server.create(config("a"))
    before = server.revision

    made = call(server, "POST", f"{CONFIGS}?dryRun=All", config("b"))
    changed = call(server, "PATCH", f"{CONFIGS}/a?dryRun=All", {"data": {"k": "v"}})
    gone = call(server, "DELETE", f"{CONFIGS}/a?dryRun=All")

    assert (made.status, changed.json["data"], gone.status) == (201, {"k": "v"}, 200)
    assert server.revision == before


def test_namespaces_must_be_there_and_not_be_going(server: ApiServer) -> None:
    missing = call(server, "POST", "/api/v1/namespaces/nope/configmaps", config("a", namespace="nope"))
    server.load([config("held", namespace="going", finalizers=["example.com/hold"])])
    server.delete("v1", "Namespace", "going")

    refused = call(server, "POST", "/api/v1/namespaces/going/configmaps", config("a", namespace="going"))

    assert (missing.status, missing.json["message"]) == (404, 'namespaces "nope" not found')
    assert refused.status == 403
    assert refused.json["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    assert server.get("v1", "Namespace", "going")["status"] == {"phase": "Terminating"}


def test_a_namespace_goes_when_the_last_thing_in_it_has_gone(server: ApiServer) -> None:
    server.load(
        [config("held", namespace="going", finalizers=["example.com/hold"]), config("b", namespace="going")]
    )

    server.delete("v1", "Namespace", "going")
    left = [item["metadata"]["name"] for item in server.list("v1", "ConfigMap", "going")]
    call(server, "PATCH", "/api/v1/namespaces/going/configmaps/held", {"metadata": {"finalizers": None}})

    assert left == ["held"]
    with pytest.raises(StatusError, match="not found"):
        server.get("v1", "Namespace", "going")


def test_finalizers_hold_an_object_until_they_are_taken_off(server: ApiServer) -> None:
    server.create(ingress("web", finalizers=["example.com/hold"]))

    marked = call(server, "DELETE", f"{INGRESSES}/web").json
    again = call(server, "DELETE", f"{INGRESSES}/web").json
    added = call(
        server, "PATCH", f"{INGRESSES}/web", {"metadata": {"finalizers": ["example.com/hold", "a.io/b"]}}
    )
    last = call(server, "PATCH", f"{INGRESSES}/web", {"metadata": {"finalizers": []}})

    assert marked["metadata"]["deletionTimestamp"]
    assert again == marked
    assert added.status == 422
    assert last.status == 200
    assert call(server, "GET", f"{INGRESSES}/web").status == 404


def test_deleting_answers_with_a_status_and_needs_the_right_uid(server: ApiServer) -> None:
    made = server.create(config("a"))

    wrong = call(server, "DELETE", f"{CONFIGS}/a", {"preconditions": {"uid": "made-up"}})
    right = call(server, "DELETE", f"{CONFIGS}/a", {"preconditions": {"uid": made["metadata"]["uid"]}})
    again = call(server, "DELETE", f"{CONFIGS}/a")

    assert (wrong.status, right.status, again.status) == (409, 200, 404)
    assert (right.json["status"], right.json["details"]["uid"]) == ("Success", made["metadata"]["uid"])


def test_a_collection_is_deleted_by_selector(server: ApiServer) -> None:
    server.load([config("a", labels={"x": "y"}), config("b"), config("c", labels={"x": "y"})])

    answer = call(server, "DELETE", f"{CONFIGS}?labelSelector=x%3Dy")

    assert [item["metadata"]["name"] for item in answer.json["items"]] == ["a", "c"]
    assert [item["metadata"]["name"] for item in server.list("v1", "ConfigMap")] == ["b"]


def test_leases_are_made_by_put_and_never_replaced_blindly(server: ApiServer) -> None:
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/lead"
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "lead"},
        "spec": {"holderIdentity": "a"},
    }

    made = call(server, "PUT", path, lease)
    blind = call(server, "PUT", path, lease)
    seen = call(server, "PUT", path, {**made.json, "spec": {"holderIdentity": "b"}})

    assert (made.status, blind.status, seen.status) == (201, 422, 200)
    assert "must be specified for an update" in blind.json["message"]


def test_events_are_the_same_in_both_forms(server: ApiServer) -> None:
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "eventTime": "2025-01-01T00:00:00.000000Z",
        "reportingController": "example.com/ours",
        "reportingInstance": "ours-1",
        "action": "Sync",
        "reason": "BackendNotFound",
        "type": "Warning",
        "note": "no such Service",
        "regarding": {"kind": "Ingress", "namespace": "default", "name": "web"},
    }
    server.create(event)

    core = call(
        server,
        "GET",
        "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dweb,type%3DWarning",
    ).json["items"]
    other = call(
        server, "GET", "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dapi"
    ).json

    assert [(item["message"], item["involvedObject"]["name"]) for item in core] == [("no such Service", "web")]
    assert core[0]["reportingComponent"] == "example.com/ours"
    assert other["items"] == []
    series = {"series": {"count": 2, "lastObservedTime": "2025-01-01T00:01:00.000000Z"}}
    path = "/apis/events.k8s.io/v1/namespaces/default/events/e"
    assert call(server, "PATCH", path, series).json["series"]["count"] == 2
    assert call(server, "PATCH", path, {"note": "other"}).status == 422


def test_old_forms_of_ingress_are_the_same_objects() -> None:
    with ApiServer.in_thread(legacy=True) as server:
        path = {"path": "/x", "backend": {"serviceName": "x", "servicePort": 8080}}
        old: Manifest = {
            "apiVersion": "extensions/v1beta1",
            "kind": "Ingress",
            "metadata": {"name": "web"},
            "spec": {
                "backend": {"serviceName": "web", "servicePort": "http"},
                "rules": [{"http": {"paths": [path]}}],
            },
        }
        answer = call(server, "POST", "/apis/extensions/v1beta1/namespaces/default/ingresses", old)

        new = server.get("networking.k8s.io/v1", "Ingress", "web")["spec"]
        again = call(server, "GET", "/apis/networking.k8s.io/v1beta1/namespaces/default/ingresses/web").json

    assert answer.status == 201, answer.json
    assert new["defaultBackend"] == {"service": {"name": "web", "port": {"name": "http"}}}
    assert new["rules"][0]["http"]["paths"][0] == {
        "path": "/x",
        "pathType": "ImplementationSpecific",
        "backend": {"service": {"name": "x", "port": {"number": 8080}}},
    }
    assert again["apiVersion"] == "networking.k8s.io/v1beta1"
    assert again["spec"]["backend"] == old["spec"]["backend"]


def test_yaml_is_read_where_clients_send_it(server: ApiServer) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n"

    answer = call(server, "POST", CONFIGS, text, content_type="application/yaml")

    assert (answer.status, answer.json["data"]) == (201, {"k": "v"})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "part"),
    [
        ("GET", "/apis/nope.example/v1/things", None, 404, "404 page not found"),
        ("GET", "/apis/networking.k8s.io/v1/things", None, 404, "could not find the requested resource"),
        ("POST", f"{INGRESSES}/web", {}, 405, "does not allow this method"),
        ("POST", "/apis/networking.k8s.io/v1/ingresses", {}, 405, "does not allow this method"),
        ("POST", CONFIGS, b'{"a":', 400, "couldn't get version/kind"),
        ("POST", CONFIGS, [], 400, "it is no object"),
        (
            "POST",
            CONFIGS,
            config("a", namespace="other"),
            400,
            "the namespace of the provided object does not match",
        ),
        ("POST", CONFIGS, service("a"), 400, "cannot be handled as a ConfigMap"),
        ("POST", CONFIGS, config("a", resourceVersion="5"), 500, "resourceVersion should not be set"),
        ("PUT", f"{CONFIGS}/b", config("a"), 400, "does not match the name on the URL"),
        ("PUT", f"{CONFIGS}/nope", config("nope"), 404, '"reason":"NotFound"'),
        ("DELETE", "/version", None, 405, "does not allow this method"),
    ],
)
def test_what_makes_no_sense_is_refused(
    server: ApiServer, method: str, path: str, body: object, status: int, part: str
) -> None:
    answer = call(server, method, path, body)

    assert answer.status == status
    assert part in answer.body.decode()


@pytest.mark.parametrize(
    ("method", "headers", "content_type", "status"),
    [
        ("POST", {}, "application/cbor", 415),
        ("PATCH", {}, "application/json", 415),
        ("GET", {"Accept": "application/vnd.kubernetes.protobuf"}, "", 406),
        ("GET", {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1,application/json"}, "", 200),
    ],
)
def test_media_types_are_negotiated(
    server: ApiServer, method: str, headers: dict[str, str], content_type: str, status: int
) -> None:
    server.create(config("a"))
    path = CONFIGS if method == "POST" else f"{CONFIGS}/a"

    answer = call(
        server, method, path, None if method == "GET" else {}, content_type=content_type, headers=headers
    )

    assert answer.status == status
