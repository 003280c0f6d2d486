"""Makes, checks and loads whole configurations by a start or a reload, or writes one for the next start.

A reload comes only when it may: not too soon after the last one, and not while too many processes that
were replaced still serve connections.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Set
from dataclasses import replace

import anyio
import anyio.to_thread

from ingresskit.apply.generations import Generation
from ingresskit.apply.haproxy.files import made_files
from ingresskit.apply.haproxy.limits import affordable
from ingresskit.apply.haproxy.master import Master, occupied
from ingresskit.apply.haproxy.options import HaproxyOptions
from ingresskit.apply.haproxy.slots import USUAL_CLASSES, Slots, pool_sizes
from ingresskit.apply.haproxy.turns import Turns
from ingresskit.apply.haproxy.worker_state import WorkerState
from ingresskit.errors import ApplyError, CheckFailed
from ingresskit.facts import fact_logger
from ingresskit.render.files import RenderedFile
from ingresskit.render.haproxy import Capabilities, HaproxyArtifact, HaproxySettings, Needs, SlotClass

__all__ = ["ConfigLoader"]

_logger = fact_logger(__name__)


class ConfigLoader:
    """Loads configurations into one HAProxy; see `HaproxySupervisor` for the arguments."""

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
        self._capabilities = capabilities
        self._own = fallback_certificate
        self._options = options
        self._disk = anyio.Lock()
        self._turns = Turns(master, options)

    def slots_for(self, artifact: HaproxyArtifact, live: WorkerState | None) -> Slots:
        """Slots for all backends of *artifact* and as many again; each where it stands in *live* if it can."""
        before = None if live is None else live.slots
        grows = self._capabilities.adds_backends
        return Slots.filled(self.sizes_for(artifact, live), artifact.backends.values(), before, grows=grows)

    def sizes_for(self, artifact: HaproxyArtifact, live: WorkerState | None) -> Mapping[SlotClass, int]:
        """How many slots of each class a program for *artifact* should have."""
        before: Mapping[SlotClass, int] = {} if live is None else live.slots.pools
        ready = USUAL_CLASSES if self._capabilities.adds_backends else ()
        backends, classes = artifact.backends.values(), artifact.needs.classes
        return pool_sizes(self._options.pools, backends, classes, before, ready=ready)

    async def wait_turn(self, asking: Set[str]) -> None:
        """Return when a reload may come now; see `Turns.wait`."""
        await self._turns.wait(asking)

    async def load(
        self,
        artifact: HaproxyArtifact,
        slots: Slots,
        *,
        needs: Needs,
        running: bool,
        asking: Set[str] = frozenset(),
    ) -> str:
        """Reload HAProxy with *artifact*, or start it; returns the marker that it then has.

        Args:
            artifact: What it is to serve.
            slots: Where its backends stand.
            needs: What the program is to have: what *artifact* needs, or more.
            running: Whether it runs.
            asking: The namespaces that a reload is for.

        Raises:
            CheckFailed: It refuses the configuration.
            ApplyError: It does not serve it; what served before a reload still does, and so says the disk.
        """
        marker = _new_marker()
        files = await self._files(replace(artifact, needs=needs), slots.pools, slots.held(), marker)
        async with self._disk:
            await self._preflight(running=running)
            generation = await self._checked(artifact, files)
            before = await anyio.to_thread.run_sync(self._master.generations.current)
            await self._master.activate(generation)
            begun = anyio.current_time()
            try:
                if running:
                    await self._master.reload(marker)
                else:
                    await self._master.start(marker)
            except BaseException:
                if before is not None:
                    with anyio.CancelScope(shield=True):
                        await self._go_back(before, generation)
                raise
            finally:
                if running:
                    self._turns.reloaded(asking, anyio.current_time() - begun)
        return marker

    async def check(self, artifact: HaproxyArtifact, slots: Slots) -> None:
        """Let HAProxy read what *artifact* comes to, without serving it.

        Raises:
            CheckFailed: It refuses.
            ApplyError: It could not be asked.
        """
        files = await self._files(artifact, slots.pools, slots.held(), "check")
        async with self._disk:
            await self._discard(await self._checked(artifact, files))

    async def write(
        self,
        artifact: HaproxyArtifact,
        pools: Mapping[SlotClass, int],
        held: Mapping[str, str],
        *,
        unless: Callable[[], bool] = lambda: False,
    ) -> str:
        """Make *artifact* what the next start or reload loads.

        Args:
            artifact: What is served; HAProxy has taken it, so it is not checked.
            pools: As for `made_files`.
            held: Likewise.
            unless: Asked just before it is written: then it is not.

        Returns:
            The marker; empty when nothing was written.

        Raises:
            ApplyError: It could not be written.
        """
        marker = _new_marker()
        files = await self._files(artifact, pools, held, marker)
        async with self._disk:
            if unless():
                return ""
            await self._master.activate(await self._master.write(files))
        return marker

    async def _files(
        self, artifact: HaproxyArtifact, pools: Mapping[SlotClass, int], held: Mapping[str, str], marker: str
    ) -> list[RenderedFile]:
        def made() -> list[RenderedFile]:
            servers = sum(len(backend.servers) for backend in artifact.backends.values())
            return made_files(
                artifact,
                affordable(self._settings, servers=servers),
                self._capabilities,
                pools=pools,
                held=held,
                marker=marker,
                fallback_certificate=self._own,
            )

        return await anyio.to_thread.run_sync(made)

    async def _preflight(self, *, running: bool) -> None:
        """What HAProxy's checker does not see: that another process listens on its address."""
        for bind in (*self._settings.http, *self._settings.https):
            if why := await anyio.to_thread.run_sync(_occupied, bind.address, bind.port, running):
                raise ApplyError(f"HAProxy cannot listen at {bind}: {why}")

    async def _checked(self, artifact: HaproxyArtifact, files: list[RenderedFile]) -> Generation:
        generation = await self._master.write(files)
        try:
            await self._master.check(generation)
        except BaseException as exc:
            with anyio.CancelScope(shield=True):
                await self._discard(generation)
            if isinstance(exc, CheckFailed):
                raise CheckFailed(str(exc), subjects=_blamed(artifact, str(exc))) from exc
            raise
        return generation

    async def _discard(self, generation: Generation) -> None:
        await anyio.to_thread.run_sync(self._master.generations.discard, generation)

    async def _go_back(self, before: Generation, failed: Generation) -> None:
        try:
            await self._master.activate(before)
            await self._discard(failed)
        except ApplyError as exc:
            _logger.error("configuration on disk is not the one that is served", extra={"reason": str(exc)})


def _new_marker() -> str:
    return f"ingresskit {os.urandom(8).hex()}"


def _occupied(address: str, port: int, shared: bool) -> str:
    return occupied(address, port, shared=shared)


def _blamed(artifact: HaproxyArtifact, saying: str) -> frozenset[tuple[str, tuple[str, str]]]:
    """The Secrets whose certificates a checker's words name."""
    return frozenset(
        ("Secret", (bundle.secret.namespace, bundle.secret.name))
        for bundle in artifact.certificates.values()
        if bundle.path in saying
    )
