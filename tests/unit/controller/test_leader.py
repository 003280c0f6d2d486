from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from random import Random

import anyio
import pytest

from ingresskit.controller.leader import LeaderElector, LeaderSettings, Term
from ingresskit.errors import ApiError, ConfigurationError, Conflict, Forbidden, NotFound, TransportError
from tests.unit.cache.virtual_time import run
from tests.unit.controller.lease_server import LeaseServer, LeaseTransport

BACKENDS = pytest.mark.parametrize("name", ["asyncio", "trio"])


def elector(
    transport: LeaseTransport, identity: str = "a", *, ahead: list[float] | None = None
) -> LeaderElector:
    """*ahead*: what the steady clock has on top of the loop's, as after a suspension."""
    extra = ahead or [0.0]
    return LeaderElector(
        transport,
        namespace="infra",
        identity=identity,
        clock=lambda: anyio.current_time() + extra[0],
        rng=Random(5),  # noqa: S311
    )


async def hold(term: Term) -> None:
    await anyio.sleep_forever()


def played(name: str, play: Callable[[LeaseServer, LeaseTransport], Awaitable[None]]) -> LeaseServer:
    server = LeaseServer()

    async def main() -> None:
        await play(server, LeaseTransport(server))

    run(main, name)
    return server


@BACKENDS
def test_a_lease_that_is_not_there_is_made_and_given_back(name: str) -> None:
    seen: list[str] = []

    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        it = elector(transport, "pod-1")
        assert (it.leader, it.is_leader) == ("", False)
        async with it.lead() as term:
            assert term.is_valid()
            assert it.leader == it.identity == server.holder
            seen.append(server.holder)
        assert not term.is_valid()
        assert not it.is_leader

    server = played(name, play)

    assert seen[0].startswith("pod-1_")
    assert server.lease is not None
    assert server.lease["spec"]["holderIdentity"] == ""
    assert server.lease["spec"]["leaseDurationSeconds"] == 1


@BACKENDS
def test_a_lease_given_back_is_taken_within_one_pause(name: str) -> None:
    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        second = elector(LeaseTransport(server), "b")
        async with anyio.create_task_group() as tasks:
            async with elector(transport).lead():
                tasks.start_soon(second.run, hold)
                await anyio.sleep(20)
                assert not second.is_leader
            await anyio.sleep(2 * 2.2 + 0.1)
            assert second.is_leader
            assert server.lease is not None
            assert server.lease["spec"]["leaseTransitions"] == 1
            tasks.cancel_scope.cancel()

    played(name, play)


@BACKENDS
@pytest.mark.parametrize(
    ("seconds", "waits"),
    [pytest.param(40, 40, id="its own duration"), pytest.param(None, 15, id="ours where it has none")],
)
def test_a_dead_holder_is_waited_out_by_what_its_lease_says(
    name: str, seconds: int | None, waits: float
) -> None:
    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        server.hold("dead", seconds=seconds)
        it = elector(transport)
        begun = anyio.current_time()
        async with it.lead():
            took = anyio.current_time() - begun
        assert waits <= took <= waits + 2 * 2.2 + 0.1

    server = played(name, play)

    assert server.lease is not None
    assert server.lease["metadata"]["labels"] == {"a": "b"}


@BACKENDS
def test_who_renews_is_never_deposed_whatever_times_it_writes(name: str) -> None:
    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        server.hold("alive")
        it = elector(transport)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.run, hold)
            for year in (2026, 1990, 2026, 2036, 1990, 2026) * 5:
                server.hold("alive", renewed=f"{year}-01-01T00:00:00.000000Z")
                await anyio.sleep(12)
            assert not it.is_leader
            assert it.leader == "alive"
            tasks.cancel_scope.cancel()

    played(name, play)


@BACKENDS
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"hangs": True}, id="silent"),
        pytest.param({"delay": 7.0}, id="too slow"),
        pytest.param({"answer_delay": 7.0}, id="answers too slow"),
        pytest.param({"error": TransportError("reset")}, id="unreachable"),
        pytest.param({"error": ApiError(status=500)}, id="failing"),
        pytest.param({"error": Forbidden(status=403)}, id="forbidding"),
    ],
)
def test_work_ends_before_the_lease_can(name: str, fault: dict[str, object]) -> None:
    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        it = elector(transport)
        ended = anyio.Event()

        async def work(term: Term) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                assert not term.is_valid()
                ended.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.run, work)
            await anyio.sleep(31)
            renewals = it.statistics()["renewals"]
            assert renewals >= 5
            for attribute, value in fault.items():
                setattr(transport, attribute, value)
            broken = anyio.current_time()
            await ended.wait()
            assert 4 <= anyio.current_time() - broken <= 10
            # When all is well again it leads again, though it had to wait for its own name on the Lease.
            transport.hangs, transport.delay, transport.answer_delay, transport.error = False, 0.01, 0.0, None
            await anyio.sleep(25)
            assert it.is_leader
            assert it.statistics()["lost"] == 1
            tasks.cancel_scope.cancel()

    played(name, play)


@BACKENDS
def test_a_slow_answer_is_survived(name: str) -> None:
    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        it = elector(transport)
        async with it.lead() as term:
            transport.delay, transport.answer_delay = 1.5, 1.5
            await anyio.sleep(120)
            assert term.is_valid()
            assert it.statistics()["failures"] == 0

    played(name, play)


@BACKENDS
def test_an_answer_that_was_lost_does_not_cost_the_term(name: str) -> None:
    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        it = elector(transport)
        async with it.lead() as term:
            transport.answer_delay = 60  # written, but nobody hears of it
            await anyio.sleep(5)
            transport.answer_delay = 0
            await anyio.sleep(60)
            assert term.is_valid()

    played(name, play)


@BACKENDS
def test_the_term_is_over_at_the_first_look_after_a_suspension(name: str) -> None:
    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        ahead = [0.0]
        it = elector(transport, ahead=ahead)
        looks: list[bool] = []
        async with it.lead() as term:
            await anyio.sleep(5)
            looks.append(term.is_valid())
            ahead[0] += 600  # the machine slept; the clock of the event loop did not notice
            looks.append(term.is_valid())
            woken = anyio.current_time()
            await anyio.sleep_forever()
        assert looks == [True, False]
        assert anyio.current_time() - woken <= 1 + 1  # a second until it is noticed, one for the release

    played(name, play)


@BACKENDS
def test_the_lease_in_other_hands_ends_the_work_at_the_next_renewal(name: str) -> None:
    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        it = elector(transport)
        async with it.lead() as term:
            await anyio.sleep(5)
            server.hold("thief")
            stolen = anyio.current_time()
            await anyio.sleep_forever()
        assert anyio.current_time() - stolen <= 2 * 2.2 + 0.1
        assert not term.is_valid()
        assert server.holder == "thief"
        assert it.leader == "thief"

    played(name, play)


@BACKENDS
def test_a_deleted_lease_is_made_again_by_who_holds_it_and_waited_for_by_who_has_seen_it(name: str) -> None:
    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        first, second = elector(transport), elector(LeaseTransport(server), "b")
        async with first.lead() as term, anyio.create_task_group() as tasks:
            tasks.start_soon(second.run, hold)
            await anyio.sleep(20)
            server.lease = None
            await anyio.sleep(20)
            assert term.is_valid()
            assert not second.is_leader
            assert server.holder == first.identity
            tasks.cancel_scope.cancel()

    played(name, play)


@BACKENDS
def test_an_exception_of_the_work_is_raised_as_it_is_after_the_lease_was_given_back(name: str) -> None:
    async def fail(term: Term) -> None:
        await anyio.sleep(3)
        raise KeyError("bug")

    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        with pytest.raises(KeyError, match="bug"):
            await elector(transport).run(fail)
        assert server.holder == ""

    played(name, play)


@BACKENDS
def test_an_exception_of_our_own_ends_the_work_and_is_raised(name: str) -> None:
    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        ended: list[bool] = []

        async def work(term: Term) -> None:
            transport.error = ZeroDivisionError("a bug in the transport")
            try:
                await anyio.sleep_forever()
            finally:
                ended.append(True)

        with pytest.raises((ExceptionGroup, ZeroDivisionError)):
            await elector(transport).run(work)
        assert ended == [True]

    played(name, play)


@BACKENDS
def test_run_ends_when_the_work_does(name: str) -> None:
    async def nothing(term: Term) -> None:
        await anyio.sleep(1)

    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        it = elector(transport)
        await it.run(nothing)
        await it.run(nothing)
        assert it.statistics()["terms"] == 2

    played(name, play)


@BACKENDS
def test_a_release_that_hangs_is_left_after_a_second(name: str) -> None:
    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        async with elector(transport).lead():
            transport.hangs = True
            left = anyio.current_time()
        assert anyio.current_time() - left == pytest.approx(1.0, abs=0.1)

    played(name, play)


@BACKENDS
def test_failures_of_one_row_are_one_warning(name: str, caplog: pytest.LogCaptureFixture) -> None:
    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        transport.error = TransportError("refused")
        with anyio.move_on_after(300):
            await elector(transport).run(hold)

    played(name, play)

    assert [record.levelname for record in caplog.records] == ["WARNING"]


NEITHER: dict[str, dict[str, ApiError]] = {
    "the namespace is gone": {
        "PUT": NotFound(status=404, message="leases ingresskit not found"),
        "POST": NotFound(status=404, message="namespaces infra not found"),
    },
    "the namespace is going": {
        "PUT": NotFound(status=404, message="leases ingresskit not found"),
        "POST": Forbidden(status=403, message="the namespace infra is being terminated"),
    },
    "it is there for writes and not for reads": {
        "PUT": NotFound(status=404, message="leases ingresskit not found"),
        "POST": Conflict(status=409, message="leases ingresskit already exists"),
        "GET": NotFound(status=404, message="leases ingresskit not found"),
    },
    "another version each time": {"PUT": Conflict(status=409, message="the object has been modified")},
}


@pytest.mark.parametrize("state", NEITHER)
@BACKENDS
def test_a_lease_that_can_neither_be_updated_nor_made_is_not_asked_for_without_a_pause(
    name: str, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    errors = NEITHER[state]

    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        it = elector(transport)
        async with it.lead():
            server.log.clear()
            transport.errors.update(errors)
            await anyio.sleep_forever()
        assert it.statistics()["lost"] == 1

    server = played(name, play)

    # Some four attempts in the ten seconds of the term, of up to five requests each.
    assert len(server.log) <= 25
    assert any(str(error.message) in caplog.text for error in errors.values())
    assert "no response within" not in caplog.text


@BACKENDS
def test_a_lease_in_a_namespace_that_is_not_there_is_said_to_be_so(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        transport.errors["POST"] = NotFound(status=404, message="namespaces infra not found")
        with anyio.move_on_after(60):
            await elector(transport).run(hold)

    played(name, play)

    assert caplog.text.count("lease request failed") == 1
    assert "namespaces infra not found" in caplog.text


@BACKENDS
def test_an_elector_is_one_candidate_only(name: str) -> None:
    async def play(server: LeaseServer, transport: LeaseTransport) -> None:
        it = elector(transport)
        async with it.lead():
            with pytest.raises(ConfigurationError, match="already"):
                async with it.lead():
                    raise AssertionError("two terms at once")

    played(name, play)


@pytest.mark.parametrize(
    "times",
    [
        pytest.param({"lease_duration": timedelta(seconds=10)}, id="a lease no longer than the deadline"),
        pytest.param({"renew_deadline": timedelta(seconds=4)}, id="a deadline without a second try"),
        pytest.param({"retry_period": timedelta(0)}, id="no pause"),
    ],
)
def test_times_that_cannot_be_safe_are_refused(times: dict[str, timedelta]) -> None:
    with pytest.raises(ConfigurationError):
        LeaderSettings(**times)


@pytest.mark.parametrize("name", ["", "../x", "Upper", "a" * 254])
def test_a_lease_without_a_possible_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        LeaderElector(LeaseTransport(LeaseServer()), namespace="infra", name=name)
