"""kubectl works on it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ingresskit.testing import pace
from ingresskit.testing.apiserver import AnyApiServer

SECONDS = pace.within(60)

MANIFESTS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  rules:
  - host: %s
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}], selector: {app: web}}
"""

Kubectl = Callable[..., str]


@pytest.fixture
def command(api_server: AnyApiServer, api_namespace: str, tmp_path: Path) -> list[str]:
    config, cache = api_server.kubeconfig(tmp_path / "config"), tmp_path / "cache"
    return ["kubectl", f"--kubeconfig={config}", f"--cache-dir={cache}", f"--namespace={api_namespace}"]


@pytest.fixture
def kubectl(command: list[str]) -> Kubectl:
    def run(*arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            [*command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def host(kubectl: Kubectl) -> str:
    return kubectl("get", "ingress", "shop", "-o", "jsonpath={.spec.rules[0].host}")


def test_manifests_are_created_shown_and_deleted(kubectl: Kubectl) -> None:
    created = kubectl("create", "-f", "-", stdin=MANIFESTS % "a.example")
    shown = json.loads(kubectl("get", "ing,svc", "-o", "json"))
    described = kubectl("describe", "ingress", "shop")
    deleted = kubectl("delete", "-f", "-", stdin=MANIFESTS % "a.example")

    assert "ingress.networking.k8s.io/shop created" in created
    assert [item["kind"] for item in shown["items"]] == ["Ingress", "Service"]
    assert "a.example" in described
    assert "deleted" in deleted
    assert json.loads(kubectl("get", "ing,svc", "-o", "json"))["items"] == []


def test_manifests_are_applied_again_and_again(kubectl: Kubectl) -> None:
    first = kubectl("apply", "-f", "-", stdin=MANIFESTS % "a.example")
    second = kubectl("apply", "-f", "-", stdin=MANIFESTS % "b.example")
    third = kubectl("apply", "-f", "-", stdin=MANIFESTS % "b.example")

    assert "shop created" in first
    assert ("shop configured" in second, "web unchanged" in second) == (True, True)
    assert "shop unchanged" in third
    assert host(kubectl) == "b.example"


def test_manifests_are_applied_by_the_server(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "-f", "-", stdin=MANIFESTS % "a.example")
    kubectl("apply", "--server-side", "--field-manager=kubectl", "-f", "-", stdin=MANIFESTS % "b.example")

    assert host(kubectl) == "b.example"


def test_objects_are_labelled_patched_and_waited_for(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=MANIFESTS % "a.example")

    kubectl("label", "ingress", "shop", "a=b")
    kubectl("patch", "service", "web", "-p", '{"spec":{"ports":[{"port":80,"name":"http"}]}}')
    kubectl("wait", "--for=jsonpath={.metadata.labels.a}=b", "ingress/shop", "--timeout=10s")

    service = json.loads(kubectl("get", "service", "web", "-o", "json"))
    assert [port["name"] for port in service["spec"]["ports"]] == ["http"]
    assert kubectl("get", "ingress", "-l", "a=b", "-o", "name") == "ingress.networking.k8s.io/shop\n"


def test_changes_are_watched(command: list[str], kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=MANIFESTS % "a.example")
    watching = [*command, "get", "ingress", "-w", "-o", "jsonpath={.spec.rules[0].host}{'\\n'}"]
    with subprocess.Popen(watching, stdout=subprocess.PIPE, text=True) as process:
        deadline = threading.Timer(30, process.kill)
        deadline.start()
        assert process.stdout is not None
        first = process.stdout.readline()
        kubectl("apply", "-f", "-", stdin=MANIFESTS % "b.example")
        second = process.stdout.readline()
        deadline.cancel()
        process.terminate()

    assert (first, second) == ("a.example\n", "b.example\n")


CREATIONS = {
    "a namespace": ("namespace {ns}-made", "namespace"),
    "a secret": ("secret generic made --from-literal=k=v", "secret"),
    "a config map": ("configmap made --from-literal=k=v", "configmap"),
    "a service": ("service nodeport made --tcp=80:http", "service"),
    "an ingress": ("ingress made --class=ours --rule=a.example/p*=web:http,tls=cert", "ingress"),
    "a service account": ("serviceaccount made", "serviceaccount"),
    "a role": ("role made --verb=get,list --resource=services", "role"),
    "a role binding": ("rolebinding made --role=made --serviceaccount=default:x", "rolebinding"),
}


@pytest.mark.parametrize("what", CREATIONS)
def test_objects_are_made_without_a_manifest(what: str, kubectl: Kubectl, api_namespace: str) -> None:
    line, kind = CREATIONS[what]
    made = kubectl("create", *line.format(ns=api_namespace).split())
    name = f"{api_namespace}-made" if kind == "namespace" else "made"
    found = json.loads(kubectl("get", kind, name, "-o", "json"))
    deleted = kubectl("delete", kind, name, "--wait=false")

    assert f"{name} created" in made
    assert f'"{name}"' in deleted
    match kind:
        case "secret":
            assert found["data"] == {"k": "dg=="}
        case "service":
            port = found["spec"]["ports"][0]
            assert (port["port"], port["targetPort"], found["spec"]["type"]) == (80, "http", "NodePort")
        case "ingress":
            backend = {"service": {"name": "web", "port": {"name": "http"}}}
            path = {"path": "/p", "pathType": "Prefix", "backend": backend}
            assert found["spec"] == {
                "ingressClassName": "ours",
                "rules": [{"host": "a.example", "http": {"paths": [path]}}],
                "tls": [{"hosts": ["a.example"], "secretName": "cert"}],
            }
        case "role":
            assert found["rules"] == [{"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list"]}]
        case _:
            assert found["metadata"]["name"] == name


def test_tables_are_printed_and_watched(command: list[str], kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=MANIFESTS % "a.example")
    table = kubectl("get", "ingress,service")
    watched = subprocess.run(
        [*command, "get", "ingress", "-w", "--request-timeout=1s"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    ).stdout

    ingress = ["ingress.networking.k8s.io/shop", "<none>", "a.example", "80"]
    assert [line.split()[:4] for line in table.splitlines() if "/shop" in line] == [ingress]
    assert any(line.startswith("service/web") and "80/TCP" in line for line in table.splitlines())
    head, *rows = watched.splitlines()
    assert head.split() == ["NAME", "CLASS", "HOSTS", "ADDRESS", "PORTS", "AGE"]
    assert [row.split()[:3] for row in rows] == [["shop", "<none>", "a.example"]]


def test_a_misspelt_field_is_refused(command: list[str]) -> None:
    manifest = (MANIFESTS % "a.example").replace("rules:", "rulez:")
    done = subprocess.run(
        [*command, "apply", "-f", "-"],
        input=manifest,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert done.returncode != 0
    assert 'unknown field "spec.rulez"' in done.stderr
    assert "service/web created" in done.stdout


def test_users_ask_what_they_may(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "list", "ingresses").strip() == "yes"
    assert "test-admin" in kubectl("auth", "whoami")
