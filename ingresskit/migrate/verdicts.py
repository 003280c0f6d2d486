"""What a client, and an endpoint, see of a request: what two ways of serving it are compared by."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from ingresskit.filters import Decision, HeaderEdit, PolicyEffects, Subrequest, decide_all
from ingresskit.filters.chain import BUILTIN_EFFECTS
from ingresskit.graph import Forward, Request, RouteGraph, StreamRoute
from ingresskit.migrate.limits import Limit
from ingresskit.policies import ConnectionLimit, RateLimit, Stage
from ingresskit.policies.values import Network

__all__ = ["Verdict", "verdicts_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One way a request may go.

    Attributes:
        probability: Which part of such requests goes this way.
        status: Of the proxy's own response; ``None``: an endpoint's is sent.
        location: Of a redirect; empty otherwise.
        fields: Further header fields of the proxy's own response.
        backends: Which may get the request, ``"shop/web:80"`` with its share of those that go this way.
        path: The path and query that the endpoint gets; empty when none does.
        upstream_host: What the endpoint gets as ``Host``; empty: the client's.
        request_fields: What is set of the header fields that the endpoint gets; empty text: removed.
        response_fields: The same of the response that the client gets.
        limits: How many such requests of one client pass; sorted. Those on trial are left out.
        asks: The URLs of services that are asked first: what they say is not known here.
        passed_on: Whether the TLS connection is passed on as it is: the backend answers, whatever is asked.
    """

    probability: Fraction = Fraction(1)
    status: int | None = None
    location: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    backends: tuple[tuple[str, Fraction], ...] = ()
    path: str = ""
    upstream_host: str = ""
    request_fields: tuple[tuple[str, str], ...] = ()
    response_fields: tuple[tuple[str, str], ...] = ()
    limits: tuple[Limit, ...] = ()
    asks: tuple[str, ...] = ()
    passed_on: bool = False

    def __str__(self) -> str:
        """For people: ``"308 to https://shop.test/"``, ``"shop/web:80 gets /cart"``."""
        part = "" if self.probability == 1 else f"{float(self.probability):.4g} of requests: "
        if self.status is not None:
            target = f" to {self.location}" if self.location else ""
            return f"{part}{self.status}{target}{_clause('', _names(self.fields))}"
        weighted = len(self.backends) > 1
        names = ", ".join(f"{name} ({float(share):.4g})" if weighted else name for name, share in self.backends)
        if self.passed_on:
            return f"{part}{names} gets the TLS connection"
        host = f" for host {self.upstream_host}" if self.upstream_host else ""
        sent, seen = _names(self.request_fields), _names(self.response_fields)
        more = f"{_clause('the request ', sent)}{_clause('the response ', seen)}"
        more += "".join(f"; {limit}" for limit in self.limits)
        more += "".join(f"; if {url} lets it" for url in self.asks)
        return f"{part}{names} gets {self.path}{host}{more}"


def verdicts_of(
    graph: RouteGraph, request: Request, *, effects: PolicyEffects = BUILTIN_EFFECTS
) -> tuple[Verdict, ...]:
    """Everything that may become of *request* where *graph* is served.

    Args:
        graph: What is served.
        request: The request; nothing is sent.
        effects: What policies do.

    Returns:
        In the order in which they are asked; the probabilities add up to 1.
    """
    if request.scheme == "https" and (stream := graph.stream_for(_server_name(request.host))) is not None:
        return (_passed_on(stream),)
    return tuple(_verdict(item, request) for item in decide_all(graph, request, effects=effects))


def _server_name(host: str) -> str:
    lowered = host.lower()
    return lowered.rpartition(":")[0] if lowered.count(":") == 1 else lowered


def _passed_on(stream: StreamRoute) -> Verdict:
    shares = stream.action.backends if isinstance(stream.action, Forward) else ()
    total = sum(weight for _, weight in shares)
    return Verdict(
        backends=tuple((str(key), Fraction(weight, total)) for key, weight in shares if weight),
        passed_on=True,
    )


def _verdict(decision: Decision, request: Request) -> Verdict:
    reply = decision.reply
    if reply is not None:
        return Verdict(
            probability=decision.probability,
            status=reply.status,
            location=reply.location,
            fields=_texts(reply.fields),
        )
    chain = decision.chain
    secure = request.scheme == "https"
    route = decision.route
    shares: Mapping[str, int] = {}
    if route is not None and isinstance(route.action, Forward):
        usable = {item.key for item in decision.backends}
        shares = {str(key): weight for key, weight in route.action.backends if key in usable}
    total = sum(shares.values())
    backends = tuple((name, Fraction(weight, total)) for name, weight in shares.items())
    return Verdict(
        probability=decision.probability,
        # The stand-in of a backend without endpoints has no share.
        backends=backends or tuple((str(item.key), Fraction(1)) for item in decision.backends),
        path=f"{decision.forwarded}{decision.query}",
        upstream_host=decision.upstream_host,
        request_fields=() if chain is None else _edit(chain.request),
        response_fields=() if chain is None else _edit(chain.secure_response if secure else chain.response),
        limits=_limits(decision, request),
        asks=tuple(item.url for item in decision.questions if isinstance(item, Subrequest)),
    )


def _limits(decision: Decision, request: Request) -> tuple[Limit, ...]:
    host, route, chain = decision.virtual_host, decision.route, decision.chain
    if host is None or route is None or chain is None or Stage.RATE in chain.shadow:
        return ()
    policies = host.policies_of(route)
    found: list[Limit] = []
    rates = policies.get(RateLimit)
    if rates is not None and not _within(request.client, rates.exempt):
        found += (
            Limit(requests=rate.requests, seconds=rate.seconds, at_once=rates.most(rate), status=rates.status)
            for rate in rates.rates
        )
    held = policies.get(ConnectionLimit)
    if held is not None and held.most and not _within(request.client, held.exempt):
        found.append(Limit(requests=held.most, seconds=0, at_once=held.most, status=held.status))
    return tuple(sorted(found))


def _within(client: str | None, networks: tuple[Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(client or "")
    except ValueError:
        return False
    return any(address.version == item.version and address in item for item in networks)


def _edit(edit: HeaderEdit) -> tuple[tuple[str, str], ...]:
    """What *edit* sets, and with empty values what it only removes."""
    written = _texts(edit.fields)
    names = {name.lower() for name, _ in written}
    removed = sorted(name.decode("latin-1") for name in edit.drop)
    return (*written, *((name, "") for name in removed if name not in names))


def _texts(pairs: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs)


def _clause(subject: str, predicate: str) -> str:
    return f"; {subject}{predicate}" if predicate else ""


def _names(pairs: tuple[tuple[str, str], ...]) -> str:
    """Names alone: values may be credentials."""
    return ", ".join(f"{'sets' if value else 'removes'} {name}" for name, value in pairs)
