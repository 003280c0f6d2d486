"""Names below a wildcard of another namespace: both sides get a Diagnostic, whoever keeps the name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import wildcard_above
from ingresskit.models import ObjectRef
from ingresskit.policies import Origin
from ingresskit.translate.hosts import Held
from ingresskit.translate.resolved import ResolvedClaims

__all__ = ["below_wildcards", "beside_wildcard"]

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


def below_wildcards(
    below: Iterable[tuple[str, Held, Held]], by_host: Mapping[str, Sequence[ResolvedClaims]]
) -> Iterator[Diagnostic]:
    """The Diagnostics for holders of wildcards: at most two for each, however many names lie below it.

    Args:
        below: The names with the hold on them and the hold on the wildcard above.
        by_host: The claims on each host, oldest first.
    """
    gone: dict[tuple[str, str], list[_Name]] = {}
    refused: dict[tuple[str, str], list[_Name]] = {}
    for host, held, wildcard in below:
        if wildcard.owner is None or held.owner is None:
            continue
        above = (wildcard_above(host), wildcard.owner)
        if held.owner != wildcard.owner:
            gone.setdefault(above, []).append((host, held.owner, held.claim))
        elif held.through:
            for item in by_host[host]:
                if item.namespace not in held.refused:
                    refused.setdefault(above, []).append((host, item.namespace, item.claimant.ref))
    for above, names in sorted(gone.items()):
        host, namespace, claim = min(names, key=_first)
        oldest = f" (oldest claim: {claim})" if claim else ""
        message = (
            f"host {host} below it is owned by namespace {namespace}{oldest}; its requests do not come here"
        )
        yield from _told(above, names, message, claim, by_host)
    for above, names in sorted(refused.items()):
        host, namespace, claim = min(names, key=_first)
        message = f"namespace {namespace} claims host {host} below it ({claim}) and does not get it"
        yield from _told(above, names, message, claim, by_host)


def _told(
    above: tuple[str, str],
    names: Sequence[_Name],
    message: str,
    other: ObjectRef | None,
    by_host: Mapping[str, Sequence[ResolvedClaims]],
) -> Iterator[Diagnostic]:
    more = len({host for host, _, _ in names}) - 1
    tail = f"; the same holds for {more} more name{'s' if more > 1 else ''}" if more else ""
    wildcard, owner = above
    holder = next((item for item in by_host.get(wildcard, ()) if item.namespace == owner), None)
    if holder is not None:
        yield _overlap(holder.names(wildcard), message + tail, other)


def _first(item: _Name) -> tuple[str, str]:
    return item[:2]


def _overlap(origin: Origin, message: str, other: ObjectRef | None) -> Diagnostic:
    return Diagnostic(
        subject=origin.subject,
        field=origin.field,
        reason=Reason.HOST_OVERLAP,
        message=message,
        severity=Severity.WARNING,
        related=() if other is None else (other,),
    )
