"""Names below a wildcard of another namespace: both sides get a Diagnostic, whichever keeps the name."""

from __future__ import annotations

from collections.abc import Iterator

from ingresskit._ledger import Ledger
from ingresskit._sorted_map import SortedMap
from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import wildcard_above
from ingresskit.models import ObjectRef
from ingresskit.policies import Origin
from ingresskit.translate.claim_index import ClaimIndex
from ingresskit.translate.host_inputs import Held
from ingresskit.translate.resolved import ResolvedClaims

__all__ = ["OverlapTable", "beside_wildcard"]

_Name = tuple[str, str, ObjectRef | None]
"""A name, a namespace that claims it, and that claim."""


def beside_wildcard(
    host: str, own: ResolvedClaims | None, wildcard: Held, *, strict: bool
) -> Iterator[Diagnostic]:
    """The Diagnostic for the holder of a name, when another namespace holds the wildcard above.

    Args:
        host: The name.
        own: The oldest claim of its holder; ``None`` when it does not claim the name itself.
        wildcard: The hold on the wildcard above.
        strict: Whether names belong to their wildcard, unless they were claimed first.
    """
    if own is None or wildcard.owner in (None, own.namespace):
        return
    why = "whose claim came first" if strict else "for with host ownership exact a wildcard holds no names"
    claim = f" (oldest claim: {wildcard.claim})" if wildcard.claim else ""
    message = (
        f"host {host} lies below {wildcard_above(host)}, which namespace {wildcard.owner} owns{claim};"
        f" it stays with namespace {own.namespace}, {why}"
    )
    yield _overlap(own.names(host), message, wildcard.claim)


class _Below:
    """The names below a wildcard that matter to its holder, by name.

    Attributes:
        gone: Names that another namespace holds, each with its holder.
        refused: Names that are held through the wildcard, each with the first claim that is not served.
    """

    __slots__ = ("gone", "owner", "refused")

    def __init__(self) -> None:
        self.owner = ""
        self.gone: SortedMap[str, _Name] = SortedMap(_by_name)
        self.refused: SortedMap[str, _Name] = SortedMap(_by_name)


class OverlapTable:
    """Diagnostics for holders of wildcards: at most two Diagnostics each, however many names lie below.

    Args:
        index: The claims of the snapshot at hand.
        notes: Gets the Diagnostics.
    """

    def __init__(self, index: ClaimIndex, notes: Ledger[ObjectRef, Diagnostic]) -> None:
        self._index = index
        self._notes = notes
        self._below: dict[str, _Below] = {}
        self._dirty: set[str] = set()

    def put(self, host: str, held: Held | None, wildcard: Held | None) -> None:
        """The hold on *host*, ``None`` when it is not claimed, and that on the wildcard above it."""
        if host in self._below:
            self._dirty.add(host)
        above = wildcard_above(host)
        names = self._below.get(above)
        gone = refused = None
        if held is not None and held.owner and wildcard is not None and wildcard.owner:
            if held.owner != wildcard.owner:
                gone = (host, held.owner, held.claim)
            elif held.through:
                refused = self._first_refused(host, held)
            if gone or refused:
                names = self._below.setdefault(above, _Below())
                names.owner = wildcard.owner
        if names is None:
            return
        _replace(names.gone, host, gone)
        _replace(names.refused, host, refused)
        self._dirty.add(above)

    def settle(self) -> None:
        """Write the Diagnostics of the wildcards that something changed for."""
        for wildcard in self._dirty:
            names = self._below[wildcard]
            self._notes.put(("below", wildcard), _told_below(wildcard, names, self._index))
            if not names.gone and not names.refused:
                del self._below[wildcard]
        self._dirty.clear()

    def _first_refused(self, host: str, held: Held) -> _Name | None:
        claims = [item for item in self._index.by_host[host] if item.namespace not in held.refused]
        first = min(claims, key=lambda item: item.namespace, default=None)
        return None if first is None else (host, first.namespace, first.claimant.ref)


def _replace(names: SortedMap[str, _Name], host: str, name: _Name | None) -> None:
    if name is None:
        names.drop(host)
    else:
        names.put(host, name)


def _told_below(wildcard: str, names: _Below, index: ClaimIndex) -> Iterator[Diagnostic]:
    holder = next((item for item in index.by_host.get(wildcard, ()) if item.namespace == names.owner), None)
    if holder is None:
        return
    origin = holder.names(wildcard)
    if gone := names.gone.first():
        host, namespace, claim = gone
        oldest = f" (oldest claim: {claim})" if claim else ""
        message = (
            f"host {host} below it is owned by namespace {namespace}{oldest}; its requests do not come here"
        )
        yield _overlap(origin, message + _more(names.gone), claim)
    if refused := names.refused.first():
        host, namespace, claim = refused
        message = f"namespace {namespace} claims host {host} below it ({claim}) and does not get it"
        yield _overlap(origin, message + _more(names.refused), claim)


def _more(names: SortedMap[str, _Name]) -> str:
    more = len(names) - 1
    return f"; the same holds for {more} more name{'s' if more > 1 else ''}" if more else ""


def _by_name(host: str) -> tuple[str]:
    return (host,)


def _overlap(origin: Origin, message: str, other: ObjectRef | None) -> Diagnostic:
    return Diagnostic(
        subject=origin.subject,
        field=origin.field,
        reason=Reason.HOST_OVERLAP,
        message=message,
        severity=Severity.WARNING,
        related=() if other is None else (other,),
    )
