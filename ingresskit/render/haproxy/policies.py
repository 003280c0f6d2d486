"""What each policy becomes: rows of settings, rules that act on them, and a part of the slot class.

To add a policy: a subclass of `Handler` here, and its name in `HANDLERS`.

A policy's values go into the settings map under the id of the route's policies, where the rules find
them. A rule that every request passes must be cheap where its policy is absent: it begins with the flag
of its policy, which stands in the row of the route.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar, Final

from typing_extensions import override

from ingresskit.policies import (
    AllowedSources,
    BodyLimit,
    LoadBalancing,
    PlainHttp,
    Policy,
    PolicySet,
    PrefixRewrite,
    RequestHeaders,
    ResponseHeaders,
    Retries,
    Timeouts,
    TlsRedirect,
)
from ingresskit.render.answers import sentence
from ingresskit.render.haproxy.artifact import MapName, Needs, SlotClass
from ingresskit.render.haproxy.capabilities import Capabilities
from ingresskit.render.haproxy.fields import field_names, field_rows, field_rules
from ingresskit.render.haproxy.lines import flagged, lookup, plain_text, refused, setting
from ingresskit.render.haproxy.prefixes import network_prefixes
from ingresskit.render.haproxy.settings import HaproxySettings
from ingresskit.render.haproxy.words import PLAIN_HTTP_FLAG
from ingresskit.render.policies import HandlerTable, Loss, PolicyHandler

__all__ = ["CONNECT_STEPS", "HANDLERS", "REWRITE_BYTES", "TABLE", "Context", "Handler", "SettingRow"]

REWRITE_BYTES: Final = 10240
"""So much of the buffer is kept free: policies set 8,192 bytes of header fields and 1,000 of a path at most,
and we say 500 of the client."""

# A body of unknown length is let through up to this size.
_SHORT_BODY: Final = 4096
# What HAProxy's form of a head takes more than its text: 4 bytes a field, of which there may be 101.
_OVERHEAD_BYTES: Final = 1024

CONNECT_STEPS: Final = tuple(
    timedelta(milliseconds=step)
    for step in (100, 250, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000, 3_600_000)
)
"""How long connecting may take. Each is a class of slots, and its first use a reload: a tenant could ask for
one reload after another if there were no end of them."""

SettingRow = tuple[MapName, str, str]
"""A map, the end of a key (what follows the id and ``/``), and a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the rules of a program depend on."""

    settings: HaproxySettings
    capabilities: Capabilities
    needs: Needs


class Handler(PolicyHandler[Policy, object]):
    """How HAProxy honours one type of policy. The defaults do nothing."""

    flag: ClassVar[str] = ""
    """One letter, unique among handlers; in the row of each route whose policy gives any rows."""
    words: ClassVar[str] = ""
    """What its rules do, a sentence: the comment above them."""

    def rows(self, policies: PolicySet) -> Iterator[SettingRow]:
        """The settings that the policy amounts to. Called, like the four below, where *policies* has it."""
        del policies
        yield from ()

    def slot_class(self, policies: PolicySet, base: SlotClass) -> SlotClass:
        """*base* with what the policy asks for of it."""
        del policies
        return base

    def request_names(self, policies: PolicySet) -> Iterator[tuple[str, str]]:
        """Request header fields that the program must know, lower case, each behind the policy's field."""
        del policies
        yield from ()

    def response_names(self, policies: PolicySet) -> Iterator[tuple[str, str]]:
        """The same for the answer."""
        del policies
        yield from ()

    def protect(self, context: Context) -> Iterator[str]:
        """``http-request`` rules that decide who is let in, before anything is answered."""
        del context
        yield from ()

    def request(self, context: Context) -> Iterator[str]:
        """``http-request`` rules for what is forwarded; only routes with any flag get there."""
        del context
        yield from ()

    def response(self, context: Context) -> Iterator[str]:
        """``http-response`` rules; only routes with any flag get there."""
        del context
        yield from ()

    def backend(self, context: Context) -> Iterator[str]:
        """``http-request`` rules that only a backend can have; in all of them."""
        del context
        yield from ()


class _AllowedSources(Handler):
    policy = AllowedSources
    flag = "a"
    words = "Only clients with an allowed address are let in; where the list is missing, nobody is."

    @override
    def rows(self, policies: PolicySet) -> Iterator[SettingRow]:
        policy = policies.get(AllowedSources) or AllowedSources()
        for version, prefix in network_prefixes(policy.networks):
            yield MapName.SOURCES, f"v{version}/{prefix}", "1"

    @override
    def protect(self, context: Context) -> Iterator[str]:
        on = flagged(self.flag)
        six = "{ var(txn.client) -m sub : }"
        yield f"set-var-fmt(txn.key) %[var(txn.policy)]/v4/%[var(txn.client),hex] if {on} !{six}"
        yield f"set-var-fmt(txn.key) %[var(txn.policy)]/v6/%[var(txn.client),hex] if {on} {six}"
        stranger = f"{on} !{{ {lookup('var(txn.key)', MapName.SOURCES)} -m found }}"
        yield from refused("deny deny_status 403", stranger, context.capabilities)


class _BodyLimit(Handler):
    """HAProxy counts no bytes while a body streams, so a long one has to say its length."""

    policy = BodyLimit
    flag = "b"
    words = "A body larger than the limit is refused, and so is a long one that does not say its length."

    @override
    def rows(self, policies: PolicySet) -> Iterator[SettingRow]:
        policy = policies.get(BodyLimit) or BodyLimit()
        if policy.max_bytes:
            yield MapName.SETTINGS, "body-limit", str(policy.max_bytes)

    @override
    def request(self, context: Context) -> Iterator[str]:
        on = flagged(self.flag)
        unknown = "!{ req.fhdr(content-length) -m found }"
        chunked, http2 = "{ req.fhdr(transfer-encoding) -m found }", "{ req.ver 2.0 }"
        refusal = f"return status 411 {plain_text(sentence(411))}"
        patience = context.settings.body_timeout // timedelta(milliseconds=1)
        room = context.settings.buffer_bytes - REWRITE_BYTES - _SHORT_BODY - _OVERHEAD_BYTES
        yield f"set-var(txn.body_limit) {setting('body-limit')},add(0) if {on}"
        large = f"{on} {{ req.hdr_val(content-length),sub(txn.body_limit) gt 0 }}"
        # Its body is not waited for: most are too long for that, and a client may wait for leave to send it.
        yield f"deny deny_status 413 if {large}"
        # A request without a body waits for nothing. One with a body does until that is complete, or no
        # longer short, or the buffer is full; for the last not to come first, the head must leave room.
        yield f"set-var(txn.body_unknown) bool(true) if {on} {unknown} {chunked}"
        yield f"set-var(txn.body_unknown) bool(true) if {on} {unknown} {http2}"
        waits = "{ var(txn.body_unknown) -m found }"
        yield f"set-var(txn.head) url,length if {waits}"
        yield f"{refusal} if {waits} {{ req.hdrs,length,add(txn.head) gt {room} }}"
        yield f"wait-for-body time {patience}ms at-least {_SHORT_BODY + 1} if {waits}"
        yield f"deny deny_status 413 if {on} {{ req.body_len,sub(txn.body_limit) gt 0 }}"
        yield f"{refusal} if {waits} {{ req.body_len gt {_SHORT_BODY} }}"


class _LoadBalancing(Handler):
    """A part of the slot class."""

    policy = LoadBalancing

    @override
    def slot_class(self, policies: PolicySet, base: SlotClass) -> SlotClass:
        return replace(base, algorithm=(policies.get(LoadBalancing) or LoadBalancing()).algorithm)


class _PrefixRewrite(Handler):
    policy = PrefixRewrite
    flag = "w"
    words = "What the rule matched of the path is cut off, in powers of two, and the new prefix put in front."

    @override
    def rows(self, policies: PolicySet) -> Iterator[SettingRow]:
        policy = policies.get(PrefixRewrite) or PrefixRewrite()
        if policy.prefix is not None:
            # A prefix of "/" is empty, and a map has no empty values.
            yield MapName.SETTINGS, "rewrite", "=" + policy.prefix.rstrip("/")

    @override
    def request(self, context: Context) -> Iterator[str]:
        on = flagged(self.flag)
        yield f"set-var(txn.cut) var(txn.route),field(5,|),add(0) if {on}"
        yield f"set-var(txn.rest) path if {on}"
        for size in (2**power for power in range(13)):
            yield f"set-var(txn.rest) var(txn.rest),bytes({size}) if {on} {{ var(txn.cut),and({size}) gt 0 }}"
        yield f"set-var(txn.rewrite) {setting('rewrite')},bytes(1) if {on}"
        yield f"set-var-fmt(txn.rest) %[var(txn.rewrite)]%[var(txn.rest)] if {on}"
        yield f"set-path / if {on} {{ var(txn.rest) -m len 0 }}"
        yield f"set-path %[var(txn.rest)] if {on} {{ var(txn.rest) -m beg / }}"


class _RequestHeaders(Handler):
    policy = RequestHeaders
    flag = "q"
    words = "Request header fields are set and removed."

    @override
    def rows(self, policies: PolicySet) -> Iterator[SettingRow]:
        policy = policies.get(RequestHeaders) or RequestHeaders()
        yield from field_rows("request", policy.set, policy.remove)

    @override
    def request_names(self, policies: PolicySet) -> Iterator[tuple[str, str]]:
        policy = policies.get(RequestHeaders) or RequestHeaders()
        yield from field_names("request", policy.set, policy.remove)

    @override
    def request(self, context: Context) -> Iterator[str]:
        names = frozenset(context.needs.request_headers)
        yield from field_rules("request", names, flagged(self.flag))


class _ResponseHeaders(Handler):
    policy = ResponseHeaders
    flag = "s"
    words = "Header fields of the answer are set and removed."

    @override
    def rows(self, policies: PolicySet) -> Iterator[SettingRow]:
        policy = policies.get(ResponseHeaders) or ResponseHeaders()
        yield from field_rows("response", policy.set, policy.remove)

    @override
    def response_names(self, policies: PolicySet) -> Iterator[tuple[str, str]]:
        policy = policies.get(ResponseHeaders) or ResponseHeaders()
        yield from field_names("response", policy.set, policy.remove)

    @override
    def response(self, context: Context) -> Iterator[str]:
        names = frozenset(context.needs.response_headers)
        yield from field_rules("response", names, flagged(self.flag))


class _PlainHttp(Handler):
    policy = PlainHttp
    flag = PLAIN_HTTP_FLAG
    words = "Plain HTTP is refused where the route says so."

    @override
    def rows(self, policies: PolicySet) -> Iterator[SettingRow]:
        policy = policies.get(PlainHttp) or PlainHttp()
        if not policy.allowed:
            yield MapName.SETTINGS, "plain-http", "0"

    @override
    def protect(self, context: Context) -> Iterator[str]:
        yield f"deny deny_status 403 if {flagged(self.flag)} !{{ var(txn.proto) -m str https }}"


class _Retries(Handler):
    """A part of the slot class."""

    policy = Retries

    @override
    def slot_class(self, policies: PolicySet, base: SlotClass) -> SlotClass:
        return replace(base, retries=(policies.get(Retries) or Retries()).attempts)


_ONE_TIMEOUT: Final = Loss(field="send", message="has one timeout for both directions, that of read-timeout")


class _Timeouts(Handler):
    """The one to connect is a part of the slot class; HAProxy has one for both directions: that to read."""

    policy = Timeouts
    limitations = (_ONE_TIMEOUT,)
    flag = "r"
    words = "How long the endpoint may be silent."

    @override
    def rows(self, policies: PolicySet) -> Iterator[SettingRow]:
        policy = policies.get(Timeouts) or Timeouts()
        if policy.read is not None:
            yield MapName.SETTINGS, "read-timeout", str(policy.read // timedelta(milliseconds=1))

    @override
    def slot_class(self, policies: PolicySet, base: SlotClass) -> SlotClass:
        return replace(base, connect=_step((policies.get(Timeouts) or Timeouts()).connect))

    @override
    def losses(self, policy: Policy) -> Iterator[Loss]:
        if isinstance(policy, Timeouts) and policy.send is not None and policy.send != policy.read:
            yield _ONE_TIMEOUT

    @override
    def backend(self, context: Context) -> Iterator[str]:
        on = flagged(self.flag)
        yield f"set-var(txn.read_timeout) {setting('read-timeout')},add(0) if {on}"
        yield f"set-timeout server var(txn.read_timeout) if {on}"
        yield f"set-timeout tunnel var(txn.read_timeout) if {on}"


def _step(connect: timedelta | None) -> timedelta | None:
    """The least of the times that HAProxy may be given which is not shorter; the longest for longer ones."""
    if connect is None:
        return None
    return next((step for step in CONNECT_STEPS if connect <= step), CONNECT_STEPS[-1])


class _TlsRedirect(Handler):
    """Whether a route redirects depends on its host too: `TLS_FLAG` in its row says it."""

    policy = TlsRedirect


HANDLERS: Final[tuple[Handler, ...]] = (
    _AllowedSources(),
    _BodyLimit(),
    _LoadBalancing(),
    _PlainHttp(),
    _PrefixRewrite(),
    _RequestHeaders(),
    _ResponseHeaders(),
    _Retries(),
    _Timeouts(),
    _TlsRedirect(),
)
"""Every policy that HAProxy honours."""

TABLE: Final = HandlerTable(HANDLERS)
