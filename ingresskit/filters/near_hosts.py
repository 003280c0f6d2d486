"""Hosts that a client may have meant who asked for another: related by structure first, then by spelling."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from enum import IntEnum
from typing import NamedTuple

from ingresskit.graph import RouteGraph, host_candidates, wildcard_above

__all__ = ["HostRelation", "RelatedHost", "host_message", "hosts_alike", "related_hosts", "relation_of"]

_LONGEST_SLIP = 4
# 20,000 hosts of 30 characters: 0.1 s; what is left out then are hosts that differ in two labels.
_MOST_COMPARED_CHARACTERS = 20_000_000


class HostRelation(IntEnum):
    """How the host of a rule relates to the host asked for; the lower, the nearer."""

    WILDCARD = 0
    """The wildcard of the very name, or one that the name has one label too many for."""
    WWW = 1
    LABEL = 2
    """One label more or less, somewhere inside."""
    FAMILY = 3
    """One is below the other."""


class RelatedHost(NamedTuple):
    """A host of a rule; the smaller, the nearer."""

    relation: HostRelation
    labels: int
    host: str


def related_hosts(graph: RouteGraph, host: str) -> list[RelatedHost]:
    """The hosts of *graph* that relate to *host* by structure, nearest first; none of those that take it.

    Takes time by the number of hosts: 10,000 of them some 10 ms.
    """
    mine = set(host_candidates(host))
    found = (
        (name, relation_of(name, host))
        for name in (item.host for item in graph.virtual_hosts)
        if name not in mine
    )
    depth = host.count(".")
    return sorted(
        RelatedHost(relation, abs(name.count(".") - depth), name)
        for name, relation in found
        if relation is not None
    )


def relation_of(rule: str, host: str) -> HostRelation | None:
    """How the host of a rule relates to a host that is asked for; ``None``: not at all."""
    bare = rule.removeprefix("*.")
    wild = bare is not rule
    below, above = host.endswith(f".{bare}"), bare.endswith(f".{host}")
    if wild and (host == bare or (below and host.count(".") == bare.count(".") + 2)):
        return HostRelation.WILDCARD
    if (not wild and f"www.{host}" == rule) or f"www.{rule}" == host:
        return HostRelation.WWW
    if below or above or host == bare:
        return HostRelation.FAMILY
    meant = wildcard_above(host) if wild else host
    return HostRelation.LABEL if _one_label_apart(rule, meant) else None


def _one_label_apart(one: str, other: str) -> bool:
    """Whether one of two names is the other with one label more, not at its beginning."""
    if abs(one.count(".") - other.count(".")) != 1:
        return False
    shorter, longer = sorted((one.split("."), other.split(".")), key=len)
    # The first label and the last are the same: what lies between is what may be forgotten.
    if len(shorter) < 2 or shorter[0] != longer[0] or shorter[-1] != longer[-1]:
        return False
    return any([*longer[:at], *longer[at + 1 :]] == shorter for at in range(1, len(longer) - 1))


def hosts_alike(graph: RouteGraph, host: str, most: int) -> list[str]:
    """At most so many hosts that may be a slip of the hand away, likest first."""
    mine = set(host_candidates(host))
    others = [item.host for item in graph.virtual_hosts if item.host not in mine]
    return get_close_matches(host, _worth_comparing(host, others), n=most, cutoff=0.8)


def _worth_comparing(host: str, others: Iterable[str]) -> list[str]:
    """Hosts that may be a slip of the hand away. Comparing texts takes time by the square of their length."""
    alike = [name for name in others if abs(len(name) - len(host)) <= _LONGEST_SLIP]
    most = max(_MOST_COMPARED_CHARACTERS // (len(host) ** 2), 100)
    if len(alike) > most:
        first, _, rest = host.partition(".")
        alike = [name for name in alike if (parts := name.partition("."))[0] == first or parts[2] == rest]
    return alike[:most]


def host_message(rule: str, host: str) -> str:
    """Why a rule of one host takes no request for another, a clause."""
    if rule.startswith("*."):
        if host.endswith(rule[1:]):
            return f"{rule} takes exactly one label before {rule[2:]}, and {host} has more"
        if host == rule[2:]:
            return f"{rule} takes names below {host}, not {host} itself"
    elif f"www.{host}" == rule or f"www.{rule}" == host:
        return f"{rule} and {host} are two hosts, and each needs a rule of its own"
    elif host.endswith(f".{rule}"):
        wildcard = f"; *.{rule} would" if host.count(".") == rule.count(".") + 1 else ""
        return f"{rule} takes no names below it{wildcard}"
    elif rule.endswith(f".{host}"):
        return f"{rule} is a name below {host}, and takes nothing for it"
    if relation_of(rule, host) is HostRelation.LABEL:
        more = "more" if host.count(".") > rule.count(".") else "less"
        return f"it is for the host {rule}, and {host} has one label {more}"
    return f"it is for the host {rule}, not {host}"
