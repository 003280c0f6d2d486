"""From the policies of a route to its filters, in the order in which they act."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar, assert_never, cast

from ingresskit.filters.access import AddressFilter, PlainHttpFilter
from ingresskit.filters.base import Filter, Reply
from ingresskit.filters.limits import BodyFilter
from ingresskit.filters.ranges import AddressRanges
from ingresskit.filters.redirects import ActionFilter, TlsRedirectFilter
from ingresskit.filters.rewrites import UNCHANGED, HeaderEdit, PathEdit, path_edit, request_edit, response_edit
from ingresskit.graph import (
    Forward,
    Redirect,
    Respond,
    Route,
    Termination,
    VirtualHost,
    redirects_to_tls,
    refuses_plain_http,
)
from ingresskit.policies import AllowedSources, BodyLimit, Order, Policy, Stage

__all__ = ["Chain", "chain_of"]

P = TypeVar("P", bound=Policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The filters of a route. A frozen value that can be pickled.

    Attributes:
        plain: Those for requests without TLS, in order; empty for most routes of hosts without TLS.
        secure: Those for requests over TLS.
        path: What happens to the path; ``None``: nothing.
        request: What happens to the header fields of the request.
        response: What happens to those of an endpoint's response.
    """

    plain: tuple[Filter, ...] = ()
    secure: tuple[Filter, ...] = ()
    path: PathEdit | None = None
    request: HeaderEdit = UNCHANGED
    response: HeaderEdit = UNCHANGED


_Compile = Callable[[Policy], Filter | None]
_compilers: dict[type[Policy], _Compile] = {}

# These act on requests without TLS only.
_PLAIN_ONLY: Final = frozenset({Stage.PLAIN_HTTP, Stage.TLS_REDIRECT})


def _compiles(kind: type[P]) -> Callable[[Callable[[P], Filter | None]], Callable[[P], Filter | None]]:
    def register(compile_one: Callable[[P], Filter | None]) -> Callable[[P], Filter | None]:
        _compilers[kind] = cast("_Compile", compile_one)
        return compile_one

    return register


@_compiles(AllowedSources)
def _addresses(policy: AllowedSources) -> Filter | None:
    return AddressFilter(AddressRanges(policy.networks)) if policy.networks else None


@_compiles(BodyLimit)
def _body(policy: BodyLimit) -> Filter | None:
    return BodyFilter(policy.max_bytes) if policy.max_bytes else None


COMPILERS: Final[Mapping[type[Policy], _Compile]] = _compilers


def chain_of(host: VirtualHost, route: Route, order: Order | None = None) -> Chain:
    """The filters of *route*, which stands under *host*.

    Args:
        host: Whose TLS settings count where no policy says otherwise.
        route: Its policies and its action.
        order: The order in which they act; ``None``: the one that the route carries.
    """
    order = order or route.order
    filters = sorted(_filters(host, route), key=lambda item: order.place(item.stage))
    return Chain(
        plain=tuple(filters),
        secure=tuple(item for item in filters if item.stage not in _PLAIN_ONLY),
        path=path_edit(route.policies, route.match.value),
        request=request_edit(route.policies),
        response=response_edit(route.policies),
    )


def _filters(host: VirtualHost, route: Route) -> Iterator[Filter]:
    for policy in route.policies:
        if (compile_one := COMPILERS.get(type(policy))) and (made := compile_one(policy)) is not None:
            yield made
    if refuses_plain_http(route):
        yield PlainHttpFilter()
    if redirects_to_tls(host, route):
        yield TlsRedirectFilter()
    match route.action:
        case Forward():
            return
        case Redirect(location=location, status=status):
            yield ActionFilter(Reply(status=status, location=location, termination=None))
        case Respond(status=status):
            yield ActionFilter(Reply(status=status, termination=Termination.UNAVAILABLE))
        case _:
            assert_never(route.action)
