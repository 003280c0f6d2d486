"""What the leader writes into the cluster: status of Ingresses, Events, and the record of host claims."""

from __future__ import annotations

import anyio

from ingresskit.controller.claims import HostClaimWriter
from ingresskit.controller.leader import LeaderElector
from ingresskit.controller.statistics import ControllerView
from ingresskit.diagnostics import Diagnostic
from ingresskit.errors import (
    ApiError,
    Conflict,
    DecodeError,
    Forbidden,
    ProblemCause,
    TooManyRequests,
    Unauthorized,
)
from ingresskit.facts import fact_logger
from ingresskit.models import Ingress, IngressClass, Namespace, Snapshot
from ingresskit.sources import Source
from ingresskit.status import AddressSource, EventRecorder, Fence, NoFence, OwnershipJudge, StatusWriter
from ingresskit.translate import TranslateOptions

__all__ = ["StatusReporter"]

_logger = fact_logger(__name__)

# More namespaces without a right are one problem: it is most probably missing in the whole cluster.
_MOST_NAMESPACES = 5
# Refusals of a Lease that say nothing about rights: others write it, the server sheds load, or credentials
# are refused, which is reported of what is read.
_PASSING = (Conflict, TooManyRequests, Unauthorized)


class StatusReporter:
    """Follows a controller and reports to the cluster. The controller never waits for it.

    Every replica follows, so that the next leader knows at once what is to be written; only the leader
    writes.

    Example:
        ``tasks.start_soon(StatusReporter(controller, source=source, writer=writer, …).run)``
    """

    def __init__(
        self,
        controller: ControllerView,
        *,
        source: Source,
        options: TranslateOptions | None = None,
        elector: LeaderElector | None = None,
        writer: StatusWriter | None = None,
        addresses: AddressSource | None = None,
        events: EventRecorder | None = None,
        claims: HostClaimWriter | None = None,
    ) -> None:
        """Ask nothing yet.

        Args:
            controller: Whose diagnostics and passes are reported.
            source: The one that the controller was given.
            options: Those that the controller was given.
            elector: Says who writes; ``None`` when this process is the only one.
            writer: Writes status; ``None`` writes none.
            addresses: What is written there; ``None`` writes none.
            events: Writes Events; ``None`` writes none.
            claims: Writes the record of who holds which host; ``None`` writes none.
        """
        self._subscribe = controller.subscribe
        self._controller = controller
        self._source = source
        self._judge = OwnershipJudge(options)
        self._elector = elector
        self._writer = writer if addresses is not None else None
        self._addresses = addresses
        self._events = events
        self._claims = claims
        # What was looked at last, by identity.
        self._told: tuple[Diagnostic, ...] | None = None
        self._seen: tuple[object, ...] = (None, None, None)
        self._revision = -1
        self._awaited: Snapshot | None = None

    def problems(self) -> tuple[DecodeError, ...]:
        """What of it cannot be written now, for `ClusterSource.include_problems`; empty when all is well.

        An API server that is away is none: nothing is written then, and nothing is missing.
        """
        found: list[DecodeError] = []
        if self._elector is not None and (reason := _lease_problem(self._elector.trouble)):
            namespace, name = self._elector.lease
            found.append(_problem("Lease", namespace, name, reason))
        if self._elector is not None and not self._elector.is_leader:
            return tuple(found)
        if self._writer is not None:
            effect = "addresses are not published there"
            found += _forbidden(Ingress.kind, "patch ingresses/status", self._writer.forbidden, effect)
        if self._events is not None:
            effect = "what is wrong with objects is in no Event there"
            found += _forbidden("Event", "create and patch events", self._events.forbidden, effect)
        return tuple(found)

    async def run(self) -> None:
        """Follow and write, until the controller ends or this is cancelled.

        Raises:
            Exception: What a bug of this package raised; the API server's troubles are dealt with inside.
        """
        async with anyio.create_task_group() as tasks:
            if self._addresses is not None and self._writer is not None:
                tasks.start_soon(self._follow_addresses, self._addresses)
            tasks.start_soon(self._write)
            await self._follow()
            tasks.cancel_scope.cancel()

    async def _follow(self) -> None:
        with self._subscribe() as happenings:
            self._look()
            async for _ in happenings:
                self._look()

    async def _follow_addresses(self, addresses: AddressSource) -> None:
        while True:
            revision = addresses.revision
            self._look()
            await addresses.wait_changed(revision)

    def _look(self) -> None:
        snapshot = self._source.snapshot()
        if snapshot is None:
            return
        outcome = self._controller.outcome
        diagnostics = self._controller.diagnostics
        if self._events is not None and diagnostics is not self._told:
            self._told = diagnostics
            self._events.update(diagnostics, snapshot)
        # Not before it is live, and not while it cannot be put live: an address in a status says "you are
        # served here", and clients follow it.
        if self._writer is None or self._addresses is None or outcome is None:
            return
        if self._controller.statistics().failures_in_row:
            return
        live = self._live(snapshot, outcome.revision)
        if live is None:
            return
        # Snapshots share what did not change, so a change of endpoints ends here.
        seen = tuple(live.by_key(kind) for kind in (Ingress, IngressClass, Namespace))
        revision = self._addresses.revision
        if revision != self._revision or any(new is not old for new, old in zip(seen, self._seen, strict=True)):
            self._seen, self._revision = seen, revision
            ownership, changed = self._judge.judge(live), self._judge.changed
            addresses = self._addresses.addresses()
            self._writer.update(live.by_key(Ingress), ownership, addresses, changed=changed)

    def _live(self, snapshot: Snapshot, revision: int) -> Snapshot | None:
        """The newest snapshot known to be live; ``None``: the one that is waited for is not yet."""
        if snapshot.revision > revision:
            # Passes may always be one behind: the one that was met first is waited for.
            self._awaited = self._awaited or snapshot
            snapshot = self._awaited
        if snapshot.revision > revision:
            return None
        self._awaited = None
        return snapshot

    async def _write(self) -> None:
        if self._elector is None:
            await self._work(NoFence())
        else:
            await self._elector.run(self._work)

    async def _work(self, fence: Fence) -> None:
        _logger.info("writing status and events")
        async with anyio.create_task_group() as tasks:
            if self._writer is not None:
                tasks.start_soon(self._writer.run, fence)
            if self._events is not None:
                tasks.start_soon(self._events.run, fence)
            if self._claims is not None:
                tasks.start_soon(self._claims.run, fence)
        if fence.is_valid():
            await anyio.sleep_forever()  # nothing to write at all: leading goes on


def _problem(kind: str, namespace: str, name: str, reason: str) -> DecodeError:
    return DecodeError(
        kind=kind,
        namespace=namespace,
        name=name,
        field="",
        reason=reason,
        cause=ProblemCause.WRITE_REFUSED,
    )


def _lease_problem(error: Exception | None) -> str:
    if not isinstance(error, ApiError) or error.status >= 500 or isinstance(error, _PASSING):
        return ""
    if isinstance(error, Forbidden):
        what = "the right to get, create and update this Lease is missing"
    else:
        what = f"it can neither be read nor made ({error})"
    return f"{what}; this replica cannot lead, so it writes no status, no Events and no record of hosts"


def _forbidden(kind: str, right: str, namespaces: frozenset[str], effect: str) -> list[DecodeError]:
    if len(namespaces) <= _MOST_NAMESPACES:
        reason = f"the right to {right} is missing; {effect}"
        return [_problem(kind, namespace, "*", reason) for namespace in sorted(namespaces)]
    named = ", ".join(sorted(namespaces)[:_MOST_NAMESPACES])
    where = f"in {len(namespaces)} namespaces, among them {named}"
    return [_problem(kind, "", "*", f"the right to {right} is missing {where}; {effect}")]
