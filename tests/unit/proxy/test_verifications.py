"""Filters that must compute for long: nobody else waits for them, and not too many wait at once."""

from __future__ import annotations

import asyncio
import base64
import pickle
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from ingresskit.filters import (
    BUILTIN_EFFECTS,
    Effect,
    Memory,
    Reply,
    RequestView,
    Subrequest,
    SubrequestReply,
    Verification,
)
from ingresskit.graph import Termination
from ingresskit.models import ObjectMeta, Secret
from ingresskit.policies import (
    AllowedSources,
    BasicAuth,
    Policy,
    Satisfaction,
    Satisfy,
    Shadow,
    Shadowed,
)
from ingresskit.policies import Stage as Place
from ingresskit.policies.passwords import load_password_users
from ingresskit.policies.values import parse_networks
from ingresskit.proxy import AccessRecord
from ingresskit.render.inprocess import RoutingTable
from tests.unit.proxy.conftest import Handler, Stage, Wire, forward, get, reply, until

pytestmark = pytest.mark.anyio

GATE = threading.Event()


@pytest.fixture(autouse=True)
def gate() -> Generator[None]:
    GATE.clear()
    yield
    GATE.set()


def opens(stored: str, given: bytes) -> bool:
    GATE.wait(30)
    if given == b"broken":
        raise RuntimeError("a fault")
    return given == stored.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock(Policy):
    """Lets in who knows the word."""

    word: str
    deaf: bool = False


@dataclass(frozen=True, slots=True)
class DeafFilter:
    stage: ClassVar[Place] = Place.AUTHENTICATION

    word: str

    def request(self, request: RequestView, memory: Memory) -> Reply | Verification:
        given = request.field(b"x-word")
        if given is None:
            return Reply(status=401)
        return Verification(function=opens, stored=self.word, given=given)


@dataclass(frozen=True, slots=True)
class LockFilter(DeafFilter):
    def verified(self, request: RequestView, right: bool, /) -> Reply | None:
        return None if right else Reply(status=401)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking(Policy):
    """Asks another server, whose status is the verdict."""

    url: str


@dataclass(frozen=True, slots=True)
class AskingFilter:
    stage: ClassVar[Place] = Place.AUTHENTICATION

    url: str

    def request(self, request: RequestView, memory: Memory) -> Subrequest:
        return Subrequest(url=self.url)

    def resume(self, request: RequestView, reply: SubrequestReply) -> Reply | None:
        if reply.status == 302:
            return Reply(status=302, location="https://id.example/", termination=None)
        return None if reply.status == 204 else Reply(status=reply.status or 500)


EFFECTS = BUILTIN_EFFECTS.with_policy(
    Lock,
    lambda policy: Effect(guards=((DeafFilter if policy.deaf else LockFilter)(policy.word),)),
).with_policy(Asking, lambda policy: Effect(guards=(AskingFilter(policy.url),)))


def guarded(port: int, *policies: Policy) -> RoutingTable:
    """A table whose route has these policies, as a worker process would get it."""
    loaded: RoutingTable = pickle.loads(  # noqa: S301 - our own
        pickle.dumps(forward(port, policies=policies, effects=EFFECTS))
    )
    return loaded


def word(text: str) -> bytes:
    return get(fields=[f"X-Word: {text}"])


async def test_others_are_served_while_words_are_verified_and_too_many_get_503(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    records: list[AccessRecord] = []
    table = guarded(endpoint.port, Lock(word="open"))
    free = forward(endpoint.port, host="free.example")
    proxy = await stage.proxy(replace(table, hosts={**table.hosts, **free.hosts}), access_log=records.append)
    waiting: list[Wire] = []
    for number in range(16):
        waiting.append(await stage.connect(proxy))
        await waiting[-1].send(word("open" if number == 0 else f"wrong {number}"))
    client = await stage.connect(proxy)

    # Requests are taken in the order in which they come: the 16 are there before these.
    assert (await client.ask(get(host="free.example"))).status == 200
    assert (await client.ask(word("one more"))).status == 503
    assert records[-1].termination is Termination.OVERLOADED
    GATE.set()
    assert [(await wire.answer()).status for wire in waiting] == [200] + [401] * 15
    assert (await client.ask(word("open"))).status == 200


async def test_on_trial_one_too_many_goes_on(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    trial = Shadow(on_trial=(Shadowed.AUTHENTICATION,))
    proxy = await stage.proxy(guarded(endpoint.port, Lock(word="open"), trial))
    waiting = [await stage.connect(proxy) for _ in range(16)]
    for number, wire in enumerate(waiting):
        await wire.send(word(f"wrong {number}"))
    client = await stage.connect(proxy)

    assert (await client.ask(word("one more"))).status == 200
    GATE.set()
    assert [(await wire.answer()).status for wire in waiting] == [200] * 16
    assert proxy.statistics().shadowed == {"authentication": 17}


async def test_a_client_that_leaves_meanwhile_is_forgotten(stage: Stage) -> None:
    endpoint = await stage.endpoint()
    records: list[AccessRecord] = []
    proxy = await stage.proxy(guarded(endpoint.port, Lock(word="open")), access_log=records.append)
    client, other = await stage.connect(proxy), await stage.connect(proxy)
    await client.send(word("open"))
    await other.send(word("open"))
    await client.close()
    await until(lambda: bool(records))
    GATE.set()

    assert (await other.answer()).status == 200
    assert records[0].termination is Termination.CLIENT_LEFT
    assert len(endpoint.seen) == 1


@pytest.mark.parametrize(("given", "deaf"), [("broken", False), ("open", True)])
async def test_a_fault_keeps_the_door_closed(
    stage: Stage, given: str, deaf: bool, caplog: pytest.LogCaptureFixture
) -> None:
    GATE.set()
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(guarded(endpoint.port, Lock(word="open", deaf=deaf)))
    client = await stage.connect(proxy)

    assert (await client.ask(word(given))).status == 500
    assert endpoint.seen == []
    assert caplog.records


SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
USERS = load_password_users(
    Secret(metadata=ObjectMeta(namespace="shop", name="users"), data={"auth": f"ann:{SHA}".encode()})
)
PASSWORD = f"Authorization: Basic {base64.b64encode(b'ann:secret').decode()}"
WRONG = f"Authorization: Basic {base64.b64encode(b'ann:x').decode()}"


def says(status: str) -> Handler:
    async def answer(_request: object, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(status=status))

    return answer


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        pytest.param("204 No Content", [], 200, id="the other lets in"),
        pytest.param("204 No Content", [WRONG], 200, id="the other lets in with a wrong password"),
        pytest.param("403 Forbidden", [PASSWORD], 200, id="the password lets in"),
        pytest.param("500 Internal Server Error", [PASSWORD], 200, id="the password is enough"),
        pytest.param("403 Forbidden", [], 401, id="none lets in"),
        pytest.param("302 Found", [WRONG], 302, id="the way to let oneself in"),
        pytest.param("500 Internal Server Error", [], 500, id="nobody knows"),
    ],
)
async def test_any_of_several_lets_a_request_go_on(
    stage: Stage, status: str, fields: Sequence[str], expected: int
) -> None:
    auth = await stage.endpoint(says(status))
    endpoint = await stage.endpoint()
    policies = (
        BasicAuth(users=USERS),
        Asking(url=f"http://127.0.0.1:{auth.port}/"),
        AllowedSources(networks=parse_networks("192.0.2.0/24")),
        Satisfy(mode=Satisfaction.ANY),
    )
    proxy = await stage.proxy(guarded(endpoint.port, *policies))
    client = await stage.connect(proxy)

    answers = [await client.ask(get(fields=fields)) for _ in range(2)]

    assert [answer.status for answer in answers] == [expected] * 2
    assert len(endpoint.seen) == (2 if expected == 200 else 0)
    assert all(b"Authorization" not in seen.head for seen in endpoint.seen)


async def test_where_all_are_needed_each_is_asked(stage: Stage) -> None:
    auth = await stage.endpoint(says("403 Forbidden"))
    endpoint = await stage.endpoint()
    proxy = await stage.proxy(
        guarded(endpoint.port, BasicAuth(users=USERS), Asking(url=f"http://127.0.0.1:{auth.port}/"))
    )
    client = await stage.connect(proxy)

    assert [(await client.ask(get(fields=item))).status for item in ([], [PASSWORD])] == [401, 403]
    assert len(auth.seen) == 1
