"""The chart of examples/deploy makes what the overlays make, and its schema refuses what it does not know."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import cast

import pytest
import yaml

from ingresskit.app.flags import parse_flags
from ingresskit.testing import pace
from ingresskit.testing.apiserver import ApiServer
from tests.features.deploy_scene import (
    DEPLOY,
    OVERLAYS,
    Manifest,
    container_of,
    granted,
    loaded,
    of_kind,
    overlay,
    refusal,
)

CHART = DEPLOY / "chart"
Values = Mapping[str, object]

REPLICAS: Values = {"mode": "replicas"}
# What makes the chart give what an overlay gives.
AS_OVERLAY: dict[str, Values] = {
    "edge": {},
    "edge-haproxy": {"renderer": "haproxy"},
    "edge-nginx": {"renderer": "nginx"},
    "host-network": {"edge": {"hostNetwork": True}},
    "load-balancer": REPLICAS,
    "node-port": {**REPLICAS, "service": {"type": "NodePort"}},
    "external-ips": {**REPLICAS, "service": {"type": "ClusterIP", "externalIPs": ["192.0.2.10"]}},
    "single-namespace": {"watchNamespaces": ["shop"]},
}
AS_COMPONENT: dict[str, Values] = {
    "dashboard": {"dashboard": {"enabled": True}},
    "service-monitor": {"serviceMonitor": {"enabled": True}},
    "tcp-services": {"tcpServices": {"5432": "shop/db:5432"}},
}


def helm(folder: Path, values: Values, release: str = "ingresskit") -> subprocess.CompletedProcess[str]:
    if shutil.which("helm") is None:
        pytest.skip("there is no helm here, which renders the chart")
    given = folder / "values.json"
    given.write_text(json.dumps(values))
    command = ["helm", "template", release, str(CHART), "--namespace=ingresskit", f"--values={given}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=pace.within(60))


def charted(folder: Path, values: Values, release: str = "ingresskit") -> list[Manifest]:
    done = helm(folder, values, release)
    assert done.returncode == 0, done.stderr
    return loaded(done.stdout)


def sortable(manifests: list[Manifest]) -> list[Manifest]:
    """Without the namespace, which ``--create-namespace`` makes."""
    kept = [item for item in manifests if item["kind"] != "Namespace"]
    return sorted(kept, key=lambda item: (item["kind"], item["metadata"]["name"]))


@pytest.fixture
def server() -> Generator[ApiServer]:
    with ApiServer.in_thread() as running:
        for name in ("ingresskit", "shop"):
            running.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        yield running


def test_every_overlay_has_its_values() -> None:
    assert sorted(AS_OVERLAY) == OVERLAYS


@pytest.mark.parametrize("name", AS_OVERLAY)
def test_with_these_values_it_gives_what_the_overlay_gives(name: str, tmp_path: Path) -> None:
    made = charted(tmp_path, AS_OVERLAY[name])

    assert sortable(made) == sortable(overlay(name, tmp_path))


@pytest.mark.parametrize("name", ["edge", "load-balancer"])
def test_with_everything_it_gives_what_the_components_give(name: str, tmp_path: Path) -> None:
    values = dict(AS_OVERLAY[name])
    for more in AS_COMPONENT.values():
        values |= more

    assert sortable(charted(tmp_path, values)) == sortable(overlay(name, tmp_path, *AS_COMPONENT))


def test_a_release_of_another_name_shares_nothing_with_the_first(server: ApiServer, tmp_path: Path) -> None:
    values = {
        **REPLICAS,
        "watchNamespaces": ["shop"],
        "ingressClass": {"name": "inside", "controller": "ingresskit.dev/inside", "default": True},
        "dashboard": {"enabled": True, "host": "inside.example"},
        "extraArgs": ["--dialect=ingress-nginx"],
        "image": {"repository": "registry.mine.example/edge", "tag": "1", "pullPolicy": "Always"},
    }
    first = charted(tmp_path, {})
    second = charted(tmp_path, values, release="inside")

    def names(manifests: list[Manifest]) -> set[tuple[str, str]]:
        return {(item["kind"], item["metadata"]["name"]) for item in manifests}

    assert not names(first) & names(second)
    flags = parse_flags(container_of(second)["args"])
    assert flags.ingress_class == "inside"
    assert flags.controller_name == "ingresskit.dev/inside"
    assert str(flags.leader_election_lease) == "ingresskit/inside"
    assert str(flags.host_claims) == "ingresskit/inside-hosts"
    assert str(flags.publish_service) == "ingresskit/inside"
    assert flags.dialect == ["ingress-nginx"]
    assert container_of(second)["image"] == "registry.mine.example/edge:1"
    for manifest in second:
        assert refusal(server, manifest) == "", manifest["metadata"]["name"]
    # The Service whose address is published is in no namespace that is watched.
    assert of_kind(second, "ClusterRole") == []
    bound = {
        (namespace, resource)
        for rule in granted(second, account="inside")
        for namespace in rule.namespaces
        for resource in rule.resources
    }
    assert ("ingresskit", "services") in bound


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"renderers": "nginx"}, "renderers"),
        ({"renderer": "envoy"}, "renderer"),
        ({"mode": "replica"}, "mode"),
        ({"service": {"type": "ClusterIP"}}, "externalIPs"),
        ({"tcpServices": {"80": "shop/db:80"}}, "tcpServices"),
        ({"tcpServices": {"5432": "db"}}, "tcpServices"),
        ({"dashboard": {"host": "*"}}, "host"),
        ({"extraArgs": ["dialect"]}, "extraArgs"),
        ({"watchNamespaces": "shop"}, "watchNamespaces"),
    ],
    ids=str,
)
def test_the_schema_refuses(values: Values, named: str, tmp_path: Path) -> None:
    done = helm(tmp_path, values)

    assert done.returncode != 0
    assert named in done.stderr
    assert "don't meet the specifications of the schema" in done.stderr


def test_the_schema_names_every_value_and_no_other() -> None:
    schema = cast("Manifest", json.loads((CHART / "values.schema.json").read_text()))
    values = cast("Manifest", yaml.safe_load((CHART / "values.yaml").read_text()))

    # What helm itself hands to a chart.
    assert schema["properties"].keys() - {"global"} == values.keys()
    assert schema["additionalProperties"] is False
