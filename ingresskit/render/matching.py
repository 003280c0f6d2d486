"""What is left of a host when a proxy cannot match all of its routes.

Without a variant, its requests go to the other route of its path, whose own policies hold for them. Where
the variant has a protection that the other route does not have, that one is closed: it may be a method that
is protected. A pattern cannot be replaced by anything: without one that protects, what it is meant to
protect could be taken by another route. So all paths that it could take are closed, as far as they begin
alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import PathKind, PathMatch, Respond, Route, VirtualHost
from ingresskit.policies import PolicySet, Selection, is_portable, path_pattern

__all__ = ["matchable"]


def matchable(
    host: VirtualHost, can_match: Callable[[Route], bool], name: str
) -> tuple[VirtualHost, tuple[Diagnostic, ...]]:
    """*host* with routes only that *can_match* is true of, and a diagnostic for each that is not.

    Args:
        host: Itself is returned when every route can be matched.
        can_match: Whether the proxy can tell which requests a route takes.
        name: The renderer's.
    """
    if all(map(can_match, host.routes)):
        return host, ()
    routes = {route.match: route for route in host.routes if can_match(route)}
    diagnostics: list[Diagnostic] = []
    for route in host.routes:
        if can_match(route):
            continue
        if route.match.kind is PathKind.REGEX:
            message = f"the {name} renderer does not support regular expressions as paths"
            if not is_portable(route.match.value):
                message += " that look around, refer back or take long"
            closed = _below(route.match) if _protects(host, route) else None
        else:
            message = f"the {name} renderer does not support variants of a path"
            # Nothing else may stand there: the requests would go to a shorter path.
            main = routes.get(route.match)
            closed = None if main is not None and not _protects(host, route, main) else route.match
        if closed is not None:
            action = Respond(status=503, reason=Reason.POLICY_UNSUPPORTED, message=message)
            there = routes.get(closed, replace(route, match=closed, selection=Selection()))
            routes[closed] = replace(there, action=action)
            effect = f"{closed} responds 503"
        else:
            effect = "it is not served"
        diagnostics.append(
            Diagnostic(
                subject=route.origin.subject,
                field=route.origin.field,
                reason=Reason.POLICY_UNSUPPORTED,
                message=f"{message}; {effect}",
                severity=Severity.ERROR,
            )
        )
    ordered = sorted(routes.values(), key=lambda route: route.precedence)
    return replace(host, routes=tuple(ordered)), tuple(diagnostics)


def _below(match: PathMatch) -> PathMatch:
    """The narrowest Prefix that takes all that a regular expression takes; it cannot ignore case."""
    return PathMatch.prefix("/" if path_pattern(match.value).ignores_case else match.elements or "/")


def _protects(host: VirtualHost, route: Route, other: Route | None = None) -> bool:
    """Whether *route* has a protection; that *other*, which takes its requests, does not have likewise."""
    there = host.policies_of(other) if other is not None else PolicySet()
    return any(
        type(policy).protects and there.get(type(policy)) != policy for policy in host.policies_of(route)
    )
