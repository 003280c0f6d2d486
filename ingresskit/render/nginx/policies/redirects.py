"""Responses that need no endpoint: the redirect to TLS, and the action of a route that does not forward."""

from __future__ import annotations

from typing import Final

from ingresskit.graph import Redirect, Respond
from ingresskit.policies import Policy, Stage, TlsRedirect
from ingresskit.render.nginx.policies.drafts import DynamicDraft, StaticDraft, StaticGuard
from ingresskit.render.nginx.static.forwarding import SECURE_PORT
from ingresskit.render.nginx.static.normal_form import TARGET
from ingresskit.render.nginx.tree import Directive, Value, Variable
from ingresskit.render.policies import PolicyHandler

__all__ = [
    "DYNAMIC",
    "STATIC",
    "DynamicTlsRedirect",
    "StaticTlsRedirect",
    "add_dynamic_action",
    "add_dynamic_tls_redirect",
    "static_tls_redirect",
]


class StaticTlsRedirect(PolicyHandler[TlsRedirect, StaticDraft]):
    """As `ingresskit.graph.redirects_to_tls` says: without the policy, the virtual host decides."""

    policy: type[Policy] = TlsRedirect


class DynamicTlsRedirect(PolicyHandler[TlsRedirect, DynamicDraft]):
    """As `ingresskit.graph.redirects_to_tls` says: without the policy, the virtual host decides."""

    policy: type[Policy] = TlsRedirect


def static_tls_redirect(insecure: Variable) -> StaticGuard:
    """A redirect to TLS for requests for which *insecure* is set."""
    location = Value("https://", Variable("host"), SECURE_PORT, TARGET)
    return StaticGuard(Stage.TLS_REDIRECT, insecure, Directive("return", ("308", location)))


def add_dynamic_tls_redirect(draft: DynamicDraft) -> None:
    """Redirect plain HTTP to TLS."""
    draft.guard(Stage.TLS_REDIRECT, "tls_redirect", True)


def add_dynamic_action(action: Redirect | Respond, draft: DynamicDraft) -> None:
    """Respond to every request as *action* says."""
    response: dict[str, object] = {"status": action.status}
    if isinstance(action, Redirect):
        response["location"] = action.location
    draft.guard(Stage.ACTION, "respond", response)


STATIC: Final = (StaticTlsRedirect(),)
DYNAMIC: Final = (DynamicTlsRedirect(),)
