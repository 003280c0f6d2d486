"""Responses that need no endpoint: the redirect to TLS, and the action of a route that does not forward."""

from __future__ import annotations

from typing import Final, assert_never

from ingresskit.graph import Redirect, Respond
from ingresskit.policies import KeptTarget, Policy, RedirectStatus, Stage, TlsRedirect
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft, StaticGuard
from ingresskit.render.nginx.static.forwarding import SECURE_PORT, SHOWN_SECURE_PORT
from ingresskit.render.nginx.static.normal_form import BARE_TARGET, TARGET
from ingresskit.render.nginx.tree import Directive, Value, Variable
from ingresskit.render.policies import PolicyHandler

__all__ = [
    "DYNAMIC",
    "STATIC",
    "DynamicTlsRedirect",
    "StaticTlsRedirect",
    "add_dynamic_action",
    "add_dynamic_tls_redirect",
    "static_redirect",
    "static_tls_redirect",
]


class StaticTlsRedirect(PolicyHandler[TlsRedirect, StaticDraft]):
    """As `ingresskit.graph.redirects_to_tls` says: without the policy, the virtual host decides."""

    policy: type[Policy] = TlsRedirect


class DynamicTlsRedirect(PolicyHandler[TlsRedirect, DynamicDraft]):
    """As `ingresskit.graph.redirects_to_tls` says: without the policy, the virtual host decides."""

    policy: type[Policy] = TlsRedirect


def static_tls_redirect(insecure: Variable, policy: TlsRedirect | None = None) -> StaticGuard:
    """A redirect to TLS, as *policy* says, for requests for which *insecure* is set."""
    policy = policy or TlsRedirect()
    port = SHOWN_SECURE_PORT if policy.shows_port else SECURE_PORT
    location = Value("https://", Variable("host"), port, TARGET if policy.keeps_slash else BARE_TARGET)
    return StaticGuard(Stage.TLS_REDIRECT, insecure, Directive("return", (str(policy.status), location)))


def static_redirect(action: Redirect) -> Directive:
    """The response of a route that redirects."""
    location: tuple[str | Variable, ...] = (action.location,)
    if action.location.startswith("///"):
        location = (Variable("ik_proto"), "://", Variable("http_host"), action.location[2:])
    elif action.location.startswith("//"):
        location = (Variable("ik_proto"), ":", *location)
    match action.keeps:
        case KeptTarget.NOTHING:
            pass
        case KeptTarget.QUERY:
            location = (*location, Variable("is_args"), Variable("args"))
        case KeptTarget.PATH:
            location = (*location, TARGET)
        case _:
            assert_never(action.keeps)
    return Directive("return", (str(action.status), Value(*location)))


def add_dynamic_tls_redirect(draft: DynamicDraft, policy: TlsRedirect | None) -> None:
    """Redirect plain HTTP to TLS, as *policy* says."""
    how: dict[str, object] = {}
    if policy is not None and policy.status is not RedirectStatus.PERMANENT:
        how["status"] = int(policy.status)
    if policy is not None and not policy.keeps_slash:
        how["bare"] = True
    if policy is not None and policy.shows_port:
        how["port"] = True
    draft.guard(Stage.TLS_REDIRECT, "tls_redirect", how or True)


def add_dynamic_action(action: Redirect | Respond, draft: DynamicDraft) -> None:
    """Respond to every request as *action* says."""
    response: dict[str, object] = {"status": action.status}
    if isinstance(action, Redirect):
        response["location"] = action.location
        if action.location.startswith("//"):
            response["scheme"] = True
        if action.keeps is not KeptTarget.NOTHING:
            response["keeps"] = str(action.keeps)
    draft.guard(Stage.ACTION, "respond", response)


STATIC: Final = (StaticTlsRedirect(),)
DYNAMIC: Final = (DynamicTlsRedirect(),)
