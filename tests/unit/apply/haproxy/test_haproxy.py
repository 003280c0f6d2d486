"""One HAProxy over its whole life: what is changed at runtime, what is reloaded and when, what is on disk."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from ingresskit.apply import Dynamic, NoOp, Reload
from ingresskit.apply.haproxy import HaproxyOptions, PoolSettings
from ingresskit.apply.haproxy import transaction as room
from ingresskit.errors import ApplyError, ApplyPostponed, CheckFailed
from ingresskit.render.haproxy import HaproxyArtifact
from ingresskit.testing import (
    ca_secret,
    endpoint_slice,
    ingress,
    make_authority,
    pace,
    service,
    tls_secret,
)
from tests.unit.apply.haproxy.conftest import needs_haproxy
from tests.unit.apply.haproxy.scene import PATIENT, PLAIN, UNUSUAL, scene, wait_until

pytestmark = [pytest.mark.anyio, needs_haproxy]


def _nonsense(*_: object, **__: object) -> str:
    return "nonsense\n"


async def test_the_first_artifact_starts_it_and_changes_need_no_reload(short_path: Path) -> None:
    async with scene(short_path) as at:
        kinds = [
            await at.serve(hosts={"a.test": PLAIN}),
            await at.serve(hosts={"a.test": PLAIN, "b.test": PLAIN}),
            await at.serve(hosts={"a.test": PLAIN, "b.test": {"body-limit": "1k"}}),
            await at.serve(hosts={"a.test": PLAIN, "b.test": {"body-limit": "1k"}}),
            await at.serve(hosts={"b.test": PLAIN}),
        ]
        answers = [await at.ask("a.test"), await at.ask("b.test")]
        reloads = dict(at.haproxy.reloads)

    assert kinds == [Reload, Dynamic, Dynamic, NoOp, Dynamic]
    assert answers == [404, 200]
    assert reloads == {"HAProxy is started": 1}


async def test_a_new_class_is_reloaded_for_and_the_plan_says_who_asked(short_path: Path) -> None:
    async with scene(short_path) as at:
        await at.serve(hosts={"a.test": PLAIN})
        plan = at.applier.plan(None, at.artifact(hosts={"a.test": UNUSUAL}))
        await at.applier.apply(plan)
        answer = await at.ask("a.test")

    assert isinstance(plan, Reload)
    assert "2000ms" in plan.reason
    assert [str(origin.subject) for origin in plan.origins] == ["Ingress default/a"]
    assert answer == 200


async def test_what_needs_no_reload_does_not_wait_for_one(short_path: Path) -> None:
    async with scene(short_path, PATIENT) as at:
        await at.serve(hosts={"a.test": PLAIN, "gone.test": PLAIN, "held.test": PLAIN})
        await at.serve(hosts={"a.test": PLAIN, "gone.test": PLAIN, "held.test": {"connect-timeout": "1s"}})
        with pytest.raises(ApplyPostponed) as postponed:
            await at.serve(hosts={"a.test": PLAIN, "new.test": PLAIN, "held.test": UNUSUAL})
        answers = {host: await at.ask(host) for host in ("a.test", "new.test", "gone.test", "held.test")}

    assert timedelta(0) < postponed.value.retry_after <= timedelta(seconds=600)
    assert answers == {"a.test": 200, "new.test": 200, "gone.test": 404, "held.test": 200}


async def test_rows_that_were_taken_out_after_the_plan_was_made_are_loaded_again(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingresskit.apply.haproxy.worker_state._LEAST_GARBAGE", 0)
    async with scene(short_path) as at:
        first = {"a.test": {"body-limit": "1k"}}
        await at.serve(hosts=first)
        await at.serve(hosts={"a.test": {"body-limit": "2k"}})
        live = at.haproxy.supervisor.live
        assert live is not None
        plan = at.applier.plan(None, at.artifact(hosts=first))
        await room.compact(at.haproxy.master.api, live)
        await at.applier.apply(plan)
        answer = await at.ask("a.test")

    assert answer == 200


async def test_a_pool_that_runs_low_is_filled_up_in_the_background(short_path: Path) -> None:
    options = HaproxyOptions(
        pools=PoolSettings(first=4), reload_gap=timedelta(milliseconds=1), reload_share=1.0
    )
    async with scene(short_path, options) as at:
        # Twice the hosts of the start are there: four, of which three are in use soon.
        hosts = {f"h{number}.test": PLAIN for number in range(1)}
        await at.serve(hosts=hosts)
        live = at.haproxy.supervisor.live
        assert live is not None
        live.slots.grows = False
        size = sum(live.slots.pools.values())
        hosts = {f"h{number}.test": PLAIN for number in range(size - 1)}
        kind = await at.serve(hosts=hosts)
        await wait_until(lambda: sum(at.haproxy.reloads.values()) == 2)
        grown = at.haproxy.supervisor.live
        answers = {await at.ask(host) for host in hosts}

    assert kind is Dynamic
    assert grown is not None
    assert sum(grown.slots.pools.values()) >= 2 * (size - 1)
    assert answers == {200}
    assert any("slots" in reason for reason in at.haproxy.reloads)


async def test_more_backends_than_there_are_slots_are_reloaded_for_at_once(short_path: Path) -> None:
    options = HaproxyOptions(
        pools=PoolSettings(first=2), reload_gap=timedelta(milliseconds=1), reload_share=1.0
    )
    async with scene(short_path, options) as at:
        await at.serve(hosts={"a.test": PLAIN})
        live = at.haproxy.supervisor.live
        assert live is not None
        live.slots.grows = False
        hosts = {f"h{number}.test": PLAIN for number in range(200)}
        plan = at.applier.plan(None, at.artifact(hosts=hosts))
        await at.applier.apply(plan)
        answers = {await at.ask(host) for host in hosts}

    assert isinstance(plan, Reload)
    assert "slots" in plan.reason
    assert answers == {200}


async def test_changes_are_on_disk_soon_after(short_path: Path) -> None:
    async with scene(short_path) as at:
        await at.serve(hosts={"a.test": PLAIN})
        await at.serve(hosts={"a.test": PLAIN, "b.test": PLAIN})
        hosts = short_path / "configurations/current/maps/hosts.map"
        await wait_until(lambda: "b.test" in hosts.read_text())
        kept = len(list((short_path / "configurations").glob("gen-*")))

    assert kept <= 3


async def test_a_haproxy_that_dies_comes_back_with_what_was_changed_last(short_path: Path) -> None:
    late = HaproxyOptions(disk_delay=timedelta(seconds=600))
    async with scene(short_path, late) as at:
        await at.serve(hosts={"a.test": PLAIN})
        await at.serve(hosts={"b.test": PLAIN})
        pid = at.haproxy.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await wait_until(lambda: at.haproxy.pid not in (None, pid))
        while not (answer := await at.ask("b.test")):  # noqa: ASYNC110 - another process is waited for
            await anyio.sleep(0.01)
        gone = await at.ask("a.test")
        kind = await at.serve(hosts={"b.test": PLAIN, "c.test": PLAIN})
        new = await at.ask("c.test")

    assert (answer, gone, new) == (200, 404, 200)
    assert kind is Dynamic


async def test_a_change_right_after_haproxy_died_is_live_and_so_is_the_next(short_path: Path) -> None:
    async with scene(short_path) as at:
        await at.serve(hosts={"a.test": PLAIN})
        pid = at.haproxy.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with anyio.fail_after(pace.within(5)):
            while True:
                try:
                    await at.serve(hosts={"b.test": PLAIN})
                    break
                except ApplyError:  # as a controller does
                    await anyio.sleep(0.05)
            first = await at.ask("b.test")
            await at.serve(hosts={"b.test": PLAIN, "c.test": PLAIN})
        second = await at.ask("c.test")

    assert (first, second) == (200, 200)


async def test_a_command_that_fails_is_made_good_by_a_reload(short_path: Path) -> None:
    async with scene(short_path) as at:
        await at.serve(hosts={"a.test": PLAIN})
        # Somebody else was here: the rows are not those we know.
        await at.haproxy.master.api.delete_row("maps/hosts.map", "a.test")
        await at.serve(hosts={"a.test": {"body-limit": "1k"}})
        answer = await at.ask("a.test")
        reloads = at.haproxy.reloads

    assert answer == 200
    assert sum(reloads.values()) == 2
    assert any(reason.startswith("a change at runtime failed") for reason in reloads)


async def test_what_a_reload_by_somebody_else_lost_is_put_back(short_path: Path) -> None:
    options = HaproxyOptions(
        disk_delay=timedelta(seconds=600),
        watch_interval=timedelta(milliseconds=50),
        reload_gap=timedelta(milliseconds=1),
        reload_share=1.0,
    )
    async with scene(short_path, options) as at:
        await at.serve(hosts={"a.test": PLAIN})
        # One generation back on disk, so that its marker is another one.
        await at.serve(hosts={"a.test": {"connect-timeout": "1s"}})
        generations = at.haproxy.master.generations
        await anyio.to_thread.run_sync(generations.activate, generations.all()[0])
        at.haproxy.master.process.send(signal.SIGUSR2)
        await wait_until(lambda: any("another configuration" in reason for reason in at.haproxy.reloads))
        answer = await at.ask("a.test")
        kind = await at.serve(hosts={"a.test": {"connect-timeout": "1s"}, "b.test": PLAIN})

    assert answer == 200
    assert kind is Dynamic


async def test_a_configuration_that_haproxy_refuses_changes_nothing(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(short_path) as at:
        await at.serve(hosts={"a.test": PLAIN})
        monkeypatch.setattr("ingresskit.apply.haproxy.files.program", _nonsense)
        artifact = at.artifact(hosts={"b.test": UNUSUAL})
        with pytest.raises(CheckFailed, match="unknown keyword 'nonsense'"):
            await at.applier.check(artifact)
        with pytest.raises(CheckFailed, match="unknown keyword 'nonsense'"):
            await at.applier.apply(at.applier.plan(None, artifact))
        monkeypatch.undo()
        answers = [await at.ask("a.test"), await at.ask("b.test")]
        kind = await at.serve(hosts={"a.test": PLAIN, "c.test": PLAIN})

    assert answers == [200, 404]
    assert kind is Dynamic


async def test_certificates_that_come_and_go_are_reloaded_for_in_the_background(short_path: Path) -> None:
    options = HaproxyOptions(
        most_removed_certificates=4, reload_gap=timedelta(milliseconds=1), reload_share=1.0
    )
    tls = (
        tls_secret("a.test"),
        ingress("tls", {"a.test": {"/": "a"}}, tls={"tls": ["a.test"]}),
        service("a"),
    )
    async with scene(short_path, options, tls=True) as at:
        kinds = [await at.serve(*objects, hosts={"b.test": PLAIN}) for objects in ((), *(tls, ()) * 4)]
        await wait_until(lambda: sum(at.haproxy.reloads.values()) == 2)
        live = at.haproxy.supervisor.live
        answer = await at.ask("b.test")

    assert set(kinds[1:]) == {Dynamic}
    assert "removed certificates hold memory" in at.haproxy.reloads
    assert live is not None
    assert live.unlisted == 0
    assert answer == 200


async def test_a_certificate_for_endpoints_is_forgotten_with_the_last_server_that_is_shown_it(
    short_path: Path,
) -> None:
    shown = {"upstream-protocol": "https", "upstream-tls-client-secret": "ca"}
    authority = make_authority("Authority")
    secret = ca_secret(authority, client=authority.issue("gateway"))
    known: list[int] = []
    async with scene(short_path) as at:
        kinds: list[type[object]] = []
        for hosts in (
            {"a.test": PLAIN},
            {"a.test": shown},
            {"a.test": shown, "b.test": shown},
            {"b.test": shown},
        ):
            kinds.append(await at.serve(secret, hosts=hosts))
            live = at.haproxy.supervisor.live
            assert live is not None
            known.append(len(live.artifact.identities))
        kinds.append(await at.serve(hosts={"a.test": PLAIN}))
        last = at.haproxy.supervisor.live
        assert last is not None
        assert last is live
        await wait_until(lambda: not last.forgotten and not last.leaving)
        # One that is still there would be refused as new.
        kinds.append(await at.serve(secret, hosts={"a.test": shown}))

    assert known == [0, 1, 1, 1]
    assert kinds == [Reload, *[Dynamic] * 5]
    assert sum(at.haproxy.reloads.values()) == 1


async def test_a_header_name_that_comes_back_costs_no_second_reload(short_path: Path) -> None:
    async with scene(short_path) as at:
        kinds = [
            await at.serve(hosts={"a.test": {"request-headers-set": f"{name}: x"} if name else PLAIN})
            for name in ("", "X-One", "X-Two", "X-One", "X-Two")
        ]

    assert kinds[1:] == [Reload, Reload, Dynamic, Dynamic]


async def test_a_certificate_that_haproxy_refuses_is_blamed_on_its_secret(short_path: Path) -> None:
    async with scene(short_path, tls=True) as at:
        good = at.artifact(
            tls_secret("a.test"),
            ingress("tls", {"a.test": {"/": "a"}}, tls={"tls": ["a.test"]}),
            service("a"),
            hosts={},
        )
        (bundle,) = good.certificates.values()
        broken = {bundle.id: bundle.__class__(id=bundle.id, secret=bundle.secret, digest="0", pem=b"broken\n")}
        artifact = HaproxyArtifact(
            needs=good.needs,
            pointers=good.pointers,
            blocks=good.blocks,
            backends=good.backends,
            certificates=broken,
            server_names=good.server_names,
        )
        with pytest.raises(CheckFailed) as failed:
            await at.applier.check(artifact)

    assert failed.value.subjects == {("Secret", ("default", "tls"))}


async def test_a_reload_that_changes_nothing_is_found_out(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = HaproxyOptions(
        load_timeout=timedelta(seconds=4), reload_gap=timedelta(milliseconds=1), reload_share=1.0
    )
    async with scene(short_path, options) as at:
        await at.serve(hosts={"a.test": PLAIN})

        async def lie() -> bool:
            return True

        monkeypatch.setattr(at.haproxy.master.api, "reload", lie)
        with pytest.raises(ApplyError, match="did not end within"):
            await at.serve(hosts={"a.test": UNUSUAL})
        monkeypatch.undo()
        answer = await at.ask("a.test")
        await at.serve(hosts={"a.test": UNUSUAL, "b.test": PLAIN})
        new = await at.ask("b.test")

    assert (answer, new) == (200, 200)


async def test_where_no_tls_is_taken_certificates_cost_nothing(short_path: Path) -> None:
    async with scene(short_path) as at:
        await at.serve(hosts={"a.test": PLAIN})
        secret = tls_secret("a.test")
        tls = ingress(
            "tls", {"a.test": {"/": "a"}}, tls={"tls": ["a.test"]}, annotations={"tls-redirect": "false"}
        )
        kind = await at.serve(
            secret, tls, service("a"), endpoint_slice("a", "127.0.0.1", ports=at.pod), hosts={}
        )
        answer = await at.ask("a.test")

    assert kind is NoOp
    assert answer == 200


async def test_draining_lets_the_request_under_way_end(short_path: Path) -> None:
    async with scene(short_path) as at:
        await at.serve(hosts={"a.test": PLAIN})
        pid = at.haproxy.pid
        await at.haproxy.drain(timedelta(seconds=5))

        assert at.haproxy.pid is None
        assert not await anyio.Path(f"/proc/{pid}").exists()
        assert await at.ask("a.test") == 0
