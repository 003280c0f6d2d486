"""Who holds each host: an administrator's reservation, then the record of claims, then age.

Ownership follows the claim, not the age of the object: a namespace that holds a host keeps it while any
of its Ingresses claims it, whatever others create or edit. The record is an input (`Snapshot.claims`),
and the record that should follow is a result, so translation stays a pure function.

For each host, in this order:

1. Namespaces that may not claim it (`reservations`) are refused.
2. The namespace in the record keeps it while it claims it; without a claim for the grace period, and
   for as long as its Ingresses cannot be read or their class is missing.
3. In strict mode the holder of the wildcard above keeps the names below it, unless the name was held, or
   claimed by an older Ingress, when the wildcard was first claimed. Wildcards are decided first.
4. A host that nobody holds goes to the oldest claim at once.

A host is decided again only when one of these inputs is another object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ingresskit._ledger import Ledger
from ingresskit.diagnostics import Diagnostic
from ingresskit.graph import wildcard_above
from ingresskit.models import NO_CLAIMS, HostClaim, HostClaims, ObjectRef
from ingresskit.translate.claim_index import ClaimIndex
from ingresskit.translate.claims import Age
from ingresskit.translate.host_inputs import Held
from ingresskit.translate.options import HostOwnership, TranslateOptions
from ingresskit.translate.overlaps import OverlapTable, beside_wildcard
from ingresskit.translate.reservations import Reservations
from ingresskit.translate.resolved import ResolvedClaims
from ingresskit.translate.unseen import UnseenClaims

__all__ = ["HolderTable"]


@dataclass(slots=True)
class _Decided:
    """A decision on one host.

    Attributes:
        recorded: The claim in the record before.
        above: The hold on the wildcard above.
        claim: The claim that the record should have; ``None``: none.
        fresh: By age, and the oldest claim: no namespace held the host before.
        lasting: Whether it stands for as long as its inputs do; not while a grace period, or a claim that
            cannot be seen, has a say in it.
    """

    recorded: HostClaim | None
    above: Held | None
    held: Held
    claim: HostClaim | None
    fresh: Age | None
    lasting: bool

    def agrees_with(self, recorded: HostClaim | None) -> bool:
        """Whether another record leads to the same decision. Its own result is one that confirms it."""
        return recorded is self.recorded or recorded is self.claim


class HolderTable:
    """Decides who holds each host, snapshot after snapshot, and decides again only what a change touches.

    Args:
        options: Who may share a host, and for how long it stays held without a claim.
        index: The claims of the snapshot at hand.
        notes: Gets what the holders of wildcards are told about names below them.

    Attributes:
        claims: The record that should follow.
        due: When a grace period ends next; ``None`` when none runs.
    """

    def __init__(
        self, options: TranslateOptions, index: ClaimIndex, notes: Ledger[ObjectRef, Diagnostic]
    ) -> None:
        self._mode = options.host_ownership
        self._grace = options.host_claim_grace
        self._index = index
        self._overlaps = OverlapTable(index, notes)
        self._decided: dict[str, _Decided] = {}
        self._reservations = Reservations()
        self._record = NO_CLAIMS
        self._unsettled: set[str] = set()
        self._fresh: set[str] = set()
        # Hosts in the record that no claimant names now, and the holds on those that are wildcards.
        self._orphans: set[str] = set()
        self._kept_above: dict[str, Held] = {}
        self.claims: HostClaims = NO_CLAIMS
        self.due: datetime | None = None

    def held(self, host: str) -> Held:
        """The hold on a host that is claimed."""
        return self._decided[host].held

    def named_owner(self, host: str) -> str | None:
        """The namespace that holds a host which rules name; ``None``: no namespace, or no rule names it."""
        decided = self._decided.get(host)
        return None if decided is None else decided.held.owner

    def owner(self, host: str) -> str | None:
        """The namespace that holds a rule host, whether or not a rule names it; ``None``: no namespace."""
        owner = self.named_owner(host)
        covers = self._mode is HostOwnership.STRICT
        return self.named_owner(wildcard_above(host)) if owner is None and covers else owner

    def why_not(self, namespace: str, host: str) -> str:
        """Why *namespace* may never claim *host*, as a clause; empty when it may."""
        return self._reservations.why_not(namespace, host)

    def advance(
        self,
        touched: Set[str],
        record: HostClaims,
        reservations: Reservations,
        unseen: UnseenClaims,
        now: datetime | None,
    ) -> set[str]:
        """Decide again what changed.

        Args:
            touched: The hosts whose claims changed.
            record: Who held which host before.
            reservations: What administrators allow. The same object for as long as it does not change.
            unseen: Claims that may exist although the index does not have them.
            now: Stamps new claims and ends grace periods; ``None``: no stamps, and no grace.

        Returns:
            The hosts on which the hold is another object than before, new, or gone.
        """
        dirty = set(touched) | self._unsettled
        if reservations is not self._reservations:
            self._reservations = reservations
            dirty.update(self._index.by_host)
        moment = _Moment(record, reservations, unseen, self._grace, now)
        strange = record is not self._record and record is not self.claims
        self._follow_record(record, touched, dirty, strange=strange)
        kept = self._keep_orphans(moment, dirty)
        changed: set[str] = set()
        for host in [host for host in dirty if host.startswith("*")]:
            before = self._above(host)
            if self._advance(host, moment):
                changed.add(host)
            if self._above(host) != before:
                dirty.update(self._index.below(host))
        for host in dirty:
            if not host.startswith("*") and self._advance(host, moment):
                changed.add(host)
        self._overlaps.settle()
        self._write(dirty, kept, record, strange=strange)
        self.due = moment.due
        return changed

    def _follow_record(self, record: HostClaims, touched: Set[str], dirty: set[str], *, strange: bool) -> None:
        """Find what another record changes: nothing where it is the result of the last decisions."""
        by_host = record.by_host
        if record is not self._record:
            for host in [host for host in self._fresh if host in by_host]:
                self._fresh.discard(host)
                self._decided[host].fresh = None
            self._record = record
        if strange:
            decided = self._decided.items()
            dirty.update(host for host, item in decided if not item.agrees_with(by_host.get(host)))
            self._orphans = set(by_host)
        candidates = self._orphans | touched
        self._orphans = {host for host in candidates if host in by_host and host not in self._index.by_host}

    def _keep_orphans(self, moment: _Moment, dirty: set[str]) -> dict[str, HostClaim | None]:
        """The claims that go on for hosts without a claim; ``None``: it is released."""
        if self._mode is HostOwnership.SHARED:
            return {}
        kept = {host: moment.kept(host, moment.record.by_host[host]) for host in self._orphans}
        above = {host: item.namespace for host, item in kept.items() if item and host.startswith("*.")}
        for wildcard in self._kept_above.keys() | above.keys():
            namespace, before = above.get(wildcard), self._kept_above.get(wildcard)
            if namespace is None:
                del self._kept_above[wildcard]
            elif before is None or before.owner != namespace:
                self._kept_above[wildcard] = Held(owner=namespace)
            else:
                continue
            dirty.update(self._index.below(wildcard))
        return kept

    def _above(self, wildcard: str) -> tuple[Held | None, Age | None]:
        """What the names below a wildcard depend on: the hold on it, and its age while it is new."""
        decided = self._decided.get(wildcard)
        return (None, None) if decided is None else (decided.held, decided.fresh)

    def _advance(self, host: str, moment: _Moment) -> bool:
        """Decide on *host* again; whether the hold on it is another one now."""
        items, before = self._index.by_host.get(host), self._decided.get(host)
        self._unsettled.discard(host)
        self._fresh.discard(host)
        if items is None:
            self._overlaps.put(host, None, None)
            return self._decided.pop(host, None) is not None
        wildcard_host = wildcard_above(host)
        above = self._decided.get(wildcard_host)
        wildcard = above.held if above is not None else self._kept_above.get(wildcard_host)
        decided = self._decide(host, items, above, wildcard, moment)
        if before is not None and before.held == decided.held:
            decided.held = before.held  # what depends on it need not be decided again
        self._decided[host] = decided
        if not decided.lasting:
            self._unsettled.add(host)
        if decided.fresh is not None:
            self._fresh.add(host)
        if self._mode is not HostOwnership.SHARED:
            self._overlaps.put(host, decided.held, wildcard)
        return before is None or before.held is not decided.held

    def _write(
        self, dirty: Set[str], kept: Mapping[str, HostClaim | None], record: HostClaims, *, strange: bool
    ) -> None:
        """The record that should follow: the one before, or the last one given, when they are the same."""
        if strange:
            claims = {host: item.claim for host, item in self._decided.items() if item.claim is not None}
            claims.update((host, item) for host, item in kept.items() if item is not None)
            held = record.by_host
            same = len(held) == len(claims) and all(held.get(host) is item for host, item in claims.items())
            self.claims = record if same else HostClaims(by_host=claims)
            return
        known = self.claims.by_host
        after: dict[str, HostClaim | None] = dict(kept)
        for host in dirty:
            decided = self._decided.get(host)
            if decided is not None:
                after[host] = decided.claim
            else:
                after.setdefault(host, None)
        differing = {host: item for host, item in after.items() if known.get(host) is not item}
        if differing:
            claims = dict(known)
            for host, item in differing.items():
                if item is None:
                    del claims[host]
                else:
                    claims[host] = item
            self.claims = HostClaims(by_host=claims)

    def _decide(
        self,
        host: str,
        items: Sequence[ResolvedClaims],
        above: _Decided | None,
        wildcard: Held | None,
        moment: _Moment,
    ) -> _Decided:
        recorded, why_not = moment.record.get(host), self._reservations.why_not
        refused: dict[str, str] = {}
        oldest: dict[str, ResolvedClaims] = {}
        for item in items:
            namespace = item.namespace
            if namespace not in refused and namespace not in oldest:
                if why := why_not(namespace, host):
                    refused[namespace] = why
                else:
                    oldest[namespace] = item
        shared = self._mode is HostOwnership.SHARED
        owner = ""
        lasting = recorded is None or recorded.namespace in oldest or shared
        fresh: Age | None = None
        claim: HostClaim | None = None
        if not lasting and recorded is not None:
            claim = moment.kept(host, recorded)
        if shared:
            pass
        elif recorded is not None and (recorded.namespace in oldest or claim is not None):
            owner = recorded.namespace
        elif wildcard is not None and self._covered(host, oldest, above, wildcard):
            owner = wildcard.owner or ""
        elif oldest:
            owner, first = next(iter(oldest.items()))
            fresh = first.claimant.age
        own = oldest.get(owner)
        through = ""
        if own is not None and not shared:
            claim = self._claim(host, owner, recorded, moment)
        ref = own.claimant.ref if own is not None else None
        if owner and own is None and claim is None and wildcard is not None:
            through, ref = wildcard_above(host), wildcard.claim
        held = Held(owner=owner or None, claim=ref, through=through, refused=refused)
        if wildcard is not None and not shared:
            strict = self._mode is HostOwnership.STRICT
            diagnostics = beside_wildcard(host, own, wildcard, strict=strict)
            held = replace(held, diagnostics=tuple(diagnostics))
        return _Decided(
            recorded=recorded,
            above=wildcard,
            held=held,
            claim=claim,
            fresh=fresh,
            lasting=lasting and (recorded is None or recorded.released is None),
        )

    def _covered(
        self, host: str, oldest: Mapping[str, ResolvedClaims], above: _Decided | None, wildcard: Held
    ) -> bool:
        """Whether an unclaimed name falls to the holder of the wildcard above it."""
        if self._mode is not HostOwnership.STRICT or wildcard.owner is None:
            return False
        if self._reservations.why_not(wildcard.owner, host):
            return False
        first = next(iter(oldest.values()), None)
        if first is None or above is None or above.fresh is None:
            return True
        return above.fresh < first.claimant.age

    def _claim(self, host: str, owner: str, recorded: HostClaim | None, moment: _Moment) -> HostClaim:
        reserved = self._reservations.reserves(owner, host)
        if recorded is None or recorded.namespace != owner:
            return HostClaim(namespace=owner, since=moment.stamp, reserved=reserved)
        if recorded.released is None and recorded.reserved == reserved:
            return recorded
        return replace(recorded, released=None, reserved=reserved)


class _Moment:
    """The record of one pass, and its clock."""

    def __init__(
        self,
        record: HostClaims,
        reservations: Reservations,
        unseen: UnseenClaims,
        grace: timedelta,
        now: datetime | None,
    ) -> None:
        self.record = record
        self.stamp = None if now is None else now.replace(microsecond=0)
        self.due: datetime | None = None
        self._reservations = reservations
        self._unseen = unseen
        self._grace = grace
        self._now = now

    def kept(self, host: str, recorded: HostClaim) -> HostClaim | None:
        """The claim of a namespace that does not claim *host* now; ``None`` when it is released."""
        if self._reservations.why_not(recorded.namespace, host):
            return None
        if self._unseen.may_be(recorded.namespace, host):
            return recorded
        if not self._grace or self._now is None:
            return None
        released = recorded.released or self._now.replace(microsecond=0)
        end = released + self._grace
        if self._now >= end:
            return None
        self.due = end if self.due is None else min(self.due, end)
        return recorded if recorded.released is not None else replace(recorded, released=released)
