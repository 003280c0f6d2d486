"""What has to change between two artifacts, and where there is room for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingresskit.apply.haproxy.changes import ServerChange, changes_between, reload_reasons
from ingresskit.apply.haproxy.partial import servable_without_reload
from ingresskit.apply.haproxy.slots import PoolSettings, Slots, pool_sizes
from ingresskit.apply.haproxy.worker_state import WorkerState
from ingresskit.errors import ConfigurationError
from ingresskit.graph import BackendKey, PathOptions, Protocol
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import Algorithm, Order, Origin, Stage
from ingresskit.render.haproxy import (
    Block,
    Bundle,
    HaproxyArtifact,
    MapName,
    MapRow,
    Needs,
    Pointer,
    Server,
    ServerNames,
    SlotBackend,
    SlotClass,
)

COMMON = SlotClass()
RANDOM = SlotClass(algorithm=Algorithm.RANDOM)
ORIGIN = Origin(ObjectRef("Ingress", ObjectKey("default", "web")), "spec")


def server(number: int, protocol: Protocol = Protocol.HTTP) -> Server:
    return Server(name=f"s{number}", address=f"10.0.0.{number}", port=80, protocol=protocol)


def backend(name: str, *servers: Server, slot_class: SlotClass = COMMON) -> SlotBackend:
    key = BackendKey("default", name, 80)
    return SlotBackend(id=f"b-{name}", key=key, slot_class=slot_class, servers=servers)


def artifact(*backends: SlotBackend, needs: Needs | None = None) -> HaproxyArtifact:
    """A host for each backend, which its table leads to."""
    tables = [
        Block(id=f"t-{item.id}", rows=(MapRow(MapName.PREFIXES, f"t-{item.id}/", f"forward|{item.id}|-|-"),))
        for item in backends
    ]
    return HaproxyArtifact(
        needs=needs or Needs(classes={item.slot_class: ORIGIN for item in backends}),
        pointers={
            Pointer(MapName.HOSTS, f"{item.key.service}.test"): table.id
            for item, table in zip(backends, tables, strict=True)
        },
        blocks={table.id: table for table in tables},
        backends={item.id: item for item in backends},
    )


def live(served: HaproxyArtifact, *, free: int = 0) -> WorkerState:
    pools = {COMMON: len(served.backends) + free}
    slots = Slots.filled(pools, served.backends.values())
    return WorkerState.loaded(served, needs=served.needs, slots=slots, marker="m")


def test_the_same_artifact_needs_nothing() -> None:
    one = artifact(backend("a", server(1)))

    changes = changes_between(one, replace(one), loaded=one.blocks, own=b"")

    assert not changes
    assert changes.summary == ""


def test_servers_that_come_and_go_are_those_of_one_backend() -> None:
    old, new = artifact(backend("a", server(1), server(2))), artifact(backend("a", server(2), server(3)))

    changes = changes_between(old, new, loaded=old.blocks, own=b"")

    assert changes.servers == (ServerChange("b-a", added=(server(3),), removed=(server(1),)),)
    assert changes.summary == "1 backends"


def test_a_server_that_became_another_under_its_name_gets_its_backend_a_new_slot() -> None:
    old, new = artifact(backend("a", server(1))), artifact(backend("a", server(1, Protocol.HTTPS)))

    changes = changes_between(old, new, loaded=old.blocks, own=b"")

    assert [item.id for item in changes.placed] == ["b-a"]
    assert changes.vacated == ("b-a",)
    assert changes.servers == ()


def test_blocks_whose_rows_are_there_already_are_not_loaded_again() -> None:
    old, new = artifact(backend("a")), artifact(backend("b"))

    changes = changes_between(old, new, loaded={**old.blocks, **new.blocks}, own=b"")

    assert changes.blocks == ()
    assert [pointer.key for pointer, _ in changes.pointed] == ["b.test"]
    assert [pointer.key for pointer in changes.dropped] == ["a.test"]


def bundle(digest: str) -> Bundle:
    return Bundle(id="c1", secret=ObjectKey("default", "tls"), digest=digest, pem=digest.encode())


def test_certificates_are_issued_renewed_and_withdrawn() -> None:
    line = ServerNames("c1", ("a.test",))
    none = HaproxyArtifact()
    first = HaproxyArtifact(certificates={"c1": bundle("1")}, server_names=(line,))
    second = HaproxyArtifact(certificates={"c1": bundle("2")}, server_names=(line,))

    issued = changes_between(none, first, loaded={}, own=b"")
    renewed = changes_between(first, second, loaded={}, own=b"")
    withdrawn = changes_between(second, none, loaded={}, own=b"")

    assert (issued.issued, issued.listed) == ((bundle("1"),), (line,))
    assert (renewed.renewed, renewed.listed, renewed.unlisted) == ((bundle("2"),), (), ())
    assert (withdrawn.withdrawn, withdrawn.unlisted) == ((bundle("2"),), (line,))
    assert not issued.without_certificates()


def test_the_default_certificate_falls_back_to_our_own() -> None:
    chosen = HaproxyArtifact(certificates={"c1": bundle("1")}, default_certificate="c1")

    assert changes_between(HaproxyArtifact(), chosen, loaded={}, own=b"own").default == b"1"
    assert changes_between(chosen, HaproxyArtifact(), loaded={}, own=b"own").default == b"own"


def reasons(old: HaproxyArtifact, new: HaproxyArtifact, *, free: int = 10) -> list[str]:
    at = live(old, free=free)
    changes = changes_between(old, new, loaded=at.blocks, own=b"")
    return [item.reason for item in reload_reasons(changes, new.needs, at.needs, at.slots)]


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        (Needs(classes={RANDOM: ORIGIN}), "random-1"),
        (Needs(statuses={418: ORIGIN}), "418"),
        (Needs(request_headers={"x-a": ORIGIN}), "request header"),
        (Needs(response_headers={"x-b": ORIGIN}), "response header"),
        (Needs(features={"rates": ORIGIN}), "rates"),
        (Needs(orders={Order(reversed(Stage)): ORIGIN}), "order of policies"),
        (Needs(host_fallthrough=True), "falling through"),
        (Needs(paths=PathOptions(strict=True)), "normal form"),
    ],
    ids=["class", "status", "request header", "response header", "feature", "order", "fall-through", "paths"],
)
def test_what_the_program_lacks_is_a_reason_to_reload(needs: Needs, said: str) -> None:
    found = reasons(artifact(), artifact(needs=needs))

    assert len(found) == 1
    assert said in found[0]


def test_more_than_the_program_needs_is_none() -> None:
    assert reasons(artifact(needs=Needs(statuses={418: ORIGIN})), artifact()) == []


def test_a_pool_that_is_too_small_is_a_reason_to_reload() -> None:
    one, three = artifact(backend("a")), artifact(backend("a"), backend("b"), backend("c"))

    assert reasons(one, three, free=2) == []
    assert "2 slots" in reasons(one, three, free=1)[0]


def test_a_certificate_too_long_for_the_runtime_api_is_a_reason_to_reload() -> None:
    long = Bundle(id="c1", secret=ObjectKey("default", "tls"), digest="1", pem=b"x" * 20_000)

    assert "default/tls" in reasons(HaproxyArtifact(), HaproxyArtifact(certificates={"c1": long}))[0]


def test_a_slot_is_free_again_only_once_it_is_emptied() -> None:
    slots = Slots({COMMON: 1})
    slot = slots.take(backend("a"))

    assert slots.free(COMMON) == 0
    assert slots.vacate("b-a") == slot
    assert slots.free(COMMON) == 0

    slots.emptied(slot)

    assert slots.take(backend("b")) == slot


def test_no_slot_is_given_away_twice() -> None:
    slots = Slots({COMMON: 50})

    taken = [slots.take(backend(str(number))) for number in range(50)]

    assert len(set(taken)) == 50
    with pytest.raises(ConfigurationError, match="no slot"):
        slots.take(backend("one more"))


def test_backends_stay_where_they_were_over_a_reload() -> None:
    before = Slots({COMMON: 4})
    backends = [backend(str(number)) for number in range(4)]
    for item in reversed(backends):
        before.take(item)

    after = Slots.filled({COMMON: 8}, backends, before)

    assert after.held() == before.held()
    assert after.free(COMMON) == 4


def test_pools_double_and_do_not_shrink_at_once() -> None:
    settings = PoolSettings(first=10, others=3)
    many = [backend(str(number)) for number in range(100)]

    grown = pool_sizes(settings, many, [RANDOM], {})
    kept = pool_sizes(settings, many[:50], [], grown)
    shrunk = pool_sizes(settings, many[:5], [], grown)

    assert grown == {COMMON: 200, RANDOM: 3}
    assert kept[COMMON] == 200
    assert shrunk[COMMON] == 16


def test_a_low_pool_is_told_apart() -> None:
    slots = Slots({COMMON: 4, RANDOM: 4})
    for number in range(4):
        slots.take(backend(str(number)))

    assert slots.low(0.25) == (COMMON,)


def test_meanwhile_others_are_served_and_the_one_that_waits_keeps_what_it_has() -> None:
    old = artifact(backend("a", server(1)), backend("held", server(1)))
    held = backend("held", server(2), slot_class=RANDOM)
    moved = replace(held, id="b-held-random")
    new = artifact(backend("a", server(2)), backend("new", server(3)), moved)

    part = servable_without_reload(live(old, free=5), new)

    assert {pointer.key for pointer in part.pointers} == {"a.test", "held.test", "new.test"}
    assert part.backends["b-a"].servers == (server(2),)
    assert part.pointers[Pointer(MapName.HOSTS, "held.test")] == "t-b-held"
    assert part.backends["b-held"].servers == (server(1),)
    assert moved.id not in part.backends
    assert part.needs == old.needs


def test_meanwhile_hosts_get_slots_for_as_long_as_there_are_any() -> None:
    old = artifact()
    new = artifact(*(backend(f"h{number}", server(number)) for number in range(5)))

    part = servable_without_reload(live(old, free=3), new)

    assert (len(part.pointers), len(part.backends), len(part.blocks)) == (3, 3, 3)
