"""Rules whose authors may have expected them to take a request, each with the one thing that it lacks.

A near miss is served under a host or a path that takes the request, or nearly, or would be if it were
served at all. The nearest comes first: of the hosts, the one asked for; of its rules, one that is not
served, then one that differs in a slash, a letter's case or its path type, then wider and deeper paths, and
the unrelated ones last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from enum import IntEnum, StrEnum
from heapq import nsmallest
from typing import NamedTuple

from ingresskit.filters.decide import Decision
from ingresskit.graph import (
    ANY_HOST,
    JudgedRequest,
    PathKind,
    PathMatch,
    Request,
    Route,
    RouteGraph,
    Unserved,
    VirtualHost,
    host_candidates,
)
from ingresskit.models import ObjectRef
from ingresskit.policies import Origin

__all__ = ["Miss", "NearMiss", "near_misses"]

_MOST_OTHER_HOSTS = 8
_MOST_COMPARED_KIN = 200
_LONGEST_SLIP = 4
# 20,000 hosts of 30 characters: 0.1 s; what is left out then are hosts that differ in two labels.
_MOST_COMPARED_CHARACTERS = 20_000_000
# Comparing texts letter by letter is slow, and a host may have ten thousand paths.
_MOST_COMPARED_PATHS = 500
_NOTATION = re.compile(r"[*()\[\]{}|^$\\?#<>]")
_NAME = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")


class Miss(StrEnum):
    """Why a served rule does not take a request."""

    HOST_DIFFERS = "HostDiffers"
    LESS_SPECIFIC_HOST = "LessSpecificHost"
    PATH_DIFFERS = "PathDiffers"
    CONDITION = "Condition"
    PATH_TYPE = "PathType"
    LESS_SPECIFIC_PATH = "LessSpecificPath"


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMiss:
    """A rule that does not take the request.

    Attributes:
        path: Path type and path, as the Ingress has them; empty when the whole host is meant.
        reason: A `Miss`, or for a rule that is not served, why it is not: a
            `ingresskit.diagnostics.Reason`, or ``"ClassNotOurs"``.
        message: One sentence.
        winner: Who took its place, where there is one.
    """

    origin: Origin
    host: str
    path: str
    reason: str
    message: str
    winner: ObjectRef | None = None


class _Relation(IntEnum):
    """How near a rule of the right host is; the lower, the nearer."""

    NOT_SERVED = 0
    DETAIL = 1
    WIDER = 2
    DEEPER = 3
    ALIKE = 4
    NONE = 5


class _Ranked(NamedTuple):
    relation: _Relation
    miss: NearMiss


def near_misses(
    graph: RouteGraph, request: Request, decision: Decision, candidates: tuple[VirtualHost, ...]
) -> tuple[NearMiss, ...]:
    """The near misses of a request, nearest first.

    Args:
        graph: What is served.
        request: The request.
        decision: What happens to it.
        candidates: The virtual hosts that may take it.
    """
    host, path = decision.host, decision.path
    ranked = [*_served(graph, request, decision, candidates), *_unserved(graph, host, path)]
    nearness = {name: rank for rank, name in enumerate(host_candidates(host))}
    ranked.sort(key=lambda item: (nearness.get(item.miss.host, len(nearness)), item.relation))
    return tuple(item.miss for item in ranked)


def _served(
    graph: RouteGraph, request: Request, decision: Decision, candidates: tuple[VirtualHost, ...]
) -> Iterator[_Ranked]:
    host, path, winner = decision.host, decision.path, decision.route
    judged = JudgedRequest(request)
    for virtual_host in candidates:
        compared = len(virtual_host.routes) <= _MOST_COMPARED_PATHS
        for route in virtual_host.routes:
            if route is not winner:
                relation, reason, message = _condition_miss(route, path, judged) or _path_miss(
                    route, path, winner, compared=compared
                )
                yield _Ranked(relation, _near(virtual_host, route, reason, message))
    names = {item.host for item in candidates}
    for name in host_candidates(host):
        other = graph.virtual_host(name)
        if other is not None and name not in names:
            message = f"the host {candidates[0].host} is more specific than {_named(name)}"
            yield from _first_match(other, path, Miss.LESS_SPECIFIC_HOST, message)
    for other in _hosts_like(graph, host):
        message = _host_message(other.host, host)
        found = list(_first_match(other, path, Miss.HOST_DIFFERS, message))
        if not found and not candidates and other.routes:
            # Nobody has the host: which hosts there are is worth more than whether they have the path.
            message += f", and no rule of it takes {path}"
            found = [_Ranked(_Relation.NONE, _near(other, other.routes[0], Miss.HOST_DIFFERS, message))]
        yield from found


def _first_match(host: VirtualHost, path: str, reason: Miss, message: str) -> Iterator[_Ranked]:
    """The rule that would take the path if the host were right."""
    route = next((item for item in host.routes if item.match.matches(path) and not item.fallback), None)
    if route is not None:
        yield _Ranked(_Relation.DETAIL, _near(host, route, reason, message))


def _condition_miss(route: Route, path: str, request: JudgedRequest) -> tuple[_Relation, Miss, str] | None:
    """Why a variant leaves a request for its path: the first condition that does not hold, or its share."""
    selection = route.selection
    if not selection or not route.match.matches(path):
        return None
    failed = next((item for item in selection.conditions if not item.holds(request)), None)
    if failed is not None:
        message = f"it takes only requests of which this holds: {failed}"
    elif selection.share is not None:
        message = f"it takes {selection.share}, each drawn by itself"
    else:
        return None
    return _Relation.DETAIL, Miss.CONDITION, message


def _path_miss(route: Route, path: str, winner: Route | None, *, compared: bool) -> tuple[_Relation, Miss, str]:
    match, rule = route.match, route.shown
    if match.matches(path):
        return (
            _Relation.WIDER,
            Miss.LESS_SPECIFIC_PATH,
            f"{winner.shown if winner else 'another rule'} is more specific",
        )
    if match.kind is PathKind.REGEX:
        related = bool(match.elements) and PathMatch.prefix(match.elements).matches(path)
        message = f"{path} does not begin with a match of the regular expression {match.value}"
        return _Relation.DETAIL if related else _Relation.NONE, Miss.PATH_DIFFERS, message
    literal = "; it is taken letter by letter" if _NOTATION.search(_written_path(route)) else ""
    if match.kind is PathKind.EXACT and match.value.rstrip("/") == path.rstrip("/"):
        message = f"it differs from {path} in the slash at the end, which counts for {rule}"
        return _Relation.DETAIL, Miss.PATH_TYPE, message
    if match.kind is PathKind.EXACT and PathMatch.prefix(match.value).matches(path):
        message = f"{rule} takes that path only, not {path}; a Prefix would"
        return _Relation.DETAIL if match.value != "/" else _Relation.ALIKE, Miss.PATH_TYPE, message
    if match.kind is PathKind.PREFIX and path.startswith(match.value):
        message = f"{rule} takes whole elements between slashes; {path} only begins with the same letters"
        return _Relation.DETAIL, Miss.PATH_TYPE, message
    if _takes_in_any_case(match, path):
        message = f"paths are case-sensitive: {match.value} is not {path}"
        return _Relation.DETAIL, Miss.PATH_DIFFERS, message
    if literal and path.startswith(_NOTATION.split(_written_path(route))[0]):
        return _Relation.DETAIL, Miss.PATH_DIFFERS, f"{rule} does not take {path}{literal}"
    if match.value.startswith(path.rstrip("/") + "/") and match.value != path:
        message = f"{rule} takes nothing above {match.value}, and {path} is above it"
        return _Relation.DEEPER if path != "/" else _Relation.ALIKE, Miss.PATH_DIFFERS, message
    if compared and _alike(match.value, path):
        message = f"{rule} does not take {path}, which is spelt nearly the same"
        return _Relation.DETAIL, Miss.PATH_DIFFERS, message
    related = path.split("/")[1] == match.value.split("/")[1] != ""
    message = f"{rule} does not take {path}{literal}"
    return _Relation.ALIKE if related else _Relation.NONE, Miss.PATH_DIFFERS, message


def _takes_in_any_case(match: PathMatch, path: str) -> bool:
    lower = PathMatch(match.kind, match.value.lower())
    return path.lower() != path or lower.value != match.value if lower.matches(path.lower()) else False


def _written_path(route: Route) -> str:
    return (route.written or str(route.match)).partition(" ")[2]


def _alike(one: str, other: str) -> bool:
    if abs(len(one) - len(other)) > 2 or min(len(one), len(other)) < 4:
        return False
    return SequenceMatcher(None, one, other).ratio() >= 0.8


def _hosts_like(graph: RouteGraph, host: str) -> list[VirtualHost]:
    """Hosts that a client who sent *host* may have meant, likest first, a handful at most."""
    mine = set(host_candidates(host))
    others = {item.host: item for item in graph.virtual_hosts if item.host not in mine}
    kin = nsmallest(
        _MOST_COMPARED_KIN,
        (name for name in others if _akin(name, host)),
        key=lambda name: (abs(len(name) - len(host)), name),
    )
    kin.sort(key=lambda name: (-SequenceMatcher(None, name, host).quick_ratio(), name))
    # Whoever asks for a host that is there did not mistype it.
    worth = [] if graph.virtual_host(host) is not None else _worth_comparing(host, others)
    typos = get_close_matches(host, worth, n=_MOST_OTHER_HOSTS, cutoff=0.8)
    return [others[name] for name in dict.fromkeys([*typos, *kin])][:_MOST_OTHER_HOSTS]


def _worth_comparing(host: str, others: Iterable[str]) -> list[str]:
    """Hosts that may be a slip of the hand away. Comparing texts takes time by the square of their length."""
    alike = [name for name in others if abs(len(name) - len(host)) <= _LONGEST_SLIP]
    most = max(_MOST_COMPARED_CHARACTERS // (len(host) ** 2), 100)
    if len(alike) > most:
        first, _, rest = host.partition(".")
        alike = [name for name in alike if (parts := name.partition("."))[0] == first or parts[2] == rest]
    return alike[:most]


def _near(host: VirtualHost, route: Route, reason: Miss, message: str) -> NearMiss:
    return NearMiss(origin=route.origin, host=host.host, path=route.shown, reason=reason, message=message)


def _akin(rule: str, host: str) -> bool:
    """Whether one name stands inside the other: ``shop.test`` and ``www.shop.test``."""
    bare = rule.removeprefix("*.")
    return f".{host}".endswith(f".{bare}") or f".{bare}".endswith(f".{host}")


def _host_message(rule: str, host: str) -> str:
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
    return f"it is for the host {rule}, not {host}"


def _named(host: str) -> str:
    return "any host" if host == ANY_HOST else host


def _unserved(graph: RouteGraph, host: str, path: str) -> Iterator[_Ranked]:
    may_take = set(host_candidates(host))
    for item in graph.unserved:
        same = item.host in may_take or _meant_host(item) == host
        host_fits = same or (item.host and _akin(_meant_host(item), host))
        path_fits = item.match is None or item.match.matches(path)
        if (same and path_fits) or (not item.path and host_fits):
            miss = NearMiss(
                origin=item.origin,
                host=item.host,
                path=item.path,
                reason=item.reason,
                message=item.message,
                winner=item.winner,
            )
            yield _Ranked(_Relation.NOT_SERVED, miss)


def _meant_host(item: Unserved) -> str:
    """The name in a host that may be written with a scheme, a port or a path, and is none for it."""
    found = _NAME.search(item.host.lower().rpartition("://")[2])
    return found[0] if found is not None and not item.host.startswith("*.") else item.host
