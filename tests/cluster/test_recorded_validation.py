"""What the real API server refuses, by kind, word for word."""

from __future__ import annotations

from ingresskit.testing.apiserver import Manifest
from tests.cluster.recording import MERGE, Talk
from tests.cluster.scene import (
    CONFIGS,
    EMPTY,
    INGRESSES,
    SECRETS,
    SERVICES,
    SLICES,
    backend,
    config,
    ingress,
    one_path,
    service,
)
from tests.cluster.test_recorded_writes import EVENTS, LEASES, event

CLASSES = "/apis/networking.k8s.io/v1/ingressclasses"


def test_ingresses_that_are_refused(talk: Talk) -> None:
    def refused(spec: object, annotations: object = None) -> None:
        talk.post(f"{INGRESSES}?dryRun=All", {**ingress(annotations=annotations), "spec": spec})

    refused({})
    refused(None)
    refused({"rules": []})
    for host in (
        "Foo",
        "*",
        "*.",
        "a..b",
        "-a",
        "192.0.2.1",
        "2001:db8::1",
        "a.example:80",
        "*.*.b",
        "a.*.b",
        "a" * 254,
        "a" * 64,
        "a.example.",
        "ä.example",
        "_a.b",
        "*.a.example",
        " a",
        "",
    ):
        refused({"rules": [{"host": host}]})
    refused({"rules": [{"http": {"paths": list[Manifest]()}}]})
    refused({"rules": [{"http": EMPTY}]})
    for kind in ("Prefix", "Exact", "ImplementationSpecific"):
        for path in (
            "",
            "a",
            "/",
            "//",
            "/a//b",
            "/./",
            "/a/.",
            "/../",
            "/a/..",
            "/a%2fb",
            "/a%2Fb",
            "/a?b",
            "/a b",
            "/ä",
            "/(.*)",
            "*",
            None,
        ):
            refused({"rules": [{"http": {"paths": [one_path(path, kind)]}}]})
    refused({"rules": [{"http": {"paths": [one_path(path_type=None)]}}]})
    refused({"rules": [{"http": {"paths": [one_path(path_type="")]}}]})
    refused({"rules": [{"http": {"paths": [one_path(path_type="prefix")]}}]})
    refused({"rules": [{"http": {"paths": [{"pathType": "Prefix", "backend": backend()}]}}]})
    refused({"rules": [{"http": {"paths": [{"pathType": "Prefix", "path": "/"}]}}]})
    resource = {"apiGroup": "example.com", "kind": "Bucket", "name": "b"}
    backends: list[Manifest] = [
        {},
        {"service": {}},
        {"service": {"name": "w"}},
        {"service": {"name": "", "port": {"number": 80}}},
        {"service": {"name": "W", "port": {"number": 80}}},
        {"service": {"name": "1a", "port": {"number": 80}}},
        {"service": {"name": "a.b", "port": {"number": 80}}},
        backend(number=0),
        backend(number=65536),
        backend(number=-1),
        backend(name="http", number=80),
        backend(name="Http"),
        backend(name="a" * 16),
        backend(name="80"),
        backend(name="a--b"),
        backend(name="-a"),
        backend(name="a_b"),
        {"resource": resource},
        {"resource": {"kind": "", "name": ""}},
        {"resource": {"kind": "a/b", "name": "c%d"}},
        {"resource": {"apiGroup": "A_", "kind": "B", "name": "c"}},
        {"resource": resource, **backend()},
    ]
    for wanted in backends:
        refused({"rules": [{"http": {"paths": [one_path(to=wanted)]}}]})
        refused({"defaultBackend": wanted})
    refused({"defaultBackend": None})
    for tls in (
        {},
        {"hosts": ["Foo"]},
        {"hosts": ["*"]},
        {"hosts": ["*.a.example", "a.example"]},
        {"hosts": ["192.0.2.1"]},
        {"hosts": [""]},
        {"secretName": "B_"},
        {"secretName": ""},
        {"secretName": "a/b"},
        {"secretName": "a.b"},
    ):
        refused({"defaultBackend": backend(), "tls": [tls]})
    for name in ("", "B_", "a.b", "a/b"):
        refused({"defaultBackend": backend(), "ingressClassName": name})
    for value in ("a", "b", "", "B_"):
        refused(
            {"defaultBackend": backend(), "ingressClassName": "a"},
            annotations={"kubernetes.io/ingress.class": value},
        )
        refused({"defaultBackend": backend()}, annotations={"kubernetes.io/ingress.class": value})
    refused(
        {
            "rules": [{"host": "A"}, {"host": "B", "http": {"paths": [one_path("a", "Odd", {})]}}],
            "tls": [{"secretName": "C_"}],
        }
    )


def test_changes_of_an_ingress_that_are_refused(talk: Talk) -> None:
    talk.quietly("POST", INGRESSES, ingress("a", annotations={"kubernetes.io/ingress.class": "x"}))

    talk.patch(f"{INGRESSES}/a", {"spec": {"ingressClassName": "y"}})
    talk.patch(f"{INGRESSES}/a", {"spec": {"rules": None}})
    talk.patch(f"{INGRESSES}/a", {"spec": {"rules": [{"host": "A"}]}})


def test_statuses_of_ingresses_that_are_refused(talk: Talk) -> None:
    talk.quietly("POST", INGRESSES, ingress("a"))
    for entry in (
        {},
        {"ip": "x"},
        {"ip": "192.0.2.01"},
        {"ip": "::ffff:192.0.2.1"},
        {"ip": "2001:DB8::1"},
        {"ip": ""},
        {"hostname": "192.0.2.1"},
        {"hostname": "A.example"},
        {"hostname": "a.example."},
        {"hostname": "a_b"},
        {"hostname": "*.a.example"},
        {"ip": "192.0.2.1", "hostname": "a.example"},
        {"ip": "192.0.2.1", "ports": [{"port": 0, "protocol": "TCP"}]},
        {"ip": "192.0.2.1", "ports": [{"port": 80, "protocol": "ODD"}]},
        {"ip": "192.0.2.1", "ports": [{"port": 80}]},
        {"ip": "192.0.2.1", "ports": [{"port": 80, "protocol": "TCP", "error": "a b"}]},
        {"ip": "192.0.2.1", "ipMode": "VIP"},
    ):
        talk.patch(f"{INGRESSES}/a/status", {"status": {"loadBalancer": {"ingress": [entry]}}}, MERGE)


def test_ingress_classes_that_are_refused(talk: Talk) -> None:
    def refused(spec: object, name: str = "a") -> None:
        talk.post(f"{CLASSES}?dryRun=All", {"metadata": {"name": name}, "spec": spec})

    for controller in (
        "",
        "a",
        "a/b",
        "a.b/c",
        "A/b",
        "a/",
        "/a",
        "a/b/c",
        "a/b c",
        "a_b/c",
        "a" * 251,
        "a/" + "b" * 248,
        "a/B_",
        "a/%",
    ):
        refused({"controller": controller})
    refused({})
    refused(None)
    refused({"controller": "a/b"}, name="A")
    for parameters in (
        {},
        {"kind": "K", "name": "n"},
        {"kind": "K", "name": "n", "scope": "Odd"},
        {"kind": "K", "name": "n", "scope": ""},
        {"kind": "K", "name": "n", "scope": "Namespace"},
        {"kind": "K", "name": "n", "scope": "Namespace", "namespace": "A_"},
        {"kind": "K", "name": "n", "scope": "Namespace", "namespace": "a"},
        {"kind": "K", "name": "n", "scope": "Cluster", "namespace": "a"},
        {"apiGroup": "A_", "kind": "K", "name": "n"},
        {"kind": "a/b", "name": "c%d"},
    ):
        refused({"controller": "a/b", "parameters": parameters})
    name = f"{talk.namespace}-c"
    talk.quietly("POST", CLASSES, {"metadata": {"name": name}, "spec": {"controller": "a/b"}})
    talk.patch(f"{CLASSES}/{name}", {"spec": {"controller": "a/c"}})
    talk.patch(f"{CLASSES}/{name}", {"spec": {"parameters": {"kind": "K", "name": "n"}}})
    talk.quietly("DELETE", f"{CLASSES}/{name}")


def test_services_that_are_refused(talk: Talk) -> None:
    def refused(**spec: object) -> None:
        talk.post(f"{SERVICES}?dryRun=All", service(spec={"ports": [{"port": 80}], **spec}))

    refused(ports=[])
    refused(ports=None)
    refused(ports=[], clusterIP="None")
    refused(ports=[], type="ExternalName")
    refused(type="ExternalName", externalName="A_")
    refused(type="ExternalName", externalName="a.example.")
    refused(type="ExternalName", externalName="a.example", clusterIP="None")
    refused(type="Odd")
    refused(sessionAffinity="Odd")
    refused(externalIPs=["x"])
    refused(externalIPs=["127.0.0.1"])
    refused(externalTrafficPolicy="Local")
    refused(internalTrafficPolicy="Odd")
    refused(clusterIP="x")
    refused(clusterIP="192.0.2.1")
    refused(selector={"a b": "c"})
    refused(loadBalancerIP="x")
    refused(loadBalancerSourceRanges=["x"])
    refused(type="NodePort", ports=[{"port": 80, "nodePort": 1}])
    refused(ports=[{"port": 80, "nodePort": 30000}])
    for port in (
        {},
        {"port": 0},
        {"port": 65536},
        {"port": 80, "protocol": "ODD"},
        {"port": 80, "protocol": "tcp"},
        {"port": 80, "targetPort": 0},
        {"port": 80, "targetPort": 65536},
        {"port": 80, "targetPort": ""},
        {"port": 80, "targetPort": "A_"},
        {"port": 80, "targetPort": "a" * 16},
        {"port": 80, "targetPort": "80"},
        {"port": 80, "name": "A"},
        {"port": 80, "name": "a" * 64},
        {"port": 80, "name": "a.b"},
        {"port": 80, "appProtocol": "A B"},
        {"port": 80, "appProtocol": "kubernetes.io/h2c"},
    ):
        refused(ports=[port])
    refused(ports=[{"port": 80}, {"port": 81}])
    refused(ports=[{"port": 80, "name": "a"}, {"port": 81, "name": "a"}])
    refused(ports=[{"port": 80, "name": "a"}, {"port": 80, "name": "b"}])
    refused(ports=[{"port": 80, "name": "a"}, {"port": 80, "name": "b", "protocol": "UDP"}])


def test_endpoint_slices_that_are_refused(talk: Talk) -> None:
    def refused(**more: object) -> None:
        talk.post(f"{SLICES}?dryRun=All", {"metadata": {"name": "a"}, "addressType": "IPv4", **more})

    refused(addressType="")
    refused(addressType=None)
    refused(addressType="Odd")
    for kind, address in (
        ("IPv4", "x"),
        ("IPv4", "2001:db8::1"),
        ("IPv4", "192.0.2.01"),
        ("IPv4", "127.0.0.1"),
        ("IPv4", "169.254.169.254"),
        ("IPv4", "0.0.0.0"),  # noqa: S104 - an address in a manifest
        ("IPv4", "224.0.0.1"),
        ("IPv6", "10.0.0.1"),
        ("IPv6", "::1"),
        ("IPv6", "::"),
        ("IPv6", "fe80::1"),
        ("IPv6", "::ffff:10.0.0.1"),
        ("FQDN", "A_"),
        ("FQDN", "a.example"),
        ("FQDN", "10.0.0.1"),
    ):
        refused(addressType=kind, endpoints=[{"addresses": [address]}])
    refused(endpoints=[EMPTY])
    refused(endpoints=[{"addresses": list[str]()}])
    refused(endpoints=[{"addresses": ["10.0.0.1", "10.0.0.1"]}])
    refused(endpoints=[{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.1"]}])
    refused(endpoints=[{"addresses": ["10.0.0.1"], "hostname": "A"}])
    refused(endpoints=[{"addresses": ["10.0.0.1"], "nodeName": "A_"}])
    refused(endpoints=[{"addresses": ["10.0.0.1"], "hints": {"forZones": [{"name": "z"}]}}])
    for port in (
        {"port": 0},
        {"port": 65536},
        {},
        {"port": 80, "name": "A"},
        {"port": 80, "name": ""},
        {"port": 80, "protocol": "ODD"},
        {"port": 80, "appProtocol": "A B"},
    ):
        refused(ports=[port])
    refused(ports=[{"port": 80}, {"port": 81}])
    refused(ports=[{"port": 80, "name": "a"}, {"port": 81, "name": "a"}])
    refused(ports=[{"port": 80, "name": "a"}, {"port": 80, "name": "b"}])
    talk.quietly("POST", SLICES, {"metadata": {"name": "b"}, "addressType": "IPv4"})
    talk.patch(f"{SLICES}/b", {"addressType": "IPv6"})


def test_secrets_and_config_maps_that_are_refused(talk: Talk) -> None:
    def refused(**more: object) -> None:
        talk.post(f"{SECRETS}?dryRun=All", {"metadata": {"name": "a"}, **more})

    refused(data={"a": "!"})
    refused(data={"a": "YQ"})
    refused(data={"a": None})
    refused(data={"a b": "YQ=="})
    refused(data={"..": "YQ=="})
    refused(data={".": "YQ=="})
    refused(data={"..a": "YQ=="})
    refused(data={"": "YQ=="})
    refused(stringData={"a": 1})
    refused(type="kubernetes.io/tls")
    refused(type="kubernetes.io/tls", data={"tls.crt": "YQ=="})
    refused(type="kubernetes.io/tls", data={"tls.crt": "", "tls.key": ""})
    refused(type="kubernetes.io/dockerconfigjson")
    refused(type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": "YQ=="})
    refused(type="kubernetes.io/basic-auth")
    refused(type="kubernetes.io/ssh-auth")
    refused(type="kubernetes.io/service-account-token")
    made: Manifest = {"metadata": {"name": "b"}, "data": {"a": "YQ=="}, "immutable": True}
    talk.quietly("POST", SECRETS, made)
    talk.patch(f"{SECRETS}/b", {"data": {"a": "Yg=="}})
    talk.patch(f"{SECRETS}/b", {"immutable": False})
    talk.patch(f"{SECRETS}/b", {"type": "other"})
    talk.post(CONFIGS, config("a", {"a b": "c"}))
    talk.post(CONFIGS, {**config("a", {"k": "c"}), "binaryData": {"k": "YQ=="}})
    talk.post(CONFIGS, {**config("a"), "binaryData": {"k": "!"}})


def test_leases_that_are_refused(talk: Talk) -> None:
    def refused(**spec: object) -> None:
        talk.post(f"{LEASES}?dryRun=All", {"metadata": {"name": "a"}, "spec": spec})

    refused(leaseDurationSeconds=0)
    refused(leaseDurationSeconds=-1)
    refused(leaseTransitions=-1)
    refused(holderIdentity="")
    talk.quietly("POST", LEASES, {"metadata": {"name": "b"}})
    talk.put(f"{LEASES}/b", {"metadata": {"name": "b"}, "spec": {"holderIdentity": "x"}})
    talk.put(
        f"{LEASES}/b", {"metadata": {"name": "b", "resourceVersion": "1"}, "spec": {"holderIdentity": "x"}}
    )
    talk.put(f"{LEASES}/new", {"metadata": {"name": "new"}, "spec": {"holderIdentity": "x"}})


def test_events_that_are_refused(talk: Talk) -> None:
    def refused(**more: object) -> None:
        talk.post(f"{EVENTS}?dryRun=All", event(talk, **more))

    refused(eventTime=None)
    refused(type="Odd")
    refused(type=None)
    refused(reason="")
    refused(reason="a" * 129)
    refused(action="")
    refused(action="a" * 129)
    refused(note="a" * 1025)
    refused(reportingController="")
    refused(reportingController="a b")
    refused(reportingController="a/b/c")
    refused(reportingInstance="")
    refused(reportingInstance="a" * 129)
    refused(regarding={"kind": "Ingress", "name": "web", "namespace": "other"})
    refused(regarding={"kind": "IngressClass", "name": "web"})
    refused(series={"count": 2, "lastObservedTime": "2026-01-01T00:30:00.000000Z"})
    refused(series={"count": 1})
    refused(metadata={"name": "A"})
    talk.post(
        "/apis/events.k8s.io/v1/namespaces/default/events?dryRun=All",
        event(talk, regarding={"kind": "IngressClass", "name": "web"}),
    )
