"""The rules for gRPC: what its clients are told instead of a page, and how long a stream may be silent.

Source: `ingresskit.render.grpc_status`.
"""

from __future__ import annotations

from itertools import groupby
from typing import Final

from ingresskit.render.grpc_status import (
    GRPC_CONTENT,
    GRPC_STATUSES,
    OTHER_GRPC_STATUS,
    grpc_message,
)
from ingresskit.render.haproxy.capabilities import Capabilities
from ingresskit.render.haproxy.lines import Lines
from ingresskit.render.haproxy.quoting import quote

__all__ = ["GRPC", "add_grpc", "add_grpc_replies", "add_grpc_timeouts"]

GRPC: Final = "{ var(txn.grpc) -m found }"
"""The condition that the client speaks gRPC."""

_SILENCE_MS: Final = 3_600_000
# Of a response that is HAProxy's own, and no more once it is translated.
_TOLD: Final = "{ var(txn.told) -m found }"


def add_grpc(section: Lines, capabilities: Capabilities) -> None:
    """Find out whether the client speaks gRPC, before anything can refuse its request."""
    section.note("gRPC clients, which speak HTTP/2, are told of errors in their own way.")
    section.request(
        "set-var(txn.grpc) bool(true) if { fc_http_major 2 }"
        f" {{ req.fhdr(content-type) -m reg -i {quote(GRPC_CONTENT)} }}"
    )
    if capabilities.waits_for_clients:
        section.request(f"set-timeout client {_SILENCE_MS}ms if {GRPC}")


def add_grpc_timeouts(section: Lines) -> None:
    """Let a stream be silent for an hour, unless a policy says otherwise: its client has a deadline for it."""
    section.note("A call may stream for as long as its client wants to wait.")
    section.request(f"set-timeout server {_SILENCE_MS}ms if {GRPC}")


def add_grpc_replies(section: Lines) -> None:
    """Say responses of HAProxy's own in the words of gRPC: 200, its status in fields, and no body.

    The last of these rules of its section: others end here.
    """
    section.note("What HAProxy responds by itself to a gRPC client.")
    rules = [
        f"allow unless {GRPC}",
        "set-var(txn.told) status unless { var(txn.whole) -m found }",
        f"allow unless {_TOLD}",
    ]
    rules.append(f"set-header grpc-status {OTHER_GRPC_STATUS} if {_TOLD}")
    by_code = sorted(GRPC_STATUSES.items(), key=lambda item: (item[1], item[0]))
    for code, items in groupby(by_code, key=lambda item: item[1]):
        statuses = " ".join(str(status) for status, _ in items)
        rules.append(f"set-header grpc-status {code} if {{ var(txn.told) -m int {statuses} }}")
    rules += (
        f"set-header grpc-message {quote(grpc_message(status))} if {{ var(txn.told) -m int {status} }}"
        for status in GRPC_STATUSES
    )
    rules += (f"set-header content-type application/grpc if {_TOLD}", f"set-status 200 if {_TOLD}")
    section.add(*(f"http-after-response {rule}" for rule in rules))
