"""As many connections as the limit of open files leaves beside the servers of a program."""

from __future__ import annotations

import resource

import pytest

from ingresskit.apply.haproxy.limits import affordable
from ingresskit.render.haproxy import Bind, HaproxySettings

SETTINGS = HaproxySettings(http=(Bind("127.0.0.1", 8080),), max_connections=16384)


@pytest.mark.parametrize(
    ("limit", "servers", "most"),
    [
        (resource.RLIM_INFINITY, 100_000, 16384),
        (100_000, 1000, 16384),
        (20_000, 0, 9850),
        # Two files for each server, as for each connection.
        (20_000, 1000, 8850),
        (1024, 5000, 1),
    ],
)
def test_servers_and_connections_share_the_open_files(
    limit: int, servers: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getrlimit(_resource: int) -> tuple[int, int]:
        return limit, limit

    monkeypatch.setattr(resource, "getrlimit", getrlimit)

    assert affordable(SETTINGS, servers=servers).max_connections == most
