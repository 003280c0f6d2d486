"""Files for any proxy: written aside, checked, swapped in whole, and read by a command of the proxy's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.to_thread

from ingresskit.apply.command import run_command
from ingresskit.apply.generations import Generation, Generations
from ingresskit.apply.plan import Dynamic, NoOp, Plan, Reload
from ingresskit.diagnostics import printable
from ingresskit.errors import ApplyError, CheckFailed, ConfigurationError, Subject
from ingresskit.render.files import Rendering

__all__ = ["DirectoryApplier"]

_FOLDER = "{folder}"
_MOST_CHARACTERS = 600


class DirectoryApplier:
    """Puts the files of a `Rendering` live for a proxy that is given a folder.

    Each artifact becomes a folder of its own, ``gen-000001`` and so on. Once *check* has found nothing
    wrong with it, ``current`` leads there, and *reload* is run. When *reload* fails, ``current`` leads to
    the folder before again, and *reload* is run once more for that.

    Args:
        root: Where the folders go; made, with mode 0700, when it is not there. The proxy is to read
            ``root/current``.
        check: The command that finds faults, by its status: 0 is good. In its words ``{folder}`` stands for
            the folder to be checked. Empty: nothing is checked.
        reload: The command that makes the proxy read ``current`` anew. Empty: the proxy sees by itself.
        attribute: The objects that a checker's output points at, where it can be told; that saves a search.
        timeout: How long each command may take; then it is killed, which counts as a failure.
        keep: How many folders stay; 1 or more.

    Raises:
        ConfigurationError: *check* does not say ``{folder}``, *timeout* is not positive, or *keep* is below 1.
    """

    def __init__(
        self,
        root: Path,
        *,
        check: Sequence[str] = (),
        reload: Sequence[str] = (),
        attribute: Callable[[str], Iterable[Subject]] | None = None,
        timeout: timedelta = timedelta(seconds=30),
        keep: int = 3,
    ) -> None:
        if check and not any(_FOLDER in word for word in check):
            raise ConfigurationError(f"the check must say {_FOLDER}, the folder to be checked")
        if timeout <= timedelta(0):
            raise ConfigurationError("the timeout must be positive")
        self._generations = Generations(root, keep=keep)
        self._check = tuple(check)
        self._reload = tuple(reload)
        self._attribute = attribute
        self._timeout = timeout

    @property
    def folder(self) -> Path:
        """What the proxy is to read: the path that always leads to the newest files."""
        return self._generations.link

    def plan(self, old: Rendering | None, new: Rendering) -> Plan[Rendering]:
        """Nothing when the files are equal; else a reload, or less when there is no command for one."""
        if old is not None and old == new:
            return NoOp()
        before = {} if old is None else {item.path: item.content for item in old.files}
        after = {item.path: item.content for item in new.files}
        changed = sum(before.get(path) != after.get(path) for path in before.keys() | after.keys())
        summary = f"{changed} file{'' if changed == 1 else 's'}"
        if self._reload:
            return Reload(artifact=new, reason=f"{summary} changed")
        return Dynamic(artifact=new, summary=summary)

    async def check(self, artifact: Rendering) -> None:
        """As `CheckingApplier.check`."""
        generation = await self._checked(artifact)
        await anyio.to_thread.run_sync(self._generations.discard, generation)

    async def apply(self, plan: Plan[Rendering]) -> None:
        """As `Applier.apply`."""
        if isinstance(plan, NoOp):
            return
        generation = await self._checked(plan.artifact)
        before = await anyio.to_thread.run_sync(self._generations.current)
        await anyio.to_thread.run_sync(self._generations.activate, generation)
        try:
            await self._run("reload", self._reload, self.folder)
        except BaseException:
            # Cancelled or failed: what is on disk must be what is served.
            with anyio.CancelScope(shield=True):
                await self._go_back(generation, before)
            raise

    async def _checked(self, artifact: Rendering) -> Generation:
        generation = await anyio.to_thread.run_sync(self._generations.write, artifact.files)
        try:
            await self._run("check", self._check, generation.path)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._generations.discard, generation)
            raise
        return generation

    async def _go_back(self, failed: Generation, before: Generation | None) -> None:
        if before is None:
            return
        await anyio.to_thread.run_sync(self._generations.activate, before)
        await anyio.to_thread.run_sync(self._generations.discard, failed)
        try:
            await self._run("reload", self._reload, self.folder)
        except ApplyError:
            return  # the first failure says more

    async def _run(self, what: str, command: Sequence[str], folder: Path) -> None:
        if not command:
            return
        words = [word.replace(_FOLDER, str(folder)) for word in command]
        ended = await run_command(what, words, limit=self._timeout)
        if ended.status == 0:
            return
        said = printable(ended.output[-_MOST_CHARACTERS:])
        message = f"the {what}, {words[0]}, ended with {ended.status}: {said}"
        if what == "check":
            subjects = self._attribute(ended.output) if self._attribute else ()
            raise CheckFailed(message, subjects=subjects)
        raise ApplyError(message)
