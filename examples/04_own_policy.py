"""An annotation of your own: a policy is a dataclass, and each of its fields names the annotation that sets it.

Its text is read by a function with a closed grammar, so what reaches a renderer is a checked value.
A text that does not fit, and a renderer that cannot honour the policy, are reported to the author.

    python examples/04_own_policy.py
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from ingresskit import (
    Ingress,
    Policy,
    Reason,
    Renderer,
    RouteGraph,
    Snapshot,
    TranslateOptions,
    annotated,
    default_policies,
)
from ingresskit.controller import reconcile
from ingresskit.models import decode


def parse_team(text: str) -> str:
    """The name of a team, such as ``payments``."""
    if not re.fullmatch(r"[a-z]{1,20}", text):
        raise ValueError("must be 1 to 20 lower-case letters")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Team(Policy):
    """Who is called when a route fails."""

    name: str = annotated(
        "team", parse_team, default="nobody", grammar="lower-case letters", summary="Who is called at night."
    )


class PagerRenderer(Renderer[dict[str, str]]):
    """Not a proxy at all: a list of who looks after which host and path."""

    name: ClassVar[str] = "pager"
    supports: ClassVar[frozenset[type[Policy]]] = frozenset({Team})

    def render(self, graph: RouteGraph) -> dict[str, str]:
        """The name of the team by host and path."""
        return {
            f"{host.host}{route.match.value}": (route.policies.get(Team) or Team()).name
            for host in graph.virtual_hosts
            for route in host.routes
        }


def ingress(name: str, team: str) -> Ingress:
    backend = {"service": {"name": name, "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    annotations = {"kubernetes.io/ingress.class": "ingresskit", "ingresskit.dev/team": team}
    return decode(
        Ingress,
        {
            "metadata": {"name": name, "namespace": "web", "annotations": annotations},
            "spec": {"rules": [{"host": f"{name}.example", "http": {"paths": paths}}]},
        },
    )


def main() -> None:
    snapshot = Snapshot.of([ingress("shop", "payments"), ingress("blog", "Tom & Jerry")])
    outcome = reconcile(snapshot, PagerRenderer(), TranslateOptions(policies=default_policies(Team)))
    for place, team in outcome.artifact.items():
        print(f"{place} is looked after by {team}")
    for diagnostic in outcome.diagnostics:
        if diagnostic.reason is Reason.ANNOTATION_INVALID:  # there are no Services here, which is wrong too
            print(diagnostic)


if __name__ == "__main__":
    main()
