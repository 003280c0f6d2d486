from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from ingresskit.errors import DecodeError
from ingresskit.models import (
    KINDS,
    ConfigMap,
    Endpoints,
    EndpointSlice,
    Ingress,
    IngressClass,
    KubeObject,
    Namespace,
    ObjectKey,
    Secret,
    Service,
    age_order,
    decode,
    decode_any,
)

V1 = "networking.k8s.io/v1"


def tree(kind: str, version: str, **parts: object) -> dict[str, object]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "web", "namespace": "shop"}, **parts}


def ingress(**spec: object) -> dict[str, object]:
    return tree("Ingress", V1, spec=spec)


def with_metadata(**metadata: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", **metadata}}


def packed(value: object) -> bytes:
    """JSON as the API server writes it."""
    return json.dumps(value, separators=(",", ":")).encode()


def read(value: Mapping[str, object]) -> KubeObject:
    found = decode_any(value)
    assert found is not None
    return found


# The forms of Ingress


OLD_RULE = {
    "host": "a.test",
    "http": {"paths": [{"path": "/x", "backend": {"serviceName": "s", "servicePort": 80}}]},
}


@pytest.mark.parametrize("version", ["extensions/v1beta1", "networking.k8s.io/v1beta1"])
def test_an_old_ingress_reads_as_a_new_one(version: str) -> None:
    old = tree(
        "Ingress", version, spec={"backend": {"serviceName": "d", "servicePort": "http"}, "rules": [OLD_RULE]}
    )

    found = read(old)

    assert found == read(
        ingress(
            defaultBackend={"service": {"name": "d", "port": {"name": "http"}}},
            rules=[
                {
                    "host": "a.test",
                    "http": {
                        "paths": [
                            {
                                "path": "/x",
                                "pathType": "ImplementationSpecific",
                                "backend": {"service": {"name": "s", "port": {"number": 80}}},
                            }
                        ]
                    },
                }
            ],
        )
    )


@pytest.mark.parametrize(
    ("port", "number", "name"),
    [
        pytest.param(80, 80, None, id="a number"),
        pytest.param("http", None, "http", id="a name"),
        pytest.param("80", 80, None, id="digits as text"),
        pytest.param("1" * 5000, None, "1" * 5000, id="more digits than a number may have"),
        pytest.param(0, None, None, id="zero is none"),
        pytest.param(None, None, None, id="null is none"),
    ],
)
def test_a_service_port_of_an_old_ingress_is_a_number_or_a_name(
    port: object, number: int | None, name: str | None
) -> None:
    old = tree("Ingress", "extensions/v1beta1", spec={"backend": {"serviceName": "d", "servicePort": port}})

    found = decode(Ingress, old)

    assert found.spec.default_backend is not None
    assert found.spec.default_backend.service is not None
    assert found.spec.default_backend.service.port.number == number
    assert found.spec.default_backend.service.port.name == name


def test_the_path_type_of_an_old_ingress_is_kept() -> None:
    path = {"path": "/", "pathType": "Exact", "backend": {"serviceName": "s", "servicePort": 80}}
    old = tree("Ingress", "networking.k8s.io/v1beta1", spec={"rules": [{"http": {"paths": [path]}}]})

    found = decode(Ingress, old)

    assert found.spec.rules[0].http is not None
    assert found.spec.rules[0].http.paths[0].path_type == "Exact"


@pytest.mark.parametrize("version", [V1, "networking.k8s.io/v1beta1", "extensions/v1beta1"])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["compact", "spaced"])
@pytest.mark.parametrize("first", ["kind", "apiVersion", "metadata"])
def test_bytes_and_parsed_input_read_alike_however_they_are_written(
    version: str, separators: tuple[str, str], first: str
) -> None:
    value = tree("Ingress", version, spec={"ingressClassName": "mine", "rules": [{"host": "a.test"}]})
    ordered = {first: value[first], **value}

    raw = json.dumps(ordered, separators=separators)

    assert decode(Ingress, raw.encode()) == decode(Ingress, raw) == decode(Ingress, value) == decode_any(value)


# The other kinds


def test_an_ingress_class_has_a_controller_and_parameters() -> None:
    spec = {
        "controller": "ingresskit.dev/x",
        "parameters": {"kind": "Settings", "name": "s", "scope": "Cluster"},
    }
    found = decode(IngressClass, {"metadata": {"name": "mine"}, "spec": spec})

    assert found.key == ObjectKey("", "mine")
    assert found.spec.controller == "ingresskit.dev/x"
    assert found.spec.parameters is not None
    assert (found.spec.parameters.kind, found.spec.parameters.scope) == ("Settings", "Cluster")


def test_a_service_has_ports_and_a_cluster_ip() -> None:
    ports = [
        {"name": "http", "port": 80, "targetPort": "web", "appProtocol": "kubernetes.io/h2c", "nodePort": 30080}
    ]
    found = decode(
        Service, tree("Service", "v1", spec={"type": "NodePort", "clusterIP": "None", "ports": ports})
    )

    assert (found.spec.type, found.spec.cluster_ip) == ("NodePort", "None")
    assert found.spec.ports[0].app_protocol == "kubernetes.io/h2c"
    assert found.spec.ports[0].node_port == 30080


def test_an_old_slice_keeps_its_zone_in_the_topology() -> None:
    endpoint = {"addresses": ["10.0.0.1"], "topology": {"topology.kubernetes.io/zone": "z1"}, "nodeName": "n"}
    old = tree("EndpointSlice", "discovery.k8s.io/v1beta1", endpoints=[endpoint], ports=[{"port": 80}])

    found = decode(EndpointSlice, packed(old))

    assert type(found) is EndpointSlice
    assert (found.endpoints[0].zone, found.endpoints[0].node_name) == ("z1", "n")
    assert found.ports[0].port == 80


def test_conditions_that_are_not_stated_are_unknown() -> None:
    endpoints = [{"addresses": ["10.0.0.1"], "conditions": {"ready": None}}, {"addresses": ["10.0.0.2"]}]
    found = decode(EndpointSlice, tree("EndpointSlice", "discovery.k8s.io/v1", endpoints=endpoints))

    first, second = found.endpoints
    assert first.conditions is not None
    assert first.conditions.ready is None
    assert second.conditions is None


def test_a_slice_belongs_to_the_service_of_its_label() -> None:
    labelled = {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}}

    assert decode(EndpointSlice, {"metadata": labelled}).service == ObjectKey("shop", "web")
    assert decode(EndpointSlice, {"metadata": {"name": "x"}}).service is None


def test_endpoints_have_subsets_of_ready_and_other_addresses() -> None:
    subset = {
        "addresses": [{"ip": "10.0.0.1", "nodeName": "n"}],
        "notReadyAddresses": [{"ip": "10.0.0.2"}],
        "ports": [{"name": "http", "port": 80}],
    }
    found = decode(Endpoints, tree("Endpoints", "v1", subsets=[subset]))

    assert [item.ip for item in found.subsets[0].addresses] == ["10.0.0.1"]
    assert [item.ip for item in found.subsets[0].not_ready_addresses] == ["10.0.0.2"]


def test_a_secret_holds_bytes() -> None:
    found = decode(
        Secret, tree("Secret", "v1", type="kubernetes.io/tls", data={"a": "aGVs\n bG8=", "empty": ""})
    )

    assert found.type == "kubernetes.io/tls"
    assert found.data == {"a": b"hello", "empty": b""}


@pytest.mark.parametrize("as_bytes", [True, False], ids=["bytes", "parsed"])
def test_string_data_overrides_data_as_on_writing(as_bytes: bool) -> None:
    value = tree("Secret", "v1", data={"a": "b2xk", "b": "b2xk"}, stringData={"a": "new", "c": "ü"})

    found = decode(Secret, packed(value) if as_bytes else value)

    assert found.data == {"a": b"new", "b": b"old", "c": "ü".encode()}


def test_a_config_map_and_a_namespace_are_read() -> None:
    assert decode(ConfigMap, tree("ConfigMap", "v1", data={"a": "b"}, binaryData={"c": "!"})).data == {"a": "b"}
    assert decode(Namespace, {"metadata": {"name": "shop", "labels": {"a": "b"}}}).metadata.labels == {"a": "b"}


def test_kinds_are_listed_by_name() -> None:
    names = [kind.kind for kind in KINDS]

    assert names == sorted(names)


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("apps/v1", "Deployment"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
        ("v1", "Pod"),
        ("example.com/v1", "Service"),
        ("config.openshift.io/v1", "Ingress"),
    ],
)
def test_kinds_and_versions_that_are_not_read_are_none(version: str, kind: str) -> None:
    assert decode_any(tree(kind, version)) is None


@pytest.mark.parametrize(
    ("version", "kind", "fault"),
    [
        (
            "networking.k8s.io/v2",
            "Ingress",
            "apiVersion: must be networking.k8s.io/v1, not 'networking.k8s.io/v2'",
        ),
        ("extensions/v1", "Ingress", "apiVersion: must be networking.k8s.io/v1, not 'extensions/v1'"),
        ("v1", "Ingress", "apiVersion: must be networking.k8s.io/v1, not 'v1'"),
        ("networking.k8s.io/v1", "Service", "apiVersion: must be v1, not 'networking.k8s.io/v1'"),
        ("v2", "Service", "apiVersion: must be v1, not 'v2'"),
        (
            "discovery.k8s.io/v1alpha1",
            "EndpointSlice",
            "must be discovery.k8s.io/v1, not 'discovery.k8s.io/v1a",
        ),
        ("networking.k8s.io/v1", "ingress", "kind: must be Ingress, not 'ingress'"),
        ("v1", "ConfigMAP", "kind: must be ConfigMap, not 'ConfigMAP'"),
        ("networking.k8s.io/v\n", "Ingress", "not 'networking.k8s.io/v\\n'"),
    ],
)
def test_a_kind_that_is_read_in_a_form_that_is_not_is_a_mistake(version: str, kind: str, fault: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_any(tree(kind, version))

    assert fault in str(caught.value)


def test_unknown_fields_are_passed_over() -> None:
    assert decode(Ingress, ingress(future=1)) == decode(Ingress, ingress())


def test_objects_travel_between_processes() -> None:
    found = decode(Ingress, ingress(rules=[{"host": "a.test"}]))

    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - our own bytes


# Nulls and times


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(tree("Ingress", V1, spec=None), id="spec"),
        pytest.param(ingress(rules=None, tls=None, defaultBackend=None), id="lists"),
        pytest.param({**ingress(), "status": None}, id="an unknown field"),
        pytest.param(
            {
                **ingress(),
                "metadata": {"name": "web", "namespace": "shop", "labels": None, "annotations": None},
            },
            id="maps",
        ),
        pytest.param(
            {
                **ingress(),
                "metadata": {"name": "web", "namespace": "shop", "creationTimestamp": None, "generation": None},
            },
            id="scalars",
        ),
    ],
)
def test_null_means_absent(value: dict[str, object]) -> None:
    assert decode(Ingress, packed(value)) == decode(Ingress, value) == decode(Ingress, ingress())


def test_null_lists_of_a_slice_are_empty() -> None:
    found = decode(EndpointSlice, tree("EndpointSlice", "discovery.k8s.io/v1", endpoints=None, ports=None))

    assert (found.endpoints, found.ports) == ((), ())


def test_a_null_annotation_is_the_empty_text_and_does_not_vanish() -> None:
    found = decode(Service, with_metadata(annotations={"ingresskit.dev/allow-sources": None}))

    assert found.metadata.annotations == {"ingresskit.dev/allow-sources": ""}


def test_null_data_of_a_secret_is_empty() -> None:
    assert decode(Secret, tree("Secret", "v1", data=None)).data == {}
    assert decode(Secret, tree("Secret", "v1", data={"a": None})).data == {"a": b""}


@pytest.mark.parametrize(
    "text",
    ["2024-01-31T12:00:00Z", "2024-01-31T13:00:00+01:00", "2024-01-31T12:00:00.000000Z", "2024-01-31T12:00:00"],
)
def test_a_time_has_a_zone(text: str) -> None:
    found = decode(Service, with_metadata(creationTimestamp=text)).metadata.creation_timestamp

    assert found == datetime(2024, 1, 31, 12, tzinfo=UTC)


def test_the_older_object_comes_first_and_one_without_a_time_last() -> None:
    old = decode(Service, with_metadata(namespace="z", creationTimestamp="2020-01-01T00:00:00Z"))
    new = decode(Service, with_metadata(namespace="a", creationTimestamp="2021-01-01T00:00:00Z"))
    tie = decode(Service, with_metadata(namespace="b", creationTimestamp="2021-01-01T00:00:00Z"))
    never = decode(Service, with_metadata(namespace="0"))

    assert sorted([never, tie, new, old], key=age_order) == [old, new, tie, never]


# What is refused


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        pytest.param(b"", "Object (no name): is not JSON: EOF while parsing", id="nothing"),
        pytest.param(b"\xff\xfe", "Object (no name): is not JSON", id="bytes that are no text"),
        pytest.param(b'{"a": NaN}', "Object (no name): is not JSON", id="not a number"),
        pytest.param(b"[" * 5000, "Object (no name): is not JSON: recursion limit", id="nested too deep"),
        pytest.param(b"9" * 5000, "Object (no name): is not JSON: number out of range", id="a number too long"),
        pytest.param(b'"\\ud800"', "Object (no name): is not JSON", id="half a surrogate pair"),
        pytest.param("\ud800", "Object (no name): is not text", id="half a surrogate pair in text"),
        pytest.param(b"[]", "Object (no name): must be a map, not a list", id="a list"),
        pytest.param(b"null", "Object (no name): must be a map, not null", id="null"),
        pytest.param({}, "Object (no name): apiVersion: is missing", id="an empty map"),
        pytest.param({"apiVersion": "v1"}, "Object (no name): kind: is missing", id="no kind"),
        pytest.param(
            {"apiVersion": "v1", "kind": 5}, "Object (no name): kind: must be text", id="a number as kind"
        ),
        pytest.param(
            {"apiVersion": 1, "kind": "X"}, "X (no name): apiVersion: must be text", id="a number as version"
        ),
        pytest.param(
            {"apiVersion": "v1", "kind": "Service"}, "Service (no name): metadata: is missing", id="no metadata"
        ),
        pytest.param(
            {"apiVersion": "v1", "kind": "Service", "metadata": None},
            "Service (no name): metadata: is missing",
            id="null metadata",
        ),
        pytest.param(
            {"apiVersion": "v1", "kind": "Service", "metadata": []},
            "Service (no name): metadata: must be a map",
            id="a list as metadata",
        ),
        pytest.param(
            with_metadata(name=None), "Service (no name): metadata.name: is missing", id="a null name"
        ),
        pytest.param(
            with_metadata(name=""), "Service (no name): metadata.name: must be a name", id="an empty name"
        ),
        pytest.param(
            with_metadata(name="a/b"), "Service a/b: metadata.name: must be a name", id="a slash in a name"
        ),
        pytest.param(
            with_metadata(name=".."), "Service ..: metadata.name: must be a name", id="dots as a name"
        ),
        pytest.param(
            with_metadata(name="a\nb"),
            "Service a\\nb: metadata.name: must be a name",
            id="a line break in a name",
        ),
        pytest.param(
            with_metadata(name="a b"), "Service a b: metadata.name: must be a name", id="a space in a name"
        ),
        pytest.param(
            with_metadata(name="x" * 254), "metadata.name: must be a name of at most 253", id="a name too long"
        ),
        pytest.param(
            with_metadata(namespace="a/b"),
            "Service a/b/web: metadata.namespace: must be a name",
            id="a slash in a namespace",
        ),
        pytest.param(
            with_metadata(annotations={"a": 5}),
            "Service web: metadata.annotations[a]: must be text (in YAML, put it in quotes)",
            id="a number as an annotation",
        ),
        pytest.param(
            with_metadata(annotations={"a\nb": "x"}),
            "Service web: metadata.annotations[a\\nb]: is a key with a space or a control character",
            id="a line break in a key",
        ),
        pytest.param(
            with_metadata(annotations={"int": 5}),
            "metadata.annotations[int]: must be text",
            id="a key called int",
        ),
        pytest.param(
            with_metadata(creationTimestamp="yesterday"),
            "metadata.creationTimestamp: must be a time, such as",
            id="no time",
        ),
        pytest.param(
            with_metadata(generation=1.5), "metadata.generation: must be a whole number", id="a fraction"
        ),
        pytest.param(
            with_metadata(generation=float("inf")), "metadata.generation: must be a whole number", id="infinity"
        ),
        pytest.param(
            with_metadata(labels={"a": "\ud800"}), "holds a value that JSON cannot", id="half a character"
        ),
        pytest.param(
            ingress(rules=[{}, {"host": 5, "http": {"paths": 5}}]),
            "Ingress shop/web: spec.rules[1].host: must be text (in YAML, put it in quotes) (and 1 more fault)",
            id="two faults",
        ),
        pytest.param(ingress(rules=[None]), "spec.rules[0]: must be a map", id="null in a list"),
        pytest.param(
            ingress(rules=[{"http": {"paths": [{"backend": None}]}}]),
            "spec.rules[0].http.paths[0].backend: is missing",
            id="a null backend",
        ),
        pytest.param(
            ingress(defaultBackend={"service": {"name": "a", "port": {"number": "80"}}}),
            "spec.defaultBackend.service.port.number: must be a whole number",
            id="text as a port number",
        ),
        pytest.param(
            tree("Ingress", "extensions/v1beta1", spec={"backend": {"serviceName": "a", "servicePort": []}}),
            "spec.backend.servicePort: must be a whole number",
            id="a list as an old port",
        ),
        pytest.param(
            tree("EndpointSlice", "discovery.k8s.io/v1", endpoints=[{"conditions": {"ready": "yes"}}]),
            "EndpointSlice shop/web: endpoints[0].conditions.ready: must be true or false",
            id="text as a condition",
        ),
        pytest.param(
            tree("Secret", "v1", data=[]), "Secret shop/web: data: must be a map", id="a list as data"
        ),
        pytest.param(
            tree("EndpointSlice", "discovery.k8s.io/v1beta1", endpoints=[{"topology": {"a\nb": 5}}]),
            "endpoints[0].topology[a\\nb]: is a key with",
            id="a number in an old topology",
        ),
        pytest.param(
            tree("Secret", "v1", stringData=5),
            "stringData: must be a map, not a number",
            id="a number as string data",
        ),
        pytest.param(tree("Secret", "v1", data={"a key": "!"}), "data[a key]: is not base64", id="no base64"),
    ],
)
def test_a_bad_object_is_one_sentence_that_names_the_field(
    value: bytes | str | Mapping[str, object], sentence: str
) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_any(value)

    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_object_of_another_kind_is_refused() -> None:
    value = tree("Service", "v1", ports=[{"kind": "Ingress"}])

    for raw in (value, packed(value)):
        with pytest.raises(DecodeError, match="Ingress shop/web: kind: must be Ingress"):
            decode(Ingress, raw)


def test_the_location_is_part_of_the_sentence() -> None:
    with pytest.raises(DecodeError) as caught:
        decode(Ingress, ingress(rules=5), location="shop/web.yaml, document 2")

    assert str(caught.value) == "Ingress shop/web (shop/web.yaml, document 2): spec.rules: must be a list"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"data": {"a": "hunter2!"}}, id="no base64"),
        pytest.param({"data": {"a": ["hunter2!"]}}, id="a list"),
        pytest.param({"data": "hunter2!"}, id="text as data"),
        pytest.param({"stringData": "hunter2!"}, id="text as string data"),
        pytest.param({"stringData": {"a": {"hunter2!": 1}}}, id="a map as a value"),
        pytest.param({"stringData": {"a": "hunter2!\ud800"}}, id="half a character"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_no_error_about_a_secret_repeats_a_value(value: dict[str, object]) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_any(tree("Secret", "v1", **value))

    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in str(error)
        assert "hunter2" not in repr(error)
        error = error.__context__


def test_a_secret_shows_no_value() -> None:
    found = decode(Secret, tree("Secret", "v1", stringData={"a": "hunter2!"}))

    assert "hunter2" not in repr(found)
    assert "hunter2" not in str(found)
