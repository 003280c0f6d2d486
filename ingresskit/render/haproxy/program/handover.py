"""The rules that hand requests over to the delegate, and say to it what it cannot see.

They stand before the rules of all policies that change a request: the delegate applies those itself.
"""

from __future__ import annotations

from ingresskit.render.delegate import DELEGATE_FIELD, SHORT_BODY_BYTES
from ingresskit.render.haproxy.artifact import MapName
from ingresskit.render.haproxy.lines import BODIED, Lines, flagged, lookup, setting
from ingresskit.render.haproxy.program.grpc import GRPC
from ingresskit.render.haproxy.quoting import quote
from ingresskit.render.haproxy.route_row import HANDOVER_FLAG, LONG_BODY_FLAG, NONE, UNKNOWN_LENGTH_FLAG
from ingresskit.render.haproxy.settings import HaproxySettings

__all__ = ["add_handover", "add_handover_timeouts", "add_unsaid"]

_OVER = "{ var(txn.handover) -m found }"


def add_unsaid(section: Lines, settings: HaproxySettings) -> None:
    """Take out what a client says in the name of this program."""
    if settings.delegate:
        section.request(f"del-header {DELEGATE_FIELD}")


def add_handover(section: Lines, settings: HaproxySettings) -> None:
    """Choose the slot of the delegate where the row of the route asks for that; the end of all rules then."""
    if not settings.delegate:
        return
    section.note("What is beyond this program is handed over to the delegate, with the route that was found.")
    known = "{ req.fhdr(content-length) -m found }"
    long = f"{{ req.hdr_val(content-length) gt {SHORT_BODY_BYTES} }}"
    partly = f"{{ var(txn.flags) -m sub {UNKNOWN_LENGTH_FLAG} {LONG_BODY_FLAG} }}"
    section.request(
        f"set-var(txn.handover) bool(true) if {flagged(HANDOVER_FLAG)}",
        f"set-var(txn.handover) bool(true) if {BODIED} {partly} !{known}",
        f"set-var(txn.handover) bool(true) if {BODIED} {flagged(LONG_BODY_FLAG)} {long}",
        f"set-var(txn.named_port) int(0) if {_OVER}",
    )
    if settings.http:
        own = " ".join(map(str, sorted({bind.port for bind in settings.http})))
        section.request(
            f"set-var(txn.named_port) var(txn.host_port) if {_OVER} {{ var(txn.host_port) -m int {own} }}"
        )
    chosen = setting("chosen")
    words = f"1 %[var(txn.client)] %[var(txn.proto)] %[ssl_fc] %[var(txn.named_port)] %[{chosen}]"
    section.request(
        f"set-header {DELEGATE_FIELD} {quote(words)} if {_OVER}",
        # The delegate is asked over HTTP/1.1, where only this says that trailers are understood.
        f"set-header TE trailers if {_OVER} {GRPC}",
        f"set-var(txn.id) {setting('delegate')} if {_OVER}",
        f"set-var(txn.row) {lookup('var(txn.id)', MapName.SLOTS)} if {_OVER}",
        f"set-var(txn.slot) var(txn.row),field(1,/) if {_OVER}",
        f"set-var(txn.flags) str({NONE}) if {_OVER}",
        f"allow if {_OVER}",
    )


def add_handover_timeouts(section: Lines, settings: HaproxySettings) -> None:
    """Wait for the delegate longer than it waits for an endpoint."""
    if settings.delegate:
        section.note("The delegate has time-outs for endpoints itself.")
        section.request(f"set-timeout server 3600000ms if {_OVER}", f"set-timeout tunnel 3600000ms if {_OVER}")
