"""Write docs/stages.md from the stages and policies themselves: `python scripts/stages.py`."""

from __future__ import annotations

from pathlib import Path

from ingresskit.policies import (
    BUILTIN_POLICIES,
    NATIVE_ORDER,
    STAGE_REASONS,
    EndpointPreference,
    PlainHttp,
    ServiceUpstream,
    Stage,
    TrafficSplit,
    UpstreamProtocol,
)

PAGE = Path(__file__).resolve().parent.parent / "docs" / "stages.md"

_INTRODUCTION = """\
<!-- Written by scripts/stages.py from the stages and policies; do not edit. -->

# Order of policies

Every policy acts at one stage, and the stages follow one another in this order, in every renderer.
A policy that responds (403, a redirect, 413) ends the request there: later stages do not see it.
A dialect may bring another order for the routes that it reads; `ingresskit explain` shows the order in force
for a request.

| stage | policies | why here |
|---|---|---|
"""

_AFTER = """
The stages without a policy are there for policies of third parties (see [policies](policies.md)).
Header fields of responses are changed when the response of an endpoint comes back; responses of the proxy
itself get those of `Hsts` and `Cors` only.
"""

# Part of the graph itself: it chooses among the backends of the route.
_IN_THE_GRAPH = frozenset({EndpointPreference, ServiceUpstream, TrafficSplit, UpstreamProtocol})


def page() -> str:
    """The whole page, as it stands in docs/stages.md."""
    return _INTRODUCTION + "".join(map(_row, NATIVE_ORDER.stages)) + _AFTER


def _row(stage: Stage) -> str:
    kinds = {*BUILTIN_POLICIES, PlainHttp} - _IN_THE_GRAPH
    names = sorted(policy.__name__ for policy in kinds if policy.stage is stage)
    return f"| {stage} | {', '.join(f'`{name}`' for name in names)} | {STAGE_REASONS[stage]} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
