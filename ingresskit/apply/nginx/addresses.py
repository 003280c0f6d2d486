"""Addresses that nginx is about to listen at: what its checker does not see of them. Functions block."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path

from ingresskit.errors import ApplyError
from ingresskit.render.nginx import NginxSettings

__all__ = ["check_free", "close_socket", "remove_stale", "remove_stale_sockets"]


def check_free(addresses: Iterable[str]) -> None:
    """Make sure that each address can be had.

    Args:
        addresses: As in `NginxSettings.http`.

    Raises:
        ApplyError: One cannot be bound to; says which, and why.
    """
    for address in addresses:
        host, _, port = address.rpartition(":")
        family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((host.strip("[]"), int(port)))
            except OSError as exc:
                taken = " (another program listens there)" if exc.errno == errno.EADDRINUSE else ""
                reason = os.strerror(exc.errno or 0)
                raise ApplyError(f"nginx cannot listen at {address}: {reason}{taken}") from exc


def remove_stale(path: str) -> None:
    """Remove a Unix socket that no process listens on; a killed nginx leaves it, and could not start again."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except FileNotFoundError:
            return
        except OSError:
            Path(path).unlink(missing_ok=True)


def remove_stale_sockets(settings: NginxSettings) -> None:
    """As `remove_stale`, each socket that nginx may have left: its private one, and those of streams."""
    for path in (settings.status_socket, *map(str, Path(settings.state).glob("passed-*.sock"))):
        remove_stale(path)


def close_socket(path: str) -> None:
    """Let the owner of a Unix socket only connect to it, when it is there.

    nginx sets the mode of its sockets to 0666 whatever its umask is (source: ``ngx_open_listening_sockets``);
    the folder around this one is private all the while.
    """
    try:
        if stat.S_IMODE(os.lstat(path).st_mode) != 0o600:
            Path(path).chmod(0o600)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise ApplyError(f"the mode of {path} cannot be set: {exc.strerror or exc}") from exc
