"""What the real API server says of requests that make no sense, word for word."""

from __future__ import annotations

from ingresskit.testing.apiserver import Rule
from tests.cluster.recording import APPLY, JSON_PATCH, MERGE, STRATEGIC, Talk
from tests.cluster.scene import CONFIGS, INGRESSES, SERVICES, config, ingress, service


def test_paths_that_lead_nowhere(talk: Talk) -> None:
    for path in (
        "/nothing",
        "/api/v2",
        "/api/v1/nothing",
        "/apis/nothing",
        "/apis/nothing/v1",
        "/apis/networking.k8s.io/v9",
        "/apis/networking.k8s.io/v1/nothing",
        "/apis/networking.k8s.io/v9/ingresses",
        "/apis/networking.k8s.io/v1/namespaces/{ns}/ingressclasses",
        "/apis/networking.k8s.io/v1/ingresses/web",
        "/api/v1/namespaces/{ns}/configmaps/a/status",
        "/api/v1/namespaces/missing/configmaps",
        "/api/v1/namespaces/missing/configmaps/a",
        f"{INGRESSES}/web/scale",
    ):
        talk.get(path)


def test_methods_that_are_not_for_a_path(talk: Talk) -> None:
    for method, path in (
        ("POST", f"{CONFIGS}/a"),
        ("PUT", CONFIGS),
        ("PATCH", CONFIGS),
        ("POST", "/api/v1/configmaps"),
        ("DELETE", "/api/v1/configmaps"),
        ("DELETE", "/api/v1/namespaces"),
        ("OPTIONS", CONFIGS),
        ("POST", f"{INGRESSES}/web/status"),
        ("DELETE", f"{INGRESSES}/web/status"),
        ("POST", "/version"),
        ("POST", "/api"),
        ("HEAD", CONFIGS),
    ):
        talk.say(method, path, {} if method not in ("HEAD", "DELETE", "OPTIONS") else None)


def test_bodies_that_cannot_be_read(talk: Talk) -> None:
    talk.quietly("POST", CONFIGS, config("a"))

    for body in (
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"kind":"ConfigMap"}',
        b'{"apiVersion":"v1"}',
        b'{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}',
        b'{"apiVersion":"v9","kind":"ConfigMap","metadata":{"name":"x"}}',
        b'{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"x"}}',
        b'{"apiVersion":"v1","kind":"Nothing","metadata":{"name":"x"}}',
    ):
        talk.post(CONFIGS, body)
    talk.post(CONFIGS, b"metadata: {name: y}\n", "application/yaml")
    talk.post(CONFIGS, b"a: [", "application/yaml")
    talk.post(CONFIGS, b"{}", "text/plain")
    talk.post(CONFIGS, b"{}", "application/json; charset=utf-8")
    talk.patch(f"{CONFIGS}/a", b"{}", "application/json")
    talk.patch(f"{CONFIGS}/a", b"{}", "text/plain")
    for kind in (MERGE, STRATEGIC, JSON_PATCH, APPLY):
        talk.patch(f"{CONFIGS}/a?fieldManager=x", b"{", kind)
        talk.patch(f"{CONFIGS}/a?fieldManager=x", b"[1]", kind)


def test_forms_that_are_not_to_be_had(talk: Talk) -> None:
    talk.quietly("POST", CONFIGS, config("a"))

    for accept in (
        "*/*",
        "application/*",
        "application/xml,application/json",
        "text/html;q=0.9,*/*;q=0.1",
    ):
        talk.get(f"{CONFIGS}/a", accept=accept)


def test_names_that_do_not_match(talk: Talk) -> None:
    talk.quietly("POST", CONFIGS, config("a"))

    talk.put(f"{CONFIGS}/a", config("b"))
    talk.put(f"{CONFIGS}/a", config("a", namespace="default"))
    talk.post(CONFIGS, config("c", namespace="default"))
    talk.post(CONFIGS, config("a"))
    talk.post(CONFIGS, {"metadata": {}})
    talk.put(f"{CONFIGS}/missing", config("missing"))
    talk.patch(f"{CONFIGS}/missing", {"data": {"a": "b"}})
    talk.delete(f"{CONFIGS}/missing")
    talk.patch(f"{CONFIGS}/a", {"metadata": {"name": "b"}})
    talk.patch(f"{CONFIGS}/a", {"metadata": {"namespace": "default"}})
    talk.patch(f"{CONFIGS}/a", {"metadata": {"uid": "other"}})
    talk.patch(f"{CONFIGS}/a", {"metadata": {"resourceVersion": "1"}})
    talk.patch(f"{CONFIGS}/a", {"kind": "Secret"})
    talk.patch(f"{CONFIGS}/a", {"apiVersion": "v2"})
    talk.put(f"{CONFIGS}/a", config("a", resourceVersion="1"))
    talk.put(f"{CONFIGS}/a", config("a", resourceVersion="x"))
    talk.put(f"{CONFIGS}/a", config("a", uid="other"))
    talk.post("/api/v1/namespaces/missing/configmaps", config("a"))
    talk.post(CONFIGS, config("d", resourceVersion="1"))


def test_names_that_are_none(talk: Talk) -> None:
    for name in ("A", "a_b", "-a", "a-", "a..b", "a/b", "a" * 254, "ä", "", ".", "a b"):
        talk.post(CONFIGS, config(name))
    for name in ("A", "1a", "a.b", "a" * 64):
        talk.post(SERVICES, service(name))
    for name in ("A", "a.b", "a" * 64):
        talk.post("/api/v1/namespaces", {"metadata": {"name": name}})


def test_metadata_that_is_none(talk: Talk) -> None:
    for more in (
        {"labels": {"a": "b c"}},
        {"labels": {"-a": "b"}},
        {"labels": {"a/b/c": "d"}},
        {"labels": {"A_/b": "d"}},
        {"labels": {"a" * 64: "d"}},
        {"labels": {"a": "b" * 64}},
        {"annotations": {"a b": "c"}},
        {"annotations": {"A/b": "c"}},
        {"annotations": {"a": "c" * 262145}},
        {"finalizers": ["a"]},
        {"finalizers": ["a/b", "A B/c"]},
        {"generateName": "A_"},
        {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": ""}]},
        {"ownerReferences": [{"apiVersion": "v1", "kind": "", "name": "", "uid": "u"}]},
    ):
        talk.post(CONFIGS, config("a", **more))


def test_types_of_fields_are_checked(talk: Talk) -> None:
    talk.post(CONFIGS, {"metadata": {"name": "a"}, "data": {"k": 1}})
    talk.post(CONFIGS, {"metadata": {"name": "a"}, "data": []})
    talk.post(CONFIGS, {"metadata": {"name": "a", "labels": {"k": 1}}})
    talk.post(CONFIGS, {"metadata": {"name": 1}})
    talk.post(INGRESSES, ingress(spec={"rules": {}}))
    talk.post(INGRESSES, ingress(spec={"rules": [{"host": 1}]}))
    talk.post(SERVICES, service(spec={"ports": [{"port": "80"}]}))
    talk.post(SERVICES, service(spec={"ports": [{"port": 80.5}]}))
    talk.post(SERVICES, service(spec={"ports": [{"port": 80, "targetPort": True}]}))
    talk.patch(f"{CONFIGS}/a?fieldManager=x", config("a", {"k": 1}), APPLY)


def test_fields_nobody_knows(talk: Talk) -> None:
    odd = {**config("a"), "nothing": 1, "metadata": {"name": "a", "none": 2}}
    talk.post(f"{CONFIGS}?fieldValidation=Strict", odd)
    talk.post(f"{CONFIGS}?fieldValidation=Warn", odd)
    talk.quietly("DELETE", f"{CONFIGS}/a")
    talk.post(f"{CONFIGS}?fieldValidation=Ignore", odd)
    talk.quietly("DELETE", f"{CONFIGS}/a")
    talk.post(CONFIGS, odd)
    talk.post(f"{CONFIGS}?fieldValidation=Odd", config("b"))
    talk.patch(f"{CONFIGS}/a?fieldValidation=Strict", {"nothing": 1})
    talk.patch(f"{CONFIGS}/a", {"nothing": 1})
    talk.patch(f"{CONFIGS}/a?fieldManager=x", odd, APPLY)
    talk.post(f"{CONFIGS}?fieldValidation=Strict", b'{"metadata":{"name":"c"},"data":{"a":"1","a":"2"}}')


def test_rights_that_are_missing(talk: Talk) -> None:
    token = talk.server.token_for(
        "eve", [Rule(verbs=["get"], groups=[""], resources=["configmaps"], names=["a"])]
    )
    for method, path in (
        ("GET", CONFIGS),
        ("GET", f"{CONFIGS}/a"),
        ("GET", f"{CONFIGS}/b"),
        ("GET", f"{CONFIGS}?watch=1"),
        ("GET", f"{CONFIGS}?fieldSelector=metadata.name%3Da"),
        ("POST", CONFIGS),
        ("PATCH", f"{INGRESSES}/web/status"),
        ("GET", "/apis/networking.k8s.io/v1/ingressclasses"),
        ("GET", "/apis/networking.k8s.io/v1/ingresses"),
        ("DELETE", CONFIGS),
        ("GET", "/metrics"),
        ("GET", "/api/v1/namespaces/{ns}"),
    ):
        talk.say(method, path, {} if method in ("POST", "PATCH") else None, token=token)
    talk.get(CONFIGS, token="nobody")
    talk.get(CONFIGS, token="")


def test_times_are_in_one_form(talk: Talk) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases"
    for time in ("2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:00Z", "2026-01-01T02:00:00+02:00", "now", 5):
        body = {"metadata": {"name": "a"}, "spec": {"renewTime": time}}
        talk.post(leases, body)
        talk.say("DELETE", f"{leases}/a", look_at=lambda answer: answer["status"])
