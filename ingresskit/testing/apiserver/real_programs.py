"""The two programs of a real API server: how they are called, started and ended."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ingresskit.testing import pace
from ingresskit.testing.ports import free_port

__all__ = ["end", "etcd_command", "free_ports", "last_words", "run", "server_command"]

_STOP_SECONDS = pace.within(15.0)


def etcd_command(assets: Path, data: Path, url: str, peer_url: str) -> Sequence[str]:
    """How etcd is called, with its data in the folder *data*."""
    return (
        str(assets / "etcd"),
        f"--data-dir={data}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=default={peer_url}",
        "--unsafe-no-fsync=true",
    )


def server_command(assets: Path, folder: Path, etcd_url: str, port: int, flags: Sequence[str]) -> Sequence[str]:
    """How kube-apiserver is called, with its keys in *folder*; *flags* win over the kit's own."""
    return (
        str(assets / "kube-apiserver"),
        f"--etcd-servers={etcd_url}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder}",
        f"--tls-cert-file={folder / 'server.crt'}",
        f"--tls-private-key-file={folder / 'server.key'}",
        f"--client-ca-file={folder / 'ca.crt'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        f"--service-account-key-file={folder / 'accounts.key'}",
        f"--service-account-signing-key-file={folder / 'accounts.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        # Addresses for tens of thousands of Services.
        "--service-cluster-ip-range=10.96.0.0/12",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",
        "--allow-privileged=true",
        *flags,
    )


def free_ports(count: int) -> list[int]:
    """Ports that are reserved; neither binary can be told to choose one and say which."""
    return [free_port() for _ in range(count)]


def run(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a program that writes to the end of *log*."""
    with log.open("ab") as out:
        return subprocess.Popen(  # noqa: S603 - the binaries the caller named
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=log.parent
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program, kindly at first; returns once it has gone."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_words(folder: Path, name: str) -> str:
    """The last lines that the program of that name wrote."""
    lines = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-20:])
