"""What endpoints say of their own place in responses: the domain and path of cookies, and redirects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ingresskit.filters.base import RequestView, ResponseView
from ingresskit.filters.edits import UNCHANGED, HeaderEdit
from ingresskit.filters.effects import Compiler, Effect
from ingresskit.policies import CookieRewrite, LocationRewrite, Pattern, TextChange, expand

__all__ = ["COMPILERS", "CookieFilter", "LocationFilter"]

_NO_NAMES: Final[Mapping[str, str]] = {}
_ATTRIBUTE: Final = re.compile(rb"(\s*)([^=;\s]+)(\s*=\s*)([^;]*?)(\s*)")
_REFRESH: Final = re.compile(rb"(?i)url=")
_TEXT: Final = "latin-1"


@dataclass(frozen=True, slots=True)
class CookieFilter:
    """Changes the ``Domain`` and ``Path`` attributes of ``Set-Cookie``.

    Attributes:
        domains: As `CookieRewrite.domains`.
        paths: As `CookieRewrite.paths`.
    """

    domains: tuple[TextChange, ...]
    paths: tuple[TextChange, ...]

    def response(self, request: RequestView, response: ResponseView) -> HeaderEdit:
        """As `ResponseFilter.response`."""
        cookies = response.values(b"set-cookie")
        changed = [self._changed(cookie) for cookie in cookies]
        if changed == list(cookies):
            return UNCHANGED
        return HeaderEdit(
            drop=frozenset((b"set-cookie",)), fields=tuple((b"Set-Cookie", one) for one in changed)
        )

    def _changed(self, cookie: bytes) -> bytes:
        first, *attributes = cookie.split(b";")
        return b";".join((first, *map(self._attribute, attributes)))

    def _attribute(self, text: bytes) -> bytes:
        if not (found := _ATTRIBUTE.fullmatch(text)):
            return text
        before, name, equals, value, after = found.groups()
        match name.lower():
            case b"domain":
                made = _domain(self.domains, value.decode(_TEXT))
            case b"path":
                made = _beginning(self.paths, value.decode(_TEXT))
            case _:
                return text
        return text if made is None else b"".join((before, name, equals, made.encode(_TEXT), after))


@dataclass(frozen=True, slots=True)
class LocationFilter:
    """Changes where ``Location`` and ``Refresh`` lead.

    Attributes:
        changes: As `LocationRewrite.changes`.
        absolute: As `LocationRewrite.absolute`.
    """

    changes: tuple[TextChange, ...]
    absolute: bool = False

    def response(self, request: RequestView, response: ResponseView) -> HeaderEdit:
        """As `ResponseFilter.response`."""
        edit = UNCHANGED
        if (location := response.field(b"location")) is not None:
            edit = self._changed(request, b"Location", b"", location)
        if (refresh := response.field(b"refresh")) is not None and (found := _REFRESH.search(refresh)):
            edit = edit.then(self._changed(request, b"Refresh", refresh[: found.end()], refresh[found.end() :]))
        return edit

    def _changed(self, request: RequestView, name: bytes, before: bytes, url: bytes) -> HeaderEdit:
        names = {
            "scheme": "https" if request.https else "http",
            "host": request.host,
            "http_host": (request.field(b"host") or b"").decode(_TEXT),
        }
        made = _beginning(self.changes, url.decode(_TEXT), names)
        if made is None:
            return UNCHANGED
        if self.absolute and not before and made.startswith("/"):
            made = f"{names['scheme']}://{request.host}{made}"
        return HeaderEdit(drop=frozenset((name.lower(),)), fields=((name, before + made.encode(_TEXT)),))


def _domain(changes: tuple[TextChange, ...], value: str) -> str | None:
    """The domain that takes the place of *value*; ``None``: it stays."""
    bare = value.removeprefix(".")
    for change in changes:
        if change.pattern:
            if (groups := Pattern(change.source).groups(bare)) is not None:
                return expand(change.target, groups)
        elif change.source.removeprefix(".").lower() == bare.lower():
            return change.target.removeprefix(".")
    return None


def _beginning(changes: tuple[TextChange, ...], value: str, names: Mapping[str, str] = _NO_NAMES) -> str | None:
    """The text that takes the place of *value*, by its beginning or as a whole; ``None``: it stays."""
    for change in changes:
        if change.pattern:
            if (groups := Pattern(change.source).groups(value)) is not None:
                return expand(change.target, groups, names)
            continue
        source = expand(change.source, (), names) if names else change.source
        if value.startswith(source):
            return (expand(change.target, (), names) if names else change.target) + value[len(source) :]
    return None


def _cookies(policy: CookieRewrite) -> Effect:
    if not policy.domains and not policy.paths:
        return Effect()
    return Effect(rewrites=(CookieFilter(policy.domains, policy.paths),))


def _locations(policy: LocationRewrite) -> Effect:
    return Effect(rewrites=(LocationFilter(policy.changes, policy.absolute),)) if policy.changes else Effect()


COMPILERS: Final = (Compiler(CookieRewrite, _cookies), Compiler(LocationRewrite, _locations))
