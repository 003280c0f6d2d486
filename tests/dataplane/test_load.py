"""Constant traffic while everything changes: no request fails, no tunnel is cut, nothing reloads unasked."""

from __future__ import annotations

import re
import shutil
import subprocess

import anyio
import pytest

from ingresskit.controller.statistics import ApplyKind
from ingresskit.models import Snapshot
from ingresskit.testing.planes import Plane
from ingresskit.testing.traffic import TrafficScript, TrafficSettings, open_endpoints, open_traffic
from ingresskit.translate import translate
from tests.dataplane.planes import KINDS
from tests.dataplane.worlds import OPTIONS, STEADY, world

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]

# Changes come no faster: traffic shall meet every state between them.
_PACE_SECONDS = 0.03


async def test_nothing_fails_while_everything_changes(plane: Plane, changes_wanted: int) -> None:
    kind = KINDS[plane.name]
    promise = kind.promise
    async with open_endpoints(8) as endpoints:
        changes = TrafficScript(endpoints.ports)
        await plane.serve(changes.first())
        settings = TrafficSettings(
            http=plane.http, https=plane.https, hosts=changes.hosts, secure_hosts=changes.hosts
        )
        # A worker counts from the moment that its title says so, which may be after the first request.
        reloads, seen = plane.applied[ApplyKind.RELOAD], plane.pids()
        faults: list[str] = []
        async with open_traffic(settings) as traffic:
            for change in changes.take(changes_wanted // (5 if kind.reloads_often else 1)):
                await plane.serve(change.graph)
                seen |= plane.pids()
                faults += await change.faults(http=plane.http, https=plane.https)
                await anyio.sleep(_PACE_SECONDS)
            report = await traffic.stop()
        reloads = plane.applied[ApplyKind.RELOAD] - reloads

    assert not faults
    assert report.faults() == () or promise.may_fail
    assert report.messages
    assert report.handshakes
    assert len(report.endpoints) > 5
    assert promise.reloads is None or reloads <= promise.reloads, plane.reasons
    assert reloads or plane.pids() == seen


async def test_reloads_fail_nothing_either(plane: Plane) -> None:
    """Where a change needs one. Tunnels are another matter: they end with the process that holds them."""
    kind = KINDS[plane.name]
    async with open_endpoints(2) as endpoints:

        async def serve(state: int) -> None:
            objects = world(state, endpoints.ports, kind.reloading(state))
            await plane.serve(translate(Snapshot.of(objects), OPTIONS).graph)

        await serve(0)
        settings = TrafficSettings(
            http=plane.http, https=plane.https, hosts=(STEADY,), secure_hosts=(STEADY,), tunnels=0
        )
        reloads = plane.applied[ApplyKind.RELOAD]
        async with open_traffic(settings) as traffic:
            for state in range(1, 5):
                await serve(state)
                await anyio.sleep(0.3)  # until clients have met the new process
            report = await traffic.stop()
        reloads = plane.applied[ApplyKind.RELOAD] - reloads

    assert reloads == (4 if kind.reloading(1) else 0)
    assert report.faults() == () or kind.promise.may_fail


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
async def test_nothing_fails_at_full_speed_either(plane: Plane, changes_wanted: int) -> None:
    kind = KINDS[plane.name]
    promise = kind.promise
    async with open_endpoints(8) as endpoints:
        changes = TrafficScript(endpoints.ports, seed=1)
        await plane.serve(changes.first())
        address = f"http://{plane.http[0]}:{plane.http[1]}/"
        command = ["wrk", "-t1", "-c16", "-d5s", "--timeout", "5s", "-H", "Host: steady-0.test", address]
        faults: list[str] = []
        output = b""

        async def load() -> None:
            nonlocal output
            output = (await anyio.run_process(command, stderr=subprocess.STDOUT)).stdout

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(load)
            for change in changes.take(min(changes_wanted, 20 if kind.reloads_often else 100)):
                await plane.serve(change.graph)
                faults += await change.faults(http=plane.http, https=plane.https)
                await anyio.sleep(_PACE_SECONDS)

    done = re.search(rb"(\d+) requests in", output)
    assert not faults
    assert done
    assert int(done[1]) > 100
    # wrk speaks of these only where there were some.
    assert promise.may_fail or not re.search(rb"Socket errors:|Non-2xx", output), output.decode()
