"""The demonstration's own source: it gives life to what the manifests name, and follows them."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from cryptography import x509

from ingresskit import Ingress, ObjectKey, Snapshot
from ingresskit.app.demo import MANIFESTS, DemoSource
from ingresskit.models import EndpointSlice, Secret
from ingresskit.testing import pace
from ingresskit.testing.ports import free_port
from tests.features.reference_process import get

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def following(folder: Path) -> AsyncGenerator[DemoSource]:
    source = DemoSource(folder)
    with anyio.fail_after(pace.within(20)):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(source.run)
            await source.wait_changed(0)
            yield source
            tasks.cancel_scope.cancel()


async def wait_for(source: DemoSource, condition: Callable[[Snapshot], bool]) -> Snapshot:
    """The first snapshot for which *condition* holds."""
    while (snapshot := source.snapshot()) is None or not condition(snapshot):
        await source.wait_changed(0 if snapshot is None else snapshot.revision)
    return snapshot


def write_slice(folder: Path, *ports: int) -> None:
    """Slices of the Service ``web/pod``, one for each port of 127.0.0.1, in one step."""
    documents = [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"pod-{port}",
                "namespace": "web",
                "labels": {"kubernetes.io/service-name": "pod"},
            },
            "addressType": "IPv4",
            "ports": [{"port": port}],
            "endpoints": [{"addresses": ["127.0.0.1"]}],
        }
        for port in ports
    ]
    draft = folder / ".draft"
    draft.write_text("\n---\n".join(map(json.dumps, documents)), encoding="utf-8")
    draft.rename(folder / "slices.yaml")


def ports_of(snapshot: Snapshot) -> set[int | None]:
    return {port.port for item in snapshot.all(EndpointSlice) for port in item.ports}


async def service_at(port: int) -> object:
    reply = await anyio.to_thread.run_sync(get, port, "/")
    return reply.json["service"]


async def test_pods_come_and_go_with_the_slices_that_name_them(tmp_path: Path) -> None:
    first, second = free_port(), free_port()
    write_slice(tmp_path, first)
    async with following(tmp_path) as source:
        assert await service_at(first) == "web/pod"

        write_slice(tmp_path, second)
        await wait_for(source, lambda snapshot: ports_of(snapshot) == {second})

        assert await service_at(second) == "web/pod"
        with pytest.raises(ConnectionRefusedError):
            await anyio.to_thread.run_sync(get, first, "/")


async def test_a_pod_whose_port_is_taken_listens_elsewhere_and_the_slice_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        write_slice(tmp_path, port)
        async with following(tmp_path) as source:
            snapshot = await wait_for(source, lambda snapshot: bool(snapshot.all(EndpointSlice)))
            (moved,) = ports_of(snapshot)

            assert moved not in (None, port)
            assert await service_at(moved or 0) == "web/pod"
            assert {item.service for item in snapshot.all(EndpointSlice)} == {ObjectKey("web", "pod")}


async def test_a_secret_is_made_for_each_one_that_an_ingress_names(tmp_path: Path) -> None:
    shutil.copy(MANIFESTS / "tls.yaml", tmp_path)
    async with following(tmp_path) as source:
        snapshot = await wait_for(source, lambda snapshot: bool(snapshot.all(Secret)))

    secret = snapshot.get(Secret, ObjectKey("demo", "pay-tls"))
    assert secret is not None
    certificate = x509.load_pem_x509_certificate(secret.data["tls.crt"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["pay.demo.localhost"]
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(source.authority))


async def test_a_secret_of_the_folder_is_left_alone(tmp_path: Path) -> None:
    shutil.copy(MANIFESTS / "tls.yaml", tmp_path)
    own = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "pay-tls", "namespace": "demo"},
        "stringData": {"tls.crt": "mine"},
    }
    (tmp_path / "own.json").write_text(json.dumps(own), encoding="utf-8")

    async with following(tmp_path) as source:
        snapshot = await wait_for(source, lambda snapshot: bool(snapshot.all(Secret)))

    secret = snapshot.get(Secret, ObjectKey("demo", "pay-tls"))
    assert secret is not None
    assert secret.data == {"tls.crt": b"mine"}


async def test_certificates_stay_while_other_things_change(tmp_path: Path) -> None:
    shutil.copy(MANIFESTS / "tls.yaml", tmp_path)
    async with following(tmp_path) as source:
        before = await wait_for(source, lambda snapshot: bool(snapshot.all(Secret)))
        shutil.copy(MANIFESTS / "wildcard.yaml", tmp_path)
        after = await wait_for(source, lambda snapshot: len(snapshot.all(Ingress)) == 2)

    assert after.all(Secret) == before.all(Secret)
