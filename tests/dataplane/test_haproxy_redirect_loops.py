"""HAProxy writes no log of its own: the controller asks it whether redirects to TLS may loop."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from ipaddress import ip_network

import pytest

from ingresskit.apply.haproxy import HaproxyOptions
from ingresskit.testing.planes import PlaneSettings, state_folder
from tests.dataplane.haproxy_plane import HAPROXY, open_haproxy
from tests.dataplane.stage import LONG, Stage
from tests.unit.proxy.conftest import get

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(HAPROXY.missing != "", reason="HAProxy is not installed"),
]
WORDS = "a trusted proxy does not send X-Forwarded-Proto; redirects to HTTPS may loop"


async def test_redirect_that_may_loop_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def said() -> int:
        return sum(record.getMessage() == WORDS for record in caplog.records)

    options = HaproxyOptions(statistics_interval=timedelta(milliseconds=10))
    with state_folder() as folder:
        settings = PlaneSettings(state_dir=folder, trusted_proxies=(ip_network("127.0.0.0/8"),))
        async with open_haproxy(settings, options=options) as plane, Stage(plane) as stage:
            await stage.serve(await stage.endpoint(), annotations={"tls-redirect": "true"})
            client = await stage.connect()
            answers = [await client.ask(get()) for _ in range(3)]
            async with asyncio.timeout(LONG):
                while not said():  # noqa: ASYNC110 - another task is waited for
                    await asyncio.sleep(0.01)

    assert [answer.status for answer in answers] == [308] * 3
    assert said() == 1
