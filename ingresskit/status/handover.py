"""One edge takes Ingresses over from another: which address stands in a status meanwhile.

Both edges serve every Ingress, and one writer says in the status which of them clients are sent to: so no two
programs write one status, it is never empty, and an Ingress goes over, or back, by one write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ingresskit.errors import ConfigurationError
from ingresskit.models import Ingress, LoadBalancerIngress
from ingresskit.status.addresses import Addresses, normalized
from ingresskit.translate import LabelSelector

__all__ = ["HANDED_OVER", "Handover"]

HANDED_OVER = LabelSelector.parse("ingresskit.dev/handed-over=true")
"""The label of Ingresses that have been handed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """The edge that Ingresses are handed over from.

    Attributes:
        old: Where it is reached: in the status of every Ingress that has not been handed over.
        handed_over: The labels of those that have.

    Raises:
        ConfigurationError: There is no address.
    """

    old: Sequence[LoadBalancerIngress]
    handed_over: LabelSelector = HANDED_OVER
    addresses: Addresses = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.old:
            raise ConfigurationError("an edge that hands over has an address")
        object.__setattr__(self, "addresses", normalized(self.old))

    def is_over(self, item: Ingress) -> bool:
        """Whether *item* has been handed over."""
        return self.handed_over.matches(item.metadata.labels)
