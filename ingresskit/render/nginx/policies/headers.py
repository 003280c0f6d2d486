"""Header fields of requests and responses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from typing_extensions import override

from ingresskit.policies import Hsts, Policy, RequestHeaders, ResponseHeaders
from ingresskit.policies.values import HeaderField, plain_header_name
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.nginx.tree import Directive, Value, text_fault
from ingresskit.render.nginx.values import EMPTY_VALUE
from ingresskit.render.policies import Loss, PolicyHandler, Support

__all__ = [
    "DYNAMIC",
    "STATIC",
    "DynamicRequestHeaders",
    "DynamicResponseHeaders",
    "StaticRequestHeaders",
    "StaticResponseHeaders",
]

# nginx writes these into a response by itself; to set or remove them takes a module.
_OWN_FIELDS: Final = frozenset(("date", "server"))
_OWN: Final = "cannot set or remove the response headers Server and Date without its Lua module"

_HSTS: Final = "Strict-Transport-Security"


def _own_fields(field: str) -> Loss:
    return Loss(field=field, message=_OWN, support=Support.DELEGATED, effect="they are left alone")


_TOO_LONG: Final = Loss(
    field="set",
    message="cannot write header values of some 4,000 characters",
    support=Support.DELEGATED,
    effect="no header is set or removed",
)


class StaticHsts(PolicyHandler[Hsts, StaticDraft]):
    """``add_header`` with a variable that is empty for clients without TLS: nginx adds no empty field."""

    policy: type[Policy] = Hsts

    @override
    def contribute(self, policy: Hsts, draft: StaticDraft) -> None:
        if policy.value:
            draft.hidden.append(_HSTS.lower())
            draft.over_tls.append((_HSTS, policy.value))


class DynamicHsts(PolicyHandler[Hsts, DynamicDraft]):
    """The function ``hsts`` for responses."""

    policy: type[Policy] = Hsts

    @override
    def contribute(self, policy: Hsts, draft: DynamicDraft) -> None:
        if policy.value:
            draft.respond(self.stage, "hsts", policy.value)
            draft.respond_locally(self.stage, "hsts", policy.value)


class StaticRequestHeaders(PolicyHandler[RequestHeaders, StaticDraft]):
    """``proxy_set_header``; with an empty value nginx takes the field out."""

    policy: type[Policy] = RequestHeaders

    limitations: tuple[Loss, ...] = (_TOO_LONG,)

    @override
    def contribute(self, policy: RequestHeaders, draft: StaticDraft) -> None:
        for name in (*policy.remove, *(name for name, _ in policy.set)):
            # Other spellings do not arrive: nginx drops all punctuation but "-" by itself.
            for spelled in {plain_header_name(name): plain_header_name(name), name.lower(): name}.values():
                draft.request[spelled.lower()] = (spelled, "")
        for name, value in policy.set:
            draft.request[name.lower()] = (name, Value(value or EMPTY_VALUE))

    @override
    def losses(self, policy: RequestHeaders) -> Iterator[Loss]:
        yield from _unwritable(policy.set)

    @override
    def honoured(self, policy: RequestHeaders) -> RequestHeaders | None:
        return None if any(_unwritable(policy.set)) else policy


class StaticResponseHeaders(PolicyHandler[ResponseHeaders, StaticDraft]):
    """``proxy_hide_header`` and ``add_header``."""

    policy: type[Policy] = ResponseHeaders

    limitations: tuple[Loss, ...] = (
        _TOO_LONG,
        *(_own_fields("set"), _own_fields("remove")),
    )

    @override
    def contribute(self, policy: ResponseHeaders, draft: StaticDraft) -> None:
        named = (*policy.remove, *(name for name, _ in policy.set))
        dropped = dict.fromkeys(name.lower() for name in named)
        draft.hidden = list(dict.fromkeys((*draft.hidden, *dropped)))
        # What a route says of a field wins; the policies come in the order of their names.
        draft.over_tls = [item for item in draft.over_tls if item[0].lower() not in dropped]
        # "always": whatever the status of the endpoint's response is. Our own come from another location.
        draft.added += (
            Directive("add_header", (name, Value(value or EMPTY_VALUE), "always")) for name, value in policy.set
        )

    @override
    def losses(self, policy: ResponseHeaders) -> Iterator[Loss]:
        yield from _unwritable(policy.set)
        for field, names in (("set", [name for name, _ in policy.set]), ("remove", policy.remove)):
            if any(name.lower() in _OWN_FIELDS for name in names):
                yield _own_fields(field)

    @override
    def honoured(self, policy: ResponseHeaders) -> ResponseHeaders | None:
        if any(_unwritable(policy.set)):
            return None
        return replace(
            policy,
            set=tuple(item for item in policy.set if item[0].lower() not in _OWN_FIELDS),
            remove=tuple(name for name in policy.remove if name.lower() not in _OWN_FIELDS),
        )


class DynamicRequestHeaders(PolicyHandler[RequestHeaders, DynamicDraft]):
    """The edit ``headers``."""

    policy: type[Policy] = RequestHeaders

    @override
    def contribute(self, policy: RequestHeaders, draft: DynamicDraft) -> None:
        draft.request.add(policy.set, policy.remove)


class DynamicResponseHeaders(PolicyHandler[ResponseHeaders, DynamicDraft]):
    """The function ``headers`` for responses."""

    policy: type[Policy] = ResponseHeaders

    @override
    def contribute(self, policy: ResponseHeaders, draft: DynamicDraft) -> None:
        draft.response.add(policy.set, policy.remove)


def _unwritable(fields: tuple[HeaderField, ...]) -> Iterator[Loss]:
    """The first field whose value is no token of nginx, if there is one."""
    for name, value in fields:
        if fault := text_fault(value):
            message = f"cannot write the value of the header {name}, which {fault}"
            yield replace(_TOO_LONG, message=message)
            return


STATIC: Final = (
    StaticHsts(),
    StaticRequestHeaders(),
    StaticResponseHeaders(),
)
DYNAMIC: Final = (
    DynamicHsts(),
    DynamicRequestHeaders(),
    DynamicResponseHeaders(),
)
