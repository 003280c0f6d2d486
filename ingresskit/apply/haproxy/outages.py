"""Which endpoints HAProxy leaves out, and the log messages about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ingresskit.facts import fact_logger
from ingresskit.graph import BackendKey, Termination

__all__ = ["Outages"]

_logger = fact_logger(__name__)

_MOST_WARNINGS: Final = 20
_TIMED_OUT: Final = "L4TOUT"


class Outages:
    """The endpoints that are left out, as ``show stat`` lists them.

    One warning when an endpoint is left out and one message when it takes requests again, with at most
    twenty of each in one reading and a count of the rest.
    """

    def __init__(self) -> None:
        self._out: frozenset[tuple[BackendKey, str]] = frozenset()

    @property
    def count(self) -> int:
        """How many endpoints are left out; one of several backends counts for each."""
        return len(self._out)

    def take(self, rows: Iterable[Mapping[str, str]], holders: Mapping[str, BackendKey]) -> None:
        """Look at the rows of servers; see `Tally.take`."""
        reasons: dict[tuple[BackendKey, str], Termination] = {}
        there: set[tuple[BackendKey, str]] = set()
        for row in rows:
            if row["svname"] == "FRONTEND" or (key := holders.get(row["pxname"])) is None:
                continue
            place = (key, row.get("addr") or row["svname"])
            there.add(place)
            if row.get("status", "").startswith("DOWN"):
                late = row.get("check_status", "").lstrip("* ") == _TIMED_OUT
                reasons[place] = Termination.UPSTREAM_CONNECT_TIMEOUT if late else Termination.UPSTREAM_REFUSED
        new = sorted(reasons.keys() - self._out)
        for key, endpoint in new[:_MOST_WARNINGS]:
            facts = {"endpoint": endpoint, "backend": str(key), "reason": str(reasons[key, endpoint])}
            _logger.warning("endpoint takes no connections, leaving it out", extra=facts)
        back = sorted((self._out - reasons.keys()) & there)
        for key, endpoint in back[:_MOST_WARNINGS]:
            _logger.info("endpoint works again", extra={"endpoint": endpoint, "backend": str(key)})
        if (more := max(len(new), len(back)) - _MOST_WARNINGS) > 0:
            _logger.warning("messages about endpoints left out", extra={"count": more})
        self._out = frozenset(reasons)
