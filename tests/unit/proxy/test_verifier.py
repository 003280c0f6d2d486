"""Whether passwords are right: bounded, computed once for those who ask at the same time, and remembered."""

from __future__ import annotations

import asyncio
import ipaddress
import threading

import pytest

from ingresskit.filters import Verification
from ingresskit.proxy.limits.verifier import Verifier

pytestmark = pytest.mark.anyio

CLIENT = ipaddress.ip_address("192.0.2.1")
OTHER = ipaddress.ip_address("192.0.2.2")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Door:
    """Holds up computations until it is opened, and counts them."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.computed = 0

    def right(self, stored: str, given: bytes) -> bool:
        self.opened.wait(30)
        self.computed += 1
        return stored.encode() == given

    def asks(self, given: bytes, stored: str = "secret") -> Verification:
        return Verification(function=self.right, stored=stored, given=given)


async def test_what_was_right_is_known_and_what_was_wrong_is_not() -> None:
    door, verifier = Door(), Verifier()
    door.opened.set()

    answers = [await verifier.verify(door.asks(given), CLIENT) for given in (b"secret", b"wrong")]

    assert answers == [True, False]
    assert [verifier.knows(door.asks(given)) for given in (b"secret", b"wrong")] == [True, False]
    assert not verifier.knows(door.asks(b"secret", stored="changed"))
    assert b"secret" not in repr(vars(verifier)).encode()
    verifier.close()


async def test_those_who_ask_the_same_at_once_wait_for_one_computation() -> None:
    door, verifier = Door(), Verifier(most=1)

    asked = [asyncio.ensure_future(verifier.verify(door.asks(b"secret"), CLIENT)) for _ in range(5)]
    await asyncio.sleep(0)
    asked[0].cancel()
    door.opened.set()

    assert await asyncio.gather(*asked[1:]) == [True] * 4
    assert door.computed == 1
    verifier.close()


async def test_one_more_than_may_wait_gets_no_answer() -> None:
    door, verifier = Door(), Verifier(threads=1, most=3, most_of_client=2)

    asked = [asyncio.ensure_future(verifier.verify(door.asks(b"%d" % number), CLIENT)) for number in range(2)]
    await asyncio.sleep(0)
    of_client = await verifier.verify(door.asks(b"2"), CLIENT)
    asked.append(asyncio.ensure_future(verifier.verify(door.asks(b"3"), OTHER)))
    await asyncio.sleep(0)
    of_all = await verifier.verify(door.asks(b"4"), OTHER)
    door.opened.set()

    assert (of_client, of_all) == (None, None)
    assert await asyncio.gather(*asked) == [False] * 3
    assert await verifier.verify(door.asks(b"secret"), CLIENT) is True
    verifier.close()


async def test_what_was_not_asked_for_longest_is_forgotten() -> None:
    door, verifier = Door(), Verifier(remembered=2)
    door.opened.set()

    for word in ("a", "b"):
        await verifier.verify(door.asks(word.encode(), stored=word), CLIENT)
    verifier.knows(door.asks(b"a", stored="a"))
    await verifier.verify(door.asks(b"c", stored="c"), CLIENT)

    assert [verifier.knows(door.asks(word.encode(), stored=word)) for word in ("a", "b", "c")] == [
        True,
        False,
        True,
    ]
    verifier.close()


async def test_a_function_that_raises_is_raised_to_who_asks() -> None:
    def broken(_stored: str, _given: bytes) -> bool:
        raise RuntimeError("no")

    verifier = Verifier()

    with pytest.raises(RuntimeError):
        await verifier.verify(Verification(function=broken, stored="", given=b""), CLIENT)
    verifier.close()
