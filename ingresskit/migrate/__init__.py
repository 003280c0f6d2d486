"""What a change of manifests, of flags or of the controller does to requests, found out before it is made."""

from __future__ import annotations

from ingresskit.migrate.analyse import Analysis, Finding, Outcome, Proposal, analyse, options_for
from ingresskit.migrate.difference import ChangeKind, Difference, NodeChange, RequestChange, compare
from ingresskit.migrate.flags import FLAGS, ControllerFlags, FlagDoc, read_flags
from ingresskit.migrate.probes import Probes, probes_of
from ingresskit.migrate.verdicts import Verdict, verdicts_of

__all__ = [
    "FLAGS",
    "Analysis",
    "ChangeKind",
    "ControllerFlags",
    "Difference",
    "Finding",
    "FlagDoc",
    "NodeChange",
    "Outcome",
    "Probes",
    "Proposal",
    "RequestChange",
    "Verdict",
    "analyse",
    "compare",
    "options_for",
    "probes_of",
    "read_flags",
    "verdicts_of",
]
