"""What each policy does to a request, and in which order: one definition for every data plane. Pure."""

from ingresskit.filters.access import AddressFilter, DeniedAddressFilter, PlainHttpFilter
from ingresskit.filters.any_of import AnyOf
from ingresskit.filters.base import (
    Admitted,
    ClientCertificate,
    Filter,
    Handshake,
    Keepalive,
    Memory,
    Question,
    Reply,
    RequestView,
    ResponseFilter,
    ResponseView,
    Resuming,
    Subrequest,
    SubrequestReply,
    Verdict,
    VerdictKey,
    Verification,
    Verifying,
)
from ingresskit.filters.certificates import CERTIFICATE_FIELDS, CertificateFilter, read_certificate
from ingresskit.filters.chain import BUILTIN_EFFECTS, Chain, chain_of
from ingresskit.filters.credentials import BasicAuthFilter
from ingresskit.filters.decide import Decision, decide, decide_all
from ingresskit.filters.digest import DigestAuthFilter
from ingresskit.filters.edits import UNCHANGED, HeaderEdit, PathChange, PathChanges, PathEdit, PatternEdit
from ingresskit.filters.effects import Compiler, Effect, PolicyEffects
from ingresskit.filters.explain import Explanation, explain
from ingresskit.filters.jwt import JwtFilter
from ingresskit.filters.limits import BodyFilter, ConnectionFilter, RateFilter
from ingresskit.filters.near_misses import Miss, NearMiss
from ingresskit.filters.passed import PassedOnFilter
from ingresskit.filters.ranges import AddressRanges
from ingresskit.filters.redirects import ActionFilter, TlsRedirectFilter

__all__ = [
    "BUILTIN_EFFECTS",
    "CERTIFICATE_FIELDS",
    "UNCHANGED",
    "ActionFilter",
    "AddressFilter",
    "AddressRanges",
    "Admitted",
    "AnyOf",
    "BasicAuthFilter",
    "BodyFilter",
    "CertificateFilter",
    "Chain",
    "ClientCertificate",
    "Compiler",
    "ConnectionFilter",
    "Decision",
    "DeniedAddressFilter",
    "DigestAuthFilter",
    "Effect",
    "Explanation",
    "Filter",
    "Handshake",
    "HeaderEdit",
    "JwtFilter",
    "Keepalive",
    "Memory",
    "Miss",
    "NearMiss",
    "PassedOnFilter",
    "PathChange",
    "PathChanges",
    "PathEdit",
    "PatternEdit",
    "PlainHttpFilter",
    "PolicyEffects",
    "Question",
    "RateFilter",
    "Reply",
    "RequestView",
    "ResponseFilter",
    "ResponseView",
    "Resuming",
    "Subrequest",
    "SubrequestReply",
    "TlsRedirectFilter",
    "Verdict",
    "VerdictKey",
    "Verification",
    "Verifying",
    "chain_of",
    "decide",
    "decide_all",
    "explain",
    "read_certificate",
]
