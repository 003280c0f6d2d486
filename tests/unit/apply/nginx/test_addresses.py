"""What is known of addresses before nginx is started."""

from __future__ import annotations

import socket

import pytest

from ingresskit.apply.nginx.addresses import check_free, remove_stale
from ingresskit.errors import ApplyError
from ingresskit.testing.planes import free_port, state_folder


def test_a_free_address_can_be_had_and_is_not_kept() -> None:
    address = f"127.0.0.1:{free_port()}"

    check_free([address])
    check_free([address, f"[::1]:{free_port()}"] if socket.has_ipv6 else [address])


def test_a_taken_address_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(ApplyError, match=f"cannot listen at {address}: .*another program listens there"):
            check_free([address])


def test_a_socket_that_nobody_listens_on_is_removed_and_another_is_not() -> None:
    with state_folder() as folder, socket.socket(socket.AF_UNIX) as listening:
        dead, alive, missing = folder / "dead", folder / "alive", folder / "missing"
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(dead))
        listening.bind(str(alive))
        listening.listen()

        for path in (dead, alive, missing):
            remove_stale(str(path))
        left = sorted(item.name for item in folder.iterdir())

    assert left == ["alive"]
