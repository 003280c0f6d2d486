"""examples/deploy: with exactly the rights in it everything works, and with one less it is told."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from ingresskit.app.flags import parse_flags
from ingresskit.testing.apiserver import ApiServer, Rule
from tests.features.cluster_scene import (
    CONTROLLER,
    LOOPBACK,
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
Manifest = Mapping[str, Any]


def manifests(name: str) -> list[Manifest]:
    documents = yaml.safe_load_all((DEPLOY / name).read_text())
    return [cast("Manifest", document) for document in documents]


def rules(name: str) -> list[Rule]:
    """What the roles in that file grant."""
    return [
        Rule(
            verbs=rule["verbs"],
            groups=rule["apiGroups"],
            resources=rule["resources"],
            names=rule.get("resourceNames", ()),
            namespaces=[role["metadata"]["namespace"]] if role["kind"] == "Role" else [],
        )
        for role in manifests(name)
        if role["kind"] in ("Role", "ClusterRole")
        for rule in role["rules"]
    ]


CLUSTER, NAMESPACED = rules("rbac.yaml"), rules("namespaced/rbac.yaml")
FLAGS = {"rbac.yaml": (), "namespaced/rbac.yaml": ("--watch-namespace=shop",)}
OURS = "192.0.2.10"


@pytest.fixture
def server() -> Generator[ApiServer]:
    with ApiServer.in_thread() as running:
        yield running


@pytest.fixture
def pod(server: ApiServer) -> Iterator[Pod]:
    with Pod("served") as running:
        server.load([ingress_class(), service(), slice_of(port=running.port)])
        server.load([certificate("tls", "s.example"), ingress("a"), ingress("s", tls="tls")])
        server.load([{**certificate("generic", "o.example"), "type": "Opaque"}, ingress("o", tls="generic")])
        for manifest in manifests("account.yaml"):
            server.put(manifest)
        yield running


@contextmanager
def controller(
    server: ApiServer, granted: list[Rule], folder: Path, *flags: str
) -> Generator[ReferenceController]:
    token = server.token_for("system:serviceaccount:ingresskit:ingresskit", granted)
    config = server.kubeconfig(folder / "config", token=token)
    own = ("--leader-election-lease=ingresskit/ingresskit", "--host-claims=ingresskit/ingresskit-hosts")
    writing = (*own, f"--publish-address={OURS}")
    with ReferenceController("--kubeconfig", config, LOOPBACK, *writing, *flags) as running:
        yield running


def refused(server: ApiServer) -> set[str]:
    return {record.resource for record in server.requests if record.status == 403}


def published(server: ApiServer, name: str) -> bool:
    """Whether our address stands in the status of that Ingress."""
    return OURS in str(server.get("networking.k8s.io/v1", "Ingress", name, "shop").get("status"))


def has_event(server: ApiServer, name: str) -> bool:
    events = server.list("events.k8s.io/v1", "Event", "shop")
    return any(event["regarding"]["name"] == name for event in events)


def recorded(server: ApiServer) -> str:
    """The lines of the record of hosts, wherever they stand."""
    items = server.list("v1", "ConfigMap", "ingresskit")
    return "".join(item["data"]["hosts"] for item in items)


def told(running: ReferenceController) -> str:
    """Everything that is reported as wrong."""
    logged = [line for line in running.log.seen if '"level": "warning"' in line or '"level": "error"' in line]
    return "".join([running.admin("/readyz").text, running.admin("/api/diagnostics").text, *logged])


SUBJECTS = {
    "leases": "Lease",
    "events": "Event",
    "ingresses/status": "Ingress",
    "secrets": "Secret",
    "endpointslices": "EndpointSlice",
    "ingressclasses": "IngressClass",
    "namespaces": "Namespace",
    "configmaps": "ConfigMap",
}


def reason_of(running: ReferenceController, resource: str) -> str:
    """The reason of the diagnostic about that resource; empty for none."""
    found = cast("list[Any]", running.admin("/api/diagnostics").json["diagnostics"])
    reasons = ("RightMissing", "WriteRefused")
    about = [item for item in found if item["reason"] in reasons]
    return next((item["reason"] for item in about if item["subject"]["kind"] == SUBJECTS[resource]), "")


def test_with_the_rights_of_the_cluster_role_everything_works(
    server: ApiServer, pod: Pod, tmp_path: Path
) -> None:
    with controller(server, CLUSTER, tmp_path) as running:
        running.wait_ready()
        assert running.get("a.example").text == "served"
        port = int(str(running.wait_record("serving")["https"]).rpartition(":")[2])
        assert served_fingerprint(port, "s.example") == fingerprint("s.example")
        assert served_fingerprint(port, "o.example") == fingerprint("o.example")
        server.put(ingress("b"))
        wait_until(lambda: running.get("b.example").text == "served")
        assert running.admin("/api/diagnostics").json == {"diagnostics": []}
        wait_until(lambda: published(server, "a") and published(server, "b"))
        server.put(ingress("c", service="nowhere"))
        wait_until(lambda: has_event(server, "c"))
        wait_until(lambda: "b.example shop" in recorded(server))
    assert refused(server) == set()


def test_with_the_rights_on_config_maps_annotations_may_name_one(
    server: ApiServer, pod: Pod, tmp_path: Path
) -> None:
    # The key of RFC 8037.
    key = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    metadata = {"name": "keys", "namespace": "shop"}
    data = {"jwks.json": json.dumps({"keys": [key]})}
    annotations = {"ingresskit.dev/jwt-keys": "keys"}
    named = {**ingress("j"), "metadata": {"name": "j", "namespace": "shop", "annotations": annotations}}
    server.load([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}, named])

    with controller(server, [*CLUSTER, *rules("configmaps.yaml")], tmp_path) as running:
        running.wait_ready()
        wait_until(lambda: running.get("j.example").status == 401)
    assert refused(server) == set()


def test_with_the_rights_of_the_role_everything_in_its_namespace_works(
    server: ApiServer, pod: Pod, tmp_path: Path
) -> None:
    with controller(server, NAMESPACED, tmp_path, "--watch-namespace=shop") as running:
        running.wait_ready()
        assert running.get("a.example").text == "served"
        port = int(str(running.wait_record("serving")["https"]).rpartition(":")[2])
        assert served_fingerprint(port, "s.example") == fingerprint("s.example")
        assert served_fingerprint(port, "o.example") == fingerprint("o.example")
        server.put(ingress("b"))
        wait_until(lambda: running.get("b.example").text == "served")
        wait_until(lambda: published(server, "a") and published(server, "b"))
        server.put(ingress("c", service="nowhere"))
        wait_until(lambda: has_event(server, "c"))
        # What lives in no namespace, and is gone without.
        assert "ingressclasses.networking.k8s.io is missing" in told(running)
        assert "their annotation ingresskit.dev/hosts is not used" in told(running)
        wait_until(lambda: "b.example shop" in recorded(server))
    assert refused(server) == {"ingressclasses", "namespaces"}


@pytest.mark.parametrize(
    ("name", "index"),
    [("rbac.yaml", index) for index in range(len(CLUSTER))]
    + [("namespaced/rbac.yaml", index) for index in range(len(NAMESPACED))],
)
def test_with_one_rule_less_it_says_what_is_missing(
    name: str, index: int, server: ApiServer, pod: Pod, tmp_path: Path
) -> None:
    granted = rules(name)
    left_out = granted.pop(index)
    (resource,) = left_out.resources
    server.put(ingress("c", service="nowhere"))
    with controller(server, granted, tmp_path, *FLAGS[name]) as running:
        wait_until(lambda: f'\\"{resource}\\"' in told(running) or f" {resource}." in told(running))

        def messages() -> list[str]:
            return [line for line in running.log.seen if f'\\"{resource}\\"' in line and "cannot" in line]

        wait_until(lambda: messages() != [])  # the log is read by another thread
        assert len(messages()) == 1
        if resource not in ("ingresses", "services"):
            # Without these two there is no snapshot to report anything of.
            wait_until(lambda: reason_of(running, resource) != "")
            reads = "watch" in left_out.verbs
            assert reason_of(running, resource) == ("RightMissing" if reads else "WriteRefused")
            assert f'reason="{reason_of(running, resource)}"' in running.admin("/metrics").text
            leader = cast("Mapping[str, Any]", running.admin("/api/status").json["leader"])
            assert any(resource in text or "Lease" in text for text in leader["refused"]) is not reads
        if set(left_out.verbs) <= {"get", "list", "watch"}:
            # What is not written costs nothing that is served; what is not read may, until it is.
            server.users.set_rules("system:serviceaccount:ingresskit:ingresskit", rules(name))
        running.wait_ready()
        wait_until(lambda: running.get("a.example").text == "served")


def test_the_roles_let_nothing_be_changed_but_what_is_the_controllers() -> None:
    for rule in (*CLUSTER, *NAMESPACED):
        assert "*" not in (*rule.groups, *rule.resources, *rule.verbs)
        if not set(rule.verbs) <= {"get", "list", "watch"}:
            assert set(rule.resources) <= {"ingresses/status", "events", "leases", "configmaps"}


def test_the_pod_is_given_what_the_controller_takes() -> None:
    (daemon_set,) = manifests("daemonset.yaml")
    pod = daemon_set["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    flags = parse_flags(container["args"])
    assert flags.cluster
    ports = {item["name"]: item["containerPort"] for item in container["ports"]}
    assert flags.http is not None
    assert flags.https is not None
    assert flags.admin is not None
    assert ports == {"http": flags.http.port, "https": flags.https.port, "admin": flags.admin.port}
    assert {item.get("hostPort") for item in container["ports"]} == {80, 443, None}
    assert min(ports.values()) >= 1024  # no capability opens them
    assert flags.shutdown_delay >= 5
    assert pod["terminationGracePeriodSeconds"] > flags.shutdown_delay + flags.shutdown_grace
    paths = [container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")]
    assert paths == ["/healthz", "/readyz"]
    assert container["resources"]["limits"]["memory"] == "80Mi"
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"]


def test_the_manifests_belong_together() -> None:
    namespace, account = manifests("account.yaml")
    (daemon_set,) = manifests("daemonset.yaml")
    assert account["metadata"]["namespace"] == namespace["metadata"]["name"]
    assert daemon_set["metadata"]["namespace"] == namespace["metadata"]["name"]
    assert daemon_set["spec"]["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]
    for name in ("rbac.yaml", "namespaced/rbac.yaml"):
        items = manifests(name)
        for role, binding in zip(items[::2], items[1::2], strict=True):
            assert binding["roleRef"]["name"] == role["metadata"]["name"]
            assert binding["roleRef"]["kind"] == role["kind"]
            assert binding["metadata"].get("namespace") == role["metadata"].get("namespace")
            (subject,) = binding["subjects"]
            assert (subject["name"], subject["namespace"]) == tuple(account["metadata"].values())
    (policy,) = manifests("networkpolicy.yaml")
    assert policy["metadata"]["namespace"] == namespace["metadata"]["name"]
    assert policy["spec"]["podSelector"] == daemon_set["spec"]["selector"]
    (container,) = daemon_set["spec"]["template"]["spec"]["containers"]
    served = {port["name"]: port["containerPort"] for port in container["ports"]}
    everyone, scrapers = policy["spec"]["ingress"]
    assert [port["port"] for port in everyone["ports"]] == [served["http"], served["https"]]
    assert "from" not in everyone
    assert ([port["port"] for port in scrapers["ports"]], len(scrapers["from"])) == ([served["admin"]], 1)
    (class_,) = manifests("ingressclass.yaml")
    assert class_["spec"]["controller"] == CONTROLLER


def test_the_folder_can_be_applied_whole() -> None:
    """kubectl takes the files of a folder, and not those below it, in the order of their names."""
    seen: set[tuple[str, str, str]] = set()
    for path in sorted(DEPLOY.iterdir()):
        if path.suffix not in (".yaml", ".yml", ".json"):
            continue
        for manifest in manifests(path.name):
            metadata = manifest["metadata"]
            namespace = metadata.get("namespace", "")
            assert not namespace or ("Namespace", "", namespace) in seen, path.name
            identity = (manifest["kind"], namespace, metadata["name"])
            assert identity not in seen
            seen.add(identity)
    assert ("ClusterRole", "", "ingresskit") in seen
    assert ("ServiceAccount", "ingresskit", "ingresskit") in seen


def test_the_api_server_takes_every_manifest(server: ApiServer) -> None:
    known = {"Namespace", "ServiceAccount", "IngressClass"}
    for path in sorted(DEPLOY.glob("*.yaml")):
        for manifest in manifests(path.name):
            assert re.fullmatch(r"[a-z0-9-]+", manifest["metadata"]["name"])
            if manifest["kind"] in known:
                server.put(manifest)
    assert server.get("networking.k8s.io/v1", "IngressClass", "ingresskit")
