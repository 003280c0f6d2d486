"""The record of host claims from one pass to the next, and how the replicas agree on it.

Each replica keeps a record in its memory, so that a host that nobody holds is live at once. The leader
publishes its own. On a replica that does not lead, what is published goes before what it keeps itself;
on the leader it is the reverse, since it knows more than it has written yet. So two replicas that saw
objects in another order agree as soon as the leader has written, and only one of them changes its mind.

Who begins to lead takes over what is published, makes one pass with it, and writes only then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import anyio

from ingresskit.controller.claims.record import PublishedClaims, check_record_key, is_shard, read_record
from ingresskit.errors import DecodeError
from ingresskit.graph import wildcard_above
from ingresskit.models import NO_CLAIMS, ConfigMap, HostClaim, HostClaims, ObjectKey, Snapshot

__all__ = ["ClaimKeeper"]

_NOTHING = PublishedClaims(claims=NO_CLAIMS)


class ClaimKeeper:
    """Adds the record of host claims to each snapshot, and learns the one that follows.

    A namespace in the record keeps its hosts while it claims them. Without a *record* in the cluster, and
    where that can be neither read nor written, it is kept in memory: after a restart the oldest claim on
    each host decides.

    `add_to` and `learn` may be called in any thread, by one at a time; all else on the event loop.
    """

    def __init__(self, record: ObjectKey | None = None, *, covers_names: bool = True) -> None:
        """Know nothing yet.

        Args:
            record: The namespace and name of the ConfigMaps that hold the record, where the snapshots
                have them; ``None``: memory only.
            covers_names: Whether a wildcard holds the names below it: true with strict ownership, false
                with exact ownership (`ingresskit.translate.HostOwnership`).

        Raises:
            ConfigurationError: No ConfigMap of a record can have that name.
        """
        if record is not None:
            check_record_key(record)
        self._record = record
        self._covers_names = covers_names
        self._claims: HostClaims = NO_CLAIMS
        self._config_maps: Mapping[ObjectKey, ConfigMap] = {}
        self._published = _NOTHING
        # What was published, and what came of merging it: usually nothing is to be done again.
        self._merged: tuple[HostClaims, HostClaims] = (NO_CLAIMS, NO_CLAIMS)
        self._taken_over: HostClaims | None = None
        self._leads = self._settled = self._passed = False
        self._problem: DecodeError | None = None
        self._announced: tuple[object, ...] = (None, None, None)
        self._revision = 0
        self._changed = anyio.Event()
        self._wake = anyio.Event()

    @property
    def claims(self) -> HostClaims:
        """The record as the last translation left it."""
        return self._claims

    @property
    def config_maps(self) -> Mapping[ObjectKey, ConfigMap]:
        """The ConfigMaps of the last snapshot, the record's among them."""
        return self._config_maps

    @property
    def settled(self) -> bool:
        """Whether this replica leads, and has made a pass since it took over what was published."""
        return self._settled

    @property
    def revision(self) -> int:
        """Counts the announced changes of the record, of its ConfigMaps and of leadership."""
        return self._revision

    async def wait_changed(self, revision: int) -> None:
        """Return once `revision` is above *revision*."""
        while self._revision <= revision:
            await self._changed.wait()

    async def wait_wanted(self) -> None:
        """Return once a pass is wanted though no object changed."""
        await self._wake.wait()
        self._wake = anyio.Event()

    def add_to(self, snapshot: Snapshot) -> Snapshot:
        """*snapshot* with the record, and with what is wrong with the record."""
        problems = [*snapshot.problems, *self._read(snapshot).problems]
        if self._problem is not None:
            problems.append(self._problem)
        if self._taken_over is not None:
            self._claims = self._merge(self._taken_over)
            self._taken_over = None
        elif not self._leads:
            published, merged = self._merged
            if published is not self._published.claims or merged is not self._claims:
                self._claims = self._merge(self._published.claims)
                self._merged = (self._published.claims, self._claims)
        claims = self._claims
        if len(problems) == len(snapshot.problems):
            return replace(snapshot, claims=claims)
        return replace(snapshot, claims=claims, problems=tuple(sorted(problems, key=str)))

    def learn(self, claims: HostClaims) -> None:
        """Keep the record that a translation gave."""
        self._claims = claims
        self._passed = True

    def announce(self) -> None:
        """Wake up who waits, if anything changed since the last time."""
        if self._passed and self._leads and self._taken_over is None:
            self._settled = True
        state: tuple[object, ...] = (self._claims, self._config_maps, self._settled)
        if any(new is not old for new, old in zip(state, self._announced, strict=True)):
            self._announced = state
            self._revision += 1
            self._changed.set()
            self._changed = anyio.Event()

    def lead(self, published: HostClaims) -> None:
        """This replica's record counts from now on; *published* is what the former leader left."""
        self._passed = self._settled = False
        self._taken_over = published
        self._leads = True
        self._wake.set()

    def follow(self) -> None:
        """The published record counts from now on."""
        self._leads = self._settled = False
        self._merged = (NO_CLAIMS, NO_CLAIMS)
        self._taken_over = None
        self._wake.set()

    def report(self, problem: DecodeError | None) -> None:
        """Report with the next snapshot why the record cannot be written; ``None``: it can."""
        if str(problem) != str(self._problem):
            self._problem = problem
            self._wake.set()

    def _merge(self, published: HostClaims) -> HostClaims:
        return _merge(self._claims, published, covers_names=self._covers_names)

    def _read(self, snapshot: Snapshot) -> PublishedClaims:
        record, config_maps = self._record, snapshot.by_key(ConfigMap)
        if record is not None and config_maps is not self._config_maps:
            self._config_maps = config_maps
            self._published = read_record(item for item in config_maps.values() if is_shard(item, record))
        return self._published


def _merge(mine: HostClaims, published: HostClaims, *, covers_names: bool) -> HostClaims:
    """*published*, and what is in *mine* only; claims that both have stay the objects of *mine*.

    A name of *mine* below a wildcard that is published for another namespace is left out: who wrote that
    knows the name too by then, and does not hold it for its namespace, or it would be written.
    """
    own, other = mine.by_host, published.by_host
    changed = {host: claim for host, claim in other.items() if not _same(own.get(host), claim)}
    covered = [
        host
        for host in (own.keys() - other.keys() if covers_names else ())
        if (wildcard := other.get(wildcard_above(host))) and wildcard.namespace != own[host].namespace
    ]
    if not changed and not covered:
        return mine
    merged = {**own, **changed}
    for host in covered:
        del merged[host]
    return HostClaims(by_host=merged)


def _same(mine: HostClaim | None, published: HostClaim) -> bool:
    return mine is not None and (mine.namespace, mine.since, mine.released) == (
        published.namespace,
        published.since,
        published.released,
    )
