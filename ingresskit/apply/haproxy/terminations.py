"""Why a request ended, from what HAProxy writes in its log: the words of `ingresskit.graph.Termination`.

Source: HAProxy configuration manual, 8.5 "Session state at disconnection" and ``fc_err_str``; the lines of
HAProxy 2.6.12 and 3.4.0 for each cause, November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ingresskit.graph import Termination
from ingresskit.render.haproxy.route_row import Kind

__all__ = ["reset_status", "termination_of"]

_LEFT: Final = 499

_BY_STATE: Final[Mapping[str, tuple[Termination, str]]] = {
    "SC": (Termination.UPSTREAM_REFUSED, ""),
    "sC": (Termination.UPSTREAM_CONNECT_TIMEOUT, ""),
    "SH": (Termination.UPSTREAM_CLOSED, ""),
    "sH": (Termination.UPSTREAM_READ_TIMEOUT, ""),
    "PH": (Termination.UPSTREAM_MALFORMED, ""),
    "SD": (Termination.UPSTREAM_TRUNCATED, ""),
    "SL": (Termination.UPSTREAM_TRUNCATED, ""),
    "PD": (Termination.UPSTREAM_MALFORMED, "in the body"),
    "sD": (Termination.UPSTREAM_READ_TIMEOUT, "in the body"),
    "sL": (Termination.UPSTREAM_READ_TIMEOUT, "in the body"),
    "sQ": (Termination.OVERLOADED, "no endpoint had room in time"),
    "SQ": (Termination.OVERLOADED, "no endpoint had room"),
    "cD": (Termination.CLIENT_LEFT, "the client took nothing"),
    "cL": (Termination.CLIENT_LEFT, "the client took nothing"),
}
_BY_CAUSE: Final[Mapping[str, Termination]] = {
    "C": Termination.CLIENT_LEFT,
    "c": Termination.CLIENT_TIMEOUT,
    "R": Termination.OVERLOADED,
    "I": Termination.INTERNAL,
    "K": Termination.SHUTDOWN,
    "D": Termination.UPSTREAM_CLOSED,
    "U": Termination.UPSTREAM_CLOSED,
}
_BY_STATUS: Final[Mapping[int, Termination]] = {
    403: Termination.DENIED,
    404: Termination.NO_ROUTE,
    408: Termination.CLIENT_TIMEOUT,
    411: Termination.BODY_TOO_LARGE,
    413: Termination.BODY_TOO_LARGE,
    429: Termination.DENIED,
    500: Termination.INTERNAL,
}
_TLS_ERRORS: Final = frozenset({*range(24, 39), 43})
_SWITCHED: Final = 101


def termination_of(
    state: str, *, status: int, upstream: int | None, kind: str, endpoint: bool, error: int
) -> tuple[Termination | None, str]:
    """Why the client got no whole response of an endpoint, and what exactly failed.

    Args:
        state: The first two characters of the termination state, as ``%ts`` writes it.
        status: What the client was sent.
        upstream: The status of the endpoint's response; ``None``: there was none.
        kind: What the route does, as `Kind` says; empty when none was found.
        endpoint: Whether one was chosen.
        error: The error of the connection to it, as ``bc_err`` writes it; 0: none.

    Returns:
        ``None`` and nothing for whole responses of endpoints, for redirects, and for tunnels, which either
        side ends as it likes.
    """
    cause, phase = state[:1], state[1:2]
    if not cause or cause == "-" or (cause in "CSDc" and upstream == _SWITCHED):
        return None, ""
    if cause in "PL" and phase in "RT" and not endpoint:
        return _refused(status, kind), ""
    if cause in "sS" and phase == "C" and error in _TLS_ERRORS:
        return Termination.UPSTREAM_TLS, ""
    if state == "SC" and not endpoint:
        return Termination.UPSTREAM_REFUSED, "no endpoint takes connections"
    if found := _BY_STATE.get(state):
        return found
    return _BY_CAUSE.get(cause), ""


def _refused(status: int, kind: str) -> Termination | None:
    """Why HAProxy responded by itself."""
    if 200 <= status < 400:
        return None
    if kind == Kind.DENIED:
        return Termination.DENIED
    if kind.startswith(Kind.RESPONDS):
        return Termination.UNAVAILABLE
    if status == 503:
        return Termination.NO_ENDPOINT
    return _BY_STATUS.get(status, Termination.BAD_REQUEST)


def reset_status(state: str, status: int, upstream: int | None) -> int:
    """The status to write down: HAProxy writes 400 for a client that left before a response began."""
    return _LEFT if state[:1] == "C" and upstream is None else status
