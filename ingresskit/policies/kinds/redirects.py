"""Responses that send the client elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Self

from ingresskit.policies.base import Policy, PolicyScope, Risk, annotated
from ingresskit.policies.order import Stage
from ingresskit.policies.values import parse_boolean, parse_choice, parse_location

__all__ = [
    "AppRoot",
    "KeptTarget",
    "PermanentRedirect",
    "RedirectStatus",
    "TlsRedirect",
    "WwwRedirect",
    "parse_paths",
    "parse_root",
]


class RedirectStatus(StrEnum):
    """The status of a redirect."""

    MULTIPLE_CHOICES = "300"
    MOVED_PERMANENTLY = "301"
    FOUND = "302"
    SEE_OTHER = "303"
    TEMPORARY = "307"
    PERMANENT = "308"


class KeptTarget(StrEnum):
    """What of the request's own target stands at the end of a redirect's location. Values are stable."""

    NOTHING = "nothing"
    QUERY = "query"
    PATH = "path"
    """The path and the query."""


_STATUSES = "`300`, `301`, `302`, `303`, `307` or `308`"


def parse_root(text: str) -> str:
    """A path that a redirect leads to: begins with one ``/``, and is not ``/`` itself."""
    location = parse_location(text)
    if not location.startswith("/") or location == "/":
        raise ValueError("must be a path that begins with /, and not / itself")
    return location


def parse_paths(text: str) -> tuple[str, ...]:
    """Beginnings of paths separated by commas, as written, each once."""
    paths = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if len(paths) > 64 or not all(re.fullmatch(r"/[\x21-\x2b\x2d-\x7e]{0,1000}", path) for path in paths):
        raise ValueError("must be paths that begin with /, separated by commas, 64 at most")
    return paths


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsRedirect(Policy):
    """Whether and how plain HTTP requests are sent to HTTPS.

    Without it the redirect is on for hosts with TLS settings of their own (``spec.tls`` names them, whether
    or not the Secret is there, or the wildcard above them), and off for others. Rules for the
    path ``/.well-known/acme-challenge`` and paths below it are never redirected.

    Attributes:
        enabled: On even without TLS settings, or off even with them; ``None``: where the host has them.
        status: Of the redirect.
        keeps_slash: Whether a path that ends with ``/`` keeps it; without it, one without a query loses it,
            but for the path ``/``.
        shows_port: The location names the port also where it is 443.
        exceptions: Rules whose path begins with one of these are not redirected.
    """

    stage: ClassVar[Stage] = Stage.TLS_REDIRECT

    enabled: bool | None = annotated(
        "tls-redirect",
        parse_boolean,
        default=None,
        grammar="`true` or `false`",
        summary="Send plain HTTP requests to HTTPS. Without it: yes where `spec.tls` names the host.",
    )
    status: RedirectStatus = annotated(
        "tls-redirect-status",
        parse_choice(RedirectStatus),
        default=RedirectStatus.PERMANENT,
        grammar=_STATUSES,
        summary="The status of the redirect to HTTPS.",
    )
    keeps_slash: bool = annotated(
        "tls-redirect-keep-slash",
        parse_boolean,
        default=True,
        grammar="`true` or `false`",
        summary="Whether a `/` at the end of the path stays there in the redirect to HTTPS.",
    )
    shows_port: bool = annotated(
        "tls-redirect-show-port",
        parse_boolean,
        default=False,
        grammar="`true` or `false`",
        summary="Name the port in the redirect to HTTPS also where it is 443.",
    )
    exceptions: tuple[str, ...] = annotated(
        "tls-redirect-except",
        parse_paths,
        default=(),
        grammar="beginnings of paths, separated by commas",
        summary="Do not redirect requests of rules whose path begins with one of these.",
    )

    def applies_to(self, path: str) -> bool:
        """Whether rules for *path*, as written, may be redirected."""
        return not path.startswith(self.exceptions) if self.exceptions else True


@dataclass(frozen=True, slots=True, kw_only=True)
class PermanentRedirect(Policy):
    """Respond with a redirect instead of forwarding.

    Attributes:
        location: An absolute URL or a path; ``None`` is no redirect.
        status: 308 keeps method and body; 301 lets clients turn a POST into a GET.
        keeps: What of the request's target follows the location, which is sent as it is otherwise.
    """

    stage: ClassVar[Stage] = Stage.ACTION

    location: str | None = annotated(
        "redirect",
        parse_location,
        default=None,
        grammar="an `http(s)://` URL or a path",
        summary="Redirect every request of the Ingress to this place.",
        risk=Risk.MEDIUM,
    )
    status: RedirectStatus = annotated(
        "redirect-status",
        parse_choice(RedirectStatus),
        default=RedirectStatus.PERMANENT,
        grammar=_STATUSES,
        summary="The status of that redirect.",
    )
    keeps: KeptTarget = annotated(
        "redirect-keep",
        parse_choice(KeptTarget),
        default=KeptTarget.NOTHING,
        grammar="`nothing`, `query` or `path`",
        summary="What of the request follows that place: nothing, its query, or its path and query.",
    )

    @classmethod
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`; a status alone redirects nowhere and is refused."""
        location = values.get("location")
        if not isinstance(location, str):
            raise ValueError("has no effect without the annotation redirect")
        keeps = values.get("keeps", KeptTarget.NOTHING)
        if keeps is not KeptTarget.NOTHING and ("?" in location or "#" in location):
            raise ValueError(f"cannot keep the {keeps} behind a redirect with ? or #")
        # `slots=True` makes the class anew, so that `super()` alone would speak of the one before.
        return super(PermanentRedirect, cls).build(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRoot(Policy):
    """Redirect requests for the path ``/`` of the host with 302, whatever rules take it otherwise.

    Attributes:
        location: A path; ``None`` is no redirect.
        first: Before everything that the policies of the Ingress demand, its protections included.
        absolute: The location is sent with the scheme and the ``Host`` of the client.
    """

    scope: ClassVar[PolicyScope] = PolicyScope.HOST
    stage: ClassVar[Stage] = Stage.ACTION

    location: str | None = annotated(
        "app-root",
        parse_root,
        default=None,
        grammar="a path",
        summary="Redirect the path `/` of the hosts of the Ingress there, with 302.",
        risk=Risk.MEDIUM,
    )
    first: bool = False
    absolute: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WwwRedirect(Policy):
    """Redirect the twin of each host of the Ingress to it: the name with ``www.``, or the one without.

    Path, query and scheme stay. A twin that any rule names is served by its rules, and not redirected.
    It is served over TLS where the host is, and the certificate of the host is for the twin too.

    Attributes:
        enabled: Whether there is such a redirect.
        status: Of the redirect.
        first: Before everything that the policies of the Ingress demand.
    """

    stage: ClassVar[Stage] = Stage.ACTION

    enabled: bool = annotated(
        "www-redirect",
        parse_boolean,
        default=False,
        grammar="`true` or `false`",
        summary="Redirect the name with `www.` to the rule's host, or the one without where that has it.",
        risk=Risk.MEDIUM,
    )
    status: RedirectStatus = annotated(
        "www-redirect-status",
        parse_choice(RedirectStatus),
        default=RedirectStatus.PERMANENT,
        grammar=_STATUSES,
        summary="The status of that redirect.",
    )
    first: bool = False
