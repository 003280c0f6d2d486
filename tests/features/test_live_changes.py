"""A thousand Ingresses in a folder, a hundred changes, and clients that ask all the while."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path

import anyio
import pytest

from benchmarks.live_change import measure


@pytest.mark.timeout(300)
def test_a_hundred_changes_are_live_and_cost_no_request(tmp_path: Path) -> None:
    """Each change is waited for; how long it took is printed (``-s``) and not judged on a shared machine."""
    run = partial(measure, tmp_path, ingresses=1000, changes=100, interval=timedelta(milliseconds=50))

    report = anyio.run(run)

    print(*report.lines(), sep="\n")  # noqa: T201 - the latencies, for whoever looks
    assert report.failures == []
    assert sum(map(len, report.seconds.values())) == 100
    assert set(report.seconds) == {
        "endpoint replaced",
        "path added",
        "host added",
        "host deleted",
        "certificate rotated",
    }
    # There was a load: on average some requests were under way during each change.
    assert report.requests > 500
