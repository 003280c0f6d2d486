"""Header fields of requests and responses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from typing_extensions import override

from ingresskit.policies import RequestHeaders, ResponseHeaders
from ingresskit.render.haproxy.fields import field_names, field_rows, field_rules
from ingresskit.render.haproxy.lines import flagged
from ingresskit.render.haproxy.policies.base import Context, Handler, SettingRow

__all__ = ["HANDLERS"]


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


HANDLERS: Final = (_RequestHeaders(), _ResponseHeaders())
