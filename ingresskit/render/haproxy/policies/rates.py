"""How many requests a client may send in a time, and at a time: counted in tables that all threads share.

A bucket that leaks is the moment at which it will be empty. A stick table keeps that as one number of 32 bits,
in steps of 10 microseconds for a second and 100 for a minute, and no entry lives as long as that number takes
to come round. Between reading and writing it another thread may count: one request more may get through then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

from typing_extensions import override

from ingresskit.policies import BY_ADDRESS, ConnectionLimit, Policy, Rate, RateLimit
from ingresskit.policies.values import Network
from ingresskit.render.error_bodies import sentence
from ingresskit.render.haproxy.artifact import MapName
from ingresskit.render.haproxy.lines import flagged, lookup, plain_text, refused, setting
from ingresskit.render.haproxy.policies.base import Context, Handler, SettingRow
from ingresskit.render.haproxy.prefixes import network_prefixes
from ingresskit.render.haproxy.quoting import quote
from ingresskit.render.haproxy.route_row import Kind
from ingresskit.render.policies import Loss, Support

__all__ = ["HANDLERS"]

_STATUSES: Final = (429, 503)
_MOST_BURST: Final = 100
_BITS: Final = 2**32 - 1
# By the seconds of a rate: its letter, the steps in a second, and what a microsecond is divided by for them.
_CLOCKS: Final = {1: ("s", 100_000, 10), 60: ("m", 10_000, 100)}
# The fewest steps between two requests: with fewer, rounding would make a rate another one.
_FEWEST_STEPS: Final = 100
_TABLE: Final = "type string len 64 size 100k"
# Longer than the fullest bucket takes to leak: a hundred minutes.
_EXPIRES: Final = "2h"

_BY_VALUE: Final = Loss(
    field="key", message="tells clients apart by their address only", support=Support.DELEGATED
)
_OTHER_STATUS: Final = Loss(field="status", message="refuses with 429 and 503 only", support=Support.DELEGATED)
_OTHER_RATE: Final = Loss(
    field="rates",
    message="rounds rates of more than 1000 a second or 6000 a minute",
    support=Support.DELEGATED,
)
_OTHER_BURST: Final = Loss(
    field="burst", message="remembers bursts of 100 times the rate at most", support=Support.DELEGATED
)


def _steps(rate: Rate) -> int:
    """How many steps of its clock lie between two requests; 0: too few to be exact."""
    steps, rest = divmod(_CLOCKS[rate.seconds][1] * rate.seconds, rate.requests)
    if rest and steps < _FEWEST_STEPS:
        return 0
    return steps + (rest * 2 >= rate.requests)


def _owner(policy: RateLimit | ConnectionLimit) -> str:
    return hashlib.blake2b(policy.owner.encode(), digest_size=8).hexdigest()


def _exempt_rows(kind: str, networks: tuple[Network, ...]) -> Iterator[SettingRow]:
    for version, prefix in network_prefixes(networks):
        yield MapName.SOURCES, f"{kind}{version}/{prefix}", "1"


def _is_counted(kind: str, on: str, counted: str) -> Iterator[str]:
    """Rules that set the variable *counted* for clients that are not exempt."""
    six = "{ var(txn.client) -m sub : }"
    for version, family in ((4, f"!{six}"), (6, six)):
        yield f"set-var-fmt(txn.key) %[var(txn.policy)]/{kind}{version}/%[var(txn.client),hex] if {on} {family}"
    yield f"set-var({counted}) bool(true) if {on} !{{ {lookup('var(txn.key)', MapName.SOURCES)} -m found }}"


def _refusals(condition: str, name: str, context: Context) -> Iterator[str]:
    """Rules that refuse requests with the status in the setting of that name."""
    # For the log: a 503 of this kind lacks no endpoint.
    yield f"set-var(txn.kind) str({Kind.DENIED}) if {condition}"
    for status in _STATUSES:
        reply = f"return status {status} {plain_text(sentence(status))}"
        this = f"{condition} {{ {setting(name)} -m str {status} }}"
        yield from refused(reply, this, context.capabilities)


class _RateLimit(Handler[RateLimit]):
    """A row for each rate, with its steps and how far ahead of now a bucket may be."""

    policy: type[Policy] = RateLimit
    flag = "l"
    feature = "rates"
    words = "Each client may send so many requests; its buckets leak."
    limitations: tuple[Loss, ...] = (_BY_VALUE, _OTHER_STATUS, _OTHER_RATE, _OTHER_BURST)

    @override
    def losses(self, policy: RateLimit) -> Iterable[Loss]:
        if policy.key != BY_ADDRESS:
            yield _BY_VALUE
        if policy.status not in _STATUSES:
            yield _OTHER_STATUS
        if not all(map(_steps, policy.rates)):
            yield _OTHER_RATE
        if policy.burst > _MOST_BURST:
            yield _OTHER_BURST

    @override
    def table(self) -> str:
        return f"{_TABLE} expire {_EXPIRES} store gpt0"

    @override
    def rows(self, policy: RateLimit) -> Iterator[SettingRow]:
        if not policy.rates:
            return
        yield MapName.SETTINGS, "rate-owner", _owner(policy)
        yield MapName.SETTINGS, "rate-status", str(policy.status)
        for rate in policy.rates:
            letter, step = _CLOCKS[rate.seconds][0], _steps(rate)
            yield MapName.SETTINGS, f"rate-{letter}", str(step)
            yield MapName.SETTINGS, f"rate-{letter}-ahead", str((policy.most(rate) - 1) * step)
        yield from _exempt_rows("l", policy.exempt)

    @override
    def request(self, context: Context) -> Iterator[str]:
        # Once for each request, also where the rules stand twice.
        on = f"{flagged(self.flag)} !{{ var(txn.rated) -m found }}"
        counted = "{ var(txn.rate_counts) -m found } !{ var(txn.rated) -m found }"
        yield from _is_counted("l", on, "txn.rate_counts")
        owner = setting("rate-owner")
        yield f"set-var-fmt(txn.key) {quote(f'%[{owner}]/%[var(txn.client),ipmask(32,64)]')} if {counted}"
        for number, (letter, _, divisor) in enumerate(_CLOCKS.values()):
            asked = f"{counted} {{ var(txn.step_{letter}) -m found }}"
            empty, now = f"sc_get_gpt0({number},{self.feature})", f"txn.now_{letter}"
            ahead, most = f"txn.ahead_{letter}", f"txn.most_{letter}"
            yield f"set-var(txn.step_{letter}) {setting(f'rate-{letter}')},add(0) if {counted}"
            yield f"set-var({most}) {setting(f'rate-{letter}-ahead')},add(0) if {asked}"
            yield f"set-var-fmt(txn.tracked) %[var(txn.key)]/{letter} if {asked}"
            yield f"track-sc{number} var(txn.tracked) table {self.feature} if {asked}"
            yield f"set-var({now}) date(0,us),div({divisor}),and({_BITS}) if {asked}"
            yield f"set-var({ahead}) {empty},sub({now}),and({_BITS}) if {asked} {{ {empty} gt 0 }}"
            # Not two subtractions in a row: HAProxy 2.6 takes one from a negative number for an overflow.
            yield f"set-var(txn.limit_{letter}) var({most}),add(txn.step_{letter}) if {asked}"
            # A moment that is farther ahead than a full bucket has passed.
            passed = f"{{ var({ahead}),sub(txn.limit_{letter}) gt 0 }}"
            yield f"unset-var({ahead}) if {asked} {passed}"
            yield f"set-var({ahead}) int(0) if {asked} !{{ var({ahead}) -m found }}"
            full = f"{asked} {{ var({ahead}),sub({most}) gt 0 }}"
            yield f"set-var(txn.rate_full) bool(true) if {full}"
        yield from _refusals("{ var(txn.rate_full) -m found }", "rate-status", context)
        for number, (letter, _, _) in enumerate(_CLOCKS.values()):
            moved = f"var(txn.ahead_{letter}),add(txn.now_{letter}),add(txn.step_{letter}),and({_BITS})"
            asked = f"{counted} {{ var(txn.step_{letter}) -m found }}"
            yield f"sc-set-gpt0({number}) {moved} if {asked}"
        yield f"set-var(txn.rated) bool(true) if {flagged(self.flag)}"


class _ConnectionLimit(Handler[ConnectionLimit]):
    """HAProxy counts what tracks an entry; a request does until its response or its tunnel ends."""

    policy: type[Policy] = ConnectionLimit
    flag = "n"
    feature = "connections"
    words = "Each client may have so many requests under way."
    limitations: tuple[Loss, ...] = (_BY_VALUE, _OTHER_STATUS)

    @override
    def losses(self, policy: ConnectionLimit) -> Iterable[Loss]:
        if policy.key != BY_ADDRESS:
            yield _BY_VALUE
        if policy.status not in _STATUSES:
            yield _OTHER_STATUS

    @override
    def table(self) -> str:
        return f"{_TABLE} expire 1h store conn_cur"

    @override
    def rows(self, policy: ConnectionLimit) -> Iterator[SettingRow]:
        if policy.most:
            yield MapName.SETTINGS, "connections", str(policy.most)
            yield MapName.SETTINGS, "connections-owner", _owner(policy)
            yield MapName.SETTINGS, "connections-status", str(policy.status)
            yield from _exempt_rows("n", policy.exempt)

    @override
    def request(self, context: Context) -> Iterator[str]:
        counted = "{ var(txn.connection_counts) -m found }"
        yield from _is_counted("n", flagged(self.flag), "txn.connection_counts")
        owner = setting("connections-owner")
        yield f"set-var-fmt(txn.key) {quote(f'%[{owner}]/%[var(txn.client),ipmask(32,64)]')} if {counted}"
        yield f"track-sc2 var(txn.key) table {self.feature} if {counted}"
        yield f"set-var(txn.most) {setting('connections')},add(0) if {counted}"
        many = f"{counted} {{ sc_conn_cur(2,{self.feature}),sub(txn.most) gt 0 }}"
        yield from _refusals(many, "connections-status", context)


HANDLERS: Final = (_ConnectionLimit(), _RateLimit())
