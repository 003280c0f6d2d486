"""A cluster as the source: informers of every kind that is needed, and snapshots of what they know."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NoReturn, TypeVar, cast

import anyio
from anyio.abc import TaskGroup

from ingresskit.cache import SharedInformer, SharedInformerFactory
from ingresskit.errors import ConfigurationError, DecodeError
from ingresskit.facts import fact_logger
from ingresskit.kube import Transport
from ingresskit.models import (
    ConfigMap,
    Endpoints,
    EndpointSlice,
    Ingress,
    IngressClass,
    KubeObject,
    Namespace,
    ObjectKey,
    Secret,
    Service,
    Snapshot,
)
from ingresskit.models.history import History
from ingresskit.sources.cluster_kind import KindCache, changed_keys
from ingresskit.sources.cluster_secrets import (
    MOST_NAMED,
    MOST_NAMED_OF_ONE_NAMESPACE,
    choose,
    only_certificate,
)
from ingresskit.sources.cluster_settings import ClusterSettings, ClusterStatistics
from ingresskit.translate import ReferencedObjects, TranslateOptions, named_secrets

__all__ = ["ClusterSource"]

_logger = fact_logger(__name__)

K = TypeVar("K", bound=KubeObject)

_TLS_ONLY = "type=kubernetes.io/tls"
_RECORD_OF = "ingresskit.dev/host-claims"
_SLICES_OF = "kubernetes.io/service-name"
_NAMED_EFFECT = "annotations that name one are reported, and close routes that they protect"
_SETTINGS_EFFECT = "the settings of the dialect have their defaults"
# How long, in seconds, a snapshot waits for Secrets that have just been named.
_NAMED_WAIT = 0.5


class ClusterSource:
    """Follows Ingresses and what they need, and makes a snapshot whenever something changed.

    The first snapshot is made when every kind has been read once, or is known not to be for now: without
    Ingresses and Services there is none, everything else is gone without (see "Rights" in the
    documentation), reported in `Snapshot.problems`, and asked for again all the time. An object that
    cannot be read costs itself only, and stays in its last readable form. While the API server is away,
    what was known stays.

    Of Secrets those of type ``kubernetes.io/tls`` are followed, and by name those of other types that
    ``spec.tls`` of an Ingress of ours names (20 of a namespace and 200 in all at the most), and those somebody
    asked for by `want`. What annotations name (`ingresskit.policies.Dialect.kinds`) is followed by name too,
    with the same bounds, and the ConfigMaps with the settings of dialects.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        namespaces: Collection[str] = (),
        fallback_namespaces: Sequence[str] = (),
        namespace_labels: bool = False,
        require_namespaces: bool = False,
        assumed_classes: Sequence[IngressClass] = (),
        options: TranslateOptions | None = None,
        host_claims: ObjectKey | None = None,
        settings: ClusterSettings | None = None,
    ) -> None:
        """Ask nothing yet.

        Args:
            transport: To which cluster.
            namespaces: Only these, by requests for each that rights in the namespace are enough for; empty
                for all. IngressClasses and Namespaces live in none and are asked for all the same.
            fallback_namespaces: Follow these where all namespaces are forbidden, and say so.
            namespace_labels: Whether Namespaces are followed too: a selector asks for their labels, or
                administrators list hosts in their annotations.
            require_namespaces: Follow them, and deliver nothing before they could be read once.
            assumed_classes: IngressClasses to assume until they have been read once, because the right
                or the kind is missing.
            options: Those of the controller: they say which Ingresses are ours.
            host_claims: The namespace and name of the record of host claims, whose ConfigMaps are followed;
                ``None``: there is none.
            settings: How to follow; the defaults when ``None``.

        Raises:
            ConfigurationError: Both *namespaces* and *fallback_namespaces* are given.
        """
        if namespaces and fallback_namespaces:
            raise ConfigurationError("who follows only some namespaces has none to fall back to")
        self._settings = settings or ClusterSettings()
        self._options = options or TranslateOptions()
        self._namespaces = tuple(sorted(set(namespaces)))
        self._factory = SharedInformerFactory(
            transport,
            namespaces=self._namespaces,
            fallback_namespaces=fallback_namespaces,
            settings=self._settings.reflector,
            page_size=self._settings.page_size,
            watch_list=self._settings.watch_list,
        )
        self._caches: dict[type[KubeObject], KindCache[KubeObject]] = {}
        self._group: TaskGroup | None = None
        self._started = False
        self._wake = anyio.Event()
        self._snapshot: Snapshot | None = None
        self._histories: dict[type[KubeObject], History] = {}
        self._changed = anyio.Event()
        self._checks: list[Callable[[], Iterable[DecodeError]]] = []
        self._looked_at: tuple[object, ...] = ()  # by `_follow_named_secrets`, by identity
        self._named: frozenset[ObjectKey] = frozenset()
        self._left_out: tuple[ObjectKey, ...] = ()
        self._unfollowed: dict[type[KubeObject], tuple[ObjectKey, ...]] = {}  # of what annotations name
        self._follow(Ingress, required=True)
        self._follow(Service, required=True)
        self._follow(EndpointSlice)
        self._follow(IngressClass, stand_in={item.key: item for item in assumed_classes})
        self._follow(Secret, field_selector=_TLS_ONLY)
        if namespace_labels or require_namespaces:
            self._follow(Namespace, required=require_namespaces)
        if host_claims is not None:
            self._follow_record(host_claims)
        self._references = ReferencedObjects(self._options)
        self._referenced: dict[type[KubeObject], frozenset[ObjectKey]] = {}
        self._read_for: tuple[object, ...] = ()  # by `_follow_references`, by identity
        for key in sorted(self._options.policies.settings):
            # Followed from the beginning, so that the first snapshot has it.
            self._want(ConfigMap, key, effect=_SETTINGS_EFFECT)

    def want(self, kind: type[KubeObject], key: ObjectKey) -> None:
        """Follow this one object too, if it is not followed anyhow. Needs rights for that name only.

        Args:
            kind: Any kind; of `EndpointSlice` all slices of the Service *key* are followed.
            key: The object. It need not exist.
        """
        self._want(kind, key)

    def _want(
        self,
        kind: type[K],
        key: ObjectKey,
        *,
        transform: Callable[[K], K] | None = None,
        effect: str = "",
    ) -> SharedInformer[K] | None:
        """Follow this one; ``None`` if it is followed already."""
        covered = not self._namespaces or key.namespace in self._namespaces
        cache = self._caches.get(kind)
        if kind is not Secret and covered and cache is not None and cache.main is not None:
            return None
        if cache is None:
            cache = self._caches[kind] = cast("KindCache[KubeObject]", KindCache(kind, None))
        if cache.has(str(key)):
            return None
        slices = kind is EndpointSlice
        informer = self._factory.for_resource(
            kind,
            namespaces=[key.namespace] if key.namespace else [],
            label_selector=f"{_SLICES_OF}={key.name}" if slices else "",
            field_selector="" if slices else f"metadata.name={key.name}",
            transform=transform,
        )
        cache.add(str(key), cast("SharedInformer[KubeObject]", informer), effect=effect)
        self._attend(informer)
        return informer

    def include_problems(self, check: Callable[[], Iterable[DecodeError]]) -> None:
        """Report what *check* gives in `Snapshot.problems` too, for as long as it gives it.

        For what others have to do with the same cluster, such as a status that may not be written.

        Args:
            check: Asked about once a second (`ClusterSettings.look_again`), on the event loop of `run`. It
                must not wait.
        """
        self._checks.append(check)

    def forget(self, kind: type[KubeObject], key: ObjectKey) -> None:
        """Take back a `want`. Does nothing for what was not wanted."""
        cache = self._caches.get(kind)
        informer = cache.remove(str(key)) if cache is not None else None
        if informer is not None:
            self._factory.discard(informer)
            self._wake.set()

    def snapshot(self) -> Snapshot | None:
        """What is known now; ``None`` until everything that can be has been read once."""
        return self._snapshot

    async def wait_changed(self, revision: int) -> None:
        """Return once the snapshot's revision is above *revision*."""
        while self._snapshot is None or self._snapshot.revision <= revision:
            await self._changed.wait()

    def hindrance(self) -> str:
        """What the first snapshot still waits for, as a clause; empty once there is one."""
        if self._snapshot is not None:
            return ""
        waits = [found for cache in self._caches.values() if (found := cache.hindrance())]
        return f"waiting for the cluster ({'; '.join(waits)})" if waits else "the cluster is not followed yet"

    def silent(self) -> str:
        """Which open watches should have been given up, as a clause; empty when all is well.

        An API server that is away makes nothing silent: that is known, and tried again. To be asked on
        the event loop of `run`, by `ingresskit.controller.Health` for example.
        """
        limit = self._settings.silence_limit.total_seconds()
        kinds = [cache.model.kind for cache in self._caches.values() if cache.silence() > limit]
        return f"the watch of {', '.join(kinds)} has been silent for over {limit:g} s" if kinds else ""

    def statistics(self) -> ClusterStatistics:
        """How it goes, by kind. To be asked on the event loop of `run`."""
        caches = sorted(self._caches.values(), key=lambda cache: cache.model.kind)
        return ClusterStatistics(
            caches={cache.model.kind: cache.statistics() for cache in caches},
            snapshots=0 if self._snapshot is None else self._snapshot.revision,
        )

    async def run(self) -> NoReturn:
        """Follow the cluster until cancelled. Called once.

        An API server that is away, or refuses, is asked again for ever.

        Raises:
            ConfigurationError: It was called before.
        """
        if self._started:
            raise ConfigurationError("a cluster source runs once; build another one")
        self._started = True
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                await group.start(self._factory.run)
                for informer in self._factory.informers():
                    self._attend(informer)
                await self._publish_changes()
        finally:
            self._group = None
        raise AssertionError("publishing ends only when cancelled")  # pragma: no cover

    def _follow(
        self,
        kind: type[K],
        *,
        required: bool = False,
        field_selector: str = "",
        stand_in: Mapping[ObjectKey, K] | None = None,
    ) -> None:
        informer = self._factory.for_resource(kind, field_selector=field_selector)
        cache = KindCache(kind, informer, required=required, stand_in=stand_in)
        held = self._caches.get(kind)
        if held is not None:  # only what was wanted of it so far
            held.main = cast("SharedInformer[KubeObject]", informer)
        else:
            self._caches[kind] = cast("KindCache[KubeObject]", cache)
        self._attend(informer)

    def _follow_record(self, key: ObjectKey) -> None:
        informer = self._factory.for_resource(
            ConfigMap, namespaces=[key.namespace], label_selector=f"{_RECORD_OF}={key.name}"
        )
        cache = KindCache(ConfigMap, None)
        cache.add(str(key), informer)
        self._caches[ConfigMap] = cast("KindCache[KubeObject]", cache)

    def _attend(self, informer: SharedInformer[K]) -> None:
        """Wake up for what *informer* learns, from when the source runs."""
        if self._group is not None:
            self._group.start_soon(self._wake_when_settled, informer)
            self._group.start_soon(self._wake_on_changes, informer)

    async def _wake_when_settled(self, informer: SharedInformer[K]) -> None:
        await informer.wait_settled()
        self._wake.set()

    async def _wake_on_changes(self, informer: SharedInformer[K]) -> None:
        # Ends with the source, also for an informer that is forgotten: it wakes nobody any more.
        while True:
            await informer.store.wait_changed(informer.store.revision)
            self._wake.set()

    async def _publish_changes(self) -> NoReturn:
        settings = self._settings
        quiet, interval = settings.quiet.total_seconds(), settings.interval.total_seconds()
        credit, counted = float(settings.burst), anyio.current_time()
        while True:
            with anyio.move_on_after(settings.look_again.total_seconds()):
                await self._wake.wait()
                await anyio.sleep(quiet)
            self._wake = anyio.Event()
            self._fall_back_to_endpoints()
            await self._follow_references()
            await self._follow_named_secrets()
            if not self._publish():
                continue
            now = anyio.current_time()
            credit = min(settings.burst, credit + (now - counted) / interval) - 1
            counted = now
            if credit < 0:
                await anyio.sleep(-credit * interval)

    def _fall_back_to_endpoints(self) -> None:
        lacking = self._caches[EndpointSlice].lacking
        held = self._caches.get(Endpoints)
        if lacking and (held is None or held.main is None):
            _logger.warning("no EndpointSlices can be read, following Endpoints")
            self._follow(Endpoints)
        elif not lacking and held is not None and held.main is not None and self._caches[EndpointSlice].ready:
            _logger.info("EndpointSlices can be read, no longer following Endpoints")
            self._factory.discard(held.main)
            held.main = None
            if not held.informers:
                del self._caches[Endpoints]

    async def _follow_references(self) -> None:
        """Follow by name what the annotations of our Ingresses name; wait a moment for it."""
        wanted_kinds = self._options.policies.kinds
        read: tuple[type[KubeObject], ...] = (Ingress, IngressClass, Namespace, *wanted_kinds)
        caches = {kind: cache for kind in read if (cache := self._caches.get(kind)) is not None}
        if not wanted_kinds or not all(cache.ready for cache in caches.values()):
            return
        kinds = {kind: cache.objects() for kind, cache in caches.items()}
        looked_at = tuple(kinds.values())
        if len(looked_at) == len(self._read_for) and all(
            new is old for new, old in zip(looked_at, self._read_for, strict=True)
        ):
            return
        self._read_for = looked_at
        found = self._references.find(Snapshot(objects=kinds))
        made: list[SharedInformer[KubeObject]] = []
        for kind in wanted_kinds:
            named = found.get(kind, frozenset()) - self._options.policies.settings
            chosen, held = choose(named, kinds.get(kind, {}).keys()), self._referenced.get(kind, frozenset())
            self._unfollowed[kind] = tuple(sorted(named - chosen))
            for key in held - chosen:
                self.forget(kind, key)
            if kind is Secret:
                # Of these `_follow_named_secrets` keeps the certificate only.
                for key in self._named & chosen:
                    self.forget(kind, key)
                self._named -= chosen
            informers = {key: self._want(kind, key, effect=_NAMED_EFFECT) for key in chosen - held}
            # Not those that somebody else wants: they are not ours to forget.
            followed = {key for key, informer in informers.items() if informer is not None}
            self._referenced[kind] = (held & chosen) | followed
            made += (informer for informer in informers.values() if informer is not None)
        # So that an Ingress and what it names are in one snapshot, and no route closes for a moment.
        with anyio.move_on_after(_NAMED_WAIT):
            for informer in made:
                await informer.wait_settled()

    async def _follow_named_secrets(self) -> None:
        """Follow by name what our Ingresses name and the type of Secret hides; wait a moment for it."""
        secrets = cast("KindCache[Secret]", self._caches[Secret])
        judged: tuple[type[KubeObject], ...] = (Ingress, IngressClass, Namespace)
        caches: dict[type[KubeObject], KindCache[KubeObject]] = {
            kind: self._caches[kind] for kind in judged if kind in self._caches
        }
        if secrets.main is None or not all(cache.ready for cache in (*caches.values(), self._caches[Secret])):
            return
        typed, known = secrets.main.store.snapshot(), secrets.objects()
        kinds: dict[type[KubeObject], Mapping[ObjectKey, KubeObject]] = {
            kind: cache.objects() for kind, cache in caches.items()
        }
        # Where the right to all of them is missing, that is reported, and not once more for each name.
        unread = {reflector.namespace for reflector in secrets.main.reflectors if not reflector.has_synced}
        looked_at = (*kinds.values(), typed, known, len(unread))
        if len(looked_at) == len(self._looked_at) and all(
            new is old for new, old in zip(looked_at, self._looked_at, strict=True)
        ):
            return
        self._looked_at = looked_at
        named = {
            key
            for key in named_secrets(Snapshot(objects=kinds, revision=0), self._options)
            if key not in typed
            and "" not in unread
            and key.namespace not in unread
            and key not in self._referenced.get(Secret, ())
        }
        chosen = choose(named, known.keys())
        self._left_out = tuple(sorted(named - chosen))
        for key in self._named - chosen:
            self.forget(Secret, key)
        informers = {key: self._want(Secret, key, transform=only_certificate) for key in chosen - self._named}
        # Not those that somebody else wants: they are not ours to forget.
        self._named = (self._named & chosen) | {key for key, made in informers.items() if made is not None}
        # So that an Ingress and its certificate are in one snapshot, and nobody is told that there is none.
        with anyio.move_on_after(_NAMED_WAIT):
            for made in informers.values():
                if made is not None:
                    await made.wait_settled()

    def _publish(self) -> bool:
        """Make a snapshot, if there is anything new."""
        held = self._snapshot
        if held is None and not all(cache.ready for cache in self._caches.values()):
            return False
        kinds = {kind: objects for kind, cache in self._caches.items() if (objects := cache.objects())}
        problems = tuple(sorted(self._problems(), key=str))
        if held is not None and problems == held.problems and kinds.keys() == held.objects.keys():
            if all(kinds[kind] is held.objects[kind] for kind in kinds):
                return False
        before = held or Snapshot()
        changed: dict[type[KubeObject], frozenset[ObjectKey]] = {}
        histories: dict[type[KubeObject], History] = {}
        for kind in kinds.keys() | before.objects.keys():
            cache = self._caches.get(kind)
            history = None if cache is None else cache.history()
            if history is not None:
                histories[kind] = history
            old, new = before.objects.get(kind, {}), kinds.get(kind, {})
            if new is not old:
                changed[kind] = changed_keys(old, new, self._histories.get(kind), history)
        self._histories = histories
        self._snapshot = before.succeeded_by(kinds, changed, problems=problems)
        self._changed.set()
        self._changed = anyio.Event()
        if held is None:
            counts = {kind.resource: len(objects) for kind, objects in kinds.items()}
            _logger.info("the cluster is known", extra={**counts, "problems": len(problems)})
        return True

    def _problems(self) -> set[DecodeError]:
        found = {problem for cache in self._caches.values() for problem in cache.problems()}
        for check in self._checks:
            found.update(check())
        for key in self._left_out:
            reason = (
                f"it is not followed: of Secrets that are not of type kubernetes.io/tls,"
                f" {MOST_NAMED_OF_ONE_NAMESPACE} are of one namespace, and {MOST_NAMED} of all"
            )
            found.add(
                DecodeError(kind="Secret", namespace=key.namespace, name=key.name, field="", reason=reason)
            )
        for kind, keys in self._unfollowed.items():
            reason = (
                f"it is not followed: of those that annotations name, {MOST_NAMED_OF_ONE_NAMESPACE} are of one"
                f" namespace, and {MOST_NAMED} of all"
            )
            found |= {
                DecodeError(kind=kind.kind, namespace=key.namespace, name=key.name, field="", reason=reason)
                for key in keys
            }
        return found
