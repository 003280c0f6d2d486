"""Rules whose authors may have expected them to take a request, each with the one thing that it lacks.

A near miss is served under a host or a path that takes the request, or nearly, or would be if it were
served at all. The nearest comes first: of the hosts, the one asked for; of its rules, one that is not
served, then one that differs in a slash, a letter's case or its path type, then wider and deeper paths, and
the unrelated ones last. After it come hosts that relate to it by structure, such as the wildcard of the same
name, then rules of such hosts that are not served, and then hosts that are spelt nearly the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import IntEnum, StrEnum
from typing import NamedTuple

from ingresskit.filters.decide import Decision
from ingresskit.filters.near_hosts import host_message, hosts_alike, related_hosts, relation_of
from ingresskit.graph import (
    ANY_HOST,
    JudgedRequest,
    PathKind,
    PathMatch,
    PathRefused,
    Request,
    Route,
    RouteGraph,
    Unserved,
    VirtualHost,
    host_candidates,
)
from ingresskit.models import ObjectRef
from ingresskit.policies import Origin

__all__ = ["Miss", "NearMiss", "NearMisses", "near_misses"]

_MOST_OTHER_HOSTS = 8
# Routes of other hosts that are asked whether they would take the path; hosts after them count unasked.
_MOST_ASKED_ROUTES = 50_000
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


class _Place(IntEnum):
    """Where a near miss stands after those of the hosts that may take the request."""

    RELATED = 10
    RELATED_NOT_SERVED = 11
    ALIKE = 12


class _Ranked(NamedTuple):
    place: int
    relation: int
    miss: NearMiss


class NearMisses(NamedTuple):
    """Some near misses, and how many there are.

    Attributes:
        shown: Nearest first.
        total: With those that are not shown; of more than 50,000 rules of other hosts it may count some
            hosts that lack the path.
    """

    shown: tuple[NearMiss, ...]
    total: int


def near_misses(
    graph: RouteGraph, request: Request, decision: Decision, candidates: tuple[VirtualHost, ...], *, most: int
) -> NearMisses:
    """The near misses of a request, nearest first.

    Args:
        graph: What is served.
        request: The request.
        decision: What happens to it.
        candidates: The virtual hosts that may take it.
        most: How many are shown.
    """
    host, path = decision.host, decision.path
    nearness = {name: rank for rank, name in enumerate(host_candidates(host))}
    ranked = [*_served(graph, request, decision, candidates, nearness), *_unserved(graph, host, path, nearness)]
    others, unshown = _of_other_hosts(graph, decision, candidates)
    ranked += others
    ranked.sort(key=lambda item: (item.place, item.relation))
    return NearMisses(tuple(item.miss for item in ranked[:most]), len(ranked) + unshown)


def _served(
    graph: RouteGraph,
    request: Request,
    decision: Decision,
    candidates: tuple[VirtualHost, ...],
    nearness: dict[str, int],
) -> Iterator[_Ranked]:
    path, winner = decision.path, decision.route
    judged = JudgedRequest(request)
    for virtual_host in candidates:
        compared = len(virtual_host.routes) <= _MOST_COMPARED_PATHS
        for route in virtual_host.routes:
            if route is not winner:
                relation, reason, message = _condition_miss(route, path, judged) or _path_miss(
                    route, path, winner, compared=compared
                )
                yield _Ranked(
                    nearness[virtual_host.host], relation, _near(virtual_host, route, reason, message)
                )
    names = {item.host for item in candidates}
    for name, place in nearness.items():
        other = graph.virtual_host(name)
        if other is not None and name not in names and (wider := _first_match(other, path)) is not None:
            message = f"the host {candidates[0].host} is more specific than {_named(name)}"
            yield _Ranked(place, _Relation.DETAIL, _near(other, wider, Miss.LESS_SPECIFIC_HOST, message))


def _of_other_hosts(
    graph: RouteGraph, decision: Decision, candidates: tuple[VirtualHost, ...]
) -> tuple[list[_Ranked], int]:
    """The near misses of hosts that do not take the request, and how many more there are."""
    host, path = decision.host, decision.path
    related = related_hosts(graph, host)
    known = {item.host for item in related}
    # Whoever asks for a host that is there did not mistype it.
    alike = [] if graph.virtual_host(host) is not None else hosts_alike(graph, host, _MOST_OTHER_HOSTS)
    places = [(item.host, _Place.RELATED) for item in related]
    places += [(name, _Place.ALIKE) for name in alike if name not in known]
    shown: list[_Ranked] = []
    unshown, asked = 0, 0
    for name, place in places:
        other = graph.by_host[name]
        message = host_message(name, host)
        route = _first_match(other, path) if asked < _MOST_ASKED_ROUTES else next(iter(other.routes), None)
        asked += len(other.routes)
        if route is None and not candidates and other.routes:
            # Nobody has the host: which hosts there are is worth more than whether they have the path.
            message += f", and no rule of it takes {path}"
            route = other.routes[0]
        if route is None:
            continue
        if len(shown) < _MOST_OTHER_HOSTS:
            shown.append(_Ranked(place, len(shown), _near(other, route, Miss.HOST_DIFFERS, message)))
        else:
            unshown += 1
    return shown, unshown


def _first_match(host: VirtualHost, path: str) -> Route | None:
    """The rule that would take the path if the host were right."""
    return next((item for item in host.routes if not item.fallback and _takes(item.match, path)), None)


def _takes(match: PathMatch, path: str) -> bool:
    """Whether *match* takes *path*; one that takes too long to say so does not."""
    try:
        return match.matches(path)
    except PathRefused:
        return False


def _condition_miss(route: Route, path: str, request: JudgedRequest) -> tuple[_Relation, Miss, str] | None:
    """Why a variant leaves a request for its path: the first condition that does not hold, or its share."""
    selection = route.selection
    if not selection or not _takes(route.match, path):
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
    if _takes(match, path):
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


def _near(host: VirtualHost, route: Route, reason: Miss, message: str) -> NearMiss:
    return NearMiss(origin=route.origin, host=host.host, path=route.shown, reason=reason, message=message)


def _named(host: str) -> str:
    return "any host" if host == ANY_HOST else host


def _unserved(graph: RouteGraph, host: str, path: str, nearness: dict[str, int]) -> Iterator[_Ranked]:
    for item in graph.unserved:
        meant = _meant_host(item)
        # A port or a scheme in a rule's host, and it would be the very host that is asked for.
        place = 0 if meant == host else nearness.get(item.host)
        related = place is not None or (item.host and relation_of(meant, host) is not None)
        path_fits = item.match is None or _takes(item.match, path)
        if (place is not None and path_fits) or (not item.path and related):
            miss = NearMiss(
                origin=item.origin,
                host=item.host,
                path=item.path,
                reason=item.reason,
                message=item.message,
                winner=item.winner,
            )
            yield _Ranked(_Place.RELATED_NOT_SERVED if place is None else place, _Relation.NOT_SERVED, miss)


def _meant_host(item: Unserved) -> str:
    """The name in a host that may be written with a scheme, a port or a path, and is none for it."""
    found = _NAME.search(item.host.lower().rpartition("://")[2])
    return found[0] if found is not None and not item.host.startswith("*.") else item.host
