"""Ports for programs that must be told one: reserved, so that no two tests are given the same."""

from __future__ import annotations

import os
import random
import socket
import sys
from collections import deque

__all__ = ["free_port"]

# Below the ports that Linux gives to outgoing connections: none of those can take one away again.
_PORTS = range(10_000, 32_000)
# A reservation is an open file: a test that needs more ports at a time is none of ours.
_RESERVED = 128

_marks: deque[int] = deque()


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on, for a program that must be told one.

    For the next 128 calls of this process, and as long as it lives, no other call and no other process that
    asks here is given it (on Linux).

    Raises:
        OSError: None was found.
    """
    for port in random.sample(_PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if _reserve(port):
                return port
    raise OSError("no free port between 10000 and 32000")


def _reserve(port: int) -> bool:
    if sys.platform != "linux":
        return True
    # A name without a file, which Linux takes back when the last descriptor of the socket is closed.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mark:
        try:
            mark.bind(f"\0ingresskit-port-{port}")
        except OSError:
            return False
        _marks.append(mark.detach())  # open beyond this block
    if len(_marks) > _RESERVED:
        os.close(_marks.popleft())
    return True
