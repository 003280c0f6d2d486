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
_CONNECTED: Final = ("L4OK", "L6OK", "L7OK")

_Place = tuple[BackendKey, str]


class Outages:
    """The endpoints that are left out, as ``show stat`` lists them.

    One warning when an endpoint is left out and one message when it takes requests again, with at most
    twenty of each in one reading and a count of the rest.

    A process that replaces another takes every endpoint to be up until it has tried it. That alone is no
    recovery: an endpoint that was out works again once the new process has reached it.
    """

    def __init__(self) -> None:
        self._process = ""
        self._down: frozenset[_Place] = frozenset()
        self._reported: frozenset[_Place] = frozenset()
        self._untried: frozenset[_Place] = frozenset()

    @property
    def count(self) -> int:
        """How many endpoints are left out; one of several backends counts for each."""
        return len(self._down)

    @property
    def endpoints(self) -> frozenset[str]:
        """The endpoints that are left out, as ``address:port``."""
        return frozenset(endpoint for _, endpoint in self._down)

    def take(self, process: str, rows: Iterable[Mapping[str, str]], holders: Mapping[str, BackendKey]) -> None:
        """Look at the rows of servers; see `Tally.take`."""
        reasons: dict[_Place, Termination] = {}
        there: set[_Place] = set()
        reached: set[_Place] = set()
        for row in rows:
            if row["svname"] == "FRONTEND" or (key := holders.get(row["pxname"])) is None:
                continue
            place = (key, row.get("addr") or row["svname"])
            there.add(place)
            check = row.get("check_status", "").lstrip("* ")
            if row.get("status", "").startswith("DOWN"):
                late = check == _TIMED_OUT
                reasons[place] = Termination.UPSTREAM_CONNECT_TIMEOUT if late else Termination.UPSTREAM_REFUSED
            elif check in _CONNECTED or int(row.get("hrsp_2xx") or 0):
                reached.add(place)
        if process != self._process:
            self._process, self._untried = process, self._reported
        self._untried = frozenset((self._untried & there) - reasons.keys() - reached)
        new = sorted(reasons.keys() - self._reported)
        for key, endpoint in new[:_MOST_WARNINGS]:
            facts = {"endpoint": endpoint, "backend": str(key), "reason": str(reasons[key, endpoint])}
            _logger.warning("endpoint takes no connections, leaving it out", extra=facts)
        back = sorted((self._reported - reasons.keys() - self._untried) & there)
        for key, endpoint in back[:_MOST_WARNINGS]:
            _logger.info("endpoint works again", extra={"endpoint": endpoint, "backend": str(key)})
        if (more := max(len(new), len(back)) - _MOST_WARNINGS) > 0:
            _logger.warning("messages about endpoints left out", extra={"count": more})
        self._down = frozenset(reasons)
        self._reported = self._down | self._untried
