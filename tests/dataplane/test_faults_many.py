"""Many reloads and many certificates stay bounded.

The ids F25 to F37 are those of `tests/faults/README.md`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from ingresskit.testing.traffic import TrafficSettings, open_traffic
from tests.dataplane.controlled import served, steady, until_served
from tests.dataplane.controller_process import Plan
from tests.dataplane.faults_scene import proxies, running
from tests.dataplane.worlds import STEADY

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


async def test_old_generations_do_not_pile_up(plan: Plan) -> None:
    """F34. Reloads with open tunnels: old workers are bounded in number, and old files too."""
    plan = replace(plan, kind="reload")
    async with running(plan) as made:
        settings = TrafficSettings(
            http=plan.http, hosts=(STEADY,), busy=1, thinkers=0, tunnels=3, handshakers=0
        )
        most = 0
        async with open_traffic(settings) as traffic:
            for state in range(1, 9):
                await made.tell(serve=state)
                await made.wait(lambda event: event["event"] == "apply" and event["ok"], seconds=120)
                most = max(most, len(proxies(plan)))
            await traffic.stop()
        folders = [
            item for item in Path(plan.state_dir).rglob("gen-*") if item.is_dir() and not item.is_symlink()
        ]

        assert await served(plan, 8) == [8]
    assert most <= 24
    assert len(folders) <= 4


async def test_storm_of_certificates_reloads_nothing_and_fails_no_handshake(plan: Plan) -> None:
    """F36. Each state has a certificate of its own; they come as fast as they are taken."""
    async with running(plan) as made:
        settings = TrafficSettings(
            http=plan.http, https=plan.https, hosts=(STEADY,), secure_hosts=(STEADY,), handshakers=4, busy=1
        )
        async with open_traffic(settings) as traffic:
            for state in range(1, 31):
                await made.tell(serve=state)
                await anyio.sleep(0.03)
            await until_served(plan, 30)
            report = await traffic.stop()

        assert await steady(plan) == 200
    assert report.handshakes
    assert [fault for fault in report.failures if "TLS" in fault] == []
