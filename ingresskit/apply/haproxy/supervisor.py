"""Keeps a HAProxy at what it should serve: changes at runtime, reloads, files on disk, tidying up.

One lock is held by whoever changes the worker, so that changes, reloads and tidying up never mix. What is
on disk follows behind: a change is live before it is written. Nothing depends on the order, since HAProxy
reads the disk only when it is reloaded or started again, and before either everything is written anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import anyio
import anyio.to_thread

from ingresskit.apply.haproxy.changes import ReloadReason, RuntimeChanges, changes_between, reload_reasons
from ingresskit.apply.haproxy.config_loader import ConfigLoader
from ingresskit.apply.haproxy.master import Master
from ingresskit.apply.haproxy.options import HaproxyOptions
from ingresskit.apply.haproxy.partial import servable_without_reload
from ingresskit.apply.haproxy.remembering import remembering
from ingresskit.apply.haproxy.slot_growth import make_slots, shortage
from ingresskit.apply.haproxy.transaction import compact, perform, reap
from ingresskit.apply.haproxy.worker_state import WorkerState
from ingresskit.apply.plan import Dynamic, NoOp, Plan, Reload
from ingresskit.errors import ApplyError, ApplyPostponed, Subject
from ingresskit.facts import fact_logger
from ingresskit.policies import Origin
from ingresskit.render.haproxy import Block, Capabilities, HaproxyArtifact, HaproxySettings, SlotClass

__all__ = ["HaproxySupervisor"]

_logger = fact_logger(__name__)

_REAP_FIRST: Final = 0.02
_REAP_CEILING: Final = 5.0
_RETRY: Final = 5.0
_MOST_REASONS: Final = 3
# Slots that are made ahead while changes wait: a hundredth of a second's worth.
_MOST_SLOTS: Final = 32
_MOST_TOLD: Final = 1000
_OTHERS: Final = "other reasons"
# Who asks for reloads that keep memory in bounds: no namespace is called so.
_OURSELVES: Final = frozenset({""})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    """What `HaproxySupervisor.plan` worked out, for the `HaproxySupervisor.apply` that follows."""

    live: WorkerState
    loaded: Mapping[str, Block]
    served: HaproxyArtifact
    artifact: HaproxyArtifact
    changes: RuntimeChanges

    def holds(self, live: WorkerState, artifact: HaproxyArtifact) -> bool:
        """Whether nothing has changed since that it was worked out from."""
        # Rows that nothing led to may have been taken out meanwhile, and be wanted again now.
        basis = self.live is live and self.served is live.artifact and self.loaded is live.blocks
        return basis and self.artifact is artifact


class HaproxySupervisor:
    """Owns the state of one HAProxy.

    Args:
        master: The process; of one that runs already nothing is known but that it serves.
        settings: What is in the program besides the artifact.
        capabilities: What HAProxy can do.
        fallback_certificate: Key and chain in PEM for artifacts without a default certificate.
        options: How it is changed.
    """

    def __init__(
        self,
        master: Master,
        settings: HaproxySettings,
        capabilities: Capabilities,
        *,
        fallback_certificate: bytes,
        options: HaproxyOptions,
    ) -> None:
        self._master = master
        self._settings = settings
        self._own = fallback_certificate
        self._options = options
        self._loader = ConfigLoader(
            master, settings, capabilities, fallback_certificate=fallback_certificate, options=options
        )
        self._lock = anyio.Lock()
        self._planned: _Planned | None = None
        self._broken = ""
        self._restarted = False
        self._written: tuple[HaproxyArtifact, Mapping[SlotClass, int]] | None = None
        self.unwritten: str = ""
        self._changed = anyio.Event()
        self.live: WorkerState | None = None
        self.reloads: Counter[str] = Counter()
        # What is about to be served: the first requests to it are over before the change is.
        self.coming: HaproxyArtifact | None = None
        # How many objects ask for a reload that has to wait.
        self.waiting: int = 0

    # What the controller asks for.

    def plan(self, new: HaproxyArtifact) -> Plan[HaproxyArtifact]:
        """What it takes to serve *new*. May be called in any thread."""
        live = self.live
        if live is None:
            running = self._master.process.pid is not None
            reason = "a HAProxy that runs already is taken over" if running else "HAProxy is started"
            return Reload(artifact=new, reason=reason)
        if self._broken:
            return Reload(artifact=new, reason=self._broken)
        served, loaded = live.artifact, live.blocks
        changes = self._changes(live, new)
        if found := reload_reasons(changes, new.needs, live.needs, live.slots):
            reasons = dict.fromkeys(item.reason for item in found)
            text = "; ".join(list(reasons)[:_MOST_REASONS])
            more = f"; and {len(reasons) - _MOST_REASONS} more" if len(reasons) > _MOST_REASONS else ""
            origins: set[Origin] = {origin for item in found for origin in item.origins}
            return Reload(artifact=new, reason=text + more, origins=tuple(sorted(origins)))
        if not changes:
            if served is not new:
                live.artifact = new
            return NoOp()
        self._planned = _Planned(live=live, loaded=loaded, served=served, artifact=new, changes=changes)
        return Dynamic(artifact=new, summary=changes.summary)

    async def apply(self, plan: Plan[HaproxyArtifact]) -> None:
        """Carry *plan* out.

        Raises:
            ApplyPostponed: It needs a reload, and that has to wait.
            CheckFailed: HAProxy refuses the configuration.
            ApplyError: It could not be done; what was served before still is.
        """
        if isinstance(plan, NoOp):
            return
        async with self._lock:
            await self._wait_restarted()
            self.coming = plan.artifact
            reason = plan.reason if isinstance(plan, Reload) else await self._change(plan.artifact)
            if reason:
                try:
                    await self._load(plan.artifact, reason, self._asking(plan.artifact))
                except ApplyPostponed as exc:
                    subjects = self._waiting(plan.artifact)
                    self.waiting = max(1, len(subjects))
                    await self._change_meanwhile(plan.artifact)
                    raise ApplyPostponed(str(exc), retry_after=exc.retry_after, subjects=subjects) from exc
            self.waiting = 0
            self.coming = None
        self._announce()

    async def _wait_restarted(self) -> None:
        """After a restart, wait until HAProxy can be talked to: it serves before its master listens."""
        live = self.live
        if not self._restarted or live is None or self._master.process.pid is None:
            return
        await self._master.wait_serving(live.marker)
        self._restarted = False

    async def check(self, artifact: HaproxyArtifact) -> None:
        """Let HAProxy read what *artifact* comes to, without serving it.

        Raises:
            CheckFailed: It refuses.
            ApplyError: It could not be asked.
        """
        await self._loader.check(artifact, self._loader.slots_for(artifact, self.live))

    def _changes(self, live: WorkerState, new: HaproxyArtifact) -> RuntimeChanges:
        changes = changes_between(live.artifact, new, loaded=live.blocks, own=self._own)
        # Where TLS is taken nowhere, HAProxy has not read the certificates.
        return changes if self._settings.https else changes.without_certificates()

    async def _change(self, artifact: HaproxyArtifact) -> str:
        """Serve *artifact* without a reload; returns why that cannot be done, or empty when it is."""
        live, planned = self.live, self._planned
        self._planned = None
        if live is None or self._broken:
            return self._broken or "HAProxy is started"
        if planned is not None and planned.holds(live, artifact):
            changes = planned.changes
        else:
            changes = self._changes(live, artifact)
        # Slots may have been taken since the plan was made.
        if found := reload_reasons(changes, artifact.needs, live.needs, live.slots):
            return found[0].reason
        self._broken = "a change at runtime was interrupted"
        try:
            if lacking := shortage(live.slots, changes.placed):
                await make_slots(self._master.api, live.slots, lacking)
                if found := reload_reasons(changes, artifact.needs, live.needs, live.slots):
                    self._broken = ""
                    return found[0].reason
            await perform(self._master.api, live, changes, artifact)
        except ApplyError as exc:
            self._broken = f"a change at runtime failed: {exc}"
            _logger.warning("change at runtime failed, reloading", extra={"reason": str(exc)})
            return self._broken
        self._broken = ""
        return ""

    def _asking(self, artifact: HaproxyArtifact) -> frozenset[str]:
        """The namespaces whose objects need a reload for *artifact*."""
        return frozenset(name for item in self._reload_reasons(artifact) for name in item.namespaces)

    def _waiting(self, artifact: HaproxyArtifact) -> frozenset[Subject]:
        """The objects that need a reload for *artifact*."""
        return frozenset(subject for item in self._reload_reasons(artifact) for subject in item.subjects)

    def _reload_reasons(self, artifact: HaproxyArtifact) -> tuple[ReloadReason, ...]:
        live = self.live
        if live is None or self._broken:
            return ()
        return reload_reasons(self._changes(live, artifact), artifact.needs, live.needs, live.slots)

    async def _change_meanwhile(self, artifact: HaproxyArtifact) -> None:
        """Serve what of *artifact* needs no reload. Never raises for a change that fails."""
        live = self.live
        if live is None or self._broken:
            return
        part = await anyio.to_thread.run_sync(servable_without_reload, live, artifact)
        if self._changes(live, part) and not await self._change(part):
            self._announce()

    # Loading.

    async def _load(self, artifact: HaproxyArtifact, reason: str, asking: frozenset[str] = frozenset()) -> None:
        """Start or reload HAProxy with *artifact*, for the namespaces *asking*."""
        running, live = self._master.process.pid is not None, self.live
        # To take over what a controller before us left cannot wait.
        if running and live is not None:
            await self._loader.wait_turn(asking)
        slots = self._loader.slots_for(artifact, live)
        needs = remembering(artifact.needs, None if live is None else live.needs)
        self._written = None
        try:
            marker = await self._loader.load(artifact, slots, needs=needs, running=running, asking=asking)
        except BaseException:
            if running and live is not None:
                with anyio.CancelScope(shield=True):
                    if not await self._master.serves(live.marker):
                        self._broken = "HAProxy does not serve what it did before a reload that failed"
            raise
        self.live = WorkerState.loaded(artifact, needs=needs, slots=slots, marker=marker)
        self._broken = ""
        self._restarted = False
        self._written = artifact, slots.pools
        # Reasons hold numbers and names: there is no end of them.
        self.reloads[reason if reason in self.reloads or len(self.reloads) < _MOST_TOLD else _OTHERS] += 1
        _logger.info("haproxy reloaded" if running else "haproxy started", extra={"reason": reason})

    # In the background.

    async def before_restart(self) -> None:
        """Write what was served when HAProxy ended, so that it starts with just that.

        Raises:
            ApplyError: It could not be written.
        """
        async with self._lock:
            # Whoever held the lock may have started it meanwhile.
            if (live := self.live) is None or self._master.process.pid is not None:
                return
            slots = self._loader.slots_for(live.artifact, live)
            marker = await self._loader.write(live.artifact, slots.pools, slots.held())
            self.live = WorkerState.loaded(live.artifact, needs=live.artifact.needs, slots=slots, marker=marker)
            self._broken = ""
            self._restarted = True
            self._written = live.artifact, slots.pools

    @property
    def restarts(self) -> int:
        """How often HAProxy ended by itself and was started again."""
        return self._master.process.restarts

    async def run(self) -> None:
        """Tidy up, fill up pools and write to disk, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._repeat, self._tidy)
            tasks.start_soon(self._repeat, self._follow_on_disk)
            tasks.start_soon(self._repeat, self._fill_up)
            tasks.start_soon(self._repeat, self._watch)

    async def _repeat(self, step: Callable[[], Awaitable[float | None]]) -> None:
        """Do *step* after each change; again after as many seconds as it says."""
        failing = ""
        while True:
            changed = self._changed
            delay: float | None
            try:
                delay = await step()
                failing = ""
            except ApplyPostponed as exc:
                delay = exc.retry_after.total_seconds()
            except ApplyError as exc:
                delay = _RETRY
                if str(exc) != failing:
                    failing = str(exc)
                    _logger.warning("haproxy could not be looked after", extra={"reason": failing})
            if delay is None:
                await changed.wait()
            else:
                with anyio.move_on_after(delay):
                    await changed.wait()

    async def _tidy(self) -> float | None:
        delay = _REAP_FIRST
        while (live := self.live) is not None and (live.leaving or live.forgotten or live.garbage()):
            async with self._lock:
                if self.live is not live or self._broken:
                    return None
                await self._wait_restarted()
                left = await reap(self._master.api, live)
                await compact(self._master.api, live)
            if not left:
                break
            await anyio.sleep(delay)
            delay = min(2 * delay, _REAP_CEILING)
        return None

    async def _follow_on_disk(self) -> float | None:
        live = self.live
        if live is None or self._is_written(live) or self._broken:
            return None
        await anyio.sleep(self._options.disk_delay.total_seconds())
        begun = anyio.current_time()
        async with self._lock:
            live = self.live
            if live is None or self._broken:
                return None
            artifact, pools, held = live.artifact, live.slots.pools, live.slots.held()
        # A reload in between has written it already.
        try:
            if await self._loader.write(artifact, pools, held, unless=lambda: self.live is not live):
                self._written = artifact, pools
        except ApplyError as exc:
            self.unwritten = str(exc)
            raise
        self.unwritten = ""
        await anyio.sleep(10 * (anyio.current_time() - begun))
        return 0

    def _is_written(self, live: WorkerState) -> bool:
        if self._written is None:
            return False
        artifact, pools = self._written
        return live.artifact is artifact and live.slots.pools is pools

    async def _watch(self) -> float | None:
        """Find out when HAProxy does not serve what it was given, and give it that again.

        Somebody else may have reloaded it, or a change at runtime failed, and the reload had to wait.
        """
        await anyio.sleep(self._options.watch_interval.total_seconds())
        async with self._lock:
            live = self.live
            if live is None or self._restarted or self._master.process.pid is None:
                return 0
            said = await self._master.marker()
            if said is None:
                raise ApplyError("HAProxy runs and does not respond")
            if said != live.marker and not self._broken:
                self._broken = "HAProxy had another configuration than it was given"
                _logger.error("another process reloaded haproxy, loading it again")
            if self._broken:
                await self._load(live.artifact, self._broken)
        return 0

    async def _fill_up(self) -> float | None:
        async with self._lock:
            live = self.live
            if live is None or self._broken:
                return None
            if live.unlisted >= self._options.most_removed_certificates:
                await self._wait_restarted()
                await self._load(live.artifact, "removed certificates hold memory", _OURSELVES)
                return None
            low = live.slots.low(self._options.pools.low)
            if not low:
                return None
            await self._wait_restarted()
            if live.slots.grows and await self._make_ahead(live, low):
                return 0
            names = ", ".join(item.id for item in low)
            await self._load(live.artifact, f"few slots of the kind {names} are free")
        return None

    async def _make_ahead(self, live: WorkerState, low: Iterable[SlotClass]) -> bool:
        """Make some slots of these classes at runtime; returns whether that went well."""
        sizes, pools = self._loader.sizes_for(live.artifact, live), live.slots.pools
        wanted = {item: min(sizes[item] - pools[item], _MOST_SLOTS) for item in low}
        if min(wanted.values()) < 1:
            return False
        made = await make_slots(self._master.api, live.slots, wanted)
        self._announce()
        return made

    def _announce(self) -> None:
        """Let all that is done in the background look again."""
        changed, self._changed = self._changed, anyio.Event()
        changed.set()
