from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from ingresskit.diagnostics import Diagnostic, Reason
from ingresskit.graph import to_json
from ingresskit.models import NO_CLAIMS, HostClaims, Ingress, KubeObject, ObjectKey, Snapshot
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.sources.base import SnapshotStore
from ingresskit.testing import EPOCH, ingress_class
from ingresskit.testing.strategies import (
    endpoint_slices,
    ingresses,
    request_hosts,
    request_paths,
    secrets,
    services,
    worlds,
)
from ingresskit.translate import (
    DefaultBackend,
    HostOwnership,
    TranslateOptions,
    Translation,
    Translator,
    translate,
)

_options = st.builds(
    TranslateOptions,
    host_ownership=st.sampled_from(HostOwnership),
    host_fallthrough=st.booleans(),
    watch_ingress_without_class=st.booleans(),
    host_claim_grace=st.sampled_from((timedelta(0), timedelta(seconds=20))),
    guard_wide_hosts=st.booleans(),
    default_backend=st.sampled_from((None, DefaultBackend(ObjectKey("alpha", "one")))),
    default_certificate=st.sampled_from((None, ObjectKey("alpha", "cert-a"))),
)

_OWNED = ("alpha", "beta")


@given(worlds("alpha", "beta"), _options, st.randoms(use_true_random=False))
def test_the_order_of_objects_changes_nothing(
    objects: list[KubeObject], options: TranslateOptions, chance: random.Random
) -> None:
    shuffled = chance.sample(objects, len(objects))
    first, second = translate(Snapshot.of(objects), options), translate(Snapshot.of(shuffled), options)

    assert to_json(first.graph) == to_json(second.graph)
    assert first.diagnostics == second.diagnostics
    assert first.graph == second.graph


_PROGRAM = """
from ingresskit.graph import digest
from ingresskit.testing import load_scenarios
for scenario in load_scenarios()[::5]:
    translation = scenario.translate()
    print(scenario, digest(translation.graph), *translation.diagnostics, sep="\\n")
"""


def test_another_process_with_another_hash_seed_gives_the_same_bytes() -> None:
    runs = {
        subprocess.run(
            [sys.executable, "-c", _PROGRAM], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "77")
    }

    assert len(runs) == 1
    assert b"RouteConflict" in next(iter(runs))


_pool = st.one_of(
    *(
        make(namespace)
        for namespace in _OWNED
        for make in (ingresses, ingresses, services, endpoint_slices, secrets)
    ),
    st.builds(ingress_class, st.sampled_from(("ingresskit", "other")), default=st.booleans()),
)
_history = st.lists(
    st.tuples(st.sampled_from(("apply", "apply", "apply", "delete", "again")), st.lists(_pool, max_size=3)),
    min_size=1,
    max_size=8,
)


@given(worlds("alpha", "beta"), _history, _options)
def test_a_translator_with_a_past_gives_what_a_fresh_one_gives(
    start: list[KubeObject], history: list[tuple[str, list[KubeObject]]], options: TranslateOptions
) -> None:
    store, translator, renderer = SnapshotStore(), Translator(options, retain=False), InProcessRenderer()
    store.replace(start)
    record, moment = NO_CLAIMS, EPOCH
    for what, objects in (("again", []), *history):
        _change(store, what, objects)
        moment += timedelta(seconds=10)
        snapshot = _with_record(store, record)
        now, fresh = translator.translate(snapshot, now=moment), translate(snapshot, options, now=moment)
        record = now.claims

        assert now.claims == fresh.claims
        assert now.due == fresh.due
        assert now.graph == fresh.graph
        assert to_json(now.graph) == to_json(fresh.graph)
        assert now.diagnostics == fresh.diagnostics
        assert list(now.graph.backends) == list(fresh.graph.backends)
        assert renderer.render(now.graph) == InProcessRenderer().render(fresh.graph)


def _with_record(store: SnapshotStore, record: HostClaims) -> Snapshot:
    return replace(store.snapshot() or Snapshot(), claims=record)


@given(worlds("alpha", "beta"), _history, _options)
def test_a_namespace_keeps_a_host_for_as_long_as_it_claims_it(
    start: list[KubeObject], history: list[tuple[str, list[KubeObject]]], options: TranslateOptions
) -> None:
    """Whatever objects of whatever age come, change and go beside it, in both modes with owners."""
    if options.host_ownership is HostOwnership.SHARED:
        return
    store, translator, record = SnapshotStore(), Translator(options, retain=False), NO_CLAIMS
    store.replace(start)
    claimed: set[tuple[str, str]] = set()
    owners: dict[str, str | None] = {}
    for what, objects in (("again", []), *history):
        _change(store, what, objects)
        snapshot = _with_record(store, record)
        now = translator.translate(snapshot, now=EPOCH)
        before, owners = owners, {host.host: host.owner for host in now.graph.virtual_hosts}
        claimed_before, claimed = claimed, _claimed(snapshot, options)
        for host, owner in before.items():
            if owner is not None and (owner, host) in claimed & claimed_before:
                assert owners.get(host) == owner, (host, owner)
        record = now.claims
        again = translate(replace(snapshot, claims=record), options, now=EPOCH)
        assert again.claims == record
        assert again.graph == now.graph


def _claimed(snapshot: Snapshot, options: TranslateOptions) -> set[tuple[str, str]]:
    """The namespaces with the hosts that they would hold if they were alone."""
    found: set[tuple[str, str]] = set()
    for namespace in _OWNED:
        ingresses = {key: item for key, item in snapshot.by_key(Ingress).items() if key.namespace == namespace}
        alone = Snapshot(objects={**snapshot.objects, Ingress: ingresses})
        graph = translate(alone, replace(options, default_backend=None)).graph
        found.update((namespace, host.host) for host in graph.virtual_hosts)
    return found


def _change(store: SnapshotStore, what: str, objects: Sequence[KubeObject]) -> None:
    snapshot = store.snapshot()
    if what == "apply":
        store.update(apply=objects)
    elif what == "delete" and snapshot is not None:
        # Of each kind drawn, one that is there: most of what is drawn is not.
        gone = [(type(item), key) for item in objects for key in sorted(snapshot.by_key(type(item)))[-1:]]
        store.update(delete=gone)
    elif snapshot is not None:  # nothing, in other dicts
        held = [item for kind in snapshot.objects.values() for item in kind.values()]
        store.replace(reversed(held))


_mallory = st.lists(
    st.one_of(
        ingresses("mallory", oldest=10, youngest=12),
        ingresses("mallory", oldest=10, youngest=12),
        services("mallory"),
        endpoint_slices("mallory"),
        secrets("mallory"),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda item: (item.kind, item.key),
)


@given(
    worlds(*_OWNED),
    _mallory,
    st.lists(st.tuples(request_hosts(), request_paths()), max_size=6),
)
def test_a_younger_namespace_never_changes_what_others_get(
    objects: list[KubeObject], hostile: list[KubeObject], requests: list[tuple[str, str]]
) -> None:
    objects = [item for item in objects if not _ageless(item)]
    before, after = translate(Snapshot.of(objects)), translate(Snapshot.of([*objects, *hostile]))

    for host in before.graph.virtual_hosts:
        assert after.graph.virtual_host(host.host) == host
        if not host.host.startswith("*"):  # what is below a wildcard may be claimed by others
            assert after.graph.certificate_for(host.host) == before.graph.certificate_for(host.host)
    for key, backend in before.graph.backends.items():
        assert after.graph.backends[key] == backend
    for host_name, path in requests:
        held = before.graph.candidates(host_name)
        if held and held == after.graph.candidates(host_name):
            assert after.graph.resolve(host_name, path) == before.graph.resolve(host_name, path)
    assert list(_reported(after)) == list(_reported(before))


def _reported(translation: Translation) -> Iterable[Diagnostic]:
    """What is said of others, but for names below their wildcards and certificates without a rule."""
    for item in translation.diagnostics:
        if item.namespace in _OWNED and item.reason not in (Reason.CERTIFICATE_CONFLICT, Reason.HOST_OVERLAP):
            yield item


def _ageless(item: KubeObject) -> bool:
    """Without a time it is younger than mallory's, who then may win."""
    return isinstance(item, Ingress) and item.metadata.creation_timestamp is None
