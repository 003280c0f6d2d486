"""Which replies to subrequests are kept, for how long, and how many."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ingresskit.filters import SubrequestReply, VerdictKey
from ingresskit.graph import Redirect
from ingresskit.proxy.exchange.verdicts import Verdicts
from tests.unit.proxy.conftest import make_target

TIMES = ((200, timedelta(seconds=60)), (401, timedelta(seconds=10)), (403, timedelta(0)))
DATE = (b"date", b"Mon, 30 Nov 2026 12:00:00 GMT")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def seconds_kept(status: int, *fields: tuple[bytes, bytes]) -> int:
    """For how many seconds a reply is found, 100 at most."""
    clock = Clock()
    verdicts = Verdicts(clock)
    reply = SubrequestReply(status=status, fields=fields)
    verdicts.keep(b"key", reply, TIMES)
    kept = 0
    while kept < 100 and verdicts.find(b"key") == reply:
        kept += 1
        clock.now += 1
    assert len(verdicts) == (kept == 100)
    return kept


@pytest.mark.parametrize(
    ("status", "fields", "seconds"),
    [
        (200, (), 60),
        (401, (), 10),
        (403, (), 0),
        (500, (), 0),
        (0, (), 0),
        (200, ((b"x-user", b"ann"),), 60),
        (200, ((b"set-cookie", b"a=b"),), 0),
        (200, ((b"vary", b"Cookie"),), 0),
        (200, ((b"cache-control", b"public, max-age=5"),), 5),
        (200, ((b"cache-control", b"max-age=5"), (b"cache-control", b"s-maxage=3")), 3),
        (200, ((b"cache-control", b"max-age=3600"),), 60),
        (200, ((b"cache-control", b"Private"),), 0),
        (200, ((b"cache-control", b'no-cache="x-user"'),), 0),
        (200, ((b"cache-control", b"public"), (b"cache-control", b"no-store")), 0),
        (200, (DATE, (b"expires", b"Mon, 30 Nov 2026 12:00:07 GMT")), 7),
        (200, (DATE, (b"expires", b"Mon, 30 Nov 2026 11:00:00 GMT")), 0),
        (200, ((b"expires", b"0"),), 0),
        (200, (DATE, (b"expires", b"0"), (b"cache-control", b"max-age=4")), 4),
        (200, ((b"x-large", b"x" * 20_000),), 0),
    ],
)
def test_a_reply_is_kept_as_long_as_its_status_and_its_fields_allow(
    status: int, fields: tuple[tuple[bytes, bytes], ...], seconds: int
) -> None:
    assert seconds_kept(status, *fields) == seconds


def test_what_was_not_used_for_longest_goes_first() -> None:
    verdicts = Verdicts(Clock(), most_bytes=3 * 600)
    reply = SubrequestReply(status=200)
    for key in (b"a", b"b", b"c"):
        verdicts.keep(key, reply, TIMES)
    assert verdicts.find(b"a") is reply

    verdicts.keep(b"d", reply, TIMES)
    verdicts.keep(b"d", reply, TIMES)

    assert [verdicts.find(key) for key in (b"a", b"b", b"c", b"d")] == [reply, None, reply, reply]


def test_a_key_belongs_to_its_route_and_shows_nothing_of_its_parts() -> None:
    verdicts = Verdicts(Clock())
    key = VerdictKey(parts=("policy", "s3cret"), times=TIMES)
    action = Redirect(location="/")
    targets = [
        make_target(action),
        make_target(action, path="/a"),
        make_target(action, path="/a", exact=True),
        make_target(action, host="a.test"),
    ]
    digests = [verdicts.digest(target, key) for target in targets]

    assert len({*digests, Verdicts(Clock()).digest(targets[0], key)}) == 5
    assert verdicts.digest(targets[0], VerdictKey(parts=("policys3", "cret"), times=TIMES)) not in digests
    assert verdicts.digest(make_target(action), key) == digests[0]
    assert "s3cret" not in repr(key)
    assert not any(b"s3cret" in digest for digest in digests)
