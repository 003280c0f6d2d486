"""As whom the reference controller asks: the pod it runs in, unless flags or KUBECONFIG say otherwise."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from ingresskit.app.cluster import credentials, reach
from ingresskit.app.flags import parse_flags
from ingresskit.errors import CredentialsError
from ingresskit.kube import InClusterCredentials, KubeconfigCredentials
from ingresskit.testing.apiserver import ApiServer


@pytest.mark.parametrize(
    ("argv", "variable", "in_pod", "kind"),
    [
        ([], "", True, InClusterCredentials),
        ([], "", False, KubeconfigCredentials),
        ([], "config", True, KubeconfigCredentials),
        (["--kubeconfig=config"], "", True, KubeconfigCredentials),
        (["--context=staging"], "", True, KubeconfigCredentials),
    ],
)
def test_a_pod_asks_as_itself_unless_told_otherwise(
    argv: list[str], variable: str, in_pod: bool, kind: type[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", variable)
    monkeypatch.setattr(InClusterCredentials, "available", lambda: in_pod)

    assert isinstance(credentials(parse_flags(argv)), kind)


def test_the_kubeconfig_of_the_environment_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InClusterCredentials, "available", lambda: False)
    with ApiServer.in_thread() as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "config")))

        access = anyio.run(credentials(parse_flags([])).access)

        assert access.server == server.url


def test_a_context_that_is_not_there_is_told_before_anything_starts(tmp_path: Path) -> None:
    with ApiServer.in_thread() as server:
        config = server.kubeconfig(tmp_path / "config")
    flags = parse_flags([f"--kubeconfig={config}", "--context=staging"])

    with pytest.raises(CredentialsError, match="staging"):
        anyio.run(reach, credentials(flags))
