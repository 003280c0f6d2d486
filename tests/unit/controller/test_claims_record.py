"""The record of host claims as text: what is written is read again, and a broken line costs itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingresskit.controller.claims.record import (
    RECORD_KEY,
    RECORD_LABEL,
    check_record_key,
    is_shard,
    read_record,
    write_record,
)
from ingresskit.errors import ConfigurationError
from ingresskit.models import ConfigMap, HostClaim, HostClaims, ObjectKey, ObjectMeta

KEY = ObjectKey("infra", "ingresskit-hosts")
_SINCE = datetime(2026, 11, 30, 8, 0, 0, tzinfo=UTC)

_label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
_names = st.lists(_label, min_size=1, max_size=4).map(".".join).filter(lambda name: not name[-1].isdigit())
_hosts = st.one_of(_names, _names.map("*.{}".format), st.just("*"))
_times = st.none() | st.integers(min_value=-60 * 10**9, max_value=200 * 10**9).map(
    lambda seconds: _SINCE + timedelta(seconds=seconds)
)
_claims = st.dictionaries(
    _hosts, st.builds(HostClaim, namespace=_label, since=_times, released=_times), max_size=20
)


def config_maps(texts: Mapping[str, str], *, name: str = KEY.name) -> list[ConfigMap]:
    return [
        ConfigMap(
            metadata=ObjectMeta(name=shard, namespace=KEY.namespace, labels={RECORD_LABEL: name}),
            data={RECORD_KEY: text},
        )
        for shard, text in texts.items()
    ]


def many(count: int, *, first: int = 0) -> HostClaims:
    label = "x" * 60
    names = (f"n{number}.{label}.{label}.{label}.test" for number in range(first, first + count))
    return HostClaims(by_host={name: HostClaim(namespace="shop", since=_SINCE) for name in names})


def moved(before: Mapping[str, str], after: Mapping[str, str]) -> int:
    """How many lines stand in another ConfigMap that there was before."""
    lines = {line: name for name, text in after.items() for line in text.splitlines()[1:]}
    return sum(
        lines.get(line, name) not in (name, *(after.keys() - before.keys()))
        for name, text in before.items()
        for line in text.splitlines()[1:]
    )


def sizes(texts: Iterable[str]) -> list[int]:
    return [len(text.encode()) for text in texts]


@given(_claims)
def test_what_is_written_is_read_again(claims: dict[str, HostClaim]) -> None:
    found = read_record(config_maps(write_record(HostClaims(by_host=claims), KEY)))

    assert found.problems == ()
    assert found.claims.by_host == claims


def test_a_record_is_readable_for_people() -> None:
    claims = {
        "shop.test": HostClaim(namespace="shop", since=_SINCE),
        "*.blog.test": HostClaim(namespace="blog", since=_SINCE, released=_SINCE + timedelta(minutes=1)),
        "*": HostClaim(namespace="infra"),
    }

    assert write_record(HostClaims(by_host=claims), KEY) == {
        "ingresskit-hosts": (
            "# host namespace since [released]: kept by the controller, edits are overwritten\n"
            "* infra -\n"
            "*.blog.test blog 2026-11-30T08:00:00Z 2026-11-30T08:01:00Z\n"
            "shop.test shop 2026-11-30T08:00:00Z\n"
        )
    }


def test_no_config_map_is_larger_than_allowed() -> None:
    texts = write_record(many(10_000), KEY)

    assert max(sizes(texts.values())) < 240 * 1024
    assert len(texts) == 32
    assert set(texts) == {KEY.name, *(f"{KEY.name}-{index}" for index in range(1, 32))}
    assert read_record(config_maps(texts)).claims == many(10_000)


def test_a_record_that_grows_moves_hosts_to_new_config_maps_only() -> None:
    small = write_record(many(500), KEY)
    large = write_record(many(5_000), KEY, present=len(small))

    assert len(large) > len(small)
    assert moved(small, large) == 0


def test_a_record_that_shrinks_a_little_keeps_its_config_maps() -> None:
    large = write_record(many(5_000), KEY)
    smaller = write_record(many(2_000), KEY, present=len(large))

    assert smaller.keys() == large.keys()
    assert len(write_record(many(3), KEY, present=len(large))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "shop.test",
        "shop.test shop",
        "shop.test shop yesterday",
        "shop.test shop 2026-13-30T08:00:00Z",
        "shop.test Shop -",
        "Shop.test shop - -",
        "*.*.test shop -",
        "10.0.0.1 shop -",
        "shop.test shop - 2026-11-30T08:00:00Z more",
        "shop.test\tshop\t-",
        "x" * 10_000,
        "\u202eshop.test shop -",
    ],
)
def test_a_broken_line_costs_itself_and_is_told(line: str) -> None:
    found = read_record(config_maps({KEY.name: f"a.test a -\n{line}\nb.test b -\n"}))

    assert found.claims.by_host == {"a.test": HostClaim(namespace="a"), "b.test": HostClaim(namespace="b")}
    (problem,) = found.problems
    assert (problem.kind, problem.namespace, problem.name, problem.field) == (
        "ConfigMap",
        "infra",
        "ingresskit-hosts",
        "data[hosts]",
    )
    assert problem.reason.startswith("line 2 ")
    assert problem.reason.isprintable()
    assert len(problem.reason) < 200


def test_of_many_broken_lines_some_are_told() -> None:
    found = read_record(config_maps({KEY.name: "junk\n" * 1000}))

    assert len(found.problems) == 6
    assert found.problems[-1].reason == "and 995 more lines like these"


def test_of_two_claims_that_a_move_left_behind_the_later_counts() -> None:
    texts = {
        KEY.name: "a.test old 2026-01-01T00:00:00Z\n",
        f"{KEY.name}-1": "a.test new 2026-02-01T00:00:00Z\n",
    }

    assert read_record(config_maps(texts)).claims.by_host["a.test"].namespace == "new"


def test_only_config_maps_of_the_record_count() -> None:
    (own,) = config_maps({KEY.name: ""})
    (other,) = config_maps({KEY.name: ""}, name="another")
    (stranger,) = config_maps({"ingresskit-hosts-extra": ""})

    assert is_shard(own, KEY)
    assert not is_shard(other, KEY)
    assert not is_shard(stranger, KEY)
    assert not is_shard(own, ObjectKey("tenant", KEY.name))


@pytest.mark.parametrize("name", ["", "Hosts", "a.b", "-a", "a" * 58])
def test_a_name_that_no_record_can_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of a record of hosts"):
        check_record_key(ObjectKey("infra", name))
