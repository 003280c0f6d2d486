"""One context of a kubeconfig: a cluster, and who we are to it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

from ingresskit.errors import CredentialsError
from ingresskit.kube._trees import as_list, as_map, field_data, field_flag, field_text, field_texts
from ingresskit.kube.credentials import Access, TrustMaterial, bearer
from ingresskit.kube.exec_plugin import ExecPlugin
from ingresskit.kube.files import RotatedFile
from ingresskit.kube.impersonation import impersonation_headers
from ingresskit.kube.oidc import OidcProvider
from ingresskit.kube.redaction import without_user

__all__ = ["Account"]

Tree = Mapping[str, object]

# The part of a cluster's extensions that its credential plugins get.
# Source: Kubernetes reference, "client authentication (v1)", Cluster.config.
_PLUGIN_EXTENSION = "client.authentication.k8s.io/exec"
_TOLD_TO_PLUGINS = (
    "server",
    "tls-server-name",
    "insecure-skip-tls-verify",
    "proxy-url",
    "disable-compression",
)


class Account:
    """Where the parts of an `Access` come from.

    Which of several credentials counts is as in client-go: a token or password of the kubeconfig before
    that of a plugin or provider, a file before the token beside it.
    """

    def __init__(self, cluster: Tree, cluster_directory: str, user: Tree, user_directory: str) -> None:
        """Read the trees; no file and no program yet.

        Args:
            cluster: The ``cluster`` of the kubeconfig.
            cluster_directory: Where the files it names are.
            user: The ``user``; empty for nobody.
            user_directory: As *cluster_directory*.

        Raises:
            CredentialsError: A field cannot be used, or two fields contradict one another.
        """
        self._server, basic = _address(field_text(cluster, "server"))
        self._server_name = field_text(cluster, "tls-server-name")
        self._insecure = field_flag(cluster, "insecure-skip-tls-verify")
        self._proxy = field_text(cluster, "proxy-url")
        self._authority = _Part(cluster, "certificate-authority", cluster_directory)
        if self._insecure and self._authority:
            raise CredentialsError(
                "the kubeconfig has both a certificate-authority and insecure-skip-tls-verify; remove one"
            )
        self._certificate = _Part(user, "client-certificate", user_directory)
        self._key = _Part(user, "client-key", user_directory)
        token, token_file = field_text(user, "token"), field_text(user, "tokenFile")
        self._token = RotatedFile(str(Path(user_directory, token_file))) if token_file else None
        self._authorization = bearer(token) if token else ""
        name, password = field_text(user, "username"), field_text(user, "password")
        if name or password:
            if token or token_file:
                raise CredentialsError("the kubeconfig's user has both a token and a password; remove one")
            self._authorization = _basic(name, password)
        elif not token and not token_file:
            self._authorization = basic
        self._impersonation = impersonation_headers(user)
        self._plugin = self._exec_plugin(user, cluster, user_directory)
        self._provider = _auth_provider(user, user_directory)
        if self._plugin is not None and self._provider is not None:
            raise CredentialsError("the kubeconfig's user has both exec and auth-provider; remove one")

    def _exec_plugin(self, user: Tree, cluster: Tree, directory: str) -> ExecPlugin | None:
        spec = user.get("exec")
        if not isinstance(spec, dict):
            return None
        spec = cast("Tree", spec)
        if not field_text(spec, "command"):
            raise CredentialsError("the kubeconfig's credential plugin has no command")
        told: dict[str, object] | None = None
        if field_flag(spec, "provideClusterInfo"):
            told = {key: cluster[key] for key in _TOLD_TO_PLUGINS if cluster.get(key)}
            if authority := self._authority.read():
                told["certificate-authority-data"] = base64.b64encode(authority).decode()
            for extension in map(as_map, as_list(cluster.get("extensions"))):
                if extension.get("name") == _PLUGIN_EXTENSION:
                    told["config"] = extension.get("extension")
        return ExecPlugin(
            command=field_text(spec, "command"),
            args=tuple(field_texts(spec, "args")),
            env={
                field_text(item, "name"): field_text(item, "value")
                for item in map(as_map, as_list(spec.get("env")))
            },
            api_version=field_text(spec, "apiVersion"),
            cluster=told,
            directory=directory,
            install_hint=field_text(spec, "installHint"),
        )

    async def access(self) -> Access:
        """The access as of the files now.

        Raises:
            CredentialsError: A file, program or identity provider does not deliver.
        """
        authorization = self._authorization
        certificate, key = self._certificate.read(), self._key.read()
        if self._token is not None:
            try:
                authorization = bearer(self._token.read())
            except CredentialsError:
                if not authorization:
                    raise
        if self._provider is not None and not authorization:
            authorization = bearer(await self._provider.token())
        if self._plugin is not None:
            credential = await self._plugin.credential()
            if credential.token and not authorization:
                authorization = bearer(credential.token)
            if credential.certificate:
                certificate, key = credential.certificate, credential.key
        return Access(
            server=self._server,
            authorization=authorization,
            impersonation=self._impersonation,
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
        """Read every file again, and let a plugin run, or a provider be asked, again."""
        for file in (self._token, self._authority.file, self._certificate.file, self._key.file):
            if file is not None:
                file.forget()
        token = refused.authorization.removeprefix("Bearer ")
        if self._provider is not None:
            await self._provider.renew(token)
        if self._plugin is not None:
            await self._plugin.renew(token)


class _Part:
    """PEM that stands in the kubeconfig, or in a file beside it; inline data win."""

    def __init__(self, tree: Tree, key: str, directory: str) -> None:
        self._data = field_data(tree, f"{key}-data")
        self.file: RotatedFile | None = None
        if not self._data and (path := field_text(tree, key)):
            self.file = RotatedFile(str(Path(directory, path)))

    def __bool__(self) -> bool:
        return bool(self._data) or self.file is not None

    def read(self) -> bytes:
        return self.file.read() if self.file is not None else self._data


def _auth_provider(user: Tree, directory: str) -> OidcProvider | None:
    spec = user.get("auth-provider")
    if not isinstance(spec, dict):
        return None
    spec = cast("Tree", spec)
    name = field_text(spec, "name")
    if name != "oidc":
        raise CredentialsError(
            f"the kubeconfig's auth-provider {name!r} is not supported: Kubernetes has removed all but oidc"
            " in favour of credential plugins (exec)"
        )
    return OidcProvider(as_map(spec.get("config")), directory)


def _address(text: str) -> tuple[str, str]:
    """The server's address, and the ``Authorization`` that stands in it, as Go's client reads one."""
    shown = without_user(text)
    try:
        parts = urlsplit(text.rstrip("/"))
        _ = parts.port
    except ValueError as exc:
        raise CredentialsError(f"the kubeconfig's server {shown!r} is not an address: {exc}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CredentialsError(f"the kubeconfig's server {shown!r} is not an http or https address")
    server = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    if parts.username is None:
        return server, ""
    return server, _basic(unquote(parts.username), unquote(parts.password or ""))


def _basic(name: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"
