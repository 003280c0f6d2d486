"""A namespace keeps a host while it claims it: the record of claims is an input, and a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from ingresskit.diagnostics import Diagnostic, Reason
from ingresskit.errors import DecodeError, ProblemCause
from ingresskit.models import (
    NO_CLAIMS,
    HostClaim,
    HostClaims,
    Ingress,
    IngressClass,
    KubeObject,
    Namespace,
    ObjectKey,
    ObjectMeta,
    Snapshot,
)
from ingresskit.testing import EPOCH, endpoint_slice, ingress, ingress_class, service, tls_secret
from ingresskit.translate import (
    Budgets,
    HostOwnership,
    LabelSelector,
    Scope,
    TranslateOptions,
    Translation,
    Translator,
    translate,
)

_WORLD: list[KubeObject] = [
    ingress_class(),
    *(service("web", namespace=namespace) for namespace in ("victim", "evil")),
    *(endpoint_slice("web", "10.0.0.1", namespace=namespace) for namespace in ("victim", "evil")),
]


class History:
    """Snapshots of one controller, which keeps the record from one to the next."""

    def __init__(self, options: TranslateOptions | None = None, record: HostClaims = NO_CLAIMS) -> None:
        self.options = options or TranslateOptions()
        self.translator = Translator(self.options)
        self.record = record
        self.now = EPOCH + timedelta(days=1)

    def step(
        self,
        *objects: KubeObject,
        world: Sequence[KubeObject] = _WORLD,
        problems: Sequence[DecodeError] = (),
    ) -> Translation:
        made = Snapshot.of([*world, *objects], claims=self.record, problems=problems)
        found = self.translator.translate(made, now=self.now)
        assert found == translate(made, self.options, now=self.now), "pure: a past changes nothing"
        assert translate(replace(made, claims=found.claims), self.options, now=self.now).claims == found.claims
        self.record = found.claims
        self.now += timedelta(seconds=10)
        return found


def _web(
    namespace: str,
    *hosts: str,
    name: str = "web",
    created: int | None = 0,
    tls: Mapping[str, Sequence[str]] | None = None,
) -> Ingress:
    return ingress(
        name,
        {host: {"/": "web"} for host in hosts},
        namespace=namespace,
        created=created,
        tls=tls,
    )


def _owners(translation: Translation) -> dict[str, str | None]:
    return {host.host: host.owner for host in translation.graph.virtual_hosts}


def _told(translation: Translation) -> list[tuple[Reason, str]]:
    return [(item.reason, item.namespace) for item in translation.diagnostics]


def _one(translation: Translation, reason: Reason) -> Diagnostic:
    (found,) = [item for item in translation.diagnostics if item.reason is reason]
    return found


def test_editing_an_older_ingress_takes_no_host() -> None:
    shop = _web("victim", "shop.test", created=5, tls={"tls": ["shop.test"]})
    certificate = tls_secret("shop.test", namespace="victim")
    history = History()
    history.step(_web("evil", "blog.test"), shop, certificate)
    edited = history.step(_web("evil", "blog.test", "shop.test", tls={"tls": ["shop.test"]}), shop, certificate)

    assert _owners(edited) == {"blog.test": "evil", "shop.test": "victim"}
    assert {namespace for _, namespace in _told(edited)} == {"evil"}
    assert _one(edited, Reason.HOST_CONFLICT).message == (
        "host shop.test is owned by namespace victim (oldest claim: Ingress victim/web)"
    )
    served = edited.graph.certificate_for("shop.test")
    assert served is not None
    assert served.secret.namespace == "victim"


def test_without_a_record_the_oldest_claim_decides() -> None:
    found = translate(
        Snapshot.of([*_WORLD, _web("evil", "a.test", created=0), _web("victim", "a.test", created=1)])
    )

    assert _owners(found) == {"a.test": "evil"}
    assert found.claims.by_host == {"a.test": HostClaim(namespace="evil")}


@pytest.mark.parametrize("created", [0, None], ids=["in the same second", "without a time"])
def test_equal_ages_go_by_namespace_and_then_the_record_keeps(created: int | None) -> None:
    history = History()
    history.step(_web("victim", "a.test", created=created))
    second = history.step(_web("victim", "a.test", created=created), _web("evil", "a.test", created=created))

    assert _owners(second) == {"a.test": "victim"}
    assert _owners(History().step(_web("victim", "a.test", created=created), _web("evil", "a.test"))) == {
        "a.test": "evil"
    }


def test_a_host_is_released_with_its_last_claim_and_claimed_in_the_same_snapshot() -> None:
    history = History()
    first, second = _web("victim", "a.test", created=5), _web("victim", "a.test", name="two", created=6)
    waiting = _web("evil", "a.test", created=0)
    history.step(first, second)

    assert _owners(history.step(second, waiting)) == {"a.test": "victim"}
    assert _owners(history.step(waiting)) == {"a.test": "evil"}
    assert _owners(history.step(first, waiting)) == {"a.test": "evil"}


def test_an_ingress_made_anew_between_two_snapshots_keeps_its_host() -> None:
    history = History()
    history.step(_web("victim", "a.test", created=3))
    found = history.step(_web("victim", "a.test", created=99), _web("evil", "a.test", created=0))

    assert _owners(found) == {"a.test": "victim"}


def test_claims_are_stamped_once() -> None:
    history = History()
    begun = history.now
    history.step(_web("victim", "a.test"))
    record = history.record
    history.step(_web("victim", "a.test"), _web("victim", "b.test", name="b"))

    assert record.by_host == {"a.test": HostClaim(namespace="victim", since=begun)}
    assert history.record.by_host["a.test"] is record.by_host["a.test"]
    assert history.record.by_host["b.test"].since == begun + timedelta(seconds=10)


def test_a_record_that_does_not_change_is_the_same_object() -> None:
    history = History()
    history.step(_web("victim", "a.test"), _web("evil", "*.a.test"))
    record = history.record
    history.step(_web("victim", "a.test"), _web("evil", "*.a.test"))

    assert history.record is record


def test_the_grace_keeps_a_host_for_its_time_only() -> None:
    history = History(TranslateOptions(host_claim_grace=timedelta(seconds=15)))
    mine, theirs = _web("victim", "a.test", created=5), _web("evil", "a.test", created=0)
    history.step(mine, theirs, _web("evil", "b.test", name="b"))
    history.record = HostClaims(by_host={"a.test": HostClaim(namespace="victim", since=EPOCH)})
    history.step(mine, theirs)
    during = history.step(theirs)
    released = history.record.by_host["a.test"]

    assert _owners(during) == {}
    assert "none of its claims is served now" in _one(during, Reason.HOST_CONFLICT).message
    assert released.released is not None
    assert during.due == released.released + timedelta(seconds=15)
    assert _owners(history.step(mine, theirs)) == {"a.test": "victim"}
    assert history.record.by_host["a.test"] == HostClaim(namespace="victim", since=EPOCH)
    history.step(theirs)
    history.now += timedelta(seconds=5)
    assert _owners(history.step(theirs)) == {"a.test": "evil"}


def test_a_class_that_is_gone_for_a_moment_costs_no_host() -> None:
    history = History()
    mine, theirs = _web("victim", "a.test", created=5), _web("evil", "a.test", created=0)
    history.record = HostClaims(by_host={"a.test": HostClaim(namespace="victim")})
    without = [item for item in _WORLD if not isinstance(item, IngressClass)]
    history.step(mine, theirs, world=without)

    assert _owners(history.step(mine, theirs)) == {"a.test": "victim"}


def test_an_ingress_that_goes_to_another_class_releases_its_host() -> None:
    history = History()
    other = ingress_class("other", controller="example.com/other")
    mine, theirs = _web("victim", "a.test", created=5), _web("evil", "a.test", created=0)
    history.record = HostClaims(by_host={"a.test": HostClaim(namespace="victim")})
    moved = replace(mine, spec=replace(mine.spec, ingress_class_name="other"))

    assert _owners(history.step(moved, theirs, other)) == {"a.test": "evil"}


@pytest.mark.parametrize(
    "budgets",
    [Budgets(hosts_per_namespace=2), Budgets(ingresses_per_namespace=1), Budgets(hosts_per_ingress=1)],
    ids=["hosts of the namespace", "ingresses of the namespace", "hosts of the ingress"],
)
def test_a_budget_that_is_exceeded_costs_no_host_that_is_held(budgets: Budgets) -> None:
    history = History(TranslateOptions(budgets=budgets))
    history.record = HostClaims(by_host={"a.test": HostClaim(namespace="victim")})
    more = _web("victim", "b.test", "c.test", name="more", created=1)
    mine = _web("victim", "d.test", "a.test", created=5)
    theirs = _web("evil", "a.test", created=0)

    assert "a.test" not in _owners(history.step(more, mine, theirs))
    assert history.record.by_host["a.test"].namespace == "victim"
    assert _owners(history.step(_web("victim", "a.test", created=5), theirs)) == {"a.test": "victim"}


def test_a_namespace_whose_ingress_cannot_be_read_keeps_its_hosts() -> None:
    history = History(record=HostClaims(by_host={"a.test": HostClaim(namespace="victim")}))
    broken = DecodeError(kind="Ingress", namespace="victim", name="web", field="spec", reason="must be a map")
    theirs = _web("evil", "a.test", created=0)

    assert _owners(history.step(theirs, problems=(broken,))) == {}
    refused = DecodeError(
        kind="Ingress",
        namespace="victim",
        name="*",
        field="",
        reason="its status cannot be written",
        cause=ProblemCause.WRITE_REFUSED,
    )
    assert _owners(history.step(theirs, problems=(refused,))) == {"a.test": "evil"}


def test_namespaces_that_cannot_be_read_cost_no_host_where_their_labels_are_asked_for() -> None:
    scope = Scope(namespace_selector=LabelSelector.parse("team=shop"))
    record = HostClaims(by_host={"a.test": HostClaim(namespace="victim")})
    labelled = [
        Namespace(metadata=ObjectMeta(name=name, labels={"team": "shop"})) for name in ("victim", "evil")
    ]
    refused = DecodeError(
        kind="Namespace",
        namespace="",
        name="*",
        field="",
        reason="the right is missing",
        cause=ProblemCause.RIGHT_MISSING,
    )
    mine, theirs = _web("victim", "a.test", created=5), _web("evil", "a.test", created=0)
    history = History(TranslateOptions(scope=scope), record)

    assert _owners(history.step(mine, theirs, problems=(refused,))) == {}
    assert _owners(history.step(mine, theirs, *labelled)) == {"a.test": "victim"}
    by_default = History(record=record)
    assert _owners(by_default.step(theirs, problems=(refused,))) == {"a.test": "evil"}


@pytest.mark.parametrize(
    ("recorded", "young", "keeps"),
    [
        ({}, 9, "victim"),
        ({}, 0, "evil"),
        ({"*.a.test": "victim"}, 0, "victim"),
        ({"*.a.test": "victim", "www.a.test": "evil"}, 9, "evil"),
        ({"www.a.test": "evil"}, 9, "evil"),
    ],
    ids=["both new", "both new and the name older", "wildcard held", "both held", "name held"],
)
def test_a_name_below_a_wildcard_goes_to_whoever_claimed_first(
    recorded: Mapping[str, str], young: int, keeps: str
) -> None:
    record = HostClaims(by_host={host: HostClaim(namespace=who) for host, who in recorded.items()})
    wild, name = _web("victim", "*.a.test", created=5), _web("evil", "www.a.test", created=young)
    found = History(record=record).step(wild, name)
    route = found.graph.resolve("www.a.test", "/")

    assert route is not None
    assert route.origin.subject.key.namespace == keeps
    assert (Reason.HOST_OVERLAP, "victim") in _told(found)
    assert ((Reason.HOST_CONFLICT if keeps == "victim" else Reason.HOST_OVERLAP), "evil") in _told(found)


def test_a_name_that_waits_below_a_wildcard_gets_what_is_released() -> None:
    history = History()
    wild, name = _web("victim", "*.a.test", created=0), _web("evil", "www.a.test", created=9)

    assert _owners(history.step(wild, name)) == {"*.a.test": "victim"}
    assert _owners(history.step(name)) == {"www.a.test": "evil"}
    again = history.step(wild, name)
    assert _owners(again) == {"www.a.test": "evil", "*.a.test": "victim"}


def test_the_holder_of_a_wildcard_is_told_once_of_many_names() -> None:
    names = [f"n{number}.a.test" for number in range(30)]
    found = History().step(_web("victim", "*.a.test", created=0), _web("evil", *names, created=9))
    told = [item for item in found.diagnostics if item.namespace == "victim"]

    assert len(told) == 1
    assert told[0].message == (
        "namespace evil claims host n0.a.test below it (Ingress evil/web) and does not get it;"
        " the same holds for 29 more names"
    )


def test_exact_ownership_keeps_the_record_too() -> None:
    options = TranslateOptions(host_ownership=HostOwnership.EXACT)
    history = History(options)
    history.step(_web("victim", "a.test", created=5))

    assert _owners(history.step(_web("victim", "a.test", created=5), _web("evil", "a.test"))) == {
        "a.test": "victim"
    }


def test_shared_hosts_are_in_no_record() -> None:
    history = History(TranslateOptions(host_ownership=HostOwnership.SHARED))
    history.step(_web("victim", "a.test"), _web("evil", "a.test"))

    assert len(history.record) == 0


def test_the_catch_all_is_held_like_any_host() -> None:
    history = History()
    mine = ingress("all", default="web", namespace="victim", created=5)
    history.step(mine)
    found = history.step(mine, ingress("all", default="web", namespace="evil", created=0))
    route = found.graph.resolve("any.test", "/")

    assert route is not None
    assert route.origin.subject.key == ObjectKey("victim", "all")
    assert _one(found, Reason.HOST_CONFLICT).message.startswith("every other host is owned by namespace victim")
