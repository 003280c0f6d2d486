"""What a change of manifests, of flags or of the controller does to requests, found out before it is made."""

from __future__ import annotations

from ingresskit.migrate.difference import Difference, NodeChange, RequestChange, compare
from ingresskit.migrate.probes import Probes, probes_of
from ingresskit.migrate.verdicts import Verdict, verdicts_of

__all__ = [
    "Difference",
    "NodeChange",
    "Probes",
    "RequestChange",
    "Verdict",
    "compare",
    "probes_of",
    "verdicts_of",
]
