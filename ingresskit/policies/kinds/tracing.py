"""Which requests belong together: the trace that endpoints are told of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ingresskit.policies.base import Policy, annotated
from ingresskit.policies.order import Stage
from ingresskit.policies.values import parse_boolean

__all__ = ["TraceContext"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext(Policy):
    """Endpoints are told of a trace: ``traceparent``, of the client or a new one.

    No span is made or exported here: what a client says passes as it is, as the specification has it for those
    that take no part in a trace.

    Attributes:
        enabled: Requests without a valid ``traceparent`` get one, with a random trace, sampled.
        trusts_client: What clients say of a trace is kept, where it is valid; else it never is.

    Source: W3C, Trace Context (2021-11-23), sections 3.2 and 4.
    """

    stage: ClassVar[Stage] = Stage.HEADERS

    enabled: bool = annotated(
        "trace-context",
        parse_boolean,
        default=False,
        grammar="`true` or `false`",
        summary="Give requests without a valid `traceparent` a new one.",
    )
    trusts_client: bool = annotated(
        "trace-context-from-client",
        parse_boolean,
        default=True,
        grammar="`true` or `false`",
        summary="Whether clients may say which trace a request belongs to.",
    )
