"""What each policy means in a location of nginx. Adding a policy takes one function here, and nothing else.

Each function gets a policy and a `Draft`, and writes into the draft; in which order is of no matter, for
the draft keeps what comes first (who is let in) apart from what comes later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

from ingresskit.policies import (
    Algorithm,
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
from ingresskit.policies.values import Network, plain_header_name
from ingresskit.render.nginx.tree import Argument, Directive, Value
from ingresskit.render.nginx.values import EMPTY_VALUE, duration

__all__ = ["HANDLERS", "Draft", "draft"]

P = TypeVar("P", bound=Policy)


@dataclass(slots=True)
class Draft:
    """What the policies of a route amount to in a location that forwards.

    Attributes:
        networks: Clients that are let in; empty: all.
        settings: Directives for forwarding.
        request: Fields of the request to set, by the name in lower case; an empty value drops one.
        hidden: Fields of the answer to drop.
        added: Fields of the answer to set.
        algorithm: How an endpoint is chosen.
        prefix: What takes the place of the matched path, without a slash at its end; ``None``: nothing.
    """

    networks: tuple[Network, ...] = ()
    settings: list[Directive] = field(default_factory=list[Directive])
    request: dict[str, tuple[str, Argument]] = field(default_factory=dict[str, "tuple[str, Argument]"])
    hidden: list[str] = field(default_factory=list[str])
    added: list[Directive] = field(default_factory=list[Directive])
    algorithm: Algorithm = Algorithm.ROUND_ROBIN
    prefix: str | None = None


Handler = Callable[[Policy, Draft], None]

_handlers: dict[type[Policy], Handler] = {}


def draft(policies: PolicySet) -> Draft:
    """What *policies* amount to. Those without a handler are left out: see `HANDLERS`."""
    made = Draft()
    for policy in policies:
        if handler := HANDLERS.get(type(policy)):
            handler(policy, made)
    return made


def _honours(kind: type[P]) -> Callable[[Callable[[P, Draft], None]], Callable[[P, Draft], None]]:
    def register(handler: Callable[[P, Draft], None]) -> Callable[[P, Draft], None]:
        _handlers[kind] = cast(Handler, handler)
        return handler

    return register


@_honours(AllowedSources)
def _allowed_sources(policy: AllowedSources, made: Draft) -> None:
    made.networks = policy.networks


@_honours(BodyLimit)
def _body_limit(policy: BodyLimit, made: Draft) -> None:
    made.settings.append(Directive("client_max_body_size", (str(policy.max_bytes),)))


@_honours(LoadBalancing)
def _load_balancing(policy: LoadBalancing, made: Draft) -> None:
    made.algorithm = policy.algorithm


@_honours(PrefixRewrite)
def _prefix_rewrite(policy: PrefixRewrite, made: Draft) -> None:
    made.prefix = None if policy.prefix is None else policy.prefix.rstrip("/")


@_honours(RequestHeaders)
def _request_headers(policy: RequestHeaders, made: Draft) -> None:
    for name in (*policy.remove, *(name for name, _ in policy.set)):
        # Other spellings do not arrive: nginx drops all punctuation but "-" by itself.
        for spelled in {plain_header_name(name): plain_header_name(name), name.lower(): name}.values():
            made.request[spelled.lower()] = (spelled, "")
    for name, value in policy.set:
        made.request[name.lower()] = (name, Value(value or EMPTY_VALUE))


@_honours(ResponseHeaders)
def _response_headers(policy: ResponseHeaders, made: Draft) -> None:
    made.hidden += dict.fromkeys(name.lower() for name in (*policy.remove, *(name for name, _ in policy.set)))
    # "always": whatever the status of the endpoint's answer is. Our own answers come from another location.
    made.added += (
        Directive("add_header", (name, Value(value or EMPTY_VALUE), "always")) for name, value in policy.set
    )


@_honours(Retries)
def _retries(policy: Retries, made: Draft) -> None:
    if policy.attempts:
        made.settings.append(Directive("proxy_next_upstream_tries", (str(policy.attempts + 1),)))
    else:
        made.settings.append(Directive("proxy_next_upstream", ("off",)))


@_honours(Timeouts)
def _timeouts(policy: Timeouts, made: Draft) -> None:
    for name, value in (("connect", policy.connect), ("read", policy.read), ("send", policy.send)):
        if value is not None:
            made.settings.append(Directive(f"proxy_{name}_timeout", (duration(value),)))


@_honours(TlsRedirect)
def _tls_redirect(_policy: TlsRedirect, _made: Draft) -> None:
    """Its effect hangs on the virtual host too: `ingresskit.graph.redirects_to_tls` says it."""


@_honours(PlainHttp)
def _plain_http(_policy: PlainHttp, _made: Draft) -> None:
    """It decides about a request before the draft is asked: `ingresskit.graph.refuses_plain_http` says it."""


HANDLERS: Mapping[type[Policy], Handler] = _handlers
"""By the type of policy, what writes it into a draft: what the renderer supports."""
