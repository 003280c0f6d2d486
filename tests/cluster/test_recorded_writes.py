"""Creating, replacing, patching and deleting, word for word as the real API server does it."""

from __future__ import annotations

from ingresskit.testing.apiserver import Manifest
from tests.cluster.recording import JSON_PATCH, MERGE, STRATEGIC, Talk
from tests.cluster.scene import CONFIGS, INGRESSES, SECRETS, SERVICES, SLICES, config, ingress, service

LEASES = "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases"
EVENTS = "/apis/events.k8s.io/v1/namespaces/{ns}/events"
CERTIFICATE = {"tls.crt": "Y2VydA==", "tls.key": "a2V5"}


def event(talk: Talk, **more: object) -> Manifest:
    return {
        "metadata": {"name": "web.1"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "type": "Warning",
        "reason": "ServiceNotFound",
        "action": "Translate",
        "note": "there is no such service",
        "regarding": {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "name": "web",
            "namespace": talk.namespace,
        },
        "reportingController": "example.com/controller",
        "reportingInstance": "pod-1",
        **more,
    }


def test_objects_are_completed(talk: Talk) -> None:
    talk.post(CONFIGS, config("a", {"k": "v"}))
    talk.post(SECRETS, {"metadata": {"name": "a"}, "stringData": {"k": "v"}, "data": {"l": "dg=="}})
    talk.post(SECRETS, {"metadata": {"name": "tls"}, "type": "kubernetes.io/tls", "data": CERTIFICATE})
    talk.post(SERVICES, service("plain"))
    talk.post(
        SERVICES,
        service(
            "named",
            spec={
                "ports": [
                    {"name": "http", "port": 80, "targetPort": "web"},
                    {"name": "udp", "port": 53, "protocol": "UDP"},
                ],
                "selector": {"app": "web"},
            },
        ),
    )
    talk.post(
        SERVICES,
        service("headless", spec={"clusterIP": "None", "ports": [{"port": 80}], "selector": {"app": "web"}}),
    )
    talk.post(SERVICES, service("bare", spec={"clusterIP": "None", "ports": [{"port": 80}]}))
    talk.post(SERVICES, service("nodes", spec={"type": "NodePort", "ports": [{"port": 80}]}))
    talk.post(SERVICES, service("balanced", spec={"type": "LoadBalancer", "ports": [{"port": 80}]}))
    talk.post(SERVICES, service("elsewhere", spec={"type": "ExternalName", "externalName": "a.example"}))
    talk.post(INGRESSES, ingress("a"))
    talk.post(INGRESSES, {**ingress("b"), "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}})
    talk.post(
        "/apis/networking.k8s.io/v1/ingressclasses",
        {
            "metadata": {"name": f"{talk.namespace}-a"},
            "spec": {"controller": "example.com/a", "parameters": {"kind": "X", "name": "y"}},
        },
    )
    talk.post(
        SLICES,
        {
            "metadata": {"name": "a", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.1.0.1"]},
                {
                    "addresses": ["10.1.0.2"],
                    "conditions": {"ready": False, "serving": True, "terminating": True},
                    "nodeName": "n",
                    "targetRef": {"kind": "Pod", "name": "p"},
                },
            ],
            "ports": [{"port": 8080}],
        },
    )
    talk.post(SLICES, {"metadata": {"name": "none"}, "addressType": "IPv6"})
    talk.post(
        "/api/v1/namespaces/{ns}/endpoints",
        {"metadata": {"name": "a"}, "subsets": [{"addresses": [{"ip": "10.1.0.1"}], "ports": [{"port": 80}]}]},
    )
    talk.post(
        LEASES,
        {
            "metadata": {"name": "a"},
            "spec": {
                "holderIdentity": "x",
                "leaseDurationSeconds": 15,
                "acquireTime": "2026-01-01T00:00:00.000000Z",
                "renewTime": "2026-01-01T00:00:00.000000Z",
                "leaseTransitions": 0,
            },
        },
    )
    talk.post(LEASES, {"metadata": {"name": "b"}})
    talk.post(EVENTS, event(talk))
    talk.get("/api/v1/namespaces/{ns}/events/web.1")
    talk.post("/api/v1/namespaces/{ns}/serviceaccounts", {"metadata": {"name": "a"}})
    talk.post("/api/v1/namespaces", {"metadata": {"name": f"{talk.namespace}-b"}})
    talk.post(
        "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles",
        {"metadata": {"name": "a"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]},
    )


def test_events_have_an_older_form(talk: Talk) -> None:
    events = "/api/v1/namespaces/{ns}/events"
    old: Manifest = {
        "metadata": {"name": "old.1"},
        "involvedObject": {"kind": "Ingress", "name": "web", "namespace": talk.namespace},
        "reason": "Odd",
        "message": "so",
        "type": "Normal",
        "source": {"component": "x"},
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
    }
    for about in ({"namespace": "other"}, {"kind": "IngressClass", "name": "web"}):
        talk.post(events, {**old, "involvedObject": about})
    # Not who owns what: the embedded server keeps one book, in the words of the newer form.
    talk.say("POST", events, old, look_at=_without_book)
    talk.say("GET", f"{events}/old.1", look_at=_without_book)
    talk.say("GET", f"{EVENTS}/old.1", look_at=_without_book)


def _without_book(body: Manifest) -> Manifest:
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    return {**body, "metadata": metadata}


def test_an_ingress_gets_the_default_class(talk: Talk) -> None:
    classes = "/apis/networking.k8s.io/v1/ingressclasses"
    name = f"{talk.namespace}-default"
    marked = {
        "metadata": {"name": name, "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
        "spec": {"controller": "example.com/a"},
    }
    talk.quietly("POST", classes, marked)
    try:
        talk.post(INGRESSES, ingress("a"))
        talk.post(INGRESSES, ingress("b", annotations={"kubernetes.io/ingress.class": "x"}))
        talk.post(
            INGRESSES,
            ingress(
                "c",
                spec={
                    "ingressClassName": "y",
                    "defaultBackend": {"service": {"name": "w", "port": {"number": 1}}},
                },
            ),
        )
    finally:
        talk.quietly("DELETE", f"{classes}/{name}")


def test_objects_are_replaced(talk: Talk) -> None:
    made = talk.quietly("POST", INGRESSES, ingress("a"))
    other = {"rules": [{"host": "b.example"}]}

    talk.put(f"{INGRESSES}/a", {**made, "spec": other})
    talk.put(f"{INGRESSES}/a", made)
    talk.put(f"{INGRESSES}/a", ingress("a", spec=other))
    talk.put(f"{INGRESSES}/a", ingress("a", spec=other, labels={"a": "b"}))
    talk.put(f"{INGRESSES}/a", {**ingress("a"), "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}})
    talk.put(
        f"{INGRESSES}/a/status",
        {
            **ingress("a", spec=other, labels={"c": "d"}),
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
        },
    )
    talk.get(f"{INGRESSES}/a/status")


def test_services_are_replaced(talk: Talk) -> None:
    made = talk.quietly("POST", SERVICES, service("a"))

    talk.put(f"{SERVICES}/a", service("a"))
    talk.put(
        f"{SERVICES}/a",
        {**made, "spec": {**made["spec"], "clusterIP": "10.0.0.250", "clusterIPs": ["10.0.0.250"]}},
    )
    talk.put(f"{SERVICES}/a", {**made, "spec": {**made["spec"], "type": "NodePort"}})
    for spec in ({"type": "ClusterIP"}, {"type": "ExternalName", "externalName": "a.example"}):
        # Not who owns what: the real server goes on naming owners of what it has taken away itself.
        talk.say("PATCH", f"{SERVICES}/a", {"spec": spec}, STRATEGIC, look_at=lambda body: body["spec"])
    talk.patch(f"{SERVICES}/a/status", {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}})


def test_writes_that_change_nothing_make_no_version(talk: Talk) -> None:
    made = talk.post(CONFIGS, config("a", {"k": "v"})).json
    talk.put(f"{CONFIGS}/a", made)
    talk.put(f"{CONFIGS}/a", config("a", {"k": "v"}))
    talk.patch(f"{CONFIGS}/a", {})
    talk.patch(f"{CONFIGS}/a", {"data": {"k": "v"}})
    talk.patch(f"{CONFIGS}/a", [], JSON_PATCH)


def test_merge_patches(talk: Talk) -> None:
    talk.quietly(
        "POST",
        SERVICES,
        service(
            "a",
            spec={
                "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}],
                "selector": {"x": "1", "y": "2"},
            },
        ),
    )

    talk.patch(f"{SERVICES}/a", {"spec": {"selector": {"x": None, "z": "3"}}})
    talk.patch(f"{SERVICES}/a", {"spec": {"ports": [{"name": "c", "port": 82}]}})
    talk.patch(f"{SERVICES}/a", {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}})
    talk.patch(f"{SERVICES}/a", {"metadata": {"labels": None}})


def test_strategic_merge_patches(talk: Talk) -> None:
    talk.quietly(
        "POST",
        SERVICES,
        service(
            "a",
            spec={
                "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}],
                "selector": {"x": "1", "y": "2"},
            },
        ),
    )

    talk.patch(f"{SERVICES}/a", {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}, STRATEGIC)
    talk.patch(f"{SERVICES}/a", {"spec": {"ports": [{"name": "c", "port": 82}]}}, STRATEGIC)
    talk.patch(f"{SERVICES}/a", {"spec": {"ports": [{"port": 82, "$patch": "delete"}]}}, STRATEGIC)
    talk.patch(f"{SERVICES}/a", {"spec": {"$setElementOrder/ports": [{"port": 81}, {"port": 80}]}}, STRATEGIC)
    talk.patch(f"{SERVICES}/a", {"spec": {"ports": [{"$patch": "replace"}, {"port": 90}]}}, STRATEGIC)
    talk.patch(f"{SERVICES}/a", {"spec": {"selector": {"$patch": "replace", "q": "1"}}}, STRATEGIC)
    talk.patch(f"{SERVICES}/a", {"spec": {"ports": [{"name": "none"}]}}, STRATEGIC)
    talk.patch(f"{SERVICES}/a", {"metadata": {"finalizers": ["a.io/b"]}}, STRATEGIC)
    talk.patch(f"{SERVICES}/a", {"metadata": {"finalizers": ["a.io/c"]}}, STRATEGIC)
    talk.patch(
        f"{SERVICES}/a", {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a.io/b", "a.io/c"]}}, STRATEGIC
    )
    talk.quietly("POST", INGRESSES, ingress("a"))
    talk.patch(f"{INGRESSES}/a", {"spec": {"rules": [{"host": "b.example"}]}}, STRATEGIC)


def test_json_patches(talk: Talk) -> None:
    talk.quietly("POST", CONFIGS, config("a", {"k": "v"}, annotations={"x.io/y": "z"}))

    def op(kind: str, path: str, **more: object) -> None:
        talk.patch(f"{CONFIGS}/a", [{"op": kind, "path": path, **more}], JSON_PATCH)

    op("add", "/data/new", value="1")
    op("replace", "/data/k", value="2")
    op("replace", "/data/missing", value="2")
    op("remove", "/metadata/annotations/x.io~1y")
    op("remove", "/data/missing")
    op("move", "/data/moved", **{"from": "/data/k"})
    op("copy", "/data/copied", **{"from": "/data/moved"})
    op("test", "/data/moved", value="2")
    op("test", "/data/moved", value="3")
    op("odd", "/data/moved")
    op("add", "data/x", value="1")
    op("add", "/metadata/labels", value={"a": "b"})
    op("add", "/metadata/labels/c", value="d")
    op("add", "/metadata/finalizers/-", value="a.io/b")
    op("add", "/data/k")
    talk.patch(f"{CONFIGS}/a", {"op": "add"}, JSON_PATCH)


def test_dry_runs_leave_no_trace(talk: Talk) -> None:
    talk.post(f"{CONFIGS}?dryRun=All", config("a"))
    talk.get(f"{CONFIGS}/a")
    talk.post(f"{CONFIGS}?dryRun=Some", config("a"))
    talk.quietly("POST", CONFIGS, config("a"))
    talk.patch(f"{CONFIGS}/a?dryRun=All", {"data": {"k": "v"}})
    talk.delete(f"{CONFIGS}/a?dryRun=All")
    talk.get(f"{CONFIGS}/a")
    talk.post(f"{SERVICES}?dryRun=All", service("a"))


def test_objects_are_deleted(talk: Talk) -> None:
    for name in ("a", "b", "c", "d", "e"):
        talk.quietly("POST", CONFIGS, config(name))
    uid = talk.quietly("GET", f"{CONFIGS}/b")["metadata"]["uid"]

    talk.delete(f"{CONFIGS}/a")
    talk.delete(f"{CONFIGS}/b", {"preconditions": {"uid": "other"}})
    talk.delete(f"{CONFIGS}/b", {"preconditions": {"resourceVersion": "1"}})
    talk.delete(f"{CONFIGS}/b", {"preconditions": {"uid": uid}})
    talk.delete(f"{CONFIGS}/c", {"propagationPolicy": "Odd"})
    talk.delete(f"{CONFIGS}/d?propagationPolicy=Background")
    talk.delete(f"{CONFIGS}/e", {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]})
    talk.delete(f"{CONFIGS}/e", {"gracePeriodSeconds": 0})
    talk.quietly("POST", INGRESSES, ingress("a"))
    talk.delete(f"{INGRESSES}/a")
    talk.quietly("POST", SERVICES, service("a"))
    talk.delete(f"{SERVICES}/a")
    talk.quietly("POST", SECRETS, {"metadata": {"name": "a"}})
    talk.delete(f"{SECRETS}/a")
    talk.quietly("POST", LEASES, {"metadata": {"name": "a"}})
    talk.delete(f"{LEASES}/a")
    talk.quietly("POST", "/api/v1/namespaces/{ns}/serviceaccounts", {"metadata": {"name": "a"}})
    talk.delete("/api/v1/namespaces/{ns}/serviceaccounts/a")


def test_finalizers_hold_what_is_deleted(talk: Talk) -> None:
    talk.quietly("POST", CONFIGS, config("a", finalizers=["a.io/b"]))

    talk.delete(f"{CONFIGS}/a")
    talk.delete(f"{CONFIGS}/a")
    talk.patch(f"{CONFIGS}/a", {"metadata": {"finalizers": ["a.io/b", "a.io/c"]}})
    talk.patch(f"{CONFIGS}/a", {"data": {"k": "v"}})
    talk.post(CONFIGS, config("a"))
    talk.patch(f"{CONFIGS}/a", {"metadata": {"finalizers": None}})
    talk.get(f"{CONFIGS}/a")


def test_collections_are_deleted(talk: Talk) -> None:
    for name in ("a", "b", "c"):
        talk.quietly("POST", CONFIGS, config(name, labels={"n": name}))

    talk.delete(f"{CONFIGS}?labelSelector=n%3Da")
    talk.delete(f"{CONFIGS}?fieldSelector=metadata.name%3Db")
    talk.say("GET", CONFIGS, look_at=lambda body: [it["metadata"]["name"] for it in body["items"]])


def test_a_namespace_that_ends_takes_nothing_new(talk: Talk) -> None:
    other = f"{talk.namespace}-x"
    talk.quietly("POST", "/api/v1/namespaces", {"metadata": {"name": other, "finalizers": ["a.io/b"]}})
    try:
        talk.say(
            "DELETE",
            f"/api/v1/namespaces/{other}",
            look_at=lambda body: [body["kind"], body["status"], body["spec"]],
        )
        talk.post(f"/api/v1/namespaces/{other}/configmaps", config("a"))
        talk.delete("/api/v1/namespaces/default")
    finally:
        talk.quietly("PATCH", f"/api/v1/namespaces/{other}", {"metadata": {"finalizers": None}})


def test_names_are_generated(talk: Talk) -> None:
    made = talk.quietly("POST", CONFIGS, {"metadata": {"generateName": "a-"}})
    assert made["metadata"]["name"].startswith("a-")
    assert len(made["metadata"]["name"]) == 7


def test_series_of_events_go_on(talk: Talk) -> None:
    talk.quietly("POST", EVENTS, event(talk))
    series = {"count": 2, "lastObservedTime": "2026-01-01T00:30:00.000000Z"}

    talk.patch(f"{EVENTS}/web.1", {"series": series}, MERGE)
    talk.patch(f"{EVENTS}/web.1", {"series": {"count": 1}}, MERGE)
    talk.patch(f"{EVENTS}/web.1", {"note": "other"}, MERGE)
    talk.patch(f"{EVENTS}/web.1", {"regarding": {"name": "other"}}, MERGE)
    talk.post(EVENTS, event(talk))
    talk.get("/api/v1/namespaces/{ns}/events/web.1")
