"""kubectl works on it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ingresskit.testing.apiserver import AnyApiServer

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
            [*command, *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
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
