"""The policies that come with ingresskit, one theme a file.

To add one: a class in the file of its theme, its name here. The same theme names stand in `filters` and in each
renderer. A renderer that has no handler for it reports it, for every Ingress that asks for it, as not
supported there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingresskit.policies.kinds.access import AllowedSources, DeniedSources, PlainHttp
from ingresskit.policies.kinds.balancing import (
    Affinity,
    AffinityCanary,
    AffinityMode,
    EndpointLimit,
    HashBy,
    HashPart,
    HashSource,
    SameSite,
    SecureCookie,
)
from ingresskit.policies.kinds.canary import Canary
from ingresskit.policies.kinds.certificates import CertificateMode, ClientCertificates, HostTls
from ingresskit.policies.kinds.compression import Coding, Compression
from ingresskit.policies.kinds.connections import (
    ConnectionUse,
    EndpointPreference,
    HttpVersion,
    NearBy,
    ServiceUpstream,
    UpstreamConnection,
    UpstreamKeepalive,
)
from ingresskit.policies.kinds.cors import Cors
from ingresskit.policies.kinds.credentials import BasicAuth, DigestAuth, Satisfaction, Satisfy
from ingresskit.policies.kinds.external_auth import ExternalAuth, OpenPaths
from ingresskit.policies.kinds.headers import Hsts, RequestHeaders, ResponseHeaders
from ingresskit.policies.kinds.health import FailureKind, HealthCheck, PassiveHealth, SlowStart
from ingresskit.policies.kinds.jwt import JwtAuth
from ingresskit.policies.kinds.limits import (
    BY_ADDRESS,
    BandwidthLimit,
    BodyLimit,
    ClientKey,
    ConnectionLimit,
    KeySource,
    Rate,
    RateLimit,
    RequestBuffering,
)
from ingresskit.policies.kinds.redirects import (
    AppRoot,
    KeptTarget,
    PermanentRedirect,
    RedirectStatus,
    TlsRedirect,
    WwwRedirect,
)
from ingresskit.policies.kinds.requests import AllowedMethods, DeniedAgents
from ingresskit.policies.kinds.response_rewrites import CookieRewrite, LocationRewrite
from ingresskit.policies.kinds.rewrites import ForwardedPrefix, PrefixRewrite, RegexRewrite, UpstreamHost
from ingresskit.policies.kinds.shadow import Shadow, Shadowed, parse_shadowed
from ingresskit.policies.kinds.streams import TlsPassthrough
from ingresskit.policies.kinds.tracing import TraceContext
from ingresskit.policies.kinds.traffic import AccessLog, FallbackService, Mirror, MirrorUrl, NamedService
from ingresskit.policies.kinds.upstream import (
    Algorithm,
    EndpointProtocol,
    LoadBalancing,
    Retries,
    RetryOn,
    Timeouts,
    TrafficSplit,
    UpstreamProtocol,
)
from ingresskit.policies.kinds.upstream_tls import UpstreamTls

if TYPE_CHECKING:
    from ingresskit.policies.base import Policy

__all__ = [
    "BUILTIN_POLICIES",
    "BY_ADDRESS",
    "AccessLog",
    "Affinity",
    "AffinityCanary",
    "AffinityMode",
    "Algorithm",
    "AllowedMethods",
    "AllowedSources",
    "AppRoot",
    "BandwidthLimit",
    "BasicAuth",
    "BodyLimit",
    "Canary",
    "CertificateMode",
    "ClientCertificates",
    "ClientKey",
    "Coding",
    "Compression",
    "ConnectionLimit",
    "ConnectionUse",
    "CookieRewrite",
    "Cors",
    "DeniedAgents",
    "DeniedSources",
    "DigestAuth",
    "EndpointLimit",
    "EndpointPreference",
    "EndpointProtocol",
    "ExternalAuth",
    "FailureKind",
    "FallbackService",
    "ForwardedPrefix",
    "HashBy",
    "HashPart",
    "HashSource",
    "HealthCheck",
    "HostTls",
    "Hsts",
    "HttpVersion",
    "JwtAuth",
    "KeptTarget",
    "KeySource",
    "LoadBalancing",
    "LocationRewrite",
    "Mirror",
    "MirrorUrl",
    "NamedService",
    "NearBy",
    "OpenPaths",
    "PassiveHealth",
    "PermanentRedirect",
    "PlainHttp",
    "PrefixRewrite",
    "Rate",
    "RateLimit",
    "RedirectStatus",
    "RegexRewrite",
    "RequestBuffering",
    "RequestHeaders",
    "ResponseHeaders",
    "Retries",
    "RetryOn",
    "SameSite",
    "Satisfaction",
    "Satisfy",
    "SecureCookie",
    "ServiceUpstream",
    "Shadow",
    "Shadowed",
    "SlowStart",
    "Timeouts",
    "TlsPassthrough",
    "TlsRedirect",
    "TraceContext",
    "TrafficSplit",
    "UpstreamConnection",
    "UpstreamHost",
    "UpstreamKeepalive",
    "UpstreamProtocol",
    "UpstreamTls",
    "WwwRedirect",
    "parse_shadowed",
]

BUILTIN_POLICIES: tuple[type[Policy], ...] = (
    AccessLog,
    Affinity,
    AllowedMethods,
    AllowedSources,
    AppRoot,
    BandwidthLimit,
    BasicAuth,
    BodyLimit,
    Canary,
    ClientCertificates,
    Compression,
    ConnectionLimit,
    CookieRewrite,
    Cors,
    DeniedAgents,
    DeniedSources,
    DigestAuth,
    EndpointLimit,
    EndpointPreference,
    ExternalAuth,
    FallbackService,
    ForwardedPrefix,
    HashBy,
    HealthCheck,
    HostTls,
    Hsts,
    JwtAuth,
    LoadBalancing,
    LocationRewrite,
    Mirror,
    PassiveHealth,
    PermanentRedirect,
    PrefixRewrite,
    RateLimit,
    RegexRewrite,
    RequestBuffering,
    RequestHeaders,
    ResponseHeaders,
    Retries,
    Satisfy,
    ServiceUpstream,
    Shadow,
    SlowStart,
    Timeouts,
    TlsPassthrough,
    TlsRedirect,
    TraceContext,
    TrafficSplit,
    UpstreamConnection,
    UpstreamHost,
    UpstreamKeepalive,
    UpstreamProtocol,
    UpstreamTls,
    WwwRedirect,
)
"""Every policy that comes with ingresskit, by name."""
