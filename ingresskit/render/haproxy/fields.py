"""Header fields that policies set and remove: rules by name, values in maps.

HAProxy learns the names of header fields from its file only. So the program has rules for every name in
use, and for those that are used everywhere from the beginning, which then cost no reload.

A route's settings say in one row which names it sets and in another which it removes, so that a name that
it does not have costs one look into a short text. Names stand there as digests, since 64 long ones are
more than a row can hold. A tenant who finds two names with one digest sets the other, empty, on the own
routes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Final

from ingresskit.graph.dump import HIDDEN
from ingresskit.policies.values import HeaderField
from ingresskit.render.haproxy.artifact import MapName
from ingresskit.render.haproxy.lines import setting
from ingresskit.render.haproxy.quoting import quote
from ingresskit.render.haproxy.spellings import every_spelling

__all__ = ["STANDING_FIELDS", "field_names", "field_rows", "field_rules", "masked_fields"]

# A row of `field_rows` that holds a value: a key, a blank, and "=" before the value.
_VALUE_ROW: Final = re.compile(rb"^(\S+/(?:request|response)/\S+ =).*$", re.MULTILINE)

STANDING_FIELDS: Final = {
    "request": frozenset(
        {
            "accept",
            "accept-encoding",
            "accept-language",
            "authorization",
            "cache-control",
            "content-type",
            "cookie",
            "origin",
            "referer",
            "user-agent",
            "x-api-key",
            "x-request-id",
        }
    ),
    "response": frozenset(
        {
            "access-control-allow-credentials",
            "access-control-allow-headers",
            "access-control-allow-methods",
            "access-control-allow-origin",
            "access-control-expose-headers",
            "access-control-max-age",
            "cache-control",
            "content-disposition",
            "content-security-policy",
            "content-security-policy-report-only",
            "cross-origin-embedder-policy",
            "cross-origin-opener-policy",
            "cross-origin-resource-policy",
            "etag",
            "expires",
            "last-modified",
            "link",
            "permissions-policy",
            "pragma",
            "referrer-policy",
            "server",
            "set-cookie",
            "strict-transport-security",
            "vary",
            "x-aspnet-version",
            "x-content-type-options",
            "x-frame-options",
            "x-powered-by",
            "x-request-id",
            "x-robots-tag",
            "x-runtime",
            "x-xss-protection",
        }
    ),
}
"""By side, the names that every program knows, lower case."""


def field_rows(
    side: str, fields: tuple[HeaderField, ...], removed: tuple[str, ...]
) -> Iterator[tuple[MapName, str, str]]:
    """The settings for fields to set and to remove, of the request or the response."""
    values = {name.lower(): value for name, value in fields}
    # What is removed is what the client (or the endpoint) sent: a field that is both, is set.
    gone = {name.lower() for name in removed} - values.keys()
    for what, names in (("set", values.keys()), ("remove", gone)):
        if names:
            yield MapName.SETTINGS, f"{side}-{what}", "".join(sorted(map(_mark, names)))
    for name, value in values.items():
        # A value may be empty, and a map has no empty values.
        yield MapName.SETTINGS, f"{side}/{name}", f"={value}"


def masked_fields(rows: bytes) -> bytes:
    """The text of the settings map without the values of header fields."""
    return _VALUE_ROW.sub(rb"\1" + HIDDEN.encode(), rows)


def field_names(
    side: str, fields: tuple[HeaderField, ...], removed: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    """The names that a program must know beside `STANDING_FIELDS`, each behind ``set`` or ``remove``."""
    for what, names in (("set", [name for name, _ in fields]), ("remove", removed)):
        for name in names:
            if name.lower() not in STANDING_FIELDS[side]:
                yield what, name.lower()


def field_rules(side: str, names: frozenset[str], condition: str) -> Iterator[str]:
    """The rules that set and remove fields.

    Args:
        side: ``request`` or ``response``.
        names: Beside `STANDING_FIELDS`, lower case.
        condition: That the route sets or removes any.
    """
    for what in ("set", "remove"):
        yield f"set-var(txn.{side}_{what}) {setting(f'{side}-{what}')} if {condition}"
    # Where these found nothing, nothing is in what they did not set.
    for name in sorted(names | STANDING_FIELDS[side]):
        mark, word = _mark(name), quote(name)
        value = quote(f"%[{setting(f'{side}/{name}')},bytes(1)]")
        removed = f"{{ var(txn.{side}_remove) -m sub {mark} }}"
        if side == "request":
            # Applications could take other spellings for the field that the route sets, or did not want.
            gone = f"{{ var(txn.{side}_set) -m sub {mark} }} or {removed}"
            yield f"del-header {quote(every_spelling(name))} -m reg if {gone}"
        else:
            yield f"del-header {word} if {removed}"
        yield f"set-header {word} {value} if {{ var(txn.{side}_set) -m sub {mark} }}"


def _mark(name: str) -> str:
    return f"/{hashlib.sha256(name.encode()).hexdigest()[:8]}"
