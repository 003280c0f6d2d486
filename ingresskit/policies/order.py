"""When each policy acts on a request: one order, with a reason for each place."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from ingresskit.errors import ConfigurationError

__all__ = ["NATIVE_ORDER", "STAGE_REASONS", "Order", "Stage"]


class Stage(StrEnum):
    """A place in the order. A policy acts at one stage; values are stable."""

    ADDRESS = "address"
    AGENT = "agent"
    PLAIN_HTTP = "plain-http"
    TLS_REDIRECT = "tls-redirect"
    CERTIFICATE = "certificate"
    PREFLIGHT = "preflight"
    RATE = "rate"
    AUTHENTICATION = "authentication"
    ACTION = "action"
    BODY = "body"
    REWRITE = "rewrite"
    HEADERS = "headers"
    UPSTREAM = "upstream"


STAGE_REASONS: Final = MappingProxyType(
    {
        Stage.ADDRESS: "a client that is not let in learns nothing else",
        Stage.AGENT: "a program that is kept out learns nothing else either",
        Stage.PLAIN_HTTP: "a request that must not travel in plain text gets no other response over it",
        Stage.TLS_REDIRECT: "credentials are asked for over TLS only",
        Stage.CERTIFICATE: "what belongs to the connection is judged before what a request asks for",
        Stage.PREFLIGHT: "a browser sends a preflight without credentials",
        Stage.RATE: "what is costly comes after what bounds it",
        Stage.AUTHENTICATION: "who asks is known before anything is done",
        Stage.ACTION: "a redirect or a fixed response needs neither body nor endpoint",
        Stage.BODY: "a body that is too large is refused before an endpoint is chosen",
        Stage.REWRITE: "rules and policies judge the path that the client sent",
        Stage.HEADERS: "header fields are set last, so that nothing takes them away",
        Stage.UPSTREAM: "an endpoint is chosen for the request as it is sent",
    }
)
"""Why each stage stands where it does in `NATIVE_ORDER`."""


class Order:
    """An order of all stages. Immutable; equal when the stages are.

    Args:
        stages: Every `Stage` once.

    Raises:
        ConfigurationError: A stage is missing or stands twice.
    """

    __slots__ = ("_places", "stages")

    def __init__(self, stages: Iterable[Stage]) -> None:
        self.stages: tuple[Stage, ...] = tuple(stages)
        self._places = {stage: place for place, stage in enumerate(self.stages)}
        if len(self.stages) != len(Stage) or len(self._places) != len(Stage):
            raise ConfigurationError("an order holds every stage exactly once")

    def place(self, stage: Stage) -> int:
        """Where *stage* stands, from 0."""
        return self._places[stage]

    def __eq__(self, other: object) -> bool:
        return self.stages == other.stages if isinstance(other, Order) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.stages)

    def __repr__(self) -> str:
        return f"Order({', '.join(self.stages)})"


NATIVE_ORDER: Final = Order(Stage)
"""The order of ingresskit's own dialect, and of every route whose dialect brings none."""
