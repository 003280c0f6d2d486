"""Whether requests are answered here as ingress-nginx answers them: a model of it is asked, and a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from ingresskit.filters import PolicyEffects
from ingresskit.filters.chain import BUILTIN_EFFECTS
from ingresskit.graph import Request, RouteGraph
from ingresskit.migrate.expectations import Expectation, Expectations
from ingresskit.migrate.flags import ControllerFlags
from ingresskit.migrate.model import Prediction
from ingresskit.migrate.probes import Probes
from ingresskit.migrate.verdicts import Verdict
from ingresskit.models import KubeObject, ObjectRef
from ingresskit.render import Restricted

__all__ = ["Agreement", "Comparison", "Proof", "prove"]


class Agreement(StrEnum):
    """How two answers to one request compare. Values are stable."""

    SAME = "same"
    """The client and the endpoint see the same, as far as the request decides."""
    DIFFERENT = "different"
    """Another response, another Service, another path."""
    LOST = "lost"
    """ingress-nginx sends it to an endpoint, and here it is refused."""
    VARIES = "varies"
    """Edges answered the request now so and now so, and nothing that is known says that they would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A request that is answered differently.

    Attributes:
        request: The smallest that was found to show it.
        agreement: `Agreement.DIFFERENT` or `Agreement.LOST`.
        there: What ingress-nginx does with it.
        here: What may be done with it here.
        why: How they differ, a clause.
        reason: What is reported of the Ingress that may explain it; empty: nothing is.
    """

    request: Request
    agreement: Agreement
    there: Prediction
    here: tuple[Verdict, ...]
    why: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What came of all requests.

    Attributes:
        asked: How many there were.
        same: How many are answered alike.
        differences: The others, of each host, Ingress and kind of difference the first.
        by_ingress: For each Ingress that took a request there, how many are the same, and not.
    """

    asked: int = 0
    same: int = 0
    differences: tuple[Comparison, ...] = ()
    by_ingress: dict[ObjectRef, tuple[int, int]] = field(default_factory=dict[ObjectRef, tuple[int, int]])

    @property
    def unexplained(self) -> tuple[Comparison, ...]:
        """The differences that nothing reported explains."""
        return tuple(item for item in self.differences if not item.reason)


def prove(
    objects: Iterable[KubeObject],
    flags: ControllerFlags | None = None,
    *,
    served: Iterable[KubeObject] | None = None,
    requests: Iterable[Request] = (),
    probes: Probes | None = None,
    restrict: Callable[[RouteGraph], Restricted] | None = None,
    effects: PolicyEffects = BUILTIN_EFFECTS,
) -> Proof:
    """Compare what ingress-nginx does with requests, by a model, with what is done here.

    Args:
        objects: As for `ingresskit.migrate.analyse`. A Service that is not among them is taken to be there.
        flags: Those that ingress-nginx is run with; ``None``: its defaults.
        served: What is served here; ``None``: the same objects.
        requests: Requests beside those that are made, such as those of an access log.
        probes: Which requests are made for each host; by default 50 of each.
        restrict: That of the renderer whose limits count; ``None``: nothing limits.
        effects: What policies do.
    """
    expectations = Expectations(objects, flags, served=served, restrict=restrict, effects=effects)
    asked = same = 0
    found: dict[tuple[object, ...], Comparison] = {}
    counts: dict[ObjectRef, tuple[int, int]] = {}
    for request in expectations.requests(requests, probes or Probes(most_per_host=50)):
        asked += 1
        expected = expectations.of(request)
        ingress, differs = expected.there.ingress, bool(expected.discrepancy)
        if ingress is not None:
            alike, other = counts.get(ingress, (0, 0))
            counts[ingress] = (alike + (not differs), other + differs)
        same += not differs
        if differs and (key := _kind(expected)) not in found:
            found[key] = _compared(expectations.smallest(expected))
    return Proof(asked=asked, same=same, differences=tuple(found.values()), by_ingress=counts)


def _kind(expected: Expectation) -> tuple[object, ...]:
    """The same for requests that show the same."""
    there = expected.there
    statuses = (there.status, *(item.status for item in expected.here))
    return (expected.request.host, there.ingress, expected.discrepancy.kind, *statuses)


def _compared(expected: Expectation) -> Comparison:
    there, here = expected.there, expected.here
    refused = here[0].status is not None and here[0].status >= 400
    return Comparison(
        request=expected.request,
        agreement=Agreement.LOST if there.status is None and refused else Agreement.DIFFERENT,
        there=there,
        here=here,
        why=expected.discrepancy.why,
        reason=expected.reason,
    )
