"""Credentials from kubeconfig files, as kubectl reads them.

Source: Kubernetes documentation, "Organizing Cluster Access Using kubeconfig Files" and the reference
of ``kubeconfig (v1)``.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import anyio

from ingresskit.errors import CredentialsError
from ingresskit.facts import fact_logger
from ingresskit.kube._trees import as_list, as_map, as_text
from ingresskit.kube.credentials import Access, TrustMaterial, bearer
from ingresskit.kube.exec_plugin import ExecPlugin
from ingresskit.kube.files import RotatedFile

__all__ = ["KubeconfigCredentials"]

_logger = fact_logger(__name__)

Tree = Mapping[str, object]


class KubeconfigCredentials:
    """The user and cluster of one context of a kubeconfig.

    Understood: inline data and files (relative to the kubeconfig they stand in), client certificates,
    ``token``, ``tokenFile``, ``exec`` plugins with token or certificate, user name and password,
    ``auth-provider`` (by the Kubernetes client's own loader), ``tls-server-name``, ``proxy-url``,
    ``insecure-skip-tls-verify``, ``certificate-authority``. The kubeconfig and the files it names are read
    again when they are replaced; a kubeconfig that becomes unreadable is logged, and the former counts.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, context: str = "") -> None:
        """Read nothing yet.

        Args:
            path: One file; ``None`` for those in ``KUBECONFIG``, else ``~/.kube/config``. Of several files
                the first to define something counts.
            context: Which one; empty for ``current-context``.
        """
        self._explicit = path is not None
        if path is not None:
            paths = [os.fspath(path)]
        else:
            paths = [part for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
            paths = paths or [str(Path.home() / ".kube" / "config")]
        self._files = {path: RotatedFile(path) for path in paths}
        self._context = context
        self._lock = anyio.Lock()
        self._contents: tuple[bytes, ...] = ()
        self._account: _Account | None = None

    async def access(self) -> Access:
        """The access as of the files now.

        Raises:
            CredentialsError: No file can be read, the context is not in it, or what it names is not to be
                had.
        """
        return await (await self._current()).access()

    async def renew(self, refused: Access) -> None:
        """Read every file again, and let a plugin run again.

        Raises:
            CredentialsError: As `access`.
        """
        for file in self._files.values():
            file.forget()
        await (await self._current()).renew(refused)

    async def _current(self) -> _Account:
        async with self._lock:
            contents = self._read()
            if self._account is None or contents != self._contents:
                try:
                    account = _account(dict(zip(self._files, contents, strict=True)), self._context)
                except CredentialsError as exc:
                    if self._account is None:
                        raise
                    _logger.warning("kubeconfig not usable, keeping the former", extra={"error": str(exc)})
                else:
                    self._account = account
                self._contents = contents
            return self._account

    def _read(self) -> tuple[bytes, ...]:
        contents: list[bytes] = []
        fault: CredentialsError | None = None
        for file in self._files.values():
            try:
                contents.append(file.read())
            except CredentialsError as exc:  # kubectl too passes over a file of KUBECONFIG that is not there
                fault = exc
                contents.append(b"")
        if fault is not None and not any(contents):
            raise fault
        return tuple(contents)


class _Account:
    """One context, read: where its parts come from."""

    def __init__(self, cluster: Tree, cluster_directory: str, user: Tree, user_directory: str) -> None:
        self._server = _text(cluster, "server").rstrip("/")
        if not self._server.startswith(("http://", "https://")):
            raise CredentialsError(f"the kubeconfig's server {self._server!r} is not an http or https address")
        self._server_name = _text(cluster, "tls-server-name")
        self._insecure = cluster.get("insecure-skip-tls-verify") is True
        self._proxy = _text(cluster, "proxy-url")
        self._authority = _Part(cluster, "certificate-authority", cluster_directory)
        self._certificate = _Part(user, "client-certificate", user_directory)
        self._key = _Part(user, "client-key", user_directory)
        token, token_file = _text(user, "token"), _text(user, "tokenFile")
        # The file is the one that is kept fresh; client-go prefers it too.
        self._token = RotatedFile(str(Path(user_directory, token_file))) if token_file else None
        self._authorization = bearer(token) if token else ""
        if user.get("username") is not None:
            pair = f"{_text(user, 'username')}:{_text(user, 'password')}".encode()
            self._authorization = self._authorization or f"Basic {base64.b64encode(pair).decode()}"
        self._plugin = self._exec_plugin(user, cluster, user_directory)
        self._provider = _AuthProvider(user) if isinstance(user.get("auth-provider"), dict) else None

    def _exec_plugin(self, user: Tree, cluster: Tree, directory: str) -> ExecPlugin | None:
        spec = user.get("exec")
        if not isinstance(spec, dict):
            return None
        spec = cast("Tree", spec)
        if not _text(spec, "command"):
            raise CredentialsError("the kubeconfig's credential plugin has no command")
        told = dict[str, object]()
        if spec.get("provideClusterInfo") is True:
            told = {key: value for key, value in cluster.items() if key != "certificate-authority"}
            if authority := self._authority.read():
                told["certificate-authority-data"] = base64.b64encode(authority).decode()
        return ExecPlugin(
            command=_text(spec, "command"),
            args=tuple(str(arg) for arg in as_list(spec.get("args"))),
            env={_text(item, "name"): _text(item, "value") for item in map(as_map, as_list(spec.get("env")))},
            api_version=_text(spec, "apiVersion"),
            cluster=told or None,
            directory=directory,
            install_hint=_text(spec, "installHint"),
        )

    async def access(self) -> Access:
        authorization = self._authorization
        certificate, key = self._certificate.read(), self._key.read()
        if self._token is not None:
            authorization = bearer(self._token.read())
        if self._provider is not None:
            authorization = await self._provider.authorization()
        if self._plugin is not None:
            credential = await self._plugin.credential()
            if credential.token:
                authorization = bearer(credential.token)
            if credential.certificate:
                certificate, key = credential.certificate, credential.key
        return Access(
            server=self._server,
            authorization=authorization,
            trust=TrustMaterial(
                authorities=self._authority.read(),
                certificate=certificate,
                key=key,
                server_name=self._server_name,
                insecure=self._insecure,
                proxy=self._proxy,
            ),
        )

    async def renew(self, refused: Access) -> None:
        for file in (self._token, self._authority.file, self._certificate.file, self._key.file):
            if file is not None:
                file.forget()
        if self._provider is not None:
            self._provider.forget()
        if self._plugin is not None:
            await self._plugin.renew(refused.authorization.removeprefix("Bearer "))


class _Part:
    """PEM that stands in the kubeconfig, or in a file beside it; inline data win."""

    def __init__(self, tree: Tree, key: str, directory: str) -> None:
        self._data = b""
        self.file: RotatedFile | None = None
        if data := _text(tree, f"{key}-data"):
            try:
                self._data = base64.b64decode(data, validate=True)
            except binascii.Error:
                raise CredentialsError(f"the kubeconfig's {key}-data is not base64") from None
        elif path := _text(tree, key):
            self.file = RotatedFile(str(Path(directory, path)))

    def read(self) -> bytes:
        return self.file.read() if self.file is not None else self._data


class _AuthProvider:
    """The old ``auth-provider`` users (oidc, gcp): the Kubernetes client knows how to renew those."""

    _FRESH = 60.0

    def __init__(self, user: Tree) -> None:
        self._user = user
        self._held = ""
        self._asked = 0.0

    def forget(self) -> None:
        self._held = ""

    async def authorization(self) -> str:
        if self._held and anyio.current_time() < self._asked + self._FRESH:
            return self._held
        from kubernetes.aio.client.configuration import Configuration
        from kubernetes.aio.config import kube_config

        loader = cast("Any", kube_config)  # has no annotations

        configuration = Configuration()
        config = {
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": {"server": "https://localhost"}}],
            "users": [{"name": "it", "user": self._user}],
        }
        try:
            with anyio.fail_after(30):
                await loader.load_kube_config_from_dict(config, client_configuration=configuration)
        except Exception as exc:
            raise CredentialsError(f"the kubeconfig's auth-provider failed: {type(exc).__name__}") from exc
        held = cast("Mapping[str, str]", configuration.api_key).get("BearerToken", "")
        if not held:
            raise CredentialsError("the kubeconfig's auth-provider gave no token")
        self._held, self._asked = held, anyio.current_time()
        return held


def _account(files: Mapping[str, bytes], context: str) -> _Account:
    trees = {path: _parsed(path, content) for path, content in files.items() if content}
    if not context:
        named = (_text(tree, "current-context") for tree in trees.values())
        context = next(filter(None, named), "")
        if not context:
            raise CredentialsError("the kubeconfig has no current-context, and none was asked for")
    chosen, _ = _entry(trees, "contexts", "context", context)
    cluster, cluster_path = _entry(trees, "clusters", "cluster", _text(chosen, "cluster"))
    user: Tree = {}
    user_path = cluster_path
    if name := _text(chosen, "user"):
        user, user_path = _entry(trees, "users", "user", name)
    return _Account(cluster, _directory(cluster_path), user, _directory(user_path))


def _directory(path: str) -> str:
    return str(Path(path).absolute().parent)


def _entry(trees: Mapping[str, Tree], section: str, field: str, name: str) -> tuple[Tree, str]:
    known: list[str] = []
    for path, tree in trees.items():
        for item in map(as_map, as_list(tree.get(section))):
            if item.get("name") == name:
                return as_map(item.get(field)), path
            known.append(str(item.get("name")))
    raise CredentialsError(f"the kubeconfig has no {field} {name!r}; it has {', '.join(known) or 'none'}")


def _parsed(path: str, content: bytes) -> Tree:
    import yaml  # comes with the Kubernetes client

    try:
        tree: object = yaml.safe_load(content)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        # Not `from` the fault, and not its text: it quotes the line, which may hold a token.
        raise CredentialsError(f"{path}{where}: this is not YAML") from None
    if not isinstance(tree, dict):
        raise CredentialsError(f"{path} is not a kubeconfig")
    return cast("Tree", tree)


def _text(tree: Tree, key: str) -> str:
    return as_text(tree.get(key))
