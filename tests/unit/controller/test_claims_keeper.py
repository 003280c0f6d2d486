"""The record from pass to pass, and how two replicas agree on it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ingresskit.controller.claims import ClaimKeeper
from ingresskit.controller.claims.record import write_record
from ingresskit.errors import DecodeError
from ingresskit.models import NO_CLAIMS, ConfigMap, HostClaim, HostClaims, KubeObject, Snapshot
from ingresskit.testing import ingress, ingress_class
from ingresskit.translate import Translator
from tests.unit.controller.test_claims_record import KEY, config_maps

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 30, 8, tzinfo=UTC)
A = ingress("web", {"x.test": None}, namespace="a", created=1)
B = ingress("web", {"x.test": None}, namespace="b", created=2)


class Replica:
    """A controller without a loop: one pass for each look at the cluster."""

    def __init__(self) -> None:
        self.keeper = ClaimKeeper(KEY)
        self.translator = Translator()
        self.revision = 0

    def sees(self, *objects: KubeObject, published: HostClaims | None = None) -> str | None:
        """The namespace that holds the host, after a pass with these objects."""
        maps: list[ConfigMap] = [] if published is None else config_maps(write_record(published, KEY))
        self.revision += 1
        snapshot = Snapshot.of([ingress_class(), *objects, *maps], revision=self.revision)
        translation = self.translator.translate(self.keeper.add_to(snapshot), now=NOW)
        self.keeper.learn(translation.claims)
        self.keeper.announce()
        held = translation.claims.get("x.test")
        return None if held is None else held.namespace


async def test_a_host_that_nobody_holds_is_held_before_anything_is_written() -> None:
    replica = Replica()

    assert replica.sees(B) == "b"
    assert replica.sees(A, B) == "b"


async def test_two_replicas_that_saw_another_order_agree_when_the_leader_has_written() -> None:
    leader, other = Replica(), Replica()
    leader.keeper.lead(NO_CLAIMS)

    assert (leader.sees(A), other.sees(B)) == ("a", "b")
    assert (leader.sees(A, B), other.sees(A, B)) == ("a", "b")
    written = leader.keeper.claims
    assert (leader.sees(A, B, published=written), other.sees(A, B, published=written)) == ("a", "a")


async def test_a_replica_that_missed_a_moment_agrees_with_the_leader_at_the_next_pass() -> None:
    leader, other = Replica(), Replica()
    leader.keeper.lead(NO_CLAIMS)
    leader.sees(A)
    written = leader.keeper.claims
    leader.sees(A, B, published=written)

    assert other.sees(B, published=written) == "b"
    assert other.sees(A, B, published=written) == "a"


async def test_the_leader_goes_by_what_it_has_not_written_yet() -> None:
    leader = Replica()
    leader.keeper.lead(NO_CLAIMS)
    leader.sees(A, B)
    written = leader.keeper.claims

    assert leader.sees(B, published=written) == "b"
    assert leader.sees(A, B, published=written) == "b"


async def test_who_begins_to_lead_takes_over_what_was_written_last() -> None:
    late = Replica()
    late.sees(B)
    late.keeper.lead(HostClaims(by_host={"x.test": HostClaim(namespace="a", since=NOW)}))
    assert not late.keeper.settled

    assert late.sees(A, B) == "a"
    assert late.keeper.settled


async def test_who_stops_leading_goes_by_what_is_written() -> None:
    former = Replica()
    former.keeper.lead(NO_CLAIMS)
    former.sees(B)
    former.keeper.follow()

    assert former.sees(A, B, published=HostClaims(by_host={"x.test": HostClaim(namespace="a")})) == "a"


async def test_a_record_that_is_gone_costs_nothing_that_is_in_memory() -> None:
    replica = Replica()
    record = HostClaims(by_host={"x.test": HostClaim(namespace="b", since=NOW)})

    assert replica.sees(A, B, published=record) == "b"
    assert replica.sees(A, B) == "b"


async def test_config_maps_of_others_are_no_record() -> None:
    replica = Replica()
    (item,) = config_maps(write_record(HostClaims(by_host={"x.test": HostClaim(namespace="b")}), KEY))
    tenant = replace(item, metadata=replace(item.metadata, namespace="b"))

    assert replica.sees(A, B, tenant) == "a"


async def test_what_is_wrong_with_the_record_is_in_the_snapshot() -> None:
    keeper = ClaimKeeper(KEY)
    problem = DecodeError(kind="ConfigMap", namespace="infra", name="hosts", field="", reason="is refused")
    keeper.report(problem)
    broken = Snapshot.of(config_maps({KEY.name: "junk\n"}))

    assert [(item.field, item.reason.partition(" 'junk'")[0]) for item in keeper.add_to(broken).problems] == [
        ("", "is refused"),
        ("data[hosts]", "line 1"),
    ]
    keeper.report(None)
    assert keeper.add_to(Snapshot()).problems == ()


async def test_the_same_record_is_the_same_object_pass_after_pass() -> None:
    replica = Replica()
    record = HostClaims(by_host={"x.test": HostClaim(namespace="b", since=NOW)})
    replica.sees(A, B, published=record)
    held, revision = replica.keeper.claims, replica.keeper.revision
    maps = replica.keeper.config_maps

    assert replica.keeper.add_to(Snapshot(objects={ConfigMap: maps})).claims is held
    assert replica.keeper.add_to(Snapshot(objects={ConfigMap: maps})).claims is held
    replica.keeper.announce()
    assert replica.keeper.revision == revision
