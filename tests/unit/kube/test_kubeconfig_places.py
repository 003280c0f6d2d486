"""Where a kubeconfig is looked for, and what is said when it is not there."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from ingresskit.errors import CredentialsError
from ingresskit.kube import KubeconfigCredentials
from ingresskit.testing.apiserver.certificates import Authority
from tests.unit.kube.test_credentials import V1, config, write

pytestmark = pytest.mark.anyio


async def test_without_kubeconfig_the_file_of_the_home_folder_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kube").mkdir()
    write(tmp_path / ".kube" / "config", config({"token": "home"}))

    assert (await KubeconfigCredentials().access()).authorization == "Bearer home"


async def test_when_no_file_is_there_the_error_names_one_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = [tmp_path / "one", tmp_path / "two"]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, missing)))

    with pytest.raises(CredentialsError, match=r"No such file") as caught:
        await KubeconfigCredentials().access()

    assert any(str(path) in str(caught.value) for path in missing)


async def test_a_plugin_is_told_the_data_of_the_authority_and_no_file_name(tmp_path: Path) -> None:
    authority = Authority("it")
    write(tmp_path / "ca.crt", authority.pem)
    told = tmp_path / "told.json"
    credential = {"apiVersion": V1, "kind": "ExecCredential", "status": {"token": "t"}}
    program = tmp_path / "plugin"
    program.write_text(
        f"#!/bin/sh\nprintf %s \"$KUBERNETES_EXEC_INFO\" >{told}\ncat <<'END'\n{json.dumps(credential)}\nEND\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    spec = {"apiVersion": V1, "command": str(program), "provideClusterInfo": True, "interactiveMode": "Never"}
    path = write(tmp_path / "config", config({"exec": spec}, {"certificate-authority": "ca.crt"}))

    assert (await KubeconfigCredentials(path).access()).authorization == "Bearer t"

    cluster = json.loads(told.read_text())["spec"]["cluster"]
    assert "certificate-authority-data" in cluster
    assert "certificate-authority" not in cluster
