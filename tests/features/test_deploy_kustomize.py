"""examples/deploy as kubectl renders it: every way to run the controller, and what can be added."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from ingresskit.app.flags import Flags, parse_flags
from ingresskit.testing.apiserver import ApiServer
from ingresskit.testing.apiserver.calls import call
from ingresskit.testing.ports import free_port
from tests.features.cluster_scene import LOOPBACK, Pod, ingress, service, slice_of
from tests.features.deploy_scene import (
    ACCOUNT,
    COMPONENTS,
    DEPLOY,
    OVERLAYS,
    Manifest,
    container_of,
    granted,
    kustomized,
    loaded,
    misfits,
    of_kind,
    output,
    overlay,
    pod_of,
    refusal,
    workload,
)
from tests.features.reference_process import ReferenceController, wait_until

# A renderer is an overlay of its own, and the network of a node is no matter of a Deployment.
ADDED = ("dashboard", "service-monitor", "tcp-services")


@pytest.fixture
def server() -> Generator[ApiServer]:
    with ApiServer.in_thread() as running:
        yield running


@pytest.fixture(params=[*((name, False) for name in OVERLAYS), *((name, True) for name in OVERLAYS)], ids=str)
def manifests(request: pytest.FixtureRequest, tmp_path: Path) -> list[Manifest]:
    """Each overlay, plain and with everything that can be added."""
    name, full = cast("tuple[str, bool]", request.param)
    return overlay(name, tmp_path, *(ADDED if full else ()))


def flags_of(manifests: list[Manifest]) -> Flags:
    return parse_flags(container_of(manifests)["args"])


def test_a_strict_server_takes_every_object(server: ApiServer, manifests: list[Manifest]) -> None:
    if of_kind(manifests, "Role") and not of_kind(manifests, "ClusterRole"):
        server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    # kubectl applies namespaces first.
    for manifest in sorted(manifests, key=lambda item: item["kind"] != "Namespace"):
        assert refusal(server, manifest) == "", manifest["metadata"]["name"]


def test_what_is_no_field_of_a_kind_is_found(server: ApiServer, tmp_path: Path) -> None:
    manifests = overlay("edge", tmp_path)
    (policy,) = of_kind(manifests, "NetworkPolicy")
    (account,) = of_kind(manifests, "ServiceAccount")
    pods = workload(manifests)
    pods["spec"]["template"]["spec"]["containers"][0]["ports"][0]["hostport"] = 80
    pods["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = "60"

    assert list(misfits(pods)) == [
        "DaemonSet.spec.template.spec.containers[0].ports[0].hostport is unknown",
        "DaemonSet.spec.template.spec.terminationGracePeriodSeconds is no int",
    ]
    assert list(misfits({**policy, "apiVersion": "extensions/v1beta1"})) != []
    assert 'unknown field "secret"' in refusal(server, {**account, "secret": []})


def test_the_controller_takes_its_arguments_and_the_pod_fits_them(manifests: list[Manifest]) -> None:
    flags, pod, container = flags_of(manifests), pod_of(manifests), container_of(manifests)
    assert flags.cluster
    assert flags.http is not None
    assert flags.https is not None
    assert flags.admin is not None
    ports = {item["name"]: item["containerPort"] for item in container["ports"]}
    extra = {name: ports.pop(name) for name in list(ports) if name.startswith("tcp-")}
    assert ports == {"http": flags.http.port, "https": flags.https.port, "admin": flags.admin.port}
    assert flags.admin.port == 8580
    host_ports = {item["name"]: item.get("hostPort") for item in container["ports"]}
    if workload(manifests)["kind"] == "DaemonSet":
        assert (host_ports["http"], host_ports["https"]) == (80, 443)
        assert pod["nodeSelector"] == {"edgenode": "true"}
    else:
        assert set(host_ports.values()) == {None}
        assert workload(manifests)["spec"]["replicas"] == 2
    assert pod["terminationGracePeriodSeconds"] == 60 > flags.shutdown_delay + flags.shutdown_grace
    assert flags.renderer in (container["image"], "inprocess") or flags.renderer in container["image"]
    mounts = {item["mountPath"]: item["name"] for item in container["volumeMounts"]}
    assert set(mounts.values()) == {item["name"] for item in pod["volumes"]}
    assert flags.state_dir is not None
    assert str(flags.state_dir.parent) in mounts
    if flags.admin_auth is not None:
        assert str(flags.admin_auth[1].parent) in mounts
    assert bool(extra) is (flags.tcp_services_configmap is not None)
    for configmap in of_kind(manifests, "ConfigMap"):
        assert {f"tcp-{port}": int(port) for port in configmap["data"]} == extra


def test_no_pod_has_a_privilege_but_that_of_low_ports(manifests: list[Manifest]) -> None:
    pod, container, flags = pod_of(manifests), container_of(manifests), flags_of(manifests)
    own = container["securityContext"]
    assert own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"]["drop"] == ["ALL"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    listens_low = flags.http is not None and flags.http.port < 1024
    assert listens_low is pod.get("hostNetwork", False)
    assert own["capabilities"].get("add", []) == (["NET_BIND_SERVICE"] if listens_low else [])
    assert pod["securityContext"].get("runAsNonRoot", False) is not listens_low
    # No policy guards the network of a node.
    assert flags.admin is not None
    assert flags.admin.host == ("127.0.0.1" if listens_low else "0.0.0.0")  # noqa: S104 - it is compared


def test_names_lead_to_what_is_there(manifests: list[Manifest]) -> None:
    labels = workload(manifests)["spec"]["template"]["metadata"]["labels"]
    names = {item["name"] for item in container_of(manifests)["ports"]}
    services = of_kind(manifests, "Service")
    for item in services:
        assert item["spec"]["selector"].items() <= labels.items()
        assert {port["targetPort"] for port in item["spec"]["ports"]} <= names
    for item in of_kind(manifests, "PodDisruptionBudget"):
        assert item["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for item in of_kind(manifests, "ServiceMonitor"):
        wanted = item["spec"]["selector"]["matchLabels"]
        (monitored,) = [one for one in services if wanted.items() <= one["metadata"]["labels"].items()]
        ports = {port["name"] for port in monitored["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in item["spec"]["endpoints"]} <= ports
    for item in of_kind(manifests, "Ingress"):
        (rule,) = item["spec"]["rules"]
        assert rule["host"] in flags_of(manifests).admin_host
        assert item["spec"]["tls"][0]["hosts"] == [rule["host"]]
        backend = rule["http"]["paths"][0]["backend"]["service"]
        assert backend["name"] in {one["metadata"]["name"] for one in services}
    published = flags_of(manifests).publish_service
    assert (published is not None) is (workload(manifests)["kind"] == "Deployment")
    if published is not None:
        (front,) = [one for one in services if one["metadata"]["name"] == published.name]
        assert front["metadata"]["namespace"] == published.namespace
        assert front["spec"]["externalTrafficPolicy"] == "Local"


def test_what_readme_names_is_what_is_there() -> None:
    readme = (DEPLOY / "README.md").read_text()
    for name in OVERLAYS:
        assert f"overlays/{name}`" in readme, name
    for name in COMPONENTS:
        assert f"components/{name}`" in readme, name


def test_the_kustomization_of_readme_renders(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (DEPLOY / "README.md").read_text(), re.DOTALL)
    here = os.path.relpath(DEPLOY, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(block.replace("../ingresskit/examples/deploy", here))

    container = container_of(kustomized(tmp_path))

    assert container["image"] == "registry.mine.example/edge/ingresskit-haproxy:1"
    flags = parse_flags(container["args"])
    assert (flags.renderer, flags.dialect) == ("haproxy", ["ingress-nginx"])


def test_the_folder_itself_is_the_edge_with_the_in_process_proxy(tmp_path: Path) -> None:
    def identity(item: Manifest) -> tuple[str, str, str]:
        return item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]

    files = [item for path in sorted(DEPLOY.glob("*.yaml")) for item in loaded(path.read_text())]
    assert sorted(files, key=identity) == sorted(overlay("edge", tmp_path), key=identity)


@contextmanager
def running(
    server: ApiServer, manifests: list[Manifest], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator[ReferenceController]:
    """The controller with exactly the pod's arguments and rights; only where it listens is other."""
    monkeypatch.setenv("NODE_NAME", "n1")
    if not container_of(manifests).get("env"):
        monkeypatch.delenv("NODE_NAME")
    token = server.token_for(ACCOUNT, granted(manifests))
    config = server.kubeconfig(folder / "config", token=token)
    here = ("--http=", "--https=", "--admin=", "--state-dir=")
    given = [word for word in container_of(manifests)["args"] if not word.startswith(here)]
    own = ("--leader-election-lease=ingresskit/ingresskit", "--host-claims=ingresskit/ingresskit-hosts")
    with ReferenceController("--kubeconfig", config, LOOPBACK, *own, *given) as process:
        process.wait_ready()
        yield process


def put(server: ApiServer, manifests: list[Manifest]) -> None:
    for item in sorted(manifests, key=lambda item: item["kind"] != "Namespace"):
        if item["kind"] in ("Namespace", "IngressClass", "Service", "ConfigMap"):
            server.put(dict(item))
    node = {"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "eu-1a"}}}
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "ExternalIP", "address": "192.0.2.31"}],
    }
    server.put({"apiVersion": "v1", "kind": "Node", **node, "status": status})


def refused(server: ApiServer) -> set[str]:
    return {record.resource for record in server.requests if record.status == 403}


def asked(server: ApiServer, resource: str) -> bool:
    return any(record.resource == resource for record in server.requests)


@pytest.fixture
def pod(server: ApiServer) -> Generator[Pod]:
    with Pod("served") as served:
        server.load([service(), slice_of(port=served.port), ingress("a")])
        yield served


def addresses(server: ApiServer) -> list[str]:
    status: dict[str, Any] = server.get("networking.k8s.io/v1", "Ingress", "a", "shop").get("status") or {}
    found = status.get("loadBalancer", {}).get("ingress", [])
    return [item["ip"] for item in found]


@pytest.mark.parametrize("name", ["edge", "edge-haproxy", "edge-nginx"])
def test_with_its_rights_and_arguments_it_serves(
    name: str, server: ApiServer, pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = overlay(name, tmp_path)
    renderer = flags_of(manifests).renderer
    if renderer != "inprocess" and shutil.which(renderer, path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        pytest.skip(f"there is no {renderer} here")
    put(server, manifests)
    with running(server, manifests, tmp_path, monkeypatch) as process:
        wait_until(lambda: process.get("a.example").text == "served")
        assert asked(server, "nodes")  # for the zone
    assert refused(server) == set()


def test_further_ports_are_served_with_the_rights_of_the_component(
    server: ApiServer, pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = overlay("edge", tmp_path, "tcp-services")
    put(server, manifests)
    port = free_port()
    (configmap,) = of_kind(manifests, "ConfigMap")
    server.put({**configmap, "data": {str(port): "shop/web:80"}})

    def text() -> str:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        except OSError:
            return ""
        finally:
            connection.close()

    with running(server, manifests, tmp_path, monkeypatch):
        wait_until(lambda: text() == "served")
    assert refused(server) == set()


@pytest.mark.parametrize(
    ("name", "address"),
    [("load-balancer", "192.0.2.21"), ("node-port", "192.0.2.31"), ("external-ips", "192.0.2.10")],
)
def test_ingresses_have_the_address_that_clients_use(
    name: str, address: str, server: ApiServer, pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = overlay(name, tmp_path)
    put(server, manifests)
    if name == "load-balancer":
        status = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
        path = "/api/v1/namespaces/ingresskit/services/ingresskit/status"
        assert call(server, "PATCH", path, status).status == 200
    with running(server, manifests, tmp_path, monkeypatch):
        wait_until(lambda: addresses(server) == [address])
    assert refused(server) == set()


def test_with_the_rights_of_one_namespace_it_serves_that(
    server: ApiServer, pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = overlay("single-namespace", tmp_path)
    assert of_kind(manifests, "ClusterRole", "ClusterRoleBinding") == []
    put(server, manifests)
    with running(server, manifests, tmp_path, monkeypatch) as process:
        wait_until(lambda: process.get("a.example").text == "served")
    assert refused(server) == {"ingressclasses", "namespaces"}


def test_every_kustomization_can_be_rendered_by_itself() -> None:
    for path in DEPLOY.rglob("kustomization.yaml"):
        content = cast("Manifest", yaml.safe_load(path.read_text()))
        if content["kind"] == "Kustomization":
            assert kustomized(path.parent), path
    assert "Kustomize Version" in output("kubectl", "version", "--client")
