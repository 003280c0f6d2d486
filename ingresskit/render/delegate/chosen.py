"""The header field by which the program in front and the delegate inform each other about a request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from ingresskit.graph import PathKind, PathMatch
from ingresskit.render.inprocess import RoutingTable, Target

__all__ = ["DELEGATE_FIELD", "ChosenRoute"]

DELEGATE_FIELD: Final = "ingresskit-delegate"
"""The header field, lower case. Its value is eight words, each apart from the next by one space:

| word | example |
|---|---|
| version of this form | ``1`` |
| the client's address, behind trusted proxies | ``203.0.113.7`` |
| scheme of the request, as trusted proxies say | ``https`` |
| scheme of the connection: ``http`` or ``0``, ``https`` or ``1`` | ``1`` |
| port of the listener | ``8443`` |
| rule host | ``*.example.com`` |
| kind of the path match, or ``Host``: all routes of the rule host are meant | ``Prefix`` |
| its path | ``/shop`` |
"""


class ChosenRoute(NamedTuple):
    """The route that the program in front chose: the rule host it stands under, and its path.

    Without a *kind*, the program chose the rule host only.
    """

    host: str
    kind: PathKind | None
    path: str

    @classmethod
    def of(cls, host: str, match: PathMatch) -> ChosenRoute:
        """The route with that match under the rule host *host*."""
        return cls(host, match.kind, match.value)

    def whole(self, tables: Iterable[RoutingTable]) -> RoutingTable | None:
        """The first of *tables* that has all routes of the rule host; ``None``: none has."""
        return next((table for table in tables if self.host in table.whole_hosts), None)

    def find(self, tables: Iterable[RoutingTable]) -> Target | None:
        """Its target in the first of *tables* that has it; ``None``: none has."""
        for table in tables:
            if (host := table.hosts.get(self.host)) is None:
                continue
            if self.kind is PathKind.EXACT:
                target = host.exact.get(self.path)
            else:
                target = host.prefixes.get(self.path.rstrip("/"))
            if target is not None:
                return target
        return None
