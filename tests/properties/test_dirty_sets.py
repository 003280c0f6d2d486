"""A translator that visits only what changes touch, held to a translation from scratch over long histories."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from ingresskit.errors import DecodeError
from ingresskit.graph import Protocol, RouteGraph, diff, to_json
from ingresskit.models import (
    NO_CLAIMS,
    HostClaims,
    Ingress,
    KubeObject,
    Namespace,
    ObjectKey,
    ObjectMeta,
    Snapshot,
)
from ingresskit.policies import (
    AllowedSources,
    IngressNginxDialect,
    KubernetesDialect,
    NativeDialect,
    PolicyRegistry,
)
from ingresskit.render import Renderer
from ingresskit.render.delegate import DelegatingRenderer
from ingresskit.render.haproxy import HaproxyRenderer
from ingresskit.render.inprocess import InProcessRenderer
from ingresskit.render.nginx import Capabilities, Mode, NginxArtifact, NginxRenderer, NginxSettings
from ingresskit.sources import SnapshotStore
from ingresskit.testing import EPOCH, endpoint_slice, ingress, ingress_class, service, tls_secret
from ingresskit.translate import (
    Budgets,
    DefaultBackend,
    HostOwnership,
    LabelSelector,
    Scope,
    TranslateOptions,
    Translation,
    Translator,
    translate,
)

_NAMESPACES = ("alpha", "beta", "gamma")
_HOSTS = ("a.test", "b.test", "www.a.test", "x.a.test", "*.a.test", "*.test", "test", "")
_PATHS = ("/", "/a", "=/a", "/a/b")
_SERVICES = ("one", "two", "gone")
_SECRETS: Mapping[str, tuple[str, ...]] = {
    "exact": ("a.test", "www.a.test"),
    "wild": ("*.a.test", "*.test"),
    "other": ("b.test",),
}
_OPTIONS: Sequence[TranslateOptions] = (
    TranslateOptions(),
    TranslateOptions(host_ownership=HostOwnership.EXACT, host_claim_grace=timedelta(seconds=25)),
    TranslateOptions(host_ownership=HostOwnership.SHARED, host_fallthrough=True),
    TranslateOptions(budgets=Budgets(hosts_per_namespace=3, ingresses_per_namespace=3)),
    TranslateOptions(
        host_claim_grace=timedelta(seconds=25), budgets=Budgets(hosts_per_ingress=1, hosts_per_namespace=2)
    ),
    TranslateOptions(guard_wide_hosts=True, default_certificate=ObjectKey("alpha", "exact")),
    TranslateOptions(require_namespace_hosts=True, watch_ingress_without_class=True),
    TranslateOptions(
        scope=Scope(namespace_selector=LabelSelector.parse("team=web")),
        default_backend=DefaultBackend(ObjectKey("alpha", "one")),
        host_claim_grace=timedelta(seconds=25),
    ),
    # Patterns and variants, whose hosts a delegate may get whole.
    TranslateOptions(
        policies=PolicyRegistry((NativeDialect(), IngressNginxDialect(), KubernetesDialect())),
        host_ownership=HostOwnership.SHARED,
    ),
)


class _Lacking(InProcessRenderer):
    """Has a loss now and then: no allowed sources, and no endpoints by TLS."""

    supports = InProcessRenderer.supports - {AllowedSources}
    protocols = frozenset({Protocol.H2C})

    def __init__(self) -> None:
        super().__init__()
        self.handlers = self.handlers.only(self.supports)


def _nginx(mode: Mode) -> Renderer[Any]:
    settings = NginxSettings(state="/run/ik", https=("0.0.0.0:8443",))
    return NginxRenderer(settings, Capabilities(lua=True), mode=mode)


_PROGRAMS: Mapping[str, Callable[[], Renderer[Any]]] = {
    "haproxy": HaproxyRenderer,
    "nginx-dynamic": lambda: _nginx(Mode.DYNAMIC),
    "nginx-static": lambda: _nginx(Mode.STATIC),
    "delegating-haproxy": lambda: DelegatingRenderer(HaproxyRenderer(), "/run/ik/delegate"),
    "delegating-nginx-static": lambda: DelegatingRenderer(_nginx(Mode.STATIC), "/run/ik/delegate"),
}


def _rendered(renderer: Renderer[Any], graph: RouteGraph) -> tuple[object, ...]:
    """All that can be seen of an artifact and of what it lacks, the order of hosts and files with it."""
    restricted = renderer.restrict(graph)
    artifact = renderer.render(restricted.graph)
    ordered = list(artifact.config_files()) if isinstance(artifact, NginxArtifact) else None
    return artifact, ordered, restricted.diagnostics


class _World:
    """Changes a cluster at random, a few objects at a time."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
        self.other = random.Random(seed)  # noqa: S311 - for what was added later: histories stay what they were
        self.store = SnapshotStore()
        self.store.replace([ingress_class(), *(self._namespace(name) for name in _NAMESPACES)])
        self.problems: tuple[DecodeError, ...] = ()

    def change(self) -> None:
        count = self.chance.choice((1, 1, 1, 2, 4))
        if self.chance.random() < 0.3:
            self.store.update(delete=[found for _ in range(count) if (found := self._held()) is not None])
        else:
            self.store.update(apply=[self._object() for _ in range(count)])
        if self.chance.random() < 0.1:
            name = self.chance.choice(_NAMESPACES)
            lost = DecodeError(kind="Ingress", namespace=name, name="lost", field="", reason="is broken")
            self.problems = self.chance.choice(((), (lost,)))

    def snapshot(self, record: HostClaims) -> Snapshot:
        return replace(self.store.snapshot() or Snapshot(), claims=record, problems=self.problems)

    def _held(self) -> tuple[type[KubeObject], ObjectKey] | None:
        snapshot = self.store.snapshot()
        held = [(kind, key) for kind, items in snapshot.objects.items() for key in items] if snapshot else []
        return self.chance.choice(sorted(held, key=str)) if held else None

    def _object(self) -> KubeObject:
        makers: Sequence[Callable[[], KubeObject]] = (
            *(self._ingress,) * 6,
            *(self._service,) * 2,
            *(self._slice,) * 2,
            *(self._secret,) * 2,
            self._class,
            lambda: self._namespace(self.chance.choice(_NAMESPACES)),
        )
        return self.chance.choice(makers)()

    def _ingress(self) -> Ingress:
        pick, chance = self.chance.choice, self.chance.random
        rules: dict[str, Mapping[str, str] | None] = {}
        for host in self.chance.sample(_HOSTS, k=pick((0, 1, 1, 2))):
            paths = self.chance.sample(_PATHS, k=pick((0, 1, 2)))
            rules[host] = {path: pick(_SERVICES) for path in paths} or None
        tls = {
            name: self.chance.sample([host for host in _HOSTS if host], k=pick((0, 1, 2)))
            for name in self.chance.sample([*_SECRETS, "none", ""], k=pick((0, 0, 1, 2)))
        }
        notes: dict[str, str] = {}
        if chance() < 0.2:
            notes = {"allow-sources": pick(("10.0.0.0/8", "nonsense"))}
        if chance() < 0.1:
            notes["traffic-split"] = "one=1, two=3"
        if self.other.random() < 0.2:
            notes["body-limit"] = self.other.choice(("1k", "2k"))
        if chance() < 0.1:
            notes["nginx.ingress.kubernetes.io/canary"] = "true"
        if self.other.random() < 0.4:
            notes["nginx.ingress.kubernetes.io/use-regex"] = "true"
        return ingress(
            pick(("i", "j", "k")),
            rules,
            namespace=pick(_NAMESPACES),
            created=pick((0, 1, 2, None)),
            ingress_class=pick(("ingresskit", "ingresskit", "ingresskit", "other", None)),
            default=pick((None, None, None, "two")),
            tls=tls,
            annotations=notes,
        )

    def _service(self) -> KubeObject:
        name, port = self.chance.choice(_SERVICES[:2]), self.chance.choice((80, 81))
        # What the delegate does not speak.
        protocol = "kubernetes.io/h2c" if self.other.random() < 0.1 else None
        return service(name, port, namespace=self._where(), app_protocol=protocol)

    def _slice(self) -> KubeObject:
        name = self.chance.choice(_SERVICES[:2])
        addresses = self.chance.sample(["10.0.0.1", "10.0.0.2", "127.0.0.1"], k=self.chance.choice((0, 1, 2)))
        number = self.chance.choice((1, 2))
        return endpoint_slice(name, *addresses, namespace=self._where(), name=f"s-{number}")

    def _secret(self) -> KubeObject:
        name = self.chance.choice(sorted(_SECRETS))
        salt, key = self.chance.choice(("", "new")), self.chance.choice((None, None, b"bad"))
        return tls_secret(*_SECRETS[name], name=name, namespace=self._where(), salt=salt, key=key)

    def _class(self) -> KubeObject:
        name = self.chance.choice(("ingresskit", "other"))
        controller = self.chance.choice(("ingresskit.dev/ingress-controller", "example.com/other"))
        return ingress_class(name, controller=controller, default=self.chance.random() < 0.3)

    def _namespace(self, name: str) -> KubeObject:
        hosts = self.chance.choice((None, None, "a.test", "*.a.test, b.test", "*"))
        notes = {} if hosts is None else {"ingresskit.dev/hosts": hosts}
        labels = self.chance.choice(({"team": "web"}, {"team": "web"}, {}))
        return Namespace(metadata=ObjectMeta(name=name, labels=labels, annotations=notes))

    def _where(self) -> str:
        return self.chance.choice(_NAMESPACES)


@pytest.mark.parametrize("options", _OPTIONS, ids=range(len(_OPTIONS)))
@pytest.mark.parametrize("seed", range(2))
def test_a_long_history_ends_where_a_translation_from_scratch_does(
    options: TranslateOptions, seed: int
) -> None:
    world, translator = _World(seed), Translator(options, retain=False)
    record, now = NO_CLAIMS, EPOCH
    last: RouteGraph | None = None
    renderer, narrowed = _Lacking(), None
    programs = {name: make() for name, make in _PROGRAMS.items()}
    for step in range(60):
        world.change()
        now += timedelta(seconds=10)
        if world.chance.random() < 0.2:
            continue  # the controller was busy: it never sees this snapshot
        snapshot = world.snapshot(record)
        found, fresh = translator.translate(snapshot, now=now), _from_scratch(snapshot, options, now)

        assert to_json(found.graph) == to_json(fresh.graph), step
        assert found.graph == fresh.graph, step
        assert list(found.graph.backends) == list(fresh.graph.backends)
        assert list(found.graph.server_names) == list(fresh.graph.server_names)
        assert [str(item) for item in found.diagnostics] == [str(item) for item in fresh.diagnostics], step
        assert found.diagnostics == fresh.diagnostics, step
        assert found.claims == fresh.claims, step
        assert found.due == fresh.due, step
        assert list(found.not_ours.items()) == list(fresh.not_ours.items())
        if last is not None:
            assert diff(last, found.graph) == diff(last, fresh.graph), step
        last = found.graph
        restricted, whole = renderer.restrict(found.graph), _Lacking().restrict(fresh.graph)
        assert restricted == whole, step
        assert renderer.render(restricted.graph) == _Lacking().render(whole.graph), step
        for name, program in programs.items():
            kept, scratch = _rendered(program, found.graph), _rendered(_PROGRAMS[name](), fresh.graph)
            assert kept == scratch, (step, name)
        if narrowed is not None:
            assert diff(narrowed, restricted.graph) == diff(narrowed, whole.graph), step
        narrowed = restricted.graph
        if world.chance.random() < 0.9:  # else the record is that of another replica
            record = found.claims


def _from_scratch(snapshot: Snapshot, options: TranslateOptions, now: datetime) -> Translation:
    """Of a snapshot without a history, its objects in another order."""
    objects = {kind: dict(reversed(list(items.items()))) for kind, items in snapshot.objects.items()}
    return translate(replace(snapshot, objects=objects, history=None), options, now=now)
