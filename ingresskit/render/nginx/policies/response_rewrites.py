"""What endpoints say of their own place in responses: the domain and path of cookies, and redirects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from typing_extensions import override

from ingresskit.policies import CookieRewrite, LocationRewrite, Pattern, Policy, TextChange
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.nginx.templates import written_template
from ingresskit.render.nginx.tree import Directive, Value, text_fault
from ingresskit.render.policies import Loss, PolicyHandler, Support

__all__ = [
    "DYNAMIC",
    "STATIC",
    "DynamicCookieRewrite",
    "DynamicLocationRewrite",
    "StaticCookieRewrite",
    "StaticLocationRewrite",
]

_COOKIES: Final = Loss(
    message="changes attributes of cookies by plain texts only",
    support=Support.DELEGATED,
    effect="cookies stay as the endpoint sets them",
)
_REDIRECTS: Final = Loss(
    field="changes",
    message="changes redirects of endpoints by plain texts only",
    support=Support.DELEGATED,
    effect="they lead where the endpoint says",
)
# Words that mean something else to the directives, and what begins a regular expression of theirs.
_WORDS: Final = frozenset(("off", "default"))


class StaticCookieRewrite(PolicyHandler[CookieRewrite, StaticDraft]):
    """``proxy_cookie_domain`` and ``proxy_cookie_path``."""

    policy: type[Policy] = CookieRewrite
    limitations: tuple[Loss, ...] = (replace(_COOKIES, field="domains"), replace(_COOKIES, field="paths"))

    @override
    def contribute(self, policy: CookieRewrite, draft: StaticDraft) -> None:
        draft.settings += _directives("proxy_cookie_domain", policy.domains)
        draft.settings += _directives("proxy_cookie_path", policy.paths)

    @override
    def losses(self, policy: CookieRewrite) -> Iterable[Loss]:
        for loss, changes in zip(self.limitations, (policy.domains, policy.paths), strict=True):
            if not all(map(_is_plain, changes)):
                yield loss

    @override
    def honoured(self, policy: CookieRewrite) -> Policy | None:
        return None if any(self.losses(policy)) else policy


class StaticLocationRewrite(PolicyHandler[LocationRewrite, StaticDraft]):
    """``proxy_redirect``."""

    policy: type[Policy] = LocationRewrite
    limitations: tuple[Loss, ...] = (_REDIRECTS,)

    @override
    def contribute(self, policy: LocationRewrite, draft: StaticDraft) -> None:
        draft.settings += _directives("proxy_redirect", policy.changes)

    @override
    def losses(self, policy: LocationRewrite) -> Iterable[Loss]:
        # What the client used is not always what nginx's own variables say.
        plain = all(
            _is_plain(item)
            and "$" not in item.source + item.target
            and not (policy.absolute and (item.target or "/").startswith("/"))
            for item in policy.changes
        )
        return () if plain else self.limitations

    @override
    def honoured(self, policy: LocationRewrite) -> Policy | None:
        return None if any(self.losses(policy)) else policy


class DynamicCookieRewrite(PolicyHandler[CookieRewrite, DynamicDraft]):
    """The function ``cookies`` for responses."""

    policy: type[Policy] = CookieRewrite

    @override
    def contribute(self, policy: CookieRewrite, draft: DynamicDraft) -> None:
        change: dict[str, object] = {}
        if policy.domains:
            change["domains"] = [_written(_without_dots(item)) for item in policy.domains]
        if policy.paths:
            change["paths"] = [_written(item) for item in policy.paths]
        if change:
            draft.respond(self.stage, "cookies", change)


class DynamicLocationRewrite(PolicyHandler[LocationRewrite, DynamicDraft]):
    """The function ``locations`` for responses."""

    policy: type[Policy] = LocationRewrite

    @override
    def contribute(self, policy: LocationRewrite, draft: DynamicDraft) -> None:
        if policy.changes:
            changes = [_written(item, names=True) for item in policy.changes]
            how = {"absolute": True} if policy.absolute else {}
            draft.respond(self.stage, "locations", {"list": changes, **how})


def _directives(name: str, changes: tuple[TextChange, ...]) -> list[Directive]:
    return [Directive(name, (Value(item.source), Value(item.target))) for item in changes]


def _is_plain(change: TextChange) -> bool:
    """Whether nginx reads both texts as they are."""
    texts = (change.source, change.target)
    return not (
        change.pattern
        or change.source.startswith("~")
        or not _WORDS.isdisjoint(texts)
        or any(text_fault(text) for text in texts)
    )


def _without_dots(change: TextChange) -> TextChange:
    """*change* of a domain: dots in front mean nothing."""
    if change.pattern:
        return change
    return TextChange(change.source.removeprefix("."), change.target.removeprefix("."))


def _written(change: TextChange, *, names: bool = False) -> dict[str, object]:
    """A change as ``lua/ingresskit/policies/response_rewrites.lua`` reads it."""
    if change.pattern:
        return {"pattern": Pattern(change.source).pcre, "to": written_template(change.target)}
    if names:
        return {"from": written_template(change.source), "to": written_template(change.target)}
    return {"from": [change.source], "to": [change.target]}


STATIC: Final = (StaticCookieRewrite(), StaticLocationRewrite())
DYNAMIC: Final = (DynamicCookieRewrite(), DynamicLocationRewrite())
