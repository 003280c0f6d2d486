"""Server-side apply and who owns what, word for word as the real API server has it."""

from __future__ import annotations

from ingresskit.testing.apiserver import Manifest
from tests.cluster.recording import APPLY, MERGE, STRATEGIC, Talk
from tests.cluster.scene import CONFIGS, EMPTY, INGRESSES, SERVICES, config, ingress, service

ADDRESS = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
OTHER = {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}]}}


def applied(talk: Talk, path: str, manager: str, body: Manifest, query: str = "") -> None:
    talk.patch(f"{path}?fieldManager={manager}{query}", body, APPLY)


def status(name: str, status: Manifest | None = None) -> Manifest:
    tree: Manifest = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name}}
    return tree if status is None else {**tree, "status": status}


def test_appliers_share_an_object(talk: Talk) -> None:
    path = f"{CONFIGS}/a"
    applied(talk, path, "one", config("a", {"x": "1", "y": "1"}))
    applied(talk, path, "one", config("a", {"x": "1", "y": "1"}))
    applied(talk, path, "two", config("a", {"y": "1", "z": "2"}))
    applied(talk, path, "two", config("a", {"x": "2", "y": "2"}))
    applied(talk, path, "two", config("a", {"x": "2", "y": "2"}), "&force=true")
    applied(talk, path, "one", config("a", {"x": "2"}))
    applied(talk, path, "two", config("a"))
    talk.patch(path, {"data": {"x": "3"}}, MERGE)
    applied(talk, path, "one", config("a", {"x": "4"}))
    applied(talk, path, "one", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
    talk.patch(path, {"metadata": {"managedFields": [EMPTY]}}, MERGE)


def test_statuses_are_applied_apart(talk: Talk) -> None:
    talk.quietly("POST", INGRESSES, ingress("a"))
    path = f"{INGRESSES}/a/status"

    applied(talk, path, "one", status("a", ADDRESS), "&force=false")
    applied(talk, path, "one", status("a", ADDRESS), "&force=false")
    applied(talk, path, "two", status("a", OTHER), "&force=false")
    applied(talk, path, "one", status("a", OTHER), "&force=false")
    applied(talk, path, "one", {**status("a", OTHER), "spec": {"ingressClassName": "x"}})
    applied(talk, f"{INGRESSES}/a", "one", {**status("a", ADDRESS), "spec": {"ingressClassName": "x"}})
    applied(talk, path, "one", status("a"))
    applied(talk, path, "one", status("a"))
    talk.patch(path, {"status": ADDRESS}, MERGE)
    applied(talk, path, "one", status("a", OTHER))
    applied(talk, path, "one", status("a", ADDRESS))
    applied(talk, f"{INGRESSES}/missing/status", "one", status("missing", ADDRESS))
    body = status("a", ADDRESS)
    body["metadata"]["uid"] = "other"
    applied(talk, path, "one", body)
    body["metadata"] = {"name": "a", "resourceVersion": "1"}
    applied(talk, path, "one", body)
    body["metadata"] = {"name": "b"}
    applied(talk, path, "one", body)


def test_items_of_lists_have_owners(talk: Talk) -> None:
    path = f"{SERVICES}/a"

    def ports(*ports: Manifest) -> Manifest:
        return service("a", spec={"ports": list(ports)})

    applied(talk, path, "one", ports({"name": "a", "port": 80}))
    applied(talk, path, "two", ports({"name": "b", "port": 81}))
    applied(talk, path, "two", ports({"name": "c", "port": 80}))
    applied(talk, path, "one", ports({"name": "a", "port": 80, "targetPort": 8080}))
    applied(talk, path, "two", ports({"name": "d", "port": 82}))
    applied(talk, path, "two", ports({"name": "d", "port": 82}, {"name": "e", "port": 82}))
    applied(talk, path, "one", service("a", spec={}))


def test_plain_writes_keep_the_book(talk: Talk) -> None:
    talk.post(
        f"{SERVICES}?fieldManager=maker",
        service(
            "a",
            spec={"ports": [{"port": 80}], "selector": {"x": "1"}},
            labels={"l": "1"},
            annotations={"n": "1"},
            finalizers=["a.io/b"],
        ),
    )
    talk.patch(f"{SERVICES}/a?fieldManager=other", {"spec": {"selector": {"y": "2"}}}, MERGE)
    talk.patch(
        f"{SERVICES}/a?fieldManager=other", {"metadata": {"labels": {"l": "2"}, "finalizers": None}}, STRATEGIC
    )
    talk.patch(f"{SERVICES}/a?fieldManager=third", {"spec": {"ports": [{"port": 80, "name": "x"}]}}, STRATEGIC)
    talk.patch(f"{SERVICES}/a/status?fieldManager=status", {"status": ADDRESS}, MERGE)
    talk.post(f"{INGRESSES}?fieldManager=maker", ingress("a", labels={"l": "1"}))
    talk.patch(f"{INGRESSES}/a?fieldManager=other", {"spec": {"tls": [{"hosts": ["a.example"]}]}}, MERGE)


def test_applies_that_make_no_sense(talk: Talk) -> None:
    path = f"{CONFIGS}/a"
    talk.patch(path, config("a"), APPLY)
    applied(talk, path, "x" * 129, config("a"))
    applied(talk, path, "x", {"metadata": {"name": "a"}})
    applied(talk, path, "x", {"apiVersion": "v1", "kind": "ConfigMap"})
    applied(talk, path, "x", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}})
    applied(talk, path, "x", config("b"))
    applied(talk, path, "x", config("a", managedFields=[{"manager": "x"}]))
    applied(talk, path, "x", config("a", resourceVersion="5"))
    applied(talk, path, "x", config("a", uid="u"))
    talk.patch(f"{path}?force=true", {"data": {}}, MERGE)
    applied(talk, path, "x", config("a"), "&dryRun=All")
    applied(talk, path, "x", config("a", namespace="default"))
    talk.patch(
        f"{path}?fieldManager=x",
        b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n",
        APPLY,
    )


def test_the_first_to_apply_takes_nothing_from_who_is_not_known(talk: Talk) -> None:
    path = f"{CONFIGS}/a"
    talk.quietly("POST", CONFIGS, config("a"))
    talk.patch(path, {"data": {"x": "1", "y": "1"}}, MERGE)
    applied(talk, path, "one", config("a", {"x": "2"}))
    applied(talk, path, "one", config("a", {"x": "2"}), "&force=true")
    applied(talk, path, "one", config("a", {"z": "3"}))


def test_labels_and_finalizers_are_applied(talk: Talk) -> None:
    path = f"{CONFIGS}/a"
    applied(talk, path, "one", config("a", labels={"a": "1", "b": "1"}, finalizers=["a.io/x"]))
    applied(talk, path, "two", config("a", labels={"b": "1", "c": "1"}, finalizers=["a.io/y"]))
    applied(talk, path, "one", config("a", labels={"a": "2"}))
    applied(talk, path, "two", config("a", annotations={"k": "v"}))
    applied(talk, path, "two", config("a", labels={"a": "3"}))
