"""Replicas that see a cluster differently agree on who holds a host, and no host moves while it is claimed."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from ingresskit.controller.claims import ClaimKeeper
from ingresskit.controller.claims.record import RECORD_KEY, RECORD_LABEL, write_record
from ingresskit.graph import VirtualHost
from ingresskit.models import NO_CLAIMS, ConfigMap, Ingress, ObjectKey, ObjectMeta, Snapshot
from ingresskit.testing import EPOCH, ingress, ingress_class
from ingresskit.translate import HostOwnership, TranslateOptions, Translator

_KEY = ObjectKey("infra", "hosts")
_HOSTS = ("a.test", "b.test", "*.test", "x.a.test", "*.a.test", "")
_NAMESPACES = ("one", "two", "three")

_ingresses = st.builds(
    ingress,
    st.sampled_from(("p", "q")),
    st.sets(st.sampled_from(_HOSTS), min_size=1, max_size=3).map(lambda hosts: dict.fromkeys(sorted(hosts))),
    namespace=st.sampled_from(_NAMESPACES),
    created=st.integers(0, 3) | st.none(),
)
_Step = tuple[str, Ingress, frozenset[int]]
_steps: st.SearchStrategy[_Step] = st.tuples(
    st.sampled_from(("apply", "apply", "delete")),
    _ingresses,
    st.sets(st.sampled_from((0, 1, 2))).map(frozenset),  # who looks after it; 0 leads
)
_modes = st.sampled_from((HostOwnership.STRICT, HostOwnership.EXACT))
_Owners = dict[str, str]


class _Replica:
    """A controller without a loop. Looks at the cluster when it is told to, and makes a pass."""

    def __init__(self, mode: HostOwnership) -> None:
        self.keeper = ClaimKeeper(_KEY, covers_names=mode is HostOwnership.STRICT)
        self.translator = Translator(TranslateOptions(host_ownership=mode))
        self.looks = 0
        self.owners: _Owners = {}

    def look(self, ingresses: dict[ObjectKey, Ingress], published: tuple[ConfigMap, ...]) -> None:
        self.looks += 1
        snapshot = Snapshot.of([ingress_class(), *ingresses.values(), *published], revision=self.looks)
        now = EPOCH + timedelta(seconds=self.looks)
        translation = self.translator.translate(self.keeper.add_to(snapshot), now=now)
        self.keeper.learn(translation.claims)
        self.keeper.announce()
        before, self.owners = self.owners, _owners(translation.graph.virtual_hosts)
        for host, owner in before.items():
            if self._claims(ingresses, host, owner) and published == ():
                assert self.owners.get(host) == owner, host

    @staticmethod
    def _claims(ingresses: dict[ObjectKey, Ingress], host: str, owner: str) -> bool:
        return any(
            item.metadata.namespace == owner and any((rule.host or "*") == host for rule in item.spec.rules)
            for item in ingresses.values()
        )


def _owners(hosts: tuple[VirtualHost, ...]) -> _Owners:
    return {host.host: host.owner for host in hosts if host.owner is not None}


def _publish(leader: _Replica) -> tuple[ConfigMap, ...]:
    return tuple(
        ConfigMap(
            metadata=ObjectMeta(name=name, namespace=_KEY.namespace, labels={RECORD_LABEL: _KEY.name}),
            data={RECORD_KEY: text},
        )
        for name, text in write_record(leader.keeper.claims, _KEY).items()
    )


@given(st.lists(_steps, min_size=1, max_size=12), st.booleans(), _modes)
def test_replicas_agree_when_the_leader_has_written(
    steps: list[_Step], takes_over: bool, mode: HostOwnership
) -> None:
    replicas = [_Replica(mode) for _ in range(3)]
    leader = replicas[0]
    leader.keeper.lead(NO_CLAIMS)
    ingresses: dict[ObjectKey, Ingress] = {}
    published: tuple[ConfigMap, ...] = ()
    for what, item, lookers in steps:
        ingresses.pop(item.key, None)
        if what == "apply":
            ingresses[item.key] = item
        for number in sorted(lookers):
            replicas[number].look(ingresses, published)
        if 0 in lookers:
            published = _publish(leader)
    if takes_over:  # somebody else leads from now on, with what was written last
        leader.keeper.follow()
        leader = replicas[1]
        leader.keeper.lead(replicas[0].keeper.claims)
    leader.look(ingresses, published)
    published = _publish(leader)

    for replica in replicas:
        replica.look(ingresses, published)
    assert [replica.owners for replica in replicas] == [leader.owners] * 3


@given(st.lists(_steps, min_size=1, max_size=12), _modes)
def test_one_replica_never_moves_a_host_that_is_still_claimed(steps: list[_Step], mode: HostOwnership) -> None:
    replica = _Replica(mode)
    ingresses: dict[ObjectKey, Ingress] = {}
    for what, item, _ in steps:
        ingresses.pop(item.key, None)
        if what == "apply":
            ingresses[item.key] = item
        replica.look(ingresses, ())
