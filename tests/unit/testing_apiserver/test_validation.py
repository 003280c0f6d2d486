"""What the server lets through: the rules of the API, each with what it says."""

from __future__ import annotations

import pytest

from ingresskit.testing.apiserver import ApiServer, Manifest, StatusError
from tests.unit.testing_apiserver.samples import config, ingress

PATHS = "spec.rules[0].http.paths[0]"
BACKEND: Manifest = {"service": {"name": "web", "port": {"number": 80}}}


def with_path(path: str | None, path_type: str | None, backend: Manifest | None = None) -> Manifest:
    entry: Manifest = {"path": path, "pathType": path_type, "backend": BACKEND if backend is None else backend}
    entry = {key: value for key, value in entry.items() if value is not None}
    return {"rules": [{"http": {"paths": [entry]}}]}


def with_host(host: str) -> Manifest:
    return {"rules": [{"host": host}]}


def created(spec: Manifest, annotations: dict[str, str] | None = None) -> Manifest:
    return ApiServer().create({**ingress("web", annotations=annotations or {}), "spec": spec})


NOTHING: Manifest = {}
NO_PATHS: Manifest = {"rules": [{"http": {"paths": list[Manifest]()}}]}


@pytest.mark.parametrize(
    ("spec", "field", "why"),
    [
        (NOTHING, "spec", "either `defaultBackend` or `rules` must be specified"),
        (with_path("/", None), f"{PATHS}.pathType", "pathType must be specified"),
        (
            with_path("/", "Regex"),
            f"{PATHS}.pathType",
            'supported values: "Exact", "ImplementationSpecific", "Prefix"',
        ),
        (with_path(None, "Prefix"), f"{PATHS}.path", "must be an absolute path"),
        (with_path("foo", "ImplementationSpecific"), f"{PATHS}.path", "must be an absolute path"),
        (with_path("/a//b", "Prefix"), f"{PATHS}.path", "must not contain '//'"),
        (with_path("/a/./b", "Exact"), f"{PATHS}.path", "must not contain '/./'"),
        (with_path("/a/../b", "Exact"), f"{PATHS}.path", "must not contain '/../'"),
        (with_path("/a%2fb", "Prefix"), f"{PATHS}.path", "must not contain '%2f'"),
        (with_path("/a%2Fb", "Prefix"), f"{PATHS}.path", "must not contain '%2F'"),
        (with_path("/a/.", "Prefix"), f"{PATHS}.path", "cannot end with '/.'"),
        (with_path("/a/..", "Prefix"), f"{PATHS}.path", "cannot end with '/..'"),
        (with_host("Foo.example"), "spec.rules[0].host", "is not a lowercase RFC 1123 subdomain"),
        (with_host("192.0.2.1"), "spec.rules[0].host", "must be a DNS name, not an IP address"),
        (with_host("a.example:80"), "spec.rules[0].host", "is not a lowercase RFC 1123 subdomain"),
        (with_host("*"), "spec.rules[0].host", "is not a wildcard DNS-1123 subdomain"),
        (with_host("a.*.example"), "spec.rules[0].host", "is not a wildcard DNS-1123 subdomain"),
        (with_path("/", "Prefix", NOTHING), f"{PATHS}.backend", "resource or service backend is required"),
        (
            with_path("/", "Prefix", {**BACKEND, "resource": {"kind": "B", "name": "b"}}),
            f"{PATHS}.backend",
            "cannot set both resource and service backends",
        ),
        (
            with_path("/", "Prefix", {"service": {"name": "web"}}),
            f"{PATHS}.backend",
            "port name or number is required",
        ),
        (
            with_path("/", "Prefix", {"service": {"name": "web", "port": {"name": "a", "number": 1}}}),
            f"{PATHS}.backend",
            "cannot set both port name & port number",
        ),
        (
            with_path("/", "Prefix", {"service": {"name": "web", "port": {"number": 70000}}}),
            f"{PATHS}.backend.service.port.number",
            "must be between 1 and 65535, inclusive",
        ),
        (NO_PATHS, "spec.rules[0].http.paths", "Required value"),
        ({**with_host("a.example"), "ingressClassName": "Bad_"}, "spec.ingressClassName", "RFC 1123 subdomain"),
        ({**with_host("a.example"), "tls": [{"hosts": ["A"]}]}, "spec.tls[0].hosts[0]", "RFC 1123 subdomain"),
        (
            {**with_host("a.example"), "tls": [{"secretName": "B_"}]},
            "spec.tls[0].secretName",
            "RFC 1123 subdomain",
        ),
    ],
)
def test_an_ingress_that_breaks_a_rule_is_422_with_the_field(spec: Manifest, field: str, why: str) -> None:
    with pytest.raises(StatusError) as caught:
        created(spec)

    error = caught.value
    assert (error.code, error.reason) == (422, "Invalid")
    assert error.message.startswith(f'Ingress.networking.k8s.io "web" is invalid: {field}: ')
    assert error.details is not None
    (cause,) = error.details["causes"]
    assert cause["field"] == field
    assert why in cause["message"]


@pytest.mark.parametrize(
    "spec",
    [
        with_path("/", "Prefix"),
        with_path("/a%20b/{x}.*$?#", "Exact"),
        with_path("/a//b/../%2f", "ImplementationSpecific"),
        with_path(None, "ImplementationSpecific"),
        with_host("a.example"),
        with_host("*.a.example"),
        {"defaultBackend": BACKEND},
        {"defaultBackend": {"resource": {"apiGroup": "a.io", "kind": "Bucket", "name": "b"}}},
        {
            **with_host("a.example"),
            "tls": [{}, {"hosts": list[str]()}, {"hosts": ["*.a.example"], "secretName": "tls"}],
        },
    ],
)
def test_an_ingress_that_keeps_the_rules_is_let_through(spec: Manifest) -> None:
    assert created(spec)["spec"] == spec


def test_class_and_annotation_must_agree_when_an_ingress_is_made() -> None:
    annotations = {"kubernetes.io/ingress.class": "a"}

    with pytest.raises(StatusError, match="must match `ingressClassName` when both are specified"):
        created({**with_host("a.example"), "ingressClassName": "b"}, annotations=annotations)

    assert created({**with_host("a.example"), "ingressClassName": "a"}, annotations=annotations)


def test_all_that_is_wrong_is_said_at_once() -> None:
    spec = {**with_host("Foo"), "ingressClassName": "Bad_"}

    with pytest.raises(StatusError) as caught:
        created(spec)

    assert caught.value.details is not None
    assert [cause["field"] for cause in caught.value.details["causes"]] == [
        "spec.rules[0].host",
        "spec.ingressClassName",
    ]
    assert "is invalid: [spec.rules[0].host: " in caught.value.message


@pytest.mark.parametrize(
    ("kind", "name", "part"),
    [
        ("ConfigMap", "", "name or generateName is required"),
        ("ConfigMap", "Web_1", "a lowercase RFC 1123 subdomain"),
        ("ConfigMap", "a" * 254, "must be no more than 253 characters"),
        ("Service", "a.b", "a lowercase RFC 1123 label"),
        ("Namespace", "a.b", "a lowercase RFC 1123 label"),
    ],
)
def test_names_keep_the_rule_of_their_kind(kind: str, name: str, part: str) -> None:
    manifest: Manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
    if kind == "Service":
        manifest["spec"] = {"ports": [{"port": 80}]}

    with pytest.raises(StatusError, match=part) as caught:
        ApiServer().create(manifest)

    assert caught.value.code == 422


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"labels": {"a b": "c"}}, "metadata.labels"),
        ({"labels": {"a": "b c"}}, "metadata.labels"),
        ({"annotations": {"a/b/c": "x"}}, "metadata.annotations"),
        ({"finalizers": ["unqualified"]}, "metadata.finalizers[0]"),
    ],
)
def test_labels_annotations_and_finalizers_are_checked(metadata: Manifest, field: str) -> None:
    with pytest.raises(StatusError) as caught:
        ApiServer().create(config("a", **metadata))

    assert caught.value.details is not None
    assert caught.value.details["causes"][0]["field"] == field


def test_the_controller_of_a_class_cannot_be_changed() -> None:
    server = ApiServer()
    manifest: Manifest = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": "ours"},
        "spec": {"controller": "example.com/ours"},
    }
    server.create(manifest)

    with pytest.raises(StatusError, match="field is immutable"):
        server.update({**manifest, "spec": {"controller": "example.com/theirs"}})
    with pytest.raises(StatusError, match="must be a domain-prefixed path"):
        server.create({**manifest, "metadata": {"name": "two"}, "spec": {"controller": "nginx"}})


def test_a_tls_secret_has_both_parts_and_keeps_its_type() -> None:
    server = ApiServer()
    secret: Manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "type": "kubernetes.io/tls",
    }

    with pytest.raises(StatusError, match=r"tls\.key"):
        server.create({**secret, "data": {"tls.crt": "YQ=="}})
    server.create({**secret, "data": {"tls.crt": "YQ==", "tls.key": "YQ=="}})
    with pytest.raises(StatusError, match="field is immutable"):
        server.update({**secret, "type": "Opaque"})
    with pytest.raises(StatusError, match="illegal base64 data"):
        server.update({**secret, "data": {"tls.crt": "%", "tls.key": "YQ=="}})


def test_what_is_immutable_stays() -> None:
    server = ApiServer()
    server.create({**config("a", data={"k": "v"}), "immutable": True})

    with pytest.raises(StatusError, match="field is immutable when `immutable` is set"):
        server.update({**config("a", data={"k": "w"}), "immutable": True})

    assert server.put({**config("a", data={"k": "v"}, labels={"x": "y"}), "immutable": True})


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"ports": []}, "spec.ports"),
        ({"ports": [{"port": 0}]}, "spec.ports[0].port"),
        ({"ports": [{"port": 1}, {"port": 2, "name": "b"}]}, "spec.ports[0].name"),
        ({"ports": [{"port": 1, "protocol": "X"}]}, "spec.ports[0].protocol"),
        ({"type": "Foo", "ports": [{"port": 1}]}, "spec.type"),
        ({"type": "ExternalName"}, "spec.externalName"),
    ],
)
def test_services_are_checked(spec: Manifest, field: str) -> None:
    with pytest.raises(StatusError) as caught:
        ApiServer().create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": spec})

    assert caught.value.details is not None
    assert field in [cause["field"] for cause in caught.value.details["causes"]]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"addressType": None}, "addressType"),
        ({"addressType": "IPv5"}, "addressType"),
        ({"endpoints": [{"addresses": list[str]()}]}, "endpoints[0].addresses"),
        ({"endpoints": [{"addresses": ["x"]}]}, "endpoints[0].addresses[0]"),
        ({"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]}, "ports[1].name"),
    ],
)
def test_endpoint_slices_are_checked(change: Manifest, field: str) -> None:
    good: Manifest = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "a"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"]}],
        "ports": [{"port": 80}],
    }
    server = ApiServer()
    assert server.create(good)["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]

    with pytest.raises(StatusError) as caught:
        server.create({**good, "metadata": {"name": "b"}, **change})

    assert caught.value.details is not None
    assert [cause["field"] for cause in caught.value.details["causes"]] == [field]


def test_addresses_in_the_status_of_an_ingress_are_checked() -> None:
    server = ApiServer()
    server.create(ingress("web"))
    entries = [{"ip": "1.2.3"}, {"hostname": "192.0.2.1"}]

    with pytest.raises(StatusError) as caught:
        server.update(
            {**ingress("web"), "status": {"loadBalancer": {"ingress": entries}}}, subresource="status"
        )

    assert caught.value.details is not None
    assert [cause["field"] for cause in caught.value.details["causes"]] == [
        "status.loadBalancer.ingress[0].ip",
        "status.loadBalancer.ingress[1].hostname",
    ]
