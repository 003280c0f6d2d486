"""Another service decides which requests are let in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import ClassVar, Final

from ingresskit.filters.base import (
    Admitted,
    Keepalive,
    Memory,
    Reply,
    RequestView,
    ResponseView,
    Subrequest,
    SubrequestReply,
    VerdictKey,
)
from ingresskit.filters.edits import UNCHANGED, HeaderEdit
from ingresskit.filters.effects import Compiler, Effect
from ingresskit.filters.variables import fill, fill_parts, fill_url
from ingresskit.graph import Termination
from ingresskit.policies import Stage
from ingresskit.policies.kinds.external_auth import ExternalAuth, OpenPaths
from ingresskit.policies.variables import RequestText, Variable

__all__ = ["CLOSED", "COMPILERS", "AddedCookies", "ExternalAuthFilter"]

_COOKIE: Final = b"set-cookie"
_CHALLENGE: Final = b"www-authenticate"
# As nginx' add_header has it without "always".
_USUAL_STATUSES: Final = frozenset({200, 201, 204, 206, 301, 302, 303, 304, 307, 308})
# What the service is told by this proxy alone, whatever a client says.
_SAID: Final = frozenset(
    {
        *(b"x-original-url", b"x-original-method", b"x-original-uri", b"x-sent-from", b"x-real-ip"),
        *(b"x-auth-request-redirect", b"x-scheme", b"x-forwarded-for", b"x-forwarded-method"),
        *(b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-uri"),
    }
)
# What asks for a part of a response, or for none: the service is to respond as it would to anybody. And what
# describes a body, which it does not get.
_OF_CONTENT: Final = frozenset(
    {
        *(b"if-match", b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since", b"range"),
        *(b"content-encoding", b"content-length", b"expect", b"transfer-encoding"),
    }
)


@dataclass(frozen=True, slots=True)
class AddedCookies:
    """The cookies of the service, beside those of the endpoint.

    Attributes:
        fields: Lines of ``Set-Cookie``.
        always: Also with errors.
    """

    fields: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    always: bool

    def response(self, request: RequestView, response: ResponseView) -> HeaderEdit:
        """As `ResponseFilter.response`."""
        if self.always or response.status in _USUAL_STATUSES:
            return HeaderEdit(fields=self.fields)
        return UNCHANGED


@dataclass(frozen=True, slots=True)
class ExternalAuthFilter:
    """Asks the service of a policy.

    Attributes:
        policy: What is asked, and what becomes of the response.
        drop: What the service does not get of the client's fields.
        identity: Of the policy: what is kept for another one does not count.
        redirect: Where a client without credentials is sent, with the way back; empty: nowhere.
    """

    stage: ClassVar[Stage] = Stage.AUTHENTICATION

    policy: ExternalAuth
    drop: frozenset[bytes]
    identity: str
    redirect: RequestText

    @property
    def asks_requested_host(self) -> bool:
        """Whether the host of the service is the one that the client asks for."""
        return self.policy.url.asks_requested_host

    def request(self, request: RequestView, memory: Memory) -> Subrequest:
        """As `Filter.request`."""
        policy = self.policy
        return Subrequest(
            url=fill_url(policy.url, request),
            method=policy.method.encode("ascii"),
            fields=self._fields(request),
            host="" if policy.forwarded_fields else _host(fill_url(policy.url, request)),
            passes=True,
            drop=self.drop,
            keepalive=Keepalive(
                connections=policy.keepalive,
                requests=policy.keepalive_requests,
                timeout=policy.keepalive_timeout,
            ),
            trusted=policy.trusted,
            kept=self._kept(request),
            timeout=policy.timeout,
        )

    def resume(self, request: RequestView, reply: SubrequestReply) -> Reply | Admitted:
        """As `Resuming.resume`."""
        policy = self.policy
        cookies = tuple((b"Set-Cookie", value) for name, value in reply.fields if name == _COOKIE)
        if 200 <= reply.status < 300:
            response = AddedCookies(cookies, policy.always_set_cookie) if cookies else None
            return Admitted(request=self._learned(reply), response=response)
        if reply.status == 401 and self.redirect:
            location = fill_url(self.redirect, request)
            return Reply(status=302, location=location, fields=cookies, termination=None)
        if reply.status in (401, 403):
            challenges = tuple(
                (b"WWW-Authenticate", value) for name, value in reply.fields if name == _CHALLENGE
            )
            kept = cookies if policy.always_set_cookie else ()
            return Reply(status=reply.status, fields=((*challenges, *kept) if reply.status == 401 else kept))
        # Nobody knows whether the client may pass.
        said = f"responded {reply.status}" if reply.status else "did not respond"
        return Reply(
            status=500, termination=Termination.INTERNAL, detail=f"the service that authenticates {said}"
        )

    def _fields(self, request: RequestView) -> tuple[tuple[bytes, bytes], ...]:
        policy = self.policy
        scheme = "https" if request.https else "http"
        host = (request.field(b"host") or request.host.encode("latin-1")).decode("latin-1")
        uri = request.path + request.query.decode("latin-1")
        client = str(request.client)
        redirect = fill(policy.request_redirect, request) if policy.request_redirect else uri
        fields = [
            ("X-Original-URL", f"{scheme}://{host}{uri}"),
            ("X-Original-URI", uri),
            ("X-Original-Method", request.method.decode("latin-1")),
            ("X-Sent-From", "nginx-ingress-controller"),
            ("X-Real-IP", client),
            ("X-Forwarded-For", client),
            ("X-Auth-Request-Redirect", redirect),
            ("X-Scheme", scheme),
        ]
        if policy.forwarded_fields:
            fields += [
                ("X-Forwarded-Method", request.method.decode("latin-1")),
                ("X-Forwarded-Proto", scheme),
                ("X-Forwarded-Host", host),
                ("X-Forwarded-Uri", uri),
            ]
        own = {_plain(name) for name, _ in policy.request_headers}
        fields = [item for item in fields if _plain(item[0]) not in own]
        fields += [(name, fill(text, request)) for name, text in policy.request_headers]
        # As in nginx, a field without a value is not sent.
        return tuple((name.encode("ascii"), value.encode("latin-1")) for name, value in fields if value)

    def _kept(self, request: RequestView) -> VerdictKey | None:
        policy = self.policy
        if not policy.cache_key:
            return None
        parts = (self.identity, *fill_parts(policy.cache_key, request))
        return VerdictKey(parts=parts, times=policy.cache_times.times)

    def _learned(self, reply: SubrequestReply) -> HeaderEdit:
        """What the endpoint gets of the response; never what the client sent under the same names."""
        names = {_plain(name): name.encode("ascii") for name in self.policy.response_headers}
        if not names:
            return UNCHANGED
        found: dict[bytes, list[bytes]] = {}
        for name, value in reply.fields:
            if (plain := _plain(name.decode("latin-1"))) in names:
                found.setdefault(plain, []).append(value)
        fields = tuple((names[plain], b", ".join(values)) for plain, values in found.items() if any(values))
        return HeaderEdit(frozenset(names), fields)


@dataclass(frozen=True, slots=True)
class ClosedFilter:
    """Lets no request in: 503."""

    stage: ClassVar[Stage] = Stage.AUTHENTICATION

    def request(self, request: RequestView, memory: Memory) -> Reply:
        """As `Filter.request`."""
        return Reply(status=503, termination=Termination.UNAVAILABLE)


CLOSED: Final = ClosedFilter()
"""In place of a filter that must not be asked for a route."""


def _plain(name: str) -> bytes:
    return "".join(mark if mark.isalnum() else "-" for mark in name.lower()).encode("latin-1")


def _host(url: str) -> str:
    """The host of the service, without its port."""
    authority = url.partition("://")[2].partition("/")[0].partition("?")[0].partition("#")[0]
    end = authority.rfind(":")
    return authority[:end] if end > authority.rfind("]") else authority


def _identity(policy: ExternalAuth) -> str:
    # What is secret is not in the repr of the policy.
    whole = policy, policy.request_headers, policy.trusted.digest
    return hashlib.sha256(repr(whole).encode()).hexdigest()


def _way_in(policy: ExternalAuth) -> RequestText:
    """Where a client is sent, with the way back: of it, path and query are escaped, as in ingress-nginx."""
    signin = policy.signin
    if not signin or signin.has_parameter(policy.signin_parameter):
        return signin
    mark = "&" if signin.has_query else "?"
    back = (Variable("pass_access_scheme"), "://", Variable("http_host"), Variable("escaped_request_uri"))
    return RequestText((*signin.parts, f"{mark}{policy.signin_parameter}=", *back))


def _external_auth(policy: ExternalAuth) -> Effect:
    if not policy.url:
        return Effect(guards=(CLOSED,))
    names = {_plain(name) for name, _ in policy.request_headers}
    made = ExternalAuthFilter(
        policy=policy,
        drop=frozenset(names | _SAID | _OF_CONTENT),
        identity=_identity(policy),
        redirect=_way_in(policy),
    )
    # Also where nobody is asked: for an open rule, or where an allowed address suffices.
    return Effect(guards=(made,), request=HeaderEdit(frozenset(map(_plain, policy.response_headers))))


def _open_paths(_policy: OpenPaths) -> Effect:
    return Effect()  # `chain_of` leaves guards out


COMPILERS: Final = (Compiler(ExternalAuth, _external_auth), Compiler(OpenPaths, _open_paths))
