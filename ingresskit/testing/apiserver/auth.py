"""Who may do what: bearer tokens, client certificates, and rules in the manner of RBAC.

Everything may be changed while the server runs, from any thread: the next request is judged by it.
Watches that are open stay open, as they do on the real server.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from ingresskit.testing.apiserver.statuses import StatusError, forbidden, unauthorized

__all__ = ["ALLOW_ALL", "Attributes", "Rule", "Users"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Something a user may do; ``"*"`` stands for anything.

    Attributes:
        verbs: ``get``, ``list``, ``watch``, ``create``, ``update``, ``patch``, ``delete``,
            ``deletecollection``.
        groups: API groups; the core group is empty text.
        resources: ``"ingresses"``; subresources apart, ``"ingresses/status"``.
        names: Names of objects; empty for all. Lists and watches need a ``metadata.name`` field selector
            to be covered by a rule with names; creating never is.
        namespaces: Where; empty for everywhere, also across namespaces and for cluster-wide objects.
        paths: Paths that are no resource, ``"/metrics"``, ``"/healthz/*"``.
    """

    verbs: Sequence[str]
    groups: Sequence[str] = ()
    resources: Sequence[str] = ()
    names: Sequence[str] = ()
    namespaces: Sequence[str] = ()
    paths: Sequence[str] = ()

    def allows(self, asked: Attributes) -> bool:
        """Whether this rule alone is enough for *asked*."""
        if not _covers(self.verbs, asked.verb):
            return False
        if not asked.resource:
            return any(
                asked.path.startswith(path[:-1]) if path.endswith("*") else asked.path == path
                for path in self.paths
            )
        wanted = {asked.resource, f"*/{asked.subresource}"} if asked.subresource else {asked.resource}
        if asked.subresource:
            wanted = {f"{asked.resource}/{asked.subresource}", f"*/{asked.subresource}"}
        return (
            _covers(self.groups, asked.group)
            and ("*" in self.resources or not wanted.isdisjoint(self.resources))
            and (not self.names or (asked.name != "" and asked.name in self.names))
            and (not self.namespaces or asked.namespace in self.namespaces)
        )


ALLOW_ALL = (Rule(verbs=["*"], groups=["*"], resources=["*"]), Rule(verbs=["*"], paths=["*"]))
"""What an administrator may do."""

_EVERYBODY = (
    Rule(verbs=["get"], paths=["/healthz*", "/livez*", "/readyz*", "/version", "/version/"]),
    # What system:discovery and system:basic-user grant to whoever is known.
)
_KNOWN = (
    Rule(verbs=["get"], paths=["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"]),
    Rule(verbs=["create"], groups=["authorization.k8s.io"],
         resources=["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
    Rule(verbs=["create"], groups=["authentication.k8s.io"], resources=["selfsubjectreviews"]),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What a request wants, as authorisation sees it."""

    user: str
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def _covers(granted: Sequence[str], asked: str) -> bool:
    return "*" in granted or asked in granted


class Users:
    """The users of one server, their tokens and their rules."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: dict[str, str] = {}
        self._rules: dict[str, tuple[Rule, ...]] = {}

    def token_for(self, user: str, rules: Sequence[Rule] | None = None) -> str:
        """A new token for *user*; older ones stay good. *rules*, if given, replace the user's."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._tokens[token] = user
            if rules is not None or user not in self._rules:
                self._rules[user] = tuple(rules or ())
        return token

    def set_rules(self, user: str, rules: Sequence[Rule]) -> None:
        """Let *user* do exactly this from now on."""
        with self._lock:
            self._rules[user] = tuple(rules)

    def rules(self, user: str) -> tuple[Rule, ...]:
        """What *user* may do, besides what everybody may."""
        with self._lock:
            return self._rules.get(user, ())

    def revoke(self, token: str) -> None:
        """No longer know the bearer of *token*; one nobody has is no error."""
        with self._lock:
            self._tokens.pop(token, None)

    def identify(self, authorization: str, certificate_user: str = "") -> str:
        """Who asks: the user of the bearer token, else of the client certificate, else nobody known.

        Raises:
            StatusError: 401, the token is nobody's.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer":
            with self._lock:
                user = self._tokens.get(token.strip())
            if user is None:
                raise unauthorized()
            return user
        return certificate_user or "system:anonymous"

    def allows(self, asked: Attributes) -> bool:
        """Whether the user may do what is asked."""
        granted = (*_EVERYBODY, *self.rules(asked.user))
        if asked.user != "system:anonymous":
            granted += _KNOWN
        return any(rule.allows(asked) for rule in granted)

    def check(self, asked: Attributes) -> None:
        """Let *asked* pass.

        Raises:
            StatusError: 403 in the words of RBAC. Nobody known gets it too, as on the real server.
        """
        if not self.allows(asked):
            raise _refusal(asked)


def _refusal(asked: Attributes) -> StatusError:
    if not asked.resource:
        why = f'User "{asked.user}" cannot {asked.verb} path "{asked.path}"'
        return StatusError(403, "Forbidden", f"forbidden: {why}", details={})
    what = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    why = f'User "{asked.user}" cannot {asked.verb} resource "{what}" in API group "{asked.group}" {where}'
    return forbidden(asked.group, asked.resource, asked.name, why)
