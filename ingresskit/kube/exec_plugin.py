"""Credential plugins: programs that print a token or a client certificate.

Source: Kubernetes documentation, "Authenticating", section "client-go credential plugins".
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio

from ingresskit.errors import CredentialsError
from ingresskit.kube._trees import as_map, as_text
from ingresskit.kube.redaction import without_credentials

__all__ = ["ExecCredential", "ExecPlugin"]

# Credentials are renewed this long before they end, so that no request meets the end.
_MARGIN = timedelta(seconds=60)
_LIMIT = timedelta(seconds=60)
# A token is some kilobytes at most, and so is a certificate with its chain.
_MAX_OUTPUT_BYTES = 1024 * 1024
_KEPT_ERROR_BYTES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecCredential:
    """What a plugin printed. A token, or a certificate with its key, or both.

    Attributes:
        expires: When it ends; ``None`` when the plugin does not say.
    """

    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    expires: datetime | None = None


class ExecPlugin:
    """Runs a plugin when what it gave before is about to end, or was refused."""

    def __init__(
        self,
        *,
        command: str,
        args: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        api_version: str = "client.authentication.k8s.io/v1",
        cluster: Mapping[str, object] | None = None,
        directory: str = "",
        install_hint: str = "",
    ) -> None:
        """Run nothing yet.

        Args:
            command: A name looked up in ``PATH``, or a path, relative to *directory*.
            args: Its arguments.
            env: Beside the environment of this process.
            api_version: The form of the exchange.
            cluster: What to tell the plugin about the cluster, if it wants to know.
            directory: That of the kubeconfig.
            install_hint: What to tell the user when the command is not there.
        """
        relative = "/" in command and not Path(command).is_absolute()
        self._command = (str(Path(directory, command)) if relative else command, *args)
        self._env = {**os.environ, **(env or {})}
        self._api_version = api_version
        self._install_hint = install_hint
        spec: dict[str, object] = {"interactive": False}
        if cluster is not None:
            spec["cluster"] = cluster
        self._env["KUBERNETES_EXEC_INFO"] = json.dumps(
            {"apiVersion": api_version, "kind": "ExecCredential", "spec": spec}
        )
        self._lock = anyio.Lock()
        self._held: ExecCredential | None = None
        self._good_until = 0.0

    async def credential(self) -> ExecCredential:
        """What is valid now; the program runs only if it must, and never twice at once.

        Raises:
            CredentialsError: The program is missing, fails, takes over a minute, prints over a megabyte, or
                prints something else.
        """
        async with self._lock:
            if self._held is None or anyio.current_time() >= self._good_until:
                credential = await self._run()
                self._held, self._good_until = credential, anyio.current_time() + _lifetime(credential)
            return self._held

    async def renew(self, refused: str) -> None:
        """Run the program next time, unless it has run since it gave *refused* (a token)."""
        async with self._lock:
            if self._held is not None and self._held.token == refused:
                self._held = None

    async def _run(self) -> ExecCredential:
        name = self._command[0]
        try:
            with anyio.fail_after(_LIMIT.total_seconds()):
                output, errors, status = await _output(self._command, self._env)
        except TimeoutError as exc:
            raise CredentialsError(f"the credential plugin {name} did not end in {_LIMIT}") from exc
        except OSError as exc:
            hint = f". {self._install_hint}" if self._install_hint else ""
            raise CredentialsError(
                f"the credential plugin {name} cannot be run: {exc.strerror or exc}{hint}"
            ) from exc
        if status:
            said = without_credentials(" ".join(errors.decode("utf-8", "replace").split()))
            raise CredentialsError(f"the credential plugin {name} ended with {status}: {said}")
        if len(output) > _MAX_OUTPUT_BYTES:
            raise CredentialsError(f"the credential plugin {name} printed more than {_MAX_OUTPUT_BYTES} bytes")
        return _parsed(output, name, self._api_version)


async def _output(command: Sequence[str], env: Mapping[str, str]) -> tuple[bytes, bytes, int]:
    """Run a program: what it printed (just above the limit if that is more), its last errors, its status."""
    output = errors = b""
    async with await anyio.open_process(command, env=env, stdin=subprocess.DEVNULL) as process:
        stdout, stderr = process.stdout, process.stderr
        if stdout is None or stderr is None:  # cannot be: both are pipes
            raise OSError("no pipes")

        async def keep_errors() -> None:
            nonlocal errors
            async for chunk in stderr:
                errors = (errors + chunk)[-_KEPT_ERROR_BYTES:]

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_errors)
            async for chunk in stdout:
                output += chunk
                if len(output) > _MAX_OUTPUT_BYTES:
                    process.kill()
                    break
            if len(output) > _MAX_OUTPUT_BYTES:
                tasks.cancel_scope.cancel()
                return output, errors, 0
        return output, errors, await process.wait()


def _parsed(output: bytes, name: str, api_version: str) -> ExecCredential:
    try:
        tree: object = json.loads(output)
    except ValueError:
        # Not `from` the fault: its text may hold the token.
        raise CredentialsError(f"the credential plugin {name} did not print JSON") from None
    top = as_map(tree)
    if top.get("apiVersion") != api_version:
        raise CredentialsError(
            f"the credential plugin {name} speaks {top.get('apiVersion')!r} and the kubeconfig {api_version!r}"
        )
    status = as_map(top.get("status"))
    token, expiry = as_text(status.get("token")), as_text(status.get("expirationTimestamp"))
    certificate = as_text(status.get("clientCertificateData")).encode()
    key = as_text(status.get("clientKeyData")).encode()
    if not token and not (certificate and key):
        raise CredentialsError(
            f"the credential plugin {name} gave neither a token nor a certificate with its key"
        )
    try:
        expires = datetime.fromisoformat(expiry) if expiry else None
    except ValueError as exc:
        raise CredentialsError(
            f"the credential plugin {name} gave an expirationTimestamp that is no time"
        ) from exc
    if expires is not None and expires.tzinfo is None:
        expires = expires.replace(tzinfo=UTC)
    return ExecCredential(token=token, certificate=certificate, key=key, expires=expires)


def _lifetime(credential: ExecCredential) -> float:
    """How long to go without asking again, in seconds of the monotonic clock.

    Reckoned once, when the plugin has answered: a wall clock that jumps later changes nothing. One that
    was wrong already makes the time too short (then the plugin runs once a minute) or too long (then the
    401 makes it run).
    """
    if credential.expires is None:
        return float("inf")
    return max((credential.expires - datetime.now(UTC) - _MARGIN).total_seconds(), _MARGIN.total_seconds())
