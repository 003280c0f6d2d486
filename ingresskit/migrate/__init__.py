"""What a change of manifests, of flags or of the controller does to requests, found out before it is made."""

from __future__ import annotations

from ingresskit.migrate.access_log import logged_requests
from ingresskit.migrate.analyse import analyse, options_for
from ingresskit.migrate.difference import ChangeKind, Difference, NodeChange, RequestChange, compare
from ingresskit.migrate.expectations import Discrepancy, Expectation, Expectations
from ingresskit.migrate.findings import Analysis, Finding, Outcome, Proposal
from ingresskit.migrate.flags import FLAGS, ControllerFlags, FlagDoc, read_flags
from ingresskit.migrate.limits import Limit
from ingresskit.migrate.live import (
    SAFE_METHODS,
    LiveComparison,
    LivePlan,
    LiveProof,
    Seen,
    answers_differ,
    live_plan,
    live_proof,
)
from ingresskit.migrate.model import IngressNginxModel, Prediction
from ingresskit.migrate.probes import Probes, probes_of
from ingresskit.migrate.prove import Agreement, Comparison, Proof, prove
from ingresskit.migrate.verdicts import Verdict, verdicts_of

__all__ = [
    "FLAGS",
    "SAFE_METHODS",
    "Agreement",
    "Analysis",
    "ChangeKind",
    "Comparison",
    "ControllerFlags",
    "Difference",
    "Discrepancy",
    "Expectation",
    "Expectations",
    "Finding",
    "FlagDoc",
    "IngressNginxModel",
    "Limit",
    "LiveComparison",
    "LivePlan",
    "LiveProof",
    "NodeChange",
    "Outcome",
    "Prediction",
    "Probes",
    "Proof",
    "Proposal",
    "RequestChange",
    "Seen",
    "Verdict",
    "analyse",
    "answers_differ",
    "compare",
    "live_plan",
    "live_proof",
    "logged_requests",
    "options_for",
    "probes_of",
    "prove",
    "read_flags",
    "verdicts_of",
]
