"""What becomes of a request at ingress-nginx."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ingresskit.migrate.limits import Limit
from ingresskit.models import ObjectRef

__all__ = ["Prediction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What becomes of a request.

    Attributes:
        status: Of ingress-nginx's own response; ``None``: an endpoint's is sent.
        location: Of a redirect; empty otherwise.
        service: The Service that gets the request, ``"shop/web"``; empty when none does. Where a weight
            decides, the one without the weight.
        shares: Where a weight decides, each Service with its share; they add up to 1. Empty elsewhere.
        path: The path that the Service gets, without the query.
        host: What it gets as ``Host``; empty: the client's.
        request_fields: Other header fields that it gets by annotations.
        response_fields: Header fields that the client gets by annotations and settings.
        limits: How many such requests of one client pass; sorted.
        asks: The URL of a service that is asked first, as written; empty: none is.
        passed_on: Whether the TLS connection is passed on to the Service as it is.
        ingress: The Ingress whose location took the request; ``None``: none did.
        open: What decides besides the request, such as ``"credentials"``; empty: nothing does.
    """

    status: int | None = None
    location: str = ""
    service: str = ""
    shares: tuple[tuple[str, Fraction], ...] = ()
    path: str = ""
    host: str = ""
    request_fields: tuple[tuple[str, str], ...] = ()
    response_fields: tuple[tuple[str, str], ...] = ()
    limits: tuple[Limit, ...] = ()
    asks: str = ""
    passed_on: bool = False
    ingress: ObjectRef | None = None
    open: str = ""

    def __str__(self) -> str:
        """For people: ``"308 to https://shop.test/"``, ``"shop/web gets /cart"``."""
        if self.status is not None:
            return f"{self.status}{f' to {self.location}' if self.location else ''}"
        names = ", ".join(f"{name} ({float(share):.4g})" for name, share in self.shares) or self.service
        if self.passed_on:
            return f"{names} gets the TLS connection"
        host = f" for host {self.host}" if self.host else ""
        fields = (("the request", self.request_fields), ("the response", self.response_fields))
        more = [f"{what} sets {', '.join(name for name, _ in held)}" for what, held in fields if held]
        more += map(str, self.limits)
        return "; ".join((f"{names} gets {self.path}{host}", *more))
