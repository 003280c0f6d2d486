"""Starting the real server: what is said when it does not start, and that nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingresskit.testing.apiserver import RealApiServerFailed, real_api_server
from ingresskit.testing.apiserver.real import assets_folder


def binary(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def test_a_binary_that_ends_is_named_with_its_last_words_and_the_other_one_is_ended(tmp_path: Path) -> None:
    binary(tmp_path, "etcd", f"echo $$ > {tmp_path}/pid; exec sleep 600")
    started = f"until [ -s {tmp_path}/pid ]; do sleep 0.01; done"
    binary(tmp_path, "kube-apiserver", f"{started}; echo no such flag >&2; exit 3")
    server = real_api_server(tmp_path)

    with pytest.raises(RealApiServerFailed, match=r"kube-apiserver ended with 3:\nno such flag"), server:
        pass

    pid = (tmp_path / "pid").read_text(encoding="utf-8").strip()
    assert not Path(f"/proc/{pid}").exists()


def test_assets_are_a_folder_with_both_binaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    assert assets_folder() is None

    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    binary(tmp_path, "etcd", "")
    assert assets_folder() is None

    binary(tmp_path, "kube-apiserver", "")
    assert assets_folder() == tmp_path
