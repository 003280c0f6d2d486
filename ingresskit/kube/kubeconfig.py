"""Credentials from kubeconfig files, as kubectl reads them.

Source: Kubernetes documentation, "Organizing Cluster Access Using kubeconfig Files" and the reference
of ``kubeconfig (v1)``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import anyio

from ingresskit.errors import CredentialsError
from ingresskit.facts import fact_logger
from ingresskit.kube._trees import as_list, as_map, field_text
from ingresskit.kube.account import Account
from ingresskit.kube.credentials import Access
from ingresskit.kube.files import RotatedFile

__all__ = ["KubeconfigCredentials"]

_logger = fact_logger(__name__)

Tree = Mapping[str, object]


class KubeconfigCredentials:
    """The user and cluster of one context of a kubeconfig.

    Understood: inline data and files (relative to the kubeconfig they stand in), client certificates,
    ``token``, ``tokenFile``, ``exec`` plugins with token or certificate, user name and password, the
    ``auth-provider`` oidc, ``as`` and its kin (impersonation), ``tls-server-name``, ``proxy-url``,
    ``insecure-skip-tls-verify``, ``certificate-authority``. A field of another type, and fields that
    contradict one another, are refused, as kubectl does. The kubeconfig and the files it names are read
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
        self._account: Account | None = None

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

    async def _current(self) -> Account:
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


def _account(files: Mapping[str, bytes], context: str) -> Account:
    trees = {path: _parsed(path, content) for path, content in files.items() if content}
    if not context:
        named = (field_text(tree, "current-context") for tree in trees.values())
        context = next(filter(None, named), "")
        if not context:
            raise CredentialsError("the kubeconfig has no current-context, and none was asked for")
    chosen, _ = _entry(trees, "contexts", "context", context)
    cluster, cluster_path = _entry(trees, "clusters", "cluster", field_text(chosen, "cluster"))
    user: Tree = {}
    user_path = cluster_path
    if name := field_text(chosen, "user"):
        user, user_path = _entry(trees, "users", "user", name)
    return Account(cluster, _directory(cluster_path), user, _directory(user_path))


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
        tree = _json_or_yaml(content)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        # Not `from` the fault, and not its text: it quotes the line, which may hold a token.
        raise CredentialsError(f"{path}{where}: this is not YAML") from None
    if not isinstance(tree, dict):
        raise CredentialsError(f"{path} is not a kubeconfig")
    return cast("Tree", tree)


def _json_or_yaml(content: bytes) -> object:
    import yaml

    if content.lstrip().startswith(b"{"):
        try:
            return cast("object", json.loads(content))  # JSON may be indented with tabs, YAML may not
        except ValueError:
            pass
    return cast("object", yaml.safe_load(content))
