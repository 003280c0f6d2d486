"""What each policy does to a request, and in which order: one definition for every data plane. Pure."""

from ingresskit.filters.access import AddressFilter, PlainHttpFilter
from ingresskit.filters.base import (
    Filter,
    Memory,
    Reply,
    RequestView,
    Resuming,
    Subrequest,
    SubrequestReply,
)
from ingresskit.filters.chain import Chain, chain_of
from ingresskit.filters.decide import Decision, decide
from ingresskit.filters.explain import Explanation, explain
from ingresskit.filters.limits import BodyFilter
from ingresskit.filters.near_misses import Miss, NearMiss
from ingresskit.filters.ranges import AddressRanges
from ingresskit.filters.redirects import ActionFilter, TlsRedirectFilter
from ingresskit.filters.rewrites import HeaderEdit, PathEdit

__all__ = [
    "ActionFilter",
    "AddressFilter",
    "AddressRanges",
    "BodyFilter",
    "Chain",
    "Decision",
    "Explanation",
    "Filter",
    "HeaderEdit",
    "Memory",
    "Miss",
    "NearMiss",
    "PathEdit",
    "PlainHttpFilter",
    "Reply",
    "RequestView",
    "Resuming",
    "Subrequest",
    "SubrequestReply",
    "TlsRedirectFilter",
    "chain_of",
    "decide",
    "explain",
]
