"""Rates and requests at a time that several processes count together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

import pytest

from ingresskit.proxy.limits.buckets import TokenBuckets
from ingresskit.proxy.limits.shared import SharedLimits

SECRET = bytes(32)
KEY = ("rate", "shop/web", 1e-9, 300, 7)

TAKER = """
import sys
from ingresskit.proxy.limits.shared import SharedLimits
limits = SharedLimits(int(sys.argv[1]), bytes(32), int(sys.argv[2]))
key = ("rate", "shop/web", 1e-9, 300, 7)
print("ready", flush=True)
sys.stdin.readline()
print(sum(limits.buckets.take(key, 1e-9, 300) for _ in range(250)), flush=True)
print(sum(limits.places.take(("connections", "shop/web", 7), 10) for _ in range(20)), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = os.memfd_create("limits")
    yield descriptor
    os.close(descriptor)


@contextmanager
def taker(memory: int, seat: int) -> Generator[subprocess.Popen[str]]:
    argv = [sys.executable, "-c", TAKER, str(memory), str(seat)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[memory]
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_processes_together_take_what_a_bucket_holds_and_no_more(memory: int) -> None:
    with taker(memory, 0) as one, taker(memory, 1) as other:
        assert [line(one), line(other)] == ["ready", "ready"]
        go_on(one)
        go_on(other)
        taken = [int(line(one)), int(line(other))]
        held = [int(line(one)), int(line(other))]

    assert sum(taken) == 300
    assert sum(held) == 10


def test_what_a_killed_process_held_can_be_given_back(memory: int) -> None:
    places = SharedLimits(memory, SECRET, 5).places
    key = ("connections", "shop/web", 7)
    with taker(memory, 0) as one:
        assert line(one) == "ready"
        go_on(one)
        line(one)
        assert line(one) == "10"
        one.send_signal(signal.SIGKILL)
        one.wait()
    assert not places.take(key, 10)

    places.free(0)

    assert [places.take(key, 10) for _ in range(11)] == [True] * 10 + [False]
    for _ in range(10):
        places.leave(key)
    assert places.take(key, 1)


def test_a_refused_request_takes_from_none_of_its_buckets(memory: int) -> None:
    buckets = SharedLimits(memory, SECRET, 0).buckets
    wide, narrow = (("wide",), 1e-9, 2), (("narrow",), 1e-9, 1)

    assert buckets.take_all([wide, narrow])
    assert not buckets.take_all([wide, narrow])
    assert buckets.take(*wide)
    assert not buckets.take(*wide)


def test_shared_buckets_decide_as_those_of_one_process_do(memory: int) -> None:
    now = 100.0
    alone = TokenBuckets(lambda: now)
    shared = SharedLimits(memory, SECRET, 0).buckets
    asked = [(("rate", index % 3), 1e-9, 2 + index % 3) for index in range(12)]

    assert [shared.take(*one) for one in asked] == [alone.take(*one) for one in asked]


def test_more_keys_than_there_is_room_for_forget_the_oldest_and_refuse_none(memory: int) -> None:
    limits = SharedLimits(memory, SECRET, 0)

    assert all(limits.buckets.take(("rate", index), 1e-9, 1) for index in range(40_000))
    held = [("connections", index) for index in range(9_000)]
    assert all(limits.places.take(key, 1) for key in held)
    assert not limits.places.take(held[-1], 1)
    for key in held:
        limits.places.leave(key)
    assert all(limits.places.take(key, 1) for key in held[:100])


def test_another_secret_puts_keys_elsewhere(memory: int) -> None:
    with closing(os.fdopen(os.memfd_create("others"), "rb")) as other:
        one = SharedLimits(memory, SECRET, 0).places
        two = SharedLimits(os.dup(other.fileno()), b"other", 0).places
        assert one.take(("a",), 1)
        assert two.take(("a",), 1)
