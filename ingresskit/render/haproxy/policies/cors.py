"""Which pages of other sites may read responses.

The origins of a route are rows of the settings, with scheme, name and port in lower case. One whose first label
is free has a key of its own kind, without that label. So an origin is looked up at most twice, and no text of a
tenant is a pattern.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from typing_extensions import override

from ingresskit.policies import Cors, Policy
from ingresskit.render.haproxy.artifact import MapName
from ingresskit.render.haproxy.lines import flagged, lookup, setting, substituted
from ingresskit.render.haproxy.policies.base import Context, Handler, SettingRow
from ingresskit.render.haproxy.quoting import quote
from ingresskit.render.policies import Loss, Support

__all__ = ["HANDLERS"]

# So much of a buffer is free for fields of responses when `ResponseHeaders` sets as many as it may.
_MOST_BYTES: Final = 1500
_ORIGIN: Final = "Access-Control-Allow-Origin"
_FIELDS: Final = (
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Headers",
    "Access-Control-Max-Age",
    "Access-Control-Allow-Credentials",
    "Access-Control-Expose-Headers",
)
# What stands for the star in `Cors.pattern`, between the scheme and the next dot.
_FREE_LABEL: Final = r"^([a-z][a-z0-9+-]{0,31}://)[a-z0-9-]+[.]"


class _Cors(Handler[Cors]):
    """A guard finds out whether the origin is allowed, and responds to preflights; fields are set last."""

    policy = Cors
    flag = "o"
    feature = "cors"
    words = "Pages of other sites may read responses where the route says so."
    limitations = (
        Loss(
            message=f"has no room for fields of more than {_MOST_BYTES} bytes",
            support=Support.DELEGATED,
            requests="all",
            effect="the endpoint decides",
        ),
    )

    @override
    def losses(self, policy: Cors) -> Iterable[Loss]:
        size = sum(len(name) + len(value) + 4 for name, value in policy.fields)
        return self.limitations if policy.origins and size > _MOST_BYTES else ()

    @override
    def honoured(self, policy: Cors) -> Policy | None:
        return None if any(self.losses(policy)) else policy

    @override
    def rows(self, policy: Cors) -> Iterator[SettingRow]:
        if not policy.origins:
            return
        yield MapName.SETTINGS, "cors", "all" if policy.everybody else "some"
        if policy.every_options:
            yield MapName.SETTINGS, "cors-options", "1"
        for name, value in policy.fields:
            yield MapName.SETTINGS, f"cors/{name.lower()}", value
        for origin in () if policy.everybody else policy.origins:
            scheme, free, rest = origin.partition("://*.")
            if free:
                yield MapName.SETTINGS, f"cors-below/{scheme}://{rest}", "1"
            else:
                yield MapName.SETTINGS, f"cors-origin/{origin}", "1"

    @override
    def request(self, context: Context) -> Iterator[str]:
        on = flagged(self.flag)
        listed = f"{on} {{ var(txn.cors) -m str some }} {{ req.fhdr_cnt(origin) eq 1 }}"
        allowed = "{ var(txn.cors_origin) -m found }"
        found = f"{{ {lookup('var(txn.key)', MapName.SETTINGS)} -m found }}"
        shortened = quote(f"%[req.fhdr(origin),lower,{substituted(_FREE_LABEL, chr(92) + '1')}]")
        yield f"set-var(txn.cors) {setting('cors')} if {on}"
        yield f"set-var(txn.cors_origin) str(*) if {on} {{ var(txn.cors) -m str all }}"
        yield f"set-var-fmt(txn.key) %[var(txn.policy)]/cors-origin/%[req.fhdr(origin),lower] if {listed}"
        yield f"set-var(txn.cors_origin) req.fhdr(origin) if {listed} {found}"
        free = f"{listed} {{ req.fhdr(origin),lower -m reg {quote(_FREE_LABEL)} }}"
        yield f"set-var-fmt(txn.cors_below) {shortened} if {free}"
        yield f"set-var-fmt(txn.key) %[var(txn.policy)]/cors-below/%[var(txn.cors_below)] if {free}"
        yield f"set-var(txn.cors_origin) req.fhdr(origin) if {free} {found}"
        asked = f"{on} METH_OPTIONS {allowed}"
        fetched = "{ req.fhdr(origin) -m found } { req.fhdr(access-control-request-method) -m found }"
        yield f"return status 204 if {asked} {fetched}"
        yield f"return status 204 if {asked} {{ {setting('cors-options')} -m found }}"

    @override
    def after(self, context: Context) -> Iterator[str]:
        # Not for what was refused before it came to that, and of what is handed over the delegate says it.
        judged = f"{flagged(self.flag)} {{ var(txn.cors) -m found }}"
        # Also for other origins, and without one: a cache must not give them each other's responses.
        yield f"add-header Vary Origin if {judged} {{ var(txn.cors) -m str some }}"
        allowed = f"{judged} {{ var(txn.cors_origin) -m found }}"
        yield f"set-header {_ORIGIN} %[var(txn.cors_origin)] if {allowed}"
        for name in _FIELDS:
            value = setting(f"cors/{name.lower()}")
            yield f"set-header {name} %[{value}] if {allowed} {{ {value} -m found }}"


HANDLERS: Final = (_Cors(),)
