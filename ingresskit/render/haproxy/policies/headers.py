"""Header fields of requests and responses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from typing_extensions import override

from ingresskit.policies import Hsts, RequestHeaders, ResponseHeaders
from ingresskit.render.haproxy.artifact import MapName
from ingresskit.render.haproxy.fields import field_names, field_rows, field_rules
from ingresskit.render.haproxy.lines import flagged, setting
from ingresskit.render.haproxy.policies.base import Context, Handler, SettingRow

__all__ = ["HANDLERS"]


class _Hsts(Handler[Hsts]):
    """One row; the field is dropped for clients without TLS."""

    policy = Hsts
    flag = "h"
    words = "Browsers must use the host over TLS only."

    @override
    def rows(self, policy: Hsts) -> Iterator[SettingRow]:
        if policy.value:
            yield MapName.SETTINGS, "hsts", policy.value

    @override
    def response(self, context: Context) -> Iterator[str]:
        field, told = "Strict-Transport-Security", flagged(self.flag)
        yield f"del-header {field} if {told}"
        yield f"set-header {field} %[{setting('hsts')}] if {told} {{ var(txn.proto) -m str https }}"
        yield f"set-var(txn.promised) bool(true) if {told}"

    @override
    def after(self, context: Context) -> Iterator[str]:
        local = f"{flagged(self.flag)} !{{ var(txn.promised) -m bool }} {{ var(txn.proto) -m str https }}"
        yield f"set-header Strict-Transport-Security %[{setting('hsts')}] if {local}"


class _RequestHeaders(Handler[RequestHeaders]):
    """Rules for every name in use; see `ingresskit.render.haproxy.fields`."""

    policy = RequestHeaders
    flag = "q"
    words = "Request header fields are set and removed."

    @override
    def rows(self, policy: RequestHeaders) -> Iterator[SettingRow]:
        yield from field_rows("request", policy.set, policy.remove)

    @override
    def request_names(self, policy: RequestHeaders) -> Iterator[tuple[str, str]]:
        yield from field_names("request", policy.set, policy.remove)

    @override
    def request(self, context: Context) -> Iterator[str]:
        yield from field_rules("request", frozenset(context.needs.request_headers), flagged(self.flag))


class _ResponseHeaders(Handler[ResponseHeaders]):
    """Rules for every name in use; see `ingresskit.render.haproxy.fields`."""

    policy = ResponseHeaders
    flag = "s"
    words = "Header fields of the response are set and removed."

    @override
    def rows(self, policy: ResponseHeaders) -> Iterator[SettingRow]:
        yield from field_rows("response", policy.set, policy.remove)

    @override
    def response_names(self, policy: ResponseHeaders) -> Iterator[tuple[str, str]]:
        yield from field_names("response", policy.set, policy.remove)

    @override
    def response(self, context: Context) -> Iterator[str]:
        yield from field_rules("response", frozenset(context.needs.response_headers), flagged(self.flag))


HANDLERS: Final = (_Hsts(), _RequestHeaders(), _ResponseHeaders())
