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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import is_

from ingresskit.diagnostics import Diagnostic
from ingresskit.graph import wildcard_above
from ingresskit.models import NO_CLAIMS, HostClaim, HostClaims
from ingresskit.translate.claims import Age
from ingresskit.translate.hosts import Held
from ingresskit.translate.options import HostOwnership, TranslateOptions
from ingresskit.translate.overlaps import below_wildcards, beside_wildcard
from ingresskit.translate.reservations import Reservations
from ingresskit.translate.resolved import ResolvedClaims
from ingresskit.translate.unseen import UnseenClaims

__all__ = ["HolderTable", "Holders"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holders:
    """The decision on every host of one snapshot.

    Attributes:
        by_host: For each host that is claimed.
        owners: The namespace of each host that is held; empty when hosts are shared.
        claims: The record that should follow.
        diagnostics: What the holders of wildcards are told about names below them.
        due: When a grace period ends next; ``None`` when none runs.
    """

    by_host: Mapping[str, Held] = field(default_factory=dict[str, Held])
    owners: Mapping[str, str] = field(default_factory=dict[str, str])
    claims: HostClaims = NO_CLAIMS
    diagnostics: tuple[Diagnostic, ...] = ()
    due: datetime | None = None
    covers: bool = False
    reservations: Reservations = field(default_factory=Reservations)

    def owner(self, host: str) -> str | None:
        """The namespace that holds a rule host, whether or not a rule names it; ``None``: nobody does."""
        owner = self.owners.get(host)
        return self.owners.get(wildcard_above(host)) if owner is None and self.covers else owner

    def why_not(self, namespace: str, host: str) -> str:
        """Why *namespace* may not claim *host* whoever holds it, as a clause; empty when it may."""
        return self.reservations.why_not(namespace, host)


@dataclass(slots=True)
class _Decided:
    """A decision with its inputs.

    Attributes:
        recorded: The claim in the record before.
        above: The decision on the wildcard above.
        claim: The claim that the record should have; ``None``: none.
        fresh: By age, and the oldest claim: nobody held the host before.
        lasting: Whether it stands for as long as its inputs do; not while a host is held without a claim.
    """

    claims: Sequence[ResolvedClaims]
    recorded: HostClaim | None
    above: Held | None
    held: Held
    claim: HostClaim | None
    fresh: Age | None
    lasting: bool

    def stands(self, claims: Sequence[ResolvedClaims], recorded: HostClaim | None, above: Held | None) -> bool:
        """Whether these inputs lead to the same decision. Its own result is one that confirms it."""
        before = self.claims
        return (
            self.lasting
            and self.above is above
            and (recorded is self.recorded or recorded is self.claim)
            and len(before) == len(claims)
            and all(map(is_, before, claims))
        )


class HolderTable:
    """Decides who holds each host, snapshot after snapshot, and decides again only what changed."""

    def __init__(self, options: TranslateOptions) -> None:
        self._mode = options.host_ownership
        self._grace = options.host_claim_grace
        self._decided: dict[str, _Decided] = {}
        self._reservations = Reservations()
        self._claims = NO_CLAIMS

    def decide(
        self,
        by_host: Mapping[str, Sequence[ResolvedClaims]],
        record: HostClaims,
        reservations: Reservations,
        unseen: UnseenClaims,
        now: datetime | None,
    ) -> Holders:
        """The holders of all hosts.

        Args:
            by_host: The claims on each host, oldest first.
            record: Who held which host before.
            reservations: What administrators allow. The same object for as long as it does not change.
            unseen: Claims that may be there though they are not in *by_host*.
            now: Stamps new claims and ends grace periods; ``None``: no stamps, and no grace.
        """
        if reservations is not self._reservations:
            self._reservations, self._decided = reservations, {}
        moment = _Moment(record, reservations, unseen, self._grace, now)
        after: dict[str, _Decided] = {}
        names: list[str] = []
        for host, items in by_host.items():
            if host.startswith("*"):
                after[host] = self._follow(host, items, None, moment)
            else:
                names.append(host)
        for host in names:
            above = after.get(wildcard_above(host))
            after[host] = self._follow(host, by_host[host], above, moment)
        claims = {host: item.claim for host, item in after.items() if item.claim is not None}
        if self._mode is not HostOwnership.SHARED:
            for host in record.by_host.keys() - by_host.keys():
                if (kept := moment.kept(host, record.by_host[host])) is not None:
                    claims[host] = kept
        self._decided = after
        held = {host: item.held for host, item in after.items()}
        below = [(host, item.held, item.above) for host, item in after.items() if item.above is not None]
        return Holders(
            by_host=held,
            owners={host: item.owner for host, item in held.items() if item.owner is not None},
            claims=self._record(claims, record),
            diagnostics=() if self._mode is HostOwnership.SHARED else tuple(below_wildcards(below, by_host)),
            due=moment.due,
            covers=self._mode is HostOwnership.STRICT,
            reservations=reservations,
        )

    def _record(self, claims: dict[str, HostClaim], record: HostClaims) -> HostClaims:
        """These claims; the record before, or the last one given, when they are the same."""
        for known in (record, self._claims):
            held = known.by_host
            if len(held) == len(claims) and all(held.get(host) is claim for host, claim in claims.items()):
                self._claims = known
                return known
        self._claims = HostClaims(by_host=claims)
        return self._claims

    def _follow(
        self, host: str, items: Sequence[ResolvedClaims], above: _Decided | None, moment: _Moment
    ) -> _Decided:
        recorded = moment.record.get(host)
        wildcard = above.held if above is not None else moment.kept_above(host)
        known = self._decided.get(host)
        if known is not None and known.stands(items, recorded, wildcard):
            if known.fresh is not None and recorded is not None:
                known.fresh = None
            return known
        decided = self._decide(host, items, above, wildcard, moment)
        if known is not None and known.held == decided.held:
            decided.held = known.held  # what depends on it need not be decided again
        return decided

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
        owner, lasting = "", True
        fresh: Age | None = None
        claim: HostClaim | None = None
        if shared:
            pass
        elif recorded is not None and recorded.namespace in oldest:
            owner = recorded.namespace
        elif recorded is not None and (claim := moment.kept(host, recorded)) is not None:
            owner, lasting = recorded.namespace, False
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
            claims=items,
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
        """Whether a name that nobody holds falls to the holder of the wildcard above it."""
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

    def kept_above(self, host: str) -> Held | None:
        """The hold on the wildcard above *host*, where no Ingress claims it now."""
        above = wildcard_above(host)
        recorded = self.record.get(above)
        if recorded is None or self.kept(above, recorded) is None:
            return None
        return Held(owner=recorded.namespace)
