"""Putting artifacts live in a running nginx: by tables where that is enough, by a reload where not."""

from __future__ import annotations

import secrets
from datetime import timedelta

import anyio
import anyio.to_thread

from ingresskit.apply.nginx.control import Row, Served
from ingresskit.apply.nginx.journal import table_record
from ingresskit.apply.nginx.nginx import Nginx
from ingresskit.apply.nginx.tables import all_rows, changed_rows, summary_of
from ingresskit.apply.plan import Dynamic, NoOp, Plan, Reload
from ingresskit.errors import ApplyError
from ingresskit.facts import fact_logger
from ingresskit.policies import Origin
from ingresskit.render.nginx import Mode, NginxArtifact

__all__ = ["NginxApplier"]

_logger = fact_logger(__name__)

# How long a push waits for an nginx that is being started again.
_PATIENCE = timedelta(seconds=5)


class NginxApplier:
    """Makes an `Nginx` serve artifacts of `NginxRenderer`.

    In dynamic mode all that a graph says goes over the private socket; files change with the settings and
    the version of nginx only. In static mode certificates are files that nginx reads at each handshake, and
    everything else takes a reload.

    A change in dynamic mode is live first, and on disk right after. An nginx that dies in between starts
    with what was before, and is told again: it says which state it serves.

    Args:
        nginx: In its context.
    """

    def __init__(self, nginx: Nginx) -> None:
        self._nginx = nginx
        self._live: NginxArtifact | None = None
        self._state = ""
        self._behind = False  # the disk lacks a push

    def plan(self, old: NginxArtifact | None, new: NginxArtifact) -> Plan[NginxArtifact]:
        """As `Applier.plan`."""
        if old is None:
            served = self._nginx.served_generation
            if not served:
                return Reload(artifact=new, reason="nginx serves nothing yet")
            if served != new.generation:
                return Reload(artifact=new, reason="nginx runs with another configuration")
            return Dynamic(
                artifact=new, summary="all tables" if new.mode is Mode.DYNAMIC else "all certificates"
            )
        if old is new:
            return NoOp()
        if (reason := _reload_reason(old, new)) is not None:
            return Reload(artifact=new, reason=reason, origins=_origins(old, new))
        summary = summary_of(old, new)
        return Dynamic(artifact=new, summary=summary) if summary else NoOp()

    async def apply(self, plan: Plan[NginxArtifact]) -> None:
        """As `Applier.apply`."""
        match plan:
            case NoOp():
                pass
            case Reload(artifact=artifact):
                self._nginx.expecting(artifact)
                await self._reload(artifact)
                self._settle(artifact)
            case Dynamic(artifact=artifact):
                self._nginx.expecting(artifact)
                if artifact.mode is Mode.DYNAMIC:
                    await self._push(artifact)
                else:
                    await anyio.to_thread.run_sync(self._nginx.certificates.write, artifact.certificates)
                    await self._nginx.tell_endpoints(artifact.endpoints)
                self._settle(artifact)

    async def check(self, artifact: NginxArtifact) -> None:
        """As `CheckingApplier.check`."""
        await self._nginx.check(artifact)

    def _settle(self, artifact: NginxArtifact) -> None:
        self._live = artifact
        self._nginx.serving(artifact)

    async def _reload(self, artifact: NginxArtifact) -> None:
        state = secrets.token_hex(8) if artifact.mode is Mode.DYNAMIC else ""
        await self._nginx.load(artifact, state)
        if artifact.mode is Mode.DYNAMIC:
            # The tables outlive a reload, so that those on disk are not the ones served.
            served = await self._nginx.control.served()
            if served.state == state:
                self._state = state
            else:
                self._live = None
                await self._push(artifact)
        else:
            await anyio.to_thread.run_sync(self._nginx.certificates.remove_others, artifact.certificates)

    async def _push(self, artifact: NginxArtifact) -> None:
        served = await self._served()
        base = self._live if served.state == self._state and self._state else None
        rows = changed_rows(base, artifact)
        state = secrets.token_hex(8)
        generation = served.highest + 1
        name = served.state if base is not None else "-"
        try:
            await self._nginx.control.push(rows, generation=generation, base=name, state=state)
        except ApplyError:
            # Perhaps it was taken and the answer lost; the next push asks first.
            self._state = ""
            raise
        self._state = state
        await self._keep(artifact, rows, generation=generation, base=name, state=state)

    async def _served(self) -> Served:
        deadline = anyio.current_time() + _PATIENCE.total_seconds()
        while True:
            try:
                return await self._nginx.control.served()
            except ApplyError:
                if anyio.current_time() > deadline:
                    raise
            await anyio.sleep(0.05)

    async def _keep(
        self, artifact: NginxArtifact, rows: list[Row], *, generation: int, base: str, state: str
    ) -> None:
        """Write what was pushed to disk. Failing costs a restart that knows less, not what is served."""

        def write() -> None:
            journal = self._nginx.journal
            if base == "-" or journal.long or self._behind:
                journal.rewrite(table_record(all_rows(artifact), generation=generation, base="-", state=state))
            else:
                journal.append(table_record(rows, generation=generation, base=base, state=state))

        try:
            await anyio.to_thread.run_sync(write)
            self._behind, self._nginx.unwritten = False, ""
        except OSError as exc:
            self._behind, self._nginx.unwritten = True, exc.strerror or str(exc)
            _logger.warning("tables could not be written to disk", extra={"reason": self._nginx.unwritten})


def _reload_reason(old: NginxArtifact, new: NginxArtifact) -> str | None:
    """Changes beyond tables and certificate files, for people; ``None``: there are none."""
    if old.mode is not new.mode:
        return f"the mode is {new.mode} now"
    before = {item.path: item for item in old.config_files()}
    after = {item.path: item for item in new.config_files()}
    changed = [
        path for path, item in after.items() if path not in before or before[path].content != item.content
    ]
    gone = [path for path in before if path not in after]
    if not changed and not gone:
        return None if old.program == new.program else "the program changed"
    hosts = sum(path.startswith("hosts/") for path in changed)
    others = [path for path in changed if not path.startswith("hosts/")]
    parts = [
        *([f"{hosts} hosts changed"] if hosts else []),
        *([f"{len(gone)} hosts gone"] if gone else []),
        *(f"{path} changed" for path in others),
    ]
    return ", ".join(parts)


def _origins(old: NginxArtifact, new: NginxArtifact) -> tuple[Origin, ...]:
    found: set[Origin] = set()
    for name, item in new.hosts.items():
        before = old.hosts.get(name)
        if before is not item and (before is None or before.content != item.content):
            found.update(span.origin for span in item.spans[:1])
    return tuple(sorted(found))
