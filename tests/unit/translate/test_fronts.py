"""A second API beside Ingress: its claims compete with those of Ingresses by the same rules."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from ingresskit.diagnostics import Diagnostic, Reason
from ingresskit.graph import Forward, PathMatch
from ingresskit.models import (
    ConfigMap,
    KubeObject,
    ObjectKey,
    ObjectMeta,
    ObjectRef,
    Snapshot,
    SnapshotChanges,
    age_order,
)
from ingresskit.policies import Origin
from ingresskit.testing import EPOCH, endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import Budgets, HostOwnership, TranslateOptions, Translation, Translator
from ingresskit.translate.claims import Claim, Claimant, ServiceRef, TlsClaim
from ingresskit.translate.fronts import default_fronts


class ConfigMapFront:
    """Reads every ConfigMap as routes: each key is a host, its value a Service that takes every path."""

    kinds: tuple[type[KubeObject], ...] = (ConfigMap,)
    claim_kinds: frozenset[str] = frozenset({ConfigMap.kind})
    diagnostics: tuple[Diagnostic, ...] = ()

    def __init__(self) -> None:
        self.claimants: dict[ObjectRef, Claimant] = {}

    def advance(self, snapshot: Snapshot, changes: SnapshotChanges) -> Collection[ObjectRef]:
        for key in changes.of(ConfigMap):
            self.claimants.pop(ObjectRef(ConfigMap.kind, key), None)
            if (item := snapshot.get(ConfigMap, key)) is not None:
                self.claimants[item.ref] = self._claimant(item)
        return [ObjectRef(ConfigMap.kind, key) for key in changes.of(ConfigMap)]

    def _claimant(self, item: ConfigMap) -> Claimant:
        hosts = {host: Origin(item.ref, f"data[{host}]") for host in item.data}
        return Claimant(
            ref=item.ref,
            age=age_order(item),
            hosts=hosts,
            claims=tuple(
                Claim(
                    host=host,
                    match=PathMatch.prefix("/"),
                    backend=ServiceRef(service=ObjectKey(item.metadata.namespace, to), port=80),
                    origin=hosts[host],
                )
                for host, to in item.data.items()
            ),
            tls=tuple(
                TlsClaim(hosts=(host,), fields=(origin.field,), secret=None, origin=origin)
                for host, origin in hosts.items()
            ),
        )


def _routes(name: str, data: dict[str, str], *, namespace: str = "default", created: int = 0) -> ConfigMap:
    meta = ObjectMeta(name=name, namespace=namespace, creation_timestamp=EPOCH + timedelta(days=created))
    return ConfigMap(metadata=meta, data=data)


def _translate(*objects: KubeObject, options: TranslateOptions | None = None) -> Translation:
    options = options or TranslateOptions()
    cluster: list[KubeObject] = [ingress_class(), *objects]
    for namespace in ("default", "other"):
        for name in ("one", "two"):
            cluster += [
                service(name, namespace=namespace),
                endpoint_slice(name, "10.0.0.1", namespace=namespace),
            ]
    translator = Translator(options, fronts=lambda given: (*default_fronts(given), ConfigMapFront()))
    return translator.translate(Snapshot.of(cluster), now=EPOCH)


def _services(translation: Translation, host: str) -> list[str]:
    found = translation.graph.virtual_host(host)
    assert found is not None
    return [
        share.key.service
        for route in found.routes
        if isinstance(route.action, Forward)
        for share in route.action.backends
    ]


def test_the_older_object_keeps_the_path_whichever_api_it_belongs_to() -> None:
    options = TranslateOptions(host_ownership=HostOwnership.SHARED)
    older, younger = _routes("x", {"a.test": "two"}), _routes("x", {"a.test": "two"}, created=2)
    web = ingress("web", {"a.test": {"/": "one"}}, created=1)

    after_ingress = _translate(web, younger, options=options)
    before_ingress = _translate(web, older, options=options)

    assert _services(after_ingress, "a.test") == ["one"]
    assert _services(before_ingress, "a.test") == ["two"]
    (lost,) = before_ingress.diagnostics
    assert (lost.reason, str(lost.subject)) == (Reason.ROUTE_CONFLICT, "Ingress default/web")
    assert "is held by the older ConfigMap default/x, data[a.test]" in lost.message


def test_an_object_of_another_api_holds_a_host_against_the_ingress_of_another_namespace() -> None:
    translation = _translate(
        _routes("x", {"a.test": "two"}, namespace="other"),
        ingress("web", {"a.test": {"/shop": "one"}}, created=1, tls={"": ["a.test"]}),
    )

    assert _services(translation, "a.test") == ["two"]
    assert translation.claims.by_host["a.test"].namespace == "other"
    assert {item.reason for item in translation.diagnostics} == {
        Reason.HOST_CONFLICT,
        Reason.CERTIFICATE_CONFLICT,
        Reason.TLS_HOST_WITHOUT_RULE,
    }
    assert {str(item.subject) for item in translation.diagnostics} == {"Ingress default/web"}


def test_objects_of_two_apis_in_one_namespace_share_its_hosts() -> None:
    translation = _translate(
        _routes("x", {"a.test": "two"}), ingress("web", {"a.test": {"/shop": "one"}}, created=1)
    )

    assert _services(translation, "a.test") == ["one", "two"]
    assert not translation.diagnostics


def test_objects_of_all_apis_count_towards_the_budget_of_their_namespace() -> None:
    options = TranslateOptions(budgets=Budgets(hosts_per_namespace=1))
    translation = _translate(
        _routes("x", {"a.test": "two"}), ingress("web", {"b.test": {"/": "one"}}, created=1), options=options
    )

    assert [host.host for host in translation.graph.virtual_hosts] == ["a.test"]
    assert [(item.reason, str(item.subject)) for item in translation.diagnostics] == [
        (Reason.BUDGET_EXCEEDED, "Ingress default/web")
    ]
