"""The reference controller as ``examples/deploy`` has it, on a real API server.

Every request it makes is in the server's audit log, so that it shows which rights were used, and that
none was missing.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from ingresskit.testing import pace
from ingresskit.testing.apiserver import AnyApiServer, Manifest, real_api_server
from ingresskit.testing.apiserver.calls import call
from ingresskit.testing.apiserver.real import assets_folder
from tests.features.cluster_scene import (
    Pod,
    certificate,
    fingerprint,
    ingress,
    ingress_class,
    served_fingerprint,
    service,
    slice_of,
)
from tests.features.reference_process import EXAMPLES, ReferenceController, wait_until

DEPLOY = EXAMPLES / "deploy"
ACCOUNT = "system:serviceaccount:ingresskit:ingresskit"
ADDRESS = "192.0.2.10"
POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}

Right = tuple[str, str, str]
"""API group, resource with subresource, and verb."""


def own_address() -> str:
    """An address of this machine that endpoints may have, which loopback is not; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback, which the API server takes for no endpoint")
        return str(probe.getsockname()[0])


class Cluster:
    """A real API server with the files of ``examples/deploy`` in it."""

    def __init__(self, server: AnyApiServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.config = server.kubeconfig(folder / "admin")

    def kubectl(self, *arguments: str | Path) -> str:
        done = subprocess.run(
            ["kubectl", f"--kubeconfig={self.config}", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=pace.within(60),
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def put(self, *manifests: Mapping[str, object]) -> None:
        """Create these, or make them so."""
        for manifest in manifests:
            path = self.folder / "manifest.json"
            path.write_text(json.dumps(manifest))
            self.kubectl("apply", "--server-side", "--force-conflicts", "-f", path)

    def as_account(self, name: str = "controller") -> Path:
        """A kubeconfig with a token of the controller's service account."""
        path = "/api/v1/namespaces/ingresskit/serviceaccounts/ingresskit/token"
        answer = call(self.server, "POST", path, {"spec": {"expirationSeconds": 7200}})
        return self.server.kubeconfig(self.folder / name, token=str(answer.json["status"]["token"]))

    def audited(self) -> list[Manifest]:
        """What the controller's account asked, as the server noted it."""
        lines = (self.folder / "audit.log").read_text().splitlines()
        events = [cast(Manifest, json.loads(line)) for line in lines if line.endswith("}")]
        return [event for event in events if event["user"]["username"] == ACCOUNT]

    def used(self) -> set[Right]:
        """The rights that were used."""
        return {right(event) for event in self.audited()} - {("", "", "get")}

    def refused(self) -> set[Right]:
        return {right(event) for event in self.audited() if event.get("responseStatus", {}).get("code") == 403}


def right(event: Manifest) -> Right:
    about: Mapping[str, str] = event.get("objectRef") or {}
    resource = about.get("resource", "") + (f"/{about['subresource']}" if about.get("subresource") else "")
    return about.get("apiGroup", ""), resource, event["verb"]


def granted(name: str) -> set[Right]:
    """What the roles in that file grant."""
    documents = [cast("Mapping[str, Any]", it) for it in yaml.safe_load_all((DEPLOY / name).read_text())]
    return {
        (group, resource, verb)
        for role in documents
        for rule in role.get("rules", ())
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def of_class(name: str, ingress_class: str) -> Manifest:
    made = ingress(name)
    return {**made, "spec": {**cast(Manifest, made["spec"]), "ingressClassName": ingress_class}}


@pytest.fixture
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Generator[Cluster]:
    assets = assets_folder()
    assert assets is not None
    policy = tmp_path / "policy.yaml"
    policy.write_text(json.dumps(POLICY))
    flags = [f"--audit-policy-file={policy}", f"--audit-log-path={tmp_path / 'audit.log'}"]
    flags += getattr(request, "param", [])
    with real_api_server(assets, flags=flags) as server:
        found = Cluster(server, tmp_path)
        for name in ("account.yaml", "ingressclass.yaml"):
            found.kubectl("apply", "-f", DEPLOY / name)
        found.kubectl("create", "namespace", "shop")
        yield found


@pytest.fixture
def pod(cluster: Cluster) -> Iterator[Pod]:
    address = own_address()
    with Pod("served", address) as running:
        cluster.put(service(), slice_of(port=running.port, address=address))
        cluster.put(certificate("tls", "s.example"), ingress("a"), ingress("s", tls="tls"))
        yield running


@contextmanager
def controller(
    cluster: Cluster, *flags: str, publish: str = f"--publish-address={ADDRESS}"
) -> Generator[ReferenceController]:
    lease = "--leader-election-lease=ingresskit/ingresskit"
    with ReferenceController("--kubeconfig", cluster.as_account(), lease, publish, *flags) as running:
        yield running


def published(cluster: Cluster, name: str, address: str = ADDRESS) -> Callable[[], bool]:
    """Whether our address stands in the status of that Ingress, as kubectl prints it."""
    return lambda: address in cluster.kubectl("-n", "shop", "get", "ingress", name)


def everything_works(cluster: Cluster, running: ReferenceController) -> None:
    running.wait_ready()
    assert running.get("a.example").text == "served"
    port = int(str(running.wait_record("serving")["https"]).rpartition(":")[2])
    assert served_fingerprint(port, "s.example") == fingerprint("s.example")
    cluster.put(ingress("b"))
    wait_until(lambda: running.get("b.example").text == "served")
    wait_until(published(cluster, "a"))
    wait_until(published(cluster, "b"))
    cluster.put(ingress("c", service="nowhere"))
    wait_until(
        lambda: "nowhere" in cluster.kubectl("-n", "shop", "describe", "ingress", "c").partition("Events:")[2]
    )


def test_the_server_takes_every_manifest(cluster: Cluster) -> None:
    for path in sorted(DEPLOY.glob("*.yaml")):
        cluster.kubectl("apply", "--dry-run=server", "-f", path)


@pytest.mark.parametrize("cluster", [["--feature-gates=WatchList=false"]], ids=["lists"], indirect=True)
def test_every_right_of_the_cluster_role_is_used_and_none_is_missing(cluster: Cluster, pod: Pod) -> None:
    cluster.kubectl("apply", "-f", DEPLOY / "rbac.yaml")
    with controller(cluster) as running:
        everything_works(cluster, running)
        cluster.put({**ingress_class("other"), "spec": {"controller": "example.com/other"}})
        cluster.put(of_class("b", "other"))
        wait_until(lambda: not published(cluster, "b")())
        assert running.stop() == 0

    assert cluster.refused() == set()
    # An Event is only written again while what it tells of lasts for half an hour.
    assert cluster.used() == granted("rbac.yaml") - {("events.k8s.io", "events", "patch")}


@pytest.mark.parametrize("renderer", ["inprocess", "haproxy", "nginx"])
def test_with_the_rights_of_the_cluster_role_everything_works(
    renderer: str, cluster: Cluster, pod: Pod
) -> None:
    if renderer != "inprocess" and shutil.which(renderer, path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip(f"there is no {renderer} here")
    cluster.kubectl("apply", "-f", DEPLOY / "rbac.yaml")
    with controller(cluster, f"--renderer={renderer}") as running:
        everything_works(cluster, running)

    assert cluster.refused() == set()
    assert cluster.used() <= granted("rbac.yaml")


def test_with_the_rights_of_the_role_everything_in_its_namespace_works(cluster: Cluster, pod: Pod) -> None:
    cluster.kubectl("apply", "-f", DEPLOY / "namespaced/rbac.yaml")
    with controller(cluster, "--watch-namespace=shop") as running:
        everything_works(cluster, running)

    assert {resource for _, resource, _ in cluster.refused()} == {"ingressclasses"}
    assert cluster.used() - cluster.refused() <= granted("namespaced/rbac.yaml")


def test_the_second_replica_serves_and_writes_once_the_first_has_gone(cluster: Cluster, pod: Pod) -> None:
    cluster.kubectl("apply", "-f", DEPLOY / "rbac.yaml")

    def holder() -> str:
        return cluster.kubectl(
            "-n", "ingresskit", "get", "lease", "-o", "jsonpath={.items[*].spec.holderIdentity}"
        )

    with controller(cluster) as first:
        first.wait_ready()
        first.wait_record("leadership won")
        with controller(cluster) as second:
            second.wait_ready()
            assert second.get("a.example").text == "served"
            wait_until(published(cluster, "a"))
            before = holder()
            first.process.kill()
            cluster.put(ingress("b"))
            wait_until(lambda: second.get("b.example").text == "served")
            wait_until(published(cluster, "b"))
            assert holder() not in ("", before)
            assert second.stop() == 0
            assert holder() == ""


def test_addresses_come_from_the_service_in_front(cluster: Cluster, pod: Pod) -> None:
    cluster.kubectl("apply", "-f", DEPLOY / "rbac.yaml")
    front = {**service("front"), "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}
    cluster.put(front)

    def balanced(ip: str) -> None:
        path = "/api/v1/namespaces/shop/services/front/status"
        status = {"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}}
        assert call(cluster.server, "PATCH", path, status).status == 200

    with controller(cluster, publish="--publish-service=shop/front") as running:
        running.wait_ready()
        assert cluster.kubectl("-n", "shop", "get", "ingress", "a", "-o", "jsonpath={.status}") in (
            '{"loadBalancer":{}}',
            "{}",
        )
        for address in ("192.0.2.21", "192.0.2.22"):
            balanced(address)
            wait_until(published(cluster, "a", address))
    assert cluster.refused() == set()


def test_addresses_come_from_the_nodes_with_the_right_to_read_them(cluster: Cluster, pod: Pod) -> None:
    cluster.kubectl("apply", "-f", DEPLOY / "rbac.yaml")
    also(cluster, "nodes")
    cluster.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "edge"}})
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "ExternalIP", "address": "192.0.2.31"}],
    }
    assert call(cluster.server, "PATCH", "/api/v1/nodes/edge/status", {"status": status}).status == 200
    with controller(cluster, publish="--publish-node-addresses") as running:
        running.wait_ready()
        wait_until(published(cluster, "a", "192.0.2.31"))
    assert cluster.refused() == set()


def test_namespaces_are_selected_by_their_labels_with_the_right_to_read_them(
    cluster: Cluster, pod: Pod
) -> None:
    cluster.kubectl("apply", "-f", DEPLOY / "rbac.yaml")
    also(cluster, "namespaces")
    with controller(cluster, "--watch-namespace-selector=edge=yes") as running:
        running.wait_ready()
        assert running.get("a.example").status == 404
        cluster.kubectl("label", "namespace", "shop", "edge=yes")
        wait_until(lambda: running.get("a.example").text == "served")
        cluster.kubectl("label", "namespace", "shop", "edge-")
        wait_until(lambda: running.get("a.example").status == 404)
    assert cluster.refused() == set()


def also(cluster: Cluster, resource: str) -> None:
    """Grant what ``examples/deploy/README.md`` says is needed besides."""
    rights = ("--verb=list,watch", f"--resource={resource}")
    cluster.kubectl("create", "clusterrole", f"also-{resource}", *rights)
    account = "--serviceaccount=ingresskit:ingresskit"
    cluster.kubectl(
        "create", "clusterrolebinding", f"also-{resource}", f"--clusterrole=also-{resource}", account
    )
