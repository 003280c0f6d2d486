"""Many Ingresses in a real HAProxy: what its benchmark measures holds in small, too."""

from __future__ import annotations

import anyio
import pytest

from benchmarks.haproxy_live_change import measure
from tests.unit.apply.haproxy.conftest import haproxy_binary, needs_haproxy

pytestmark = [needs_haproxy, pytest.mark.timeout(240)]


def test_a_thousand_ingresses_take_little_memory_and_their_changes_no_reload() -> None:
    report = anyio.run(lambda: measure(ingresses=1000, changes=2, program=haproxy_binary()))

    assert report.loaded <= 2 * report.empty
    assert report.reloads == {"HAProxy is started": 1}
    assert {len(values) for values in report.seconds.values()} == {2}
