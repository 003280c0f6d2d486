"""The ends of a stream: what arrives before anybody receives it is kept, on either event loop."""

from __future__ import annotations

import asyncio
import socket

import pytest

from ingresskit.proxy.deadlines import Deadlines
from ingresskit.proxy.streams.ends import StreamEnd

pytestmark = pytest.mark.anyio


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    if request.param[1]["use_uvloop"]:
        pytest.importorskip("uvloop")
    return request.param


class _Receiver:
    def __init__(self) -> None:
        self.data = b""
        self.has_ended = False
        self.is_lost = asyncio.Event()

    def received(self, data: bytes) -> None:
        self.data += data

    def ended(self) -> bool:
        self.has_ended = True
        return False

    def lost(self) -> None:
        self.is_lost.set()

    def write_paused(self) -> None: ...

    def write_resumed(self) -> None: ...


async def test_what_came_before_the_start_is_received_first_and_so_is_the_end() -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.sendall(b"early")
    theirs.shutdown(socket.SHUT_WR)
    _, end = await loop.create_connection(lambda: StreamEnd(deadlines, 65536, 5.0, lambda: None), sock=ours)
    await asyncio.sleep(0.05)  # whatever the loop reads by itself, it has read
    receiver = _Receiver()
    end.start(receiver)
    async with asyncio.timeout(10):
        await receiver.is_lost.wait()

    assert receiver.data == b"early"
    assert receiver.has_ended
    assert end.received_bytes == 5
    theirs.close()
    deadlines.close()
