"""The tables kubectl prints, as the real API server makes them."""

from __future__ import annotations

from tests.cluster.recording import TABLE, Talk
from tests.cluster.scene import (
    CONFIGS,
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
from tests.cluster.test_recorded_writes import CERTIFICATE, EVENTS, LEASES, event


def test_tables_of_ingresses(talk: Talk) -> None:
    talk.quietly("POST", INGRESSES, ingress("a"))
    talk.quietly(
        "POST",
        INGRESSES,
        ingress(
            "b", spec={"ingressClassName": "x", "defaultBackend": backend(), "tls": [{"hosts": ["a.example"]}]}
        ),
    )
    many = [{"host": f"h{n}.example", "http": {"paths": [one_path()]}} for n in range(5)]
    talk.quietly("POST", INGRESSES, ingress("c", spec={"rules": [*many, {"http": {"paths": [one_path()]}}]}))
    addresses = [{"ip": "192.0.2.1"}, {"hostname": "lb.example"}, {"ip": "192.0.2.3"}]
    talk.quietly("PATCH", f"{INGRESSES}/c/status", {"status": {"loadBalancer": {"ingress": addresses}}})

    talk.get(INGRESSES, accept=TABLE)
    talk.get(f"{INGRESSES}/a", accept=TABLE)
    talk.get(f"{INGRESSES}?limit=1", accept=TABLE)
    talk.get(f"{INGRESSES}?includeObject=Object&limit=1", accept=TABLE)
    talk.get(f"{INGRESSES}?includeObject=None&limit=1", accept=TABLE)
    talk.get(f"{INGRESSES}?includeObject=Odd", accept=TABLE)
    talk.get(f"{INGRESSES}/missing", accept=TABLE)
    talk.watch(INGRESSES, "resourceVersion=0", accept=TABLE)


def test_tables_of_services(talk: Talk) -> None:
    talk.quietly("POST", SERVICES, service("a"))
    talk.quietly(
        "POST",
        SERVICES,
        service(
            "b",
            spec={
                "type": "NodePort",
                "ports": [{"name": "x", "port": 80}, {"name": "y", "port": 53, "protocol": "UDP"}],
                "selector": {"b": "2", "a": "1"},
            },
        ),
    )
    talk.quietly("POST", SERVICES, service("c", spec={"type": "LoadBalancer", "ports": [{"port": 80}]}))
    talk.quietly(
        "POST",
        SERVICES,
        service("d", spec={"type": "LoadBalancer", "ports": [{"port": 80}], "externalIPs": ["192.0.2.9"]}),
    )
    talk.quietly(
        "PATCH",
        f"{SERVICES}/d/status",
        {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example"}]}}},
    )
    talk.quietly("POST", SERVICES, service("e", spec={"type": "ExternalName", "externalName": "a.example"}))
    talk.quietly("POST", SERVICES, service("f", spec={"clusterIP": "None", "ports": []}))
    talk.quietly(
        "POST",
        SERVICES,
        service("g", spec={"ports": [{"port": 80}], "externalIPs": ["192.0.2.9", "192.0.2.8"]}),
    )

    talk.get(SERVICES, accept=TABLE)


def test_tables_of_what_stands_behind_services(talk: Talk) -> None:
    talk.quietly(
        "POST",
        SLICES,
        {
            "metadata": {"name": "a"},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [f"10.1.0.{n}"]} for n in range(5)],
            "ports": [{"name": "x", "port": 80}, {"name": "y", "port": 81}],
        },
    )
    talk.quietly("POST", SLICES, {"metadata": {"name": "b"}, "addressType": "IPv4", "endpoints": []})
    talk.quietly(
        "POST",
        SLICES,
        {
            "metadata": {"name": "c"},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.1.0.1"]}],
            "ports": [{"name": f"p{n}", "port": n + 1} for n in range(5)],
        },
    )
    endpoints = "/api/v1/namespaces/{ns}/endpoints"
    talk.quietly(
        "POST",
        endpoints,
        {
            "metadata": {"name": "a"},
            "subsets": [
                {
                    "addresses": [{"ip": f"10.1.0.{n}"} for n in range(1, 6)],
                    "ports": [{"name": "x", "port": 80}],
                }
            ],
        },
    )
    talk.quietly("POST", endpoints, {"metadata": {"name": "b"}})

    talk.get(SLICES, accept=TABLE)
    talk.get(endpoints, accept=TABLE)


def test_tables_of_other_kinds(talk: Talk) -> None:
    talk.quietly("POST", CONFIGS, {**config("a", {"k": "v"}), "binaryData": {"b": "YQ=="}})
    talk.quietly("POST", SECRETS, {"metadata": {"name": "a"}, "type": "kubernetes.io/tls", "data": CERTIFICATE})
    talk.quietly("POST", LEASES, {"metadata": {"name": "a"}, "spec": {"holderIdentity": "x"}})
    talk.quietly("POST", LEASES, {"metadata": {"name": "b"}})
    talk.quietly("POST", EVENTS, event(talk))
    accounts = "/api/v1/namespaces/{ns}/serviceaccounts"
    talk.quietly("POST", accounts, {"metadata": {"name": "a"}})
    classes = "/apis/networking.k8s.io/v1/ingressclasses"
    for name, parameters in (
        ("a", None),
        ("b", {"kind": "K", "name": "n"}),
        ("c", {"apiGroup": "g.io", "kind": "K", "name": "n", "scope": "Namespace", "namespace": "x"}),
    ):
        spec = {"controller": "a/b"} if parameters is None else {"controller": "a/b", "parameters": parameters}
        talk.quietly(
            "POST",
            classes,
            {
                "metadata": {
                    "name": f"{talk.namespace}-{name}",
                    "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}
                    if name == "b"
                    else {},
                    "labels": {"of": talk.namespace},
                },
                "spec": spec,
            },
        )
    roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}"
    talk.quietly("POST", f"{roles}/roles", {"metadata": {"name": "a"}, "rules": []})
    talk.quietly(
        "POST",
        f"{roles}/rolebindings",
        {
            "metadata": {"name": "a"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a"},
            "subjects": [{"kind": "ServiceAccount", "name": "x", "namespace": talk.namespace}],
        },
    )

    talk.get(CONFIGS, accept=TABLE)
    talk.get(SECRETS, accept=TABLE)
    talk.get(LEASES, accept=TABLE)
    talk.get(EVENTS, accept=TABLE)
    talk.get("/api/v1/namespaces/{ns}/events", accept=TABLE)
    talk.get(accounts, accept=TABLE)
    talk.get(f"{classes}?labelSelector=of%3D{{ns}}", accept=TABLE)
    talk.get("/api/v1/namespaces/{ns}", accept=TABLE)
    talk.get(f"{roles}/roles", accept=TABLE)
    talk.get(f"{roles}/rolebindings", accept=TABLE)
    for name in ("a", "b", "c"):
        talk.quietly("DELETE", f"{classes}/{talk.namespace}-{name}")
