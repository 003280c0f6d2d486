"""Header fields that policies set and remove."""

from __future__ import annotations

from typing import Final

from ingresskit.filters.edits import HeaderEdit
from ingresskit.filters.effects import Compiler, Effect
from ingresskit.policies import Hsts, RequestHeaders, ResponseHeaders

__all__ = ["COMPILERS"]


def _request_headers(policy: RequestHeaders) -> Effect:
    return Effect(request=HeaderEdit.of(policy.set, policy.remove))


def _response_headers(policy: ResponseHeaders) -> Effect:
    return Effect(response=HeaderEdit.of(policy.set, policy.remove))


def _hsts(policy: Hsts) -> Effect:
    if not policy.value:
        return Effect()
    name = "Strict-Transport-Security"
    promise = HeaderEdit.of([(name, policy.value)])
    # Also where the proxy responds itself (RFC 6797, 7.1).
    return Effect(response=HeaderEdit.of(removed=[name]), secure_response=promise, local_secure=promise)


# What a route sets by name wins over what its host promises.
COMPILERS: Final = (
    Compiler(Hsts, _hsts),
    Compiler(RequestHeaders, _request_headers),
    Compiler(ResponseHeaders, _response_headers),
)
