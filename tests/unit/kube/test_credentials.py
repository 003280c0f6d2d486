"""Where credentials come from, and that they are looked at again."""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from ingresskit.errors import CredentialsError
from ingresskit.kube import Access, InClusterCredentials, KubeconfigCredentials, StaticCredentials
from ingresskit.kube.credentials import bearer
from ingresskit.kube.exec_plugin import ExecPlugin
from ingresskit.kube.files import RotatedFile

pytestmark = pytest.mark.anyio


def write(path: Path, text: str | bytes) -> Path:
    """Replace a file as a careful writer does: another inode."""
    other = path.with_name(path.name + ".new")
    other.write_bytes(text.encode() if isinstance(text, str) else text)
    other.replace(path)
    return path


def test_a_file_is_read_again_when_it_is_another_one(tmp_path: Path) -> None:
    file = RotatedFile(str(write(tmp_path / "token", "one")))
    assert file.read() == b"one"

    write(tmp_path / "token", "two")

    assert file.read() == b"two"


def test_a_file_behind_links_is_followed_as_the_kubelet_moves_them(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "token", name)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "token").symlink_to("..data/token")
    file = RotatedFile(str(tmp_path / "token"))
    assert file.read() == b"one"

    (tmp_path / "..data.new").symlink_to("two")
    (tmp_path / "..data.new").replace(tmp_path / "..data")

    assert file.read() == b"two"


@pytest.mark.parametrize("broken", ["", "\n", None], ids=["empty", "blank", "gone"])
def test_a_file_that_is_empty_or_gone_for_the_moment_is_not_replaced_yet(
    tmp_path: Path, broken: str | None
) -> None:
    path = write(tmp_path / "token", "one")
    file = RotatedFile(str(path))
    file.read()
    path.unlink() if broken is None else write(path, broken)
    file.forget()

    assert file.read() == b"one"
    write(path, "two")
    assert file.read() == b"two"


@pytest.mark.parametrize("content", [None, ""], ids=["missing", "empty"])
def test_a_file_that_never_held_anything_is_an_error(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        write(path, content)

    with pytest.raises(CredentialsError, match="token"):
        RotatedFile(str(path)).read()


@pytest.mark.parametrize("token", ["", "  ", "one two", "a\r\nHost: evil", "ü", "a\x00b"])
def test_a_token_that_would_break_the_header_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        bearer(token)

    assert not token.strip() or token not in str(caught.value)


async def test_a_pod_has_its_service_account_and_its_rotated_files(tmp_path: Path) -> None:
    write(tmp_path / "token", "one\n")
    write(tmp_path / "ca.crt", "PEM one")
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    credentials = InClusterCredentials(environ=environ, directory=tmp_path)
    first = await credentials.access()
    assert (first.server, first.authorization) == ("https://10.0.0.1:443", "Bearer one")

    write(tmp_path / "token", "two")
    write(tmp_path / "ca.crt", "PEM two")
    environ["KUBERNETES_SERVICE_HOST"] = "fd00::1"
    second = await credentials.access()

    assert (second.server, second.authorization) == ("https://[fd00::1]:443", "Bearer two")
    assert second.trust.authorities == b"PEM two"


async def test_outside_of_a_pod_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="KUBERNETES_SERVICE_HOST"):
        await InClusterCredentials(environ={}, directory=tmp_path).access()


def test_secrets_are_not_in_any_repr(tmp_path: Path) -> None:
    access = Access(server="https://x", authorization="Bearer s3cret")

    assert "s3cret" not in repr(access)
    assert "s3cret" not in repr(RotatedFile(str(write(tmp_path / "t", "s3cret"))))
    assert "s3cret" not in repr(StaticCredentials(access))


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def config(user: dict[str, Any], cluster: dict[str, Any] | None = None) -> str:
    return json.dumps(
        {
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": "https://api.example:6443/", **(cluster or {})}}],
            "users": [{"name": "u", "user": user}],
        }
    )


async def access(folder: Path, user: dict[str, Any], cluster: dict[str, Any] | None = None) -> Access:
    return await KubeconfigCredentials(write(folder / "config", config(user, cluster))).access()


async def test_inline_data_are_read(tmp_path: Path) -> None:
    user = {"client-certificate-data": b64("CERT"), "client-key-data": b64("KEY")}
    cluster = {
        "certificate-authority-data": b64("CA"),
        "tls-server-name": "kubernetes",
        "proxy-url": "http://proxy:3128",
    }
    it = await access(tmp_path, user, cluster)

    assert (it.server, it.authorization) == ("https://api.example:6443", "")
    trust = it.trust
    assert (trust.authorities, trust.certificate, trust.key) == (b"CA", b"CERT", b"KEY")
    assert (trust.server_name, trust.proxy, trust.insecure) == ("kubernetes", "http://proxy:3128", False)


async def test_files_are_relative_to_the_kubeconfig_and_read_again(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key", "token"):
        write(tmp_path / name, f"{name}-1")
    user = {"client-certificate": "cert", "client-key": "key", "tokenFile": "token", "token": "stale"}
    path = write(tmp_path / "config", config(user, {"certificate-authority": "ca"}))
    credentials = KubeconfigCredentials(path)
    first = await credentials.access()
    for name in ("ca", "cert", "token"):
        write(tmp_path / name, f"{name}-2")
    second = await credentials.access()

    assert (first.authorization, first.trust.authorities) == ("Bearer token-1", b"ca-1")
    assert (second.authorization, second.trust.authorities) == ("Bearer token-2", b"ca-2")
    assert (second.trust.certificate, second.trust.key) == (b"cert-2", b"key-1")


async def test_a_kubeconfig_that_is_replaced_counts_and_one_that_breaks_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "config", config({"token": "one"}))
    credentials = KubeconfigCredentials(path)
    assert (await credentials.access()).authorization == "Bearer one"

    write(path, "token: [broken")
    assert (await credentials.access()).authorization == "Bearer one"
    assert "kubeconfig not usable" in caplog.text

    write(path, config({"token": "two"}))
    assert (await credentials.access()).authorization == "Bearer two"


async def test_user_name_and_password_are_basic(tmp_path: Path) -> None:
    it = await access(tmp_path, {"username": "me", "password": "pass:word"})

    assert it.authorization == f"Basic {b64('me:pass:word')}"


async def test_of_several_kubeconfigs_the_first_to_define_something_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = write(tmp_path / "a" / "config", json.dumps({"current-context": "it", "users": None}))
    two = write(tmp_path / "b" / "config", config({"tokenFile": "token"}))
    write(tmp_path / "b" / "token", "from-b")
    missing = tmp_path / "missing"
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, (missing, one, two))))

    assert (await KubeconfigCredentials().access()).authorization == "Bearer from-b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "line 1: this is not YAML"),
        ("7", "is not a kubeconfig"),
        ("{}", "no current-context"),
        ("current-context: nowhere", "no context 'nowhere'; it has none"),
        (config({}, {"server": "ftp://x"}), "is not an http or https address"),
        (config({}, {"certificate-authority-data": "%%%"}), "is not base64"),
        (config({"tokenFile": "missing"}), "missing cannot be read"),
        (config({"exec": {"apiVersion": "v1"}}), "has no command"),
        (config({"token": "two words"}), "spaces or control characters"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_a_kubeconfig_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CredentialsError, match=message):
        await KubeconfigCredentials(write(tmp_path / "config", text)).access()


async def test_a_fault_in_a_kubeconfig_does_not_repeat_its_secrets(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError) as caught:
        await KubeconfigCredentials(write(tmp_path / "config", 'token: "s3cret')).access()

    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_context_may_be_chosen(tmp_path: Path) -> None:
    path = write(tmp_path / "config", config({"token": "one"}))
    with pytest.raises(CredentialsError, match="no context 'other'; it has it"):
        await KubeconfigCredentials(path, context="other").access()


V1 = "client.authentication.k8s.io/v1"


def plugin(folder: Path, body: str) -> Path:
    """A credential plugin that counts its runs in a file beside it."""
    path = folder / "plugin"
    path.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys, pathlib\n"
        "here = pathlib.Path(__file__).parent\n"
        "with (here / 'runs').open('a') as file: file.write('x')\n"
        "run = len((here / 'runs').read_text())\n"
        "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "def say(**status):\n"
        "    print(json.dumps({'apiVersion': info['apiVersion'], 'status': status}))\n"
        f"{body}\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text())


async def test_a_plugin_gives_tokens_and_runs_when_it_must(tmp_path: Path) -> None:
    plugin(tmp_path, "say(token=f'{sys.argv[1]}-{run}', expirationTimestamp='2099-01-01T00:00:00Z')")
    spec = {"apiVersion": V1, "command": "./plugin", "args": ["arg"], "env": [{"name": "A", "value": "b"}]}
    path = write(tmp_path / "config", config({"exec": spec}))
    credentials = KubeconfigCredentials(path)
    first = await credentials.access()
    assert first.authorization == "Bearer arg-1"
    assert (await credentials.access()).authorization == "Bearer arg-1"

    async with anyio.create_task_group() as group:  # refused to many at once: one run
        for _ in range(5):
            group.start_soon(credentials.renew, first)
    assert (await credentials.access()).authorization == "Bearer arg-2"
    await credentials.renew(first)  # an old refusal

    assert (await credentials.access()).authorization == "Bearer arg-2"
    assert runs(tmp_path) == 2


async def test_a_plugin_gives_certificates(tmp_path: Path) -> None:
    plugin(tmp_path, "say(clientCertificateData=f'CERT {run}', clientKeyData='KEY')")
    spec = {"apiVersion": V1, "command": str(tmp_path / "plugin")}
    credentials = KubeconfigCredentials(write(tmp_path / "config", config({"exec": spec})))
    first = await credentials.access()
    await credentials.renew(first)
    second = await credentials.access()

    assert (first.trust.certificate, first.trust.key) == (b"CERT 1", b"KEY")
    assert second.trust.certificate == b"CERT 2"


async def test_a_plugin_is_told_about_the_cluster_if_it_asks(tmp_path: Path) -> None:
    plugin(tmp_path, "say(token=info['spec']['cluster']['server'] + str(info['spec']['interactive']))")
    spec = {"apiVersion": V1, "command": "./plugin", "provideClusterInfo": True}

    it = await access(tmp_path, {"exec": spec}, {"certificate-authority-data": b64("CA")})

    assert it.authorization == "Bearer https://api.example:6443/False"


async def test_a_plugin_whose_token_has_ended_runs_again_but_not_each_time(tmp_path: Path) -> None:
    plugin(tmp_path, "say(token=f't-{run}', expirationTimestamp='2001-01-01T00:00:00Z')")
    it = ExecPlugin(command=str(tmp_path / "plugin"))
    for _ in range(3):
        assert (await it.credential()).token == "t-1"
    it._good_until = anyio.current_time()

    assert (await it.credential()).token == "t-2"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("print('s3cret, not JSON')", "did not print JSON"),
        ("print('[]')", "speaks None"),
        ("say()", "neither a token nor a certificate"),
        ("say(clientCertificateData='x')", "neither a token nor a certificate"),
        ("say(token='s3cret', expirationTimestamp='soon')", "expirationTimestamp that is no time"),
        ("sys.exit('log in first')", "ended with 1: log in first"),
    ],
)
async def test_what_is_wrong_with_a_plugin_is_said_without_its_secrets(
    tmp_path: Path, body: str, message: str
) -> None:
    with pytest.raises(CredentialsError, match=message) as caught:
        await ExecPlugin(command=str(plugin(tmp_path, body))).credential()

    assert "s3cret" not in str(caught.value)


async def test_a_plugin_that_is_not_installed_says_how_to_get_it(tmp_path: Path) -> None:
    it = ExecPlugin(command=str(tmp_path / "none"), install_hint="Install it with care.")

    with pytest.raises(CredentialsError, match=r"cannot be run: No such file.*Install it with care\."):
        await it.credential()


async def test_a_plugin_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingresskit.kube.exec_plugin._LIMIT", timedelta(seconds=0.5))
    plugin(tmp_path, "(here / 'pid').write_text(str(os.getpid())); import time; time.sleep(600)")

    with pytest.raises(CredentialsError, match="did not end in"):
        await ExecPlugin(command=str(tmp_path / "plugin")).credential()

    assert not alive(tmp_path / "pid")


def alive(path: Path) -> bool:
    return path.exists() and Path(f"/proc/{path.read_text()}").exists()


def jwt(claims: dict[str, object]) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims))
    return ".".join((*parts, "signature"))


async def test_an_auth_provider_gives_the_token_it_holds(tmp_path: Path) -> None:
    token = jwt({"exp": 4102444800})
    provider = {"name": "oidc", "config": {"id-token": token}}

    it = await access(tmp_path, {"auth-provider": provider})

    assert it.authorization == f"Bearer {token}"


async def test_an_auth_provider_that_fails_says_so_without_its_secrets(tmp_path: Path) -> None:
    provider = {"name": "oidc", "config": {"id-token": "s3cret"}}

    with pytest.raises(CredentialsError, match="auth-provider failed") as caught:
        await access(tmp_path, {"auth-provider": provider})

    assert "s3cret" not in str(caught.value)
