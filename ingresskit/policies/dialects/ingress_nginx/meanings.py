"""Which fields of which policies each annotation of ingress-nginx sets, a line each.

``=`` stands for what the route graph holds by itself, such as another path, host or action, and for what
always holds; ``variants`` and ``patterns`` for what the graph has of variants and regular expressions.
Annotations that set nothing are not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from ingresskit.policies.base import Policy
from ingresskit.policies.kinds import BUILTIN_POLICIES
from ingresskit.policies.kinds.external_auth import OpenPaths

__all__ = ["MEANINGS", "Meaning"]

_LINES: Final = """
affinity Affinity.cookie
affinity-canary-behavior Affinity.canary
affinity-mode Affinity.mode
allowlist-source-range AllowedSources.networks
app-root =
auth-always-set-cookie ExternalAuth.always_set_cookie
auth-cache-duration ExternalAuth.cache_times
auth-cache-key ExternalAuth.cache_key
auth-keepalive ExternalAuth.keepalive
auth-keepalive-requests ExternalAuth.keepalive_requests
auth-keepalive-timeout ExternalAuth.keepalive_timeout
auth-method ExternalAuth.method
auth-proxy-set-headers ExternalAuth.request_headers
auth-realm BasicAuth.realm DigestAuth.realm
auth-request-redirect ExternalAuth.request_redirect
auth-response-headers ExternalAuth.response_headers
auth-secret BasicAuth.users DigestAuth.users
auth-secret-type BasicAuth.users DigestAuth.users
auth-signin ExternalAuth.signin
auth-signin-redirect-param ExternalAuth.signin_parameter
auth-tls-error-page ClientCertificates.error_page
auth-tls-match-cn ClientCertificates.common_name
auth-tls-pass-certificate-to-upstream ClientCertificates.forwarded
auth-tls-secret ClientCertificates.authorities
auth-tls-verify-client ClientCertificates.mode
auth-tls-verify-depth ClientCertificates.depth
auth-type BasicAuth.users DigestAuth.users
auth-url ExternalAuth.url
backend-protocol =
canary variants
canary-by-cookie variants
canary-by-header variants
canary-by-header-pattern variants
canary-by-header-value variants
canary-weight variants
canary-weight-total variants
connection-proxy-header UpstreamConnection.use
cors-allow-credentials Cors.credentials
cors-allow-headers Cors.headers
cors-allow-methods Cors.methods
cors-allow-origin Cors.origins
cors-expose-headers Cors.expose_headers
cors-max-age Cors.max_age
custom-headers ResponseHeaders.set
custom-http-errors FallbackService.errors
default-backend FallbackService.service
denylist-source-range DeniedSources.networks
disable-proxy-intercept-errors FallbackService.errors
enable-access-log AccessLog.enabled
enable-cors Cors.origins
enable-global-auth ExternalAuth.url
enable-opentelemetry TraceContext.enabled
force-ssl-redirect TlsRedirect.enabled
from-to-www-redirect =
http2-push-preload =
limit-allowlist RateLimit.exempt ConnectionLimit.exempt
limit-burst-multiplier RateLimit.burst
limit-connections ConnectionLimit.most
limit-rate BandwidthLimit.rate
limit-rate-after BandwidthLimit.after
limit-rpm RateLimit.rates
limit-rps RateLimit.rates
limit-whitelist RateLimit.exempt ConnectionLimit.exempt
load-balance LoadBalancing.algorithm
mirror-host Mirror.host
mirror-request-body Mirror.body
mirror-target Mirror.target
opentelemetry-trust-incoming-span TraceContext.trusts_client
permanent-redirect =
permanent-redirect-code =
preserve-trailing-slash TlsRedirect.keeps_slash
proxy-body-size BodyLimit.max_bytes
proxy-buffer-size =
proxy-connect-timeout Timeouts.connect
proxy-cookie-domain CookieRewrite.domains
proxy-cookie-path CookieRewrite.paths
proxy-http-version UpstreamConnection.version
proxy-next-upstream Retries.attempts Retries.on
proxy-next-upstream-timeout Retries.within
proxy-next-upstream-tries Retries.attempts
proxy-read-timeout Timeouts.read
proxy-redirect-from LocationRewrite.changes
proxy-redirect-to LocationRewrite.changes
proxy-request-buffering RequestBuffering.max_bytes
proxy-send-timeout Timeouts.send
proxy-ssl-ciphers UpstreamTls.ciphers
proxy-ssl-name UpstreamTls.name
proxy-ssl-protocols UpstreamTls.versions
proxy-ssl-secret UpstreamTls.bundle
proxy-ssl-server-name UpstreamTls.send_name
proxy-ssl-verify UpstreamTls.verify
proxy-ssl-verify-depth UpstreamTls.depth
relative-redirects LocationRewrite.absolute
rewrite-target PrefixRewrite.whole RegexRewrite.replacement
satisfy Satisfy.mode
server-alias =
service-upstream =
session-cookie-change-on-failure Affinity.change_on_failure
session-cookie-conditional-samesite-none Affinity.conditional_samesite_none
session-cookie-domain Affinity.domain
session-cookie-expires Affinity.expires
session-cookie-max-age Affinity.max_age
session-cookie-name Affinity.cookie
session-cookie-path Affinity.path
session-cookie-samesite Affinity.samesite
session-cookie-secure Affinity.secure
ssl-ciphers HostTls.ciphers
ssl-passthrough TlsPassthrough.enabled
ssl-prefer-server-ciphers HostTls.server_order
ssl-redirect TlsRedirect.enabled
temporal-redirect =
temporal-redirect-code =
upstream-hash-by HashBy.parts LoadBalancing.algorithm
upstream-hash-by-subset HashBy.subset
upstream-hash-by-subset-size HashBy.subset
upstream-vhost UpstreamHost.host
use-port-in-redirects TlsRedirect.shows_port
use-regex patterns
whitelist-source-range AllowedSources.networks
x-forwarded-prefix ForwardedPrefix.prefix
"""


class Meaning(NamedTuple):
    """What an annotation comes to.

    Attributes:
        fields: Types of policy, each with the name of a field; one or another of them is set, or several.
        variants: It makes a variant of a path.
        patterns: It makes paths regular expressions.
    """

    fields: tuple[tuple[type[Policy], str], ...] = ()
    variants: bool = False
    patterns: bool = False


_KINDS: Final = {kind.__name__: kind for kind in (*BUILTIN_POLICIES, OpenPaths)}


def _meaning(words: list[str]) -> Meaning:
    named = [word.partition(".") for word in words if "." in word]
    return Meaning(
        fields=tuple((_KINDS[kind], field) for kind, _, field in named),
        variants="variants" in words,
        patterns="patterns" in words,
    )


MEANINGS: Final[Mapping[str, Meaning]] = {
    name: _meaning(words) for name, *words in map(str.split, _LINES.strip().splitlines())
}
"""By the name of the annotation."""
