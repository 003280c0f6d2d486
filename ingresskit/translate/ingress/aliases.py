"""Further hosts for the rules of an Ingress, which a dialect may ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from ingresskit.diagnostics import Diagnostic, Reason
from ingresskit.graph import ANY_HOST, HostRefused, rule_host
from ingresskit.models import ObjectRef
from ingresskit.translate.claims import Claim

__all__ = ["alias_claims", "alias_hosts"]

# Each takes all paths of an Ingress, which may be thousands.
_MOST_ALIASES: Final = 50
_PLACE: Final = "metadata.annotations"


def alias_hosts(
    subject: ObjectRef, aliases: Sequence[str], named: Iterable[str]
) -> tuple[tuple[str, ...], tuple[Diagnostic, ...]]:
    """The hosts of *aliases* in normal form, without those that are *named* in rules, and what is wrong."""
    hosts: dict[str, None] = {}
    faults: list[Diagnostic] = []
    for text in aliases[:_MOST_ALIASES]:
        try:
            host = rule_host(text)
        except HostRefused as exc:
            shown = ascii(text if len(text) <= 80 else text[:77] + "...")
            faults.append(_fault(subject, f"the alias {shown} {exc}; no path is served for it"))
            continue
        if host != ANY_HOST and host not in named:
            hosts[host] = None
    if len(aliases) > _MOST_ALIASES:
        message = f"it has {len(aliases)} aliases; those after the first {_MOST_ALIASES} are not served"
        faults.append(_fault(subject, message))
    return tuple(hosts), tuple(faults)


def alias_claims(claims: Sequence[Claim], hosts: Iterable[str]) -> Iterator[Claim]:
    """The claims of an Ingress for each of *hosts*: its paths of all hosts, each match once.

    Doubts about a path are reported with the host of its rule.
    """
    own = {claim.match: claim for claim in reversed(claims) if claim.host != ANY_HOST}
    for host in hosts:
        for claim in claims:
            if own.get(claim.match) is claim:
                yield replace(claim, host=host, doubt=None)


def _fault(subject: ObjectRef, message: str) -> Diagnostic:
    return Diagnostic(subject=subject, field=_PLACE, reason=Reason.INVALID_HOST, message=message)
