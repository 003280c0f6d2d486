"""``--shadow``: what limits, lists and passwords would refuse is served, counted and logged."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.features.cluster_scene import LOOPBACK, Pod, service, slice_of
from tests.features.reference_process import ReferenceController, get, wait_until

PREFIX = "nginx.ingress.kubernetes.io"
# Of each Ingress: annotations, the status that they refuse with, and the stage that refuses.
REFUSING: dict[str, tuple[dict[str, str], int, str]] = {
    "list": ({"whitelist-source-range": "192.0.2.0/24"}, 403, "address"),
    "rate": ({"limit-rpm": "1", "limit-burst-multiplier": "1"}, 503, "rate"),
    "password": ({"auth-type": "basic", "auth-secret": "users"}, 401, "authentication"),
}


def folder_of(root: Path, port: int) -> Path:
    objects: list[dict[str, object]] = [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": "nginx"},
            "spec": {"controller": "k8s.io/ingress-nginx"},
        },
        service(),
        slice_of(port=port),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "users", "namespace": "shop"},
            "stringData": {"auth": "u:{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=\n"},
        },
    ]
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    for name, (notes, _, _) in REFUSING.items():
        paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
        annotations = {f"{PREFIX}/{key}": value for key, value in notes.items()}
        objects.append(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "Ingress",
                "metadata": {"name": name, "namespace": "shop", "annotations": annotations},
                "spec": {
                    "ingressClassName": "nginx",
                    "rules": [{"host": f"{name}.test", "http": {"paths": paths}}],
                },
            }
        )
    text = "---\n".join(json.dumps(item) + "\n" for item in objects)
    (root / "all.yaml").write_text(text, encoding="utf-8")
    return root


def flags(folder: Path, renderer: str, *more: str) -> tuple[str, ...]:
    words = (
        "--dialect",
        "ingress-nginx",
        "--controller-name",
        "k8s.io/ingress-nginx",
        "--ingress-class",
        "nginx",
    )
    return ("--manifests", str(folder), *words, LOOPBACK, "--renderer", renderer, *more)


def statuses(running: ReferenceController, name: str, number: int) -> list[int]:
    return [get(running.http_port, "/", f"{name}.test").status for _ in range(number)]


@pytest.mark.parametrize("renderer", ["inprocess", "haproxy", "nginx"])
def test_what_would_be_refused_is_served_counted_and_logged(renderer: str, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    (tmp_path / "manifests").mkdir()
    with Pod("served") as pod:
        folder = folder_of(tmp_path / "manifests", pod.port)
        shadow = ("--shadow", "limits,access,authentication", "--access-log", str(log))
        with ReferenceController(*flags(folder, renderer, *shadow)) as running:
            running.wait_ready()

            for name in REFUSING:
                assert statuses(running, name, 4) == [200] * 4, name

            def counted() -> set[str]:
                text = running.admin("/metrics").text
                found = re.findall(r'shadow_refusals_total\{stage="(\w+)"\} ([1-9][0-9.]*)', text)
                return {stage for stage, _ in found}

            wait_until(lambda: counted() == {stage for _, _, stage in REFUSING.values()})
            wait_until(lambda: log.exists() and log.read_text(encoding="utf-8").count("\n") >= 12)
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        named = {(line["host"].partition(".")[0], stage) for line in lines for stage in line.get("shadow", [])}
        assert named >= {(name, stage) for name, (_, _, stage) in REFUSING.items()}


def test_without_the_flag_they_refuse(tmp_path: Path) -> None:
    with (
        Pod("served") as pod,
        ReferenceController(*flags(folder_of(tmp_path, pod.port), "inprocess")) as running,
    ):
        running.wait_ready()

        for name, (_, status, _) in REFUSING.items():
            assert status in statuses(running, name, 4), name
