"""Affinity by a cookie, and hashes of what requests say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from typing_extensions import override

from ingresskit.policies import (
    Affinity,
    AffinityCanary,
    AffinityMode,
    EndpointLimit,
    HashBy,
    HashPart,
    HashSource,
    Policy,
    SecureCookie,
)
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft
from ingresskit.render.nginx.tree import Directive, Part, Value, Variable
from ingresskit.render.policies import Loss, PolicyHandler, Support

__all__ = [
    "DYNAMIC",
    "STATIC",
    "DynamicAffinity",
    "DynamicEndpointLimit",
    "DynamicHashBy",
    "StaticAffinity",
    "StaticEndpointLimit",
    "StaticHashBy",
]

_AFFINITY: Final = Loss(
    message="keeps no client at its endpoint",
    support=Support.DELEGATED,
    effect="clients do not stay at their endpoints",
)
_HASH: Final = Loss(
    field="parts",
    message="has no variables for what is hashed",
    support=Support.DELEGATED,
    effect="endpoints are chosen without a hash",
)
_SUBSET: Final = replace(_HASH, field="subset", message="has no groups of endpoints")
_LIMIT: Final = Loss(
    message="does not count the requests of an endpoint",
    support=Support.DELEGATED,
    effect="endpoints get any number of requests",
)


_PLAIN: Final = re.compile(r"[A-Za-z0-9_]{1,64}")
# Not what proxies say, of which endpoints get another value than clients send.
_FIELD: Final = re.compile(
    r"(?!x-forwarded|forwarded$|x-real-ip$|x-request-id$|host$|content-length$|upgrade$|connection$)[a-z0-9-]{1,64}"
)


class StaticAffinity(PolicyHandler[Affinity, StaticDraft]):
    """For the delegate: nginx has no affinity cookies without its commercial modules."""

    policy: type[Policy] = Affinity
    limitations: tuple[Loss, ...] = (_AFFINITY,)

    @override
    def losses(self, policy: Affinity) -> Iterable[Loss]:
        return self.limitations if policy.cookie else ()

    @override
    def honoured(self, policy: Affinity) -> Policy | None:
        return None if policy.cookie else policy


class DynamicAffinity(PolicyHandler[Affinity, DynamicDraft]):
    """The member ``affinity`` of the backend; members that say the default are left out."""

    policy: type[Policy] = Affinity

    @override
    def contribute(self, policy: Affinity, draft: DynamicDraft) -> None:
        if not policy.cookie:
            return
        members: dict[str, object] = {
            "cookie": policy.cookie,
            "persistent": policy.mode is AffinityMode.PERSISTENT,
            "legacy": policy.canary is AffinityCanary.LEGACY,
            "path": policy.path,
            "domain": policy.domain,
            "max_age": None if policy.max_age is None else int(policy.max_age.total_seconds()),
            "expires": None if policy.expires is None else int(policy.expires.total_seconds()),
            "secure": None if policy.secure is SecureCookie.AUTO else str(policy.secure),
            "samesite": None if policy.samesite is None else str(policy.samesite),
            "conditional": policy.conditional_samesite_none,
            "change": policy.change_on_failure,
        }
        draft.upstream["affinity"] = {
            name: value for name, value in members.items() if value is not None and value is not False
        }


class StaticHashBy(PolicyHandler[HashBy, StaticDraft]):
    """``hash … consistent`` of variables; for the delegate where nginx has none that says the same."""

    policy: type[Policy] = HashBy
    limitations: tuple[Loss, ...] = (_HASH, _SUBSET)

    @override
    def losses(self, policy: HashBy) -> Iterator[Loss]:
        if policy.parts and _hashed(policy) is None:
            yield _SUBSET if policy.subset > 1 else _HASH

    @override
    def honoured(self, policy: HashBy) -> Policy | None:
        return None if policy.parts and _hashed(policy) is None else policy

    @override
    def contribute(self, policy: HashBy, draft: StaticDraft) -> None:
        if policy.parts and (value := _hashed(policy)) is not None:
            draft.balance = (Directive("hash", (value, "consistent")),)


def _hashed(policy: HashBy) -> Value | None:
    """What nginx hashes; ``None``: it cannot."""
    if policy.subset > 1:
        return None
    parts: list[Part] = []
    for part in policy.parts:
        if part.source is HashSource.TEXT:
            continue  # it is the same for all requests
        if (variable := _variable(part)) is None:
            return None
        parts += (variable, "/")
    return Value(*parts) if parts else None


def _variable(part: HashPart) -> Variable | None:
    """The variable of nginx that says the same; names of variables are letters, digits and ``_``."""
    name = part.name
    match part.source:
        case HashSource.CLIENT:
            return Variable("remote_addr")
        case HashSource.HOST:
            return Variable("host")
        case HashSource.URI:
            return Variable("request_uri")
        case HashSource.METHOD:
            return Variable("request_method")
        case HashSource.QUERY if not name:
            return Variable("args")
        case HashSource.QUERY if _PLAIN.fullmatch(name):
            return Variable(f"arg_{name}")
        case HashSource.COOKIE if _PLAIN.fullmatch(name):
            return Variable(f"cookie_{name}")
        case HashSource.HEADER if _FIELD.fullmatch(name):
            return Variable(f"http_{name.replace('-', '_')}")
        case _:
            return None


class DynamicHashBy(PolicyHandler[HashBy, DynamicDraft]):
    """The members ``hash`` and ``subset`` of the backend."""

    policy: type[Policy] = HashBy

    @override
    def contribute(self, policy: HashBy, draft: DynamicDraft) -> None:
        if policy.parts:
            draft.upstream["hash"] = [[str(part.source), part.name] for part in policy.parts]
            if policy.subset > 1:
                draft.upstream["subset"] = policy.subset


class StaticEndpointLimit(PolicyHandler[EndpointLimit, StaticDraft]):
    """For the delegate: where all endpoints have as many as they may, nginx responds 502."""

    policy: type[Policy] = EndpointLimit
    limitations: tuple[Loss, ...] = (_LIMIT,)

    @override
    def losses(self, policy: EndpointLimit) -> Iterable[Loss]:
        return self.limitations if policy.requests else ()

    @override
    def honoured(self, policy: EndpointLimit) -> Policy | None:
        return None if policy.requests else policy


class DynamicEndpointLimit(PolicyHandler[EndpointLimit, DynamicDraft]):
    """For the delegate, one process that counts."""

    policy: type[Policy] = EndpointLimit
    limitations: tuple[Loss, ...] = (_LIMIT,)

    @override
    def losses(self, policy: EndpointLimit) -> Iterable[Loss]:
        return self.limitations if policy.requests else ()

    @override
    def honoured(self, policy: EndpointLimit) -> Policy | None:
        return None if policy.requests else policy


STATIC: Final = (StaticAffinity(), StaticEndpointLimit(), StaticHashBy())
DYNAMIC: Final = (DynamicAffinity(), DynamicEndpointLimit(), DynamicHashBy())
