"""``ingresskit diff``: two folders, their differences, and the exit status."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from ingresskit.app import main
from ingresskit.testing.apiserver import ApiServer
from tests.features.cluster_scene import certificate, ingress, ingress_class, service, slice_of

DEMO = Path(__file__).resolve().parents[2] / "examples" / "manifests" / "demo"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        shutil.copytree(DEMO, folder)
    return old, new


def edit(folder: Path, name: str, before: str, after: str) -> None:
    text = (folder / name).read_text(encoding="utf-8")
    assert before in text
    (folder / name).write_text(text.replace(before, after), encoding="utf-8")


def test_folders_alike_end_with_0_and_print_nothing(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", *map(str, folders)]) == 0
    assert capsys.readouterr().out == ""


def test_what_differs_is_printed_with_requests_and_ends_with_1(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = folders
    edit(new, "shop.yaml", "pathType: Exact", "pathType: Prefix")

    assert main(["diff", str(old), str(new)]) == 1

    text = capsys.readouterr().out
    assert "added route shop.demo.localhost Prefix /status: to demo/api:80" in text
    assert "GET https://shop.demo.localhost/status/" in text
    assert "before: demo/shop:80 gets /status/\n    after:  demo/api:80 gets /status/" in text


def test_json_has_the_same(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    old, new = folders
    edit(new, "shop.yaml", "pathType: Exact", "pathType: Prefix")

    assert main(["diff", str(old), str(new), "--json", "--requests", "1"]) == 1

    found = json.loads(capsys.readouterr().out)
    assert {item["change"] for item in found["parts"]} == {"added", "removed"}
    assert [item["url"] for item in found["requests"]] == ["https://shop.demo.localhost/status/"]
    assert found["asked"] > 10


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["/nonexistent"], "cannot be read"),
        (["cluster", "--kubeconfig", "/nonexistent"], "/nonexistent"),
    ],
)
def test_what_cannot_be_read_ends_with_2_and_one_line(
    folders: tuple[Path, Path], more: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", str(folders[0]), *more]) == 2

    text = capsys.readouterr().err
    assert line in text
    assert text.count("\n") == 1


def test_the_word_cluster_reads_the_cluster_of_the_kubeconfig(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder = folders
    with ApiServer.in_thread(tls=True, bookmark_seconds=0.5) as server:
        config = str(server.kubeconfig(tmp_path / "config"))
        found = main(["diff", "cluster", str(folder), "--kubeconfig", config])

    assert found == 1
    assert "added host shop.demo.localhost" in capsys.readouterr().out


def loaded(server: ApiServer, folder: Path) -> None:
    for path in sorted(folder.glob("*.yaml")):
        server.load(item for item in yaml.safe_load_all(path.read_text(encoding="utf-8")) if item)


def test_a_cluster_and_the_folder_that_it_was_made_of_do_not_differ(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, changed = folders
    edit(changed, "shop.yaml", "pathType: Exact", "pathType: Prefix")
    with ApiServer.in_thread(tls=True, bookmark_seconds=0.5) as server:
        loaded(server, folder)
        more = ["--kubeconfig", str(server.kubeconfig(tmp_path / "config"))]

        assert main(["diff", "cluster", str(folder), *more]) == 0, capsys.readouterr().out
        assert main(["diff", "cluster", str(changed), *more]) == 1

    text = capsys.readouterr().out
    assert "added route shop.demo.localhost Prefix /status: to demo/api:80" in text
    assert "before: demo/shop:80 gets /status/\n    after:  demo/api:80 gets /status/" in text


def test_policies_endpoints_and_certificates_that_change_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Written by hand: the two sides differ in one policy, one endpoint and one certificate."""
    for side, (limit, address, salt) in {
        "old": ("10/s", "10.0.0.1", ""),
        "new": ("5/s", "10.0.0.2", "x"),
    }.items():
        folder = tmp_path / side
        folder.mkdir()
        item = ingress("shop", host="shop.test", tls="cert")
        item["metadata"] = {
            "name": "shop",
            "namespace": "shop",
            "annotations": {"ingresskit.dev/rate-limit": limit},
        }
        objects = [
            ingress_class(),
            item,
            service(),
            slice_of(port=80, address=address),
            certificate("cert", "shop.test", salt=salt),
        ]
        text = "---\n".join(json.dumps(made) + "\n" for made in objects)
        (folder / "all.yaml").write_text(text, encoding="utf-8")

    assert main(["diff", str(tmp_path / "old"), str(tmp_path / "new")]) == 1

    text = capsys.readouterr().out
    assert "RateLimit: rates from" in text
    assert "changed backend shop/web:80: endpoint added: 10.0.0.2:80; endpoint removed: 10.0.0.1:80" in text
    assert "changed certificate shop/cert" in text
    # What a client may do is another now, and so every request of it.
    assert "10 a second, 51 at once, then 429" in text
    assert "5 a second, 26 at once, then 429" in text
