"""The official Kubernetes client for Python finds what it expects."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import pytest
from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException

from ingresskit.testing.apiserver import AnyApiServer


@pytest.fixture
def api(api_server: AnyApiServer, tmp_path: Path) -> Generator[client.ApiClient]:
    found: client.ApiClient = cast(Any, config).new_client_from_config(
        str(api_server.kubeconfig(tmp_path / "config"))
    )
    with found:
        yield found


def ingress(name: str) -> dict[str, Any]:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rule = {"host": "a.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name},
        "spec": {"rules": [rule]},
    }


def test_typed_objects_are_made_read_changed_and_deleted(api: client.ApiClient, api_namespace: str) -> None:
    networking: Any = client.NetworkingV1Api(api)

    made = networking.create_namespaced_ingress(api_namespace, ingress("web"))
    made.spec.rules[0].host = "b.example"
    replaced = networking.replace_namespaced_ingress("web", api_namespace, made)
    patch = {"metadata": {"labels": {"a": "b"}}}
    patched = networking.patch_namespaced_ingress("web", api_namespace, patch)
    listed = networking.list_namespaced_ingress(api_namespace, label_selector="a=b")
    networking.delete_namespaced_ingress("web", api_namespace)

    assert replaced.metadata.generation == 2
    assert patched.spec.rules[0].host == "b.example"
    assert [item.metadata.name for item in listed.items] == ["web"]
    with pytest.raises(ApiException) as caught:
        networking.read_namespaced_ingress("web", api_namespace)
    refusal: Any = caught.value
    assert refusal.status == 404


def test_a_watch_goes_on_where_the_list_ended(api: client.ApiClient, api_namespace: str) -> None:
    core: Any = client.CoreV1Api(api)
    core.create_namespaced_config_map(api_namespace, {"metadata": {"name": "before"}})
    listed = core.list_namespaced_config_map(api_namespace)
    core.create_namespaced_config_map(api_namespace, {"metadata": {"name": "after"}})
    core.delete_namespaced_config_map("after", api_namespace)

    seen: list[tuple[str, str]] = []
    make: Any = watch.Watch
    stream = make()
    for event in stream.stream(
        core.list_namespaced_config_map,
        api_namespace,
        resource_version=listed.metadata.resource_version,
        timeout_seconds=10,
    ):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 2:
            stream.stop()

    assert seen == [("ADDED", "after"), ("DELETED", "after")]


def test_long_lists_come_in_pages(api: client.ApiClient, api_namespace: str) -> None:
    core: Any = client.CoreV1Api(api)
    for number in range(5):
        core.create_namespaced_config_map(api_namespace, {"metadata": {"name": f"c{number}"}})

    first = core.list_namespaced_config_map(api_namespace, limit=3)
    second = core.list_namespaced_config_map(api_namespace, limit=3, _continue=first.metadata._continue)

    assert first.metadata.remaining_item_count == 2
    assert [item.metadata.name for item in (*first.items, *second.items)] == [
        f"c{number}" for number in range(5)
    ]


def test_resources_are_discovered_and_applied(api: client.ApiClient, api_namespace: str) -> None:
    make: Any = dynamic.DynamicClient
    ingresses: Any = make(api).resources.get(api_version="networking.k8s.io/v1", kind="Ingress")

    applied = ingresses.server_side_apply(
        body=ingress("web"), name="web", namespace=api_namespace, field_manager="ours"
    )
    with pytest.raises(ApiException) as caught:
        ingresses.server_side_apply(
            body={**ingress("web"), "spec": {"rules": [{"host": "other.example"}]}},
            name="web",
            namespace=api_namespace,
            field_manager="theirs",
        )

    assert applied.metadata.managedFields[0].manager == "ours"
    refusal: Any = caught.value
    assert refusal.status == 409
    assert "FieldManagerConflict" in refusal.body
