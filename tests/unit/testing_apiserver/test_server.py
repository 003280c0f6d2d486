"""The life of a server, and what clients find before they find objects."""

from __future__ import annotations

import anyio
import anyio.to_thread
import pytest

from ingresskit.testing import pace
from ingresskit.testing.apiserver import ApiServer, Resource
from ingresskit.testing.apiserver.calls import call
from tests.unit.testing_apiserver.samples import config, watching

CONFIGS = "/api/v1/namespaces/default/configmaps"


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_it_runs_in_the_loop_it_is_started_in(anyio_backend: str) -> None:
    async with ApiServer() as server:

        def watch_one() -> tuple[str, str]:
            with watching(server, CONFIGS, f"resourceVersion={server.revision}") as watch:
                server.create(config("from-a-thread"))
                return watch.change()

        assert await anyio.to_thread.run_sync(watch_one) == ("ADDED", "from-a-thread")
        server.create(config("from-the-loop"))
        answer = await anyio.to_thread.run_sync(call, server, "GET", f"{CONFIGS}/from-the-loop")

    assert answer.status == 200


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_connections_are_refused_and_accepted_from_the_loop_itself(anyio_backend: str) -> None:
    async with ApiServer() as server:
        port = int(server.url.rpartition(":")[2])
        server.refuse_connections()
        with pytest.raises(OSError, match="."):  # noqa: PT012, RUF043 - the first may still get through
            while True:
                await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
        server.accept_connections()

        with anyio.fail_after(pace.within(10)):
            while True:
                try:
                    await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
                    break
                except OSError:
                    await anyio.lowlevel.checkpoint()


def test_it_can_be_started_again_with_its_objects_and_its_port() -> None:
    server = ApiServer()
    with server.running_in_thread():
        url = server.url
        server.create(config("kept"))
    with pytest.raises(ConnectionRefusedError):
        call(server, "GET", CONFIGS)

    with server.running_in_thread():
        listing = call(server, "GET", CONFIGS).json

        assert server.url == url
    assert [item["metadata"]["name"] for item in listing["items"]] == ["kept"]


def test_it_runs_once_at_a_time(server: ApiServer) -> None:
    with pytest.raises(RuntimeError, match="running already"), server.running_in_thread():
        pass


def test_what_needs_a_running_server_says_so() -> None:
    with pytest.raises(RuntimeError, match="not running"):
        ApiServer().pause()


def test_objects_can_be_written_before_it_runs() -> None:
    server = ApiServer()
    server.create(config("early"))

    with server.running_in_thread():
        assert call(server, "GET", f"{CONFIGS}/early").status == 200


def test_clients_find_versions_groups_and_resources(server: ApiServer) -> None:
    version = call(server, "GET", "/version").json
    groups = call(server, "GET", "/apis").json["groups"]
    resources = call(server, "GET", "/apis/networking.k8s.io/v1").json["resources"]

    assert (version["major"], version["minor"]) == ("1", "36")
    assert call(server, "GET", "/api").json["versions"] == ["v1"]
    assert {group["name"] for group in groups} >= {
        "networking.k8s.io",
        "discovery.k8s.io",
        "coordination.k8s.io",
    }
    assert {resource["name"] for resource in resources} == {"ingressclasses", "ingresses", "ingresses/status"}
    assert call(server, "GET", "/openapi/v3/apis/networking.k8s.io/v1").json["openapi"] == "3.0.0"


def test_resources_of_the_tests_own_are_stored_as_written() -> None:
    things = Resource(group="example.com", version="v1", plural="things", kind="Thing", has_status=True)
    thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": {"x": [1]}}
    path = "/apis/example.com/v1/namespaces/default/things"

    with ApiServer.in_thread(resources=[things]) as server:
        answer = call(server, "POST", path, thing)
        listing = call(server, "GET", path).json

    assert (answer.status, answer.json["spec"]) == (201, {"x": [1]})
    assert listing["kind"] == "ThingList"


def test_putting_makes_it_so_status_included(server: ApiServer) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "edge"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    }

    first = server.put(manifest)
    second = server.put(manifest)

    assert first["status"] == manifest["status"]
    assert second == first
