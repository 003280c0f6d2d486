"""How large requests may be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final

from typing_extensions import override

from ingresskit.policies import BandwidthLimit, BodyLimit, RequestBuffering, Shadow
from ingresskit.render.delegate import HandedOver
from ingresskit.render.error_bodies import sentence
from ingresskit.render.haproxy.artifact import MapName
from ingresskit.render.haproxy.lines import BODIED, flagged, plain_text, setting
from ingresskit.render.haproxy.policies.base import Beyond, Context, Handler, SettingRow
from ingresskit.render.haproxy.route_row import LONG_BODY_FLAG, UNKNOWN_LENGTH_FLAG
from ingresskit.render.policies import Loss, Support

__all__ = ["HANDLERS", "REWRITE_BYTES"]

REWRITE_BYTES: Final = 10240
"""So much of the buffer is kept free: policies set 8,192 bytes of header fields and 1,000 of a path at most,
and the program itself 500 about the client."""

# A body of unknown length is let through up to this size.
_SHORT_BODY: Final = 4096
# What HAProxy's form of a head takes more than its text: 4 bytes a field, of which there may be 101.
_OVERHEAD_BYTES: Final = 1024


class _BodyLimit(Handler[BodyLimit]):
    """HAProxy counts no bytes while a body streams, so a long one has to say its length."""

    policy = BodyLimit
    flag = "b"
    words = "A body larger than the limit is refused, and so is a long one without a Content-Length."
    limitations = (
        Loss(
            field="max_bytes",
            message="refuses bodies of more than 4 KiB that do not say their length",
            support=Support.DELEGATED,
            requests=HandedOver.UNKNOWN_LENGTH,
            closes=False,
            effect="they get 411",
        ),
    )

    @override
    def losses(self, policy: BodyLimit) -> Iterable[Loss]:
        # A body that is larger than such a limit never has to be let through to be counted.
        return self.limitations if policy.max_bytes > _SHORT_BODY else ()

    @override
    def rows(self, policy: BodyLimit) -> Iterator[SettingRow]:
        if policy.max_bytes:
            yield MapName.SETTINGS, "body-limit", str(policy.max_bytes)

    @override
    def request(self, context: Context) -> Iterator[str]:
        on = f"{BODIED} {flagged(self.flag)}"
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
        # Where there is a delegate, it gets them.
        kept = f"!{flagged(f'{UNKNOWN_LENGTH_FLAG} {LONG_BODY_FLAG}')}"
        yield f"set-var(txn.body_unknown) bool(true) if {on} {unknown} {chunked} {kept}"
        yield f"set-var(txn.body_unknown) bool(true) if {on} {unknown} {http2} {kept}"
        waits = "{ var(txn.body_unknown) -m found }"
        yield f"set-var(txn.head) url,length if {waits}"
        yield f"{refusal} if {waits} {{ req.hdrs,length,add(txn.head) gt {room} }}"
        yield f"wait-for-body time {patience}ms at-least {_SHORT_BODY + 1} if {waits}"
        yield f"deny deny_status 413 if {on} {{ req.body_len,sub(txn.body_limit) gt 0 }}"
        yield f"{refusal} if {waits} {{ req.body_len gt {_SHORT_BODY} }}"


HANDLERS: Final = (
    _BodyLimit(),
    Beyond(BandwidthLimit, "paces no responses before its version 2.7"),
    Beyond(RequestBuffering, "gathers no more of a body than its buffer takes"),
    Beyond(Shadow, "cannot only count what it would refuse", "the policies refuse requests"),
)
