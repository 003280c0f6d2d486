"""Responses that send the client elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Self

from ingresskit.policies.base import Policy, Risk, annotated
from ingresskit.policies.order import Stage
from ingresskit.policies.values import parse_boolean, parse_choice, parse_location

__all__ = ["PermanentRedirect", "RedirectStatus", "TlsRedirect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsRedirect(Policy):
    """Whether plain HTTP requests are sent to HTTPS with 308.

    Without it the redirect is on for hosts with TLS settings of their own (``spec.tls`` names them, whether
    or not the Secret is there, or the wildcard above them), and off for others. Rules for the
    path ``/.well-known/acme-challenge`` and paths below it are never redirected.

    Attributes:
        enabled: On even without TLS settings, or off even with them.
    """

    stage: ClassVar[Stage] = Stage.TLS_REDIRECT

    enabled: bool = annotated(
        "tls-redirect",
        parse_boolean,
        default=True,
        grammar="`true` or `false`",
        summary="Send plain HTTP requests to HTTPS (308). Without it: yes where `spec.tls` names the host.",
    )


class RedirectStatus(StrEnum):
    """The status of a redirect."""

    MOVED_PERMANENTLY = "301"
    FOUND = "302"
    SEE_OTHER = "303"
    TEMPORARY = "307"
    PERMANENT = "308"


@dataclass(frozen=True, slots=True, kw_only=True)
class PermanentRedirect(Policy):
    """Respond with a redirect instead of forwarding.

    Attributes:
        location: An absolute URL or a path, sent as it is; ``None`` is no redirect.
        status: 308 keeps method and body; 301 lets clients turn a POST into a GET.
    """

    stage: ClassVar[Stage] = Stage.ACTION

    location: str | None = annotated(
        "redirect",
        parse_location,
        default=None,
        grammar="an `http(s)://` URL or a path",
        summary="Redirect every request of the Ingress to this place.",
        risk=Risk.MEDIUM,
    )
    status: RedirectStatus = annotated(
        "redirect-status",
        parse_choice(RedirectStatus),
        default=RedirectStatus.PERMANENT,
        grammar="`301`, `302`, `303`, `307` or `308`",
        summary="The status of that redirect.",
    )

    @classmethod
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`; a status alone redirects nowhere and is refused."""
        if "location" not in values:
            raise ValueError("has no effect without the annotation redirect")
        # `slots=True` makes the class anew, so that `super()` alone would speak of the one before.
        return super(PermanentRedirect, cls).build(values)
