"""How a location hands requests over to the delegate."""

from __future__ import annotations

from typing import Final

from ingresskit.render.delegate import Handover
from ingresskit.render.nginx.policies import local_response
from ingresskit.render.nginx.static.main import error_pages
from ingresskit.render.nginx.tree import Block, Directive, Value, Variable

__all__ = ["UNREACHED", "said_to_delegate", "unreached_pages"]

_NAME: Final = "@ik_unreached"

UNREACHED: Final = Block("location", (_NAME,), (local_response(503),))
"""Responds for a delegate that takes no connection."""


def said_to_delegate(handover: Handover) -> Value:
    """The value of `ingresskit.render.delegate.DELEGATE_FIELD`."""
    return Value(
        *("1 ", Variable("ik_client"), " ", Variable("ik_proto"), " ", Variable("scheme"), " "),
        *(Variable("server_port"), f" {handover.words}"),
    )


def unreached_pages() -> tuple[Directive, ...]:
    """Error responses of nginx itself where it hands over; those of the delegate stay as they are."""
    return (Directive("error_page", ("502", "504", "=", _NAME)), *error_pages())
