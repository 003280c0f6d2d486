"""The queue of requests that wait for a free endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ingresskit.graph import Protocol
from ingresskit.proxy.endpoints import EndpointState
from ingresskit.proxy.upstreams.queue import Queue

pytestmark = pytest.mark.anyio


class Request:
    """Leaves the queue when it is called, if there is room."""

    def __init__(self, queue: Queue, room: Callable[[], bool]) -> None:
        self.queue = queue
        self.room = room
        self.served = False

    def called(self) -> bool:
        if not self.room():
            return False
        self.served = True
        self.queue.leave(self)
        return True


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_first_one_is_called_first_and_no_more_than_there_is_room_for() -> None:
    queue, room = Queue(3, 1.0), [True, True, False, False]
    requests = [Request(queue, lambda: room.pop(0)) for _ in range(4)]

    entered = [queue.enter(request) for request in requests]
    queue.freed()
    await turns()

    assert entered == [True, True, True, False]
    assert [request.served for request in requests] == [True, True, False, False]
    assert len(queue) == 1


async def test_one_that_leaves_is_not_called() -> None:
    queue = Queue(2, 1.0)
    gone, next_one = Request(queue, lambda: True), Request(queue, lambda: True)
    queue.enter(gone)
    queue.enter(next_one)

    queue.leave(gone)
    queue.leave(gone)
    queue.freed()
    await turns()

    assert not gone.served
    assert next_one.served


async def test_new_endpoint_calls_those_that_wait_and_one_that_is_gone_calls_nobody() -> None:
    queue = Queue(2, 1.0)
    old, new = (EndpointState("10.0.0.1", port, Protocol.HTTP) for port in (1, 2))
    queue.watch([old])
    request = Request(queue, lambda: True)
    queue.enter(request)

    queue.watch([new])
    await turns()

    assert request.served
    assert (old.queues, new.queues) == ([], [queue])
