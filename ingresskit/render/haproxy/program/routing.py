"""The rules that find the route of a request, and do what its row says."""

from __future__ import annotations

from typing import Final

from ingresskit.policies import KeptTarget, RedirectStatus
from ingresskit.render.error_bodies import sentence
from ingresskit.render.haproxy.artifact import MapName
from ingresskit.render.haproxy.capabilities import Capabilities
from ingresskit.render.haproxy.lines import AWAITED, Lines, lookup, plain_text, refused, substituted
from ingresskit.render.haproxy.quoting import quote
from ingresskit.render.haproxy.route_row import SHARE_DIGITS, Kind, Speaks

__all__ = ["add_action", "add_action_early", "add_local_replies", "add_route"]

_LOCAL_REPLIES: Final = "local-replies"
_RESPONDING: Final = f"{{ var(txn.kind) -m beg {Kind.REDIRECTS} {Kind.RESPONDS} }}"
# As `ingresskit.graph.rule_host`: labels, and a letter in the last one, or it would be an address.
_SERVER_NAME: Final = "^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])*[a-z0-9-]*[a-z][a-z0-9-]*$"


def add_route(section: Lines, capabilities: Capabilities, *, host_fallthrough: bool) -> None:
    """Find the route, or respond 404.

    The fields of its row are left in ``txn.kind``, ``txn.id``, ``txn.policy`` and ``txn.flags``, the rule host
    in ``txn.rule_host``.
    """
    candidates = (
        ("The host itself", "var(txn.host)"),
        ("A wildcard in place of its first label", "var(txn.host)," + substituted(r"^[^.]+\.", "*.")),
        ("Rules for any host", "str(*)"),
    )
    # The host is chosen first, and owns the request; with fall-through, a route has to be found there.
    unless = f"unless {{ var({'txn.route' if host_fallthrough else 'txn.table'}) -m found }}"
    for comment, expression in candidates:
        section.note(f"{comment}.")
        section.request(
            f"set-var(txn.rule_host) {quote(expression)} {unless}",
            f"set-var(txn.table) {lookup('var(txn.rule_host)', MapName.HOSTS)} {unless}",
        )
        if host_fallthrough:
            section.request(*_search())
    if not host_fallthrough:
        section.note("In the table of the host: the path itself, else the longest prefix.")
        section.request(*_search())
    section.note("The fields of the route's row.")
    section.request(
        *refused("deny deny_status 404", "!{ var(txn.route) -m found }", capabilities),
        *(
            f"set-var(txn.{name}) var(txn.route),field({index},|)"
            for index, name in enumerate(("kind", "id", "policy", "flags"), 1)
        ),
    )


def _search() -> tuple[str, ...]:
    unless = "unless { var(txn.route) -m found }"
    return (
        f"set-var-fmt(txn.key) %[var(txn.table)]%[path] {unless}",
        f"set-var(txn.route) {lookup('var(txn.key)', MapName.EXACT)} {unless}",
        f"set-var(txn.route) {lookup('var(txn.key),concat(/)', MapName.PREFIXES)} {unless}",
    )


def add_action(section: Lines) -> None:
    """Leave the slot in ``txn.slot``, or respond.

    Routes that respond by themselves go to a backend of their own, so that other requests need not pass
    its rules.
    """
    split = f"{{ var(txn.kind) -m str {Kind.SPLIT} }}"
    section.note("The route may share requests among backends: a random number finds one of them.")
    section.request(
        f"set-var(txn.layout) {lookup('var(txn.id)', MapName.SPLITS)} if {split}",
        f"set-var-fmt(txn.key) %[var(txn.layout)]/%[rand({16**SHARE_DIGITS}),hex] if {split}",
        f"set-var(txn.id) {lookup('var(txn.key)', MapName.SHARES)} if {split}",
    )
    section.note(
        "The slot that the backend stands in, and what its servers speak. Where there is no server, the"
    )
    section.add(
        "# response comes from the section local-replies, after all policies that may refuse the request."
    )
    forward = f"{{ var(txn.kind) -m str {Kind.FORWARD} {Kind.SPLIT} }}"
    unserved = f"!{{ var(txn.speaks) -m str {Speaks.HTTP1} {Speaks.HTTP2} }}"
    section.request(
        f"set-var(txn.row) {lookup('var(txn.id)', MapName.SLOTS)} if {forward}",
        "set-var(txn.slot) var(txn.row),field(1,/)",
        "set-var(txn.speaks) var(txn.row),field(2,/)",
        f"set-var(txn.slot) str({_LOCAL_REPLIES}) if {unserved}",
        f"allow if {unserved} {_RESPONDING}",
        # For endpoints that speak TLS: what they are asked for is the name they expect to be asked for.
        f"set-var(txn.server_name) var(txn.host) if {{ var(txn.host) -m reg {quote(_SERVER_NAME)} }}",
    )


def add_action_early(section: Lines, condition: str) -> None:
    """Respond where the route does so by itself, under *condition*."""
    section.request(
        f"set-var(txn.slot) str({_LOCAL_REPLIES}) if {condition} {_RESPONDING}",
        f"allow if {condition} {_RESPONDING}",
    )


def add_local_replies(section: Lines, statuses: tuple[int, ...], capabilities: Capabilities) -> None:
    """Respond locally, with the status and location of the route."""
    if not capabilities.drains:
        section.note("A client that still uploads would not see the response.")
        section.request(f"wait-for-body time 1s if {AWAITED}")
    section.note("A redirect.")
    section.request(
        f"set-var(txn.location) {lookup('var(txn.id),concat(/location)', MapName.SETTINGS)}",
        f"set-var(txn.keeps) {lookup('var(txn.id),concat(/keeps)', MapName.SETTINGS)}",
        "set-var-fmt(txn.location) %[var(txn.proto)]://%[req.hdr(host)]%[var(txn.location),bytes(2)]"
        " if { var(txn.location) -m beg /// }",
        "set-var-fmt(txn.location) %[var(txn.proto)]:%[var(txn.location)] if { var(txn.location) -m beg // }",
        "set-var-fmt(txn.location) %[var(txn.location)]%[var(txn.path)]"
        f" if {{ var(txn.keeps) -m str {KeptTarget.PATH} }}",
        "set-var-fmt(txn.location) %[var(txn.location)]?%[query]"
        " if { var(txn.keeps) -m found } { query -m found }",
    )
    section.request(
        *(
            f"return status {status} hdr Location %[var(txn.location)] {plain_text(sentence(status))}"
            f" if {{ var(txn.kind) -m str {Kind.redirect(status)} }} {{ var(txn.location) -m found }}"
            for status in map(int, RedirectStatus)
        )
    )
    section.note("What stands for a backend or a protection that could not be built.")
    section.request(
        *(
            f"return status {status} {plain_text(sentence(status))}"
            f" if {{ var(txn.kind) -m str {Kind.respond(status)} }}"
            for status in statuses
        ),
        "deny deny_status 503",
    )
