"""What the policies of a route amount to in each mode, while handlers write it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ingresskit.policies import Order, Stage
from ingresskit.policies.values import HeaderField, Network, plain_header_name
from ingresskit.render.nginx.tree import Argument, Directive, Variable
from ingresskit.render.nginx.values import EMPTY_VALUE

__all__ = ["ClientIn", "DynamicDraft", "HeaderChange", "StaticDraft", "StaticGuard"]


class ClientIn(NamedTuple):
    """Requests of clients that are in one of some networks, or in none of them.

    Attributes:
        networks: At least one.
        inside: Whether clients in them are meant.
    """

    networks: tuple[Network, ...]
    inside: bool


class StaticGuard(NamedTuple):
    """A response that some requests get instead of being served.

    Attributes:
        stage: When it is judged.
        test: Requests for which this variable is set, or those of certain clients.
        response: A ``return``.
    """

    stage: Stage
    test: Variable | ClientIn
    response: Directive


@dataclass(slots=True)
class StaticDraft:
    """A location of the static mode, or an upstream, which has the last three attributes only.

    Attributes:
        guards: What is judged before the action, in any order.
        max_body: A directive for the largest body; ``None``: there is no limit.
        settings: Directives for forwarding.
        request: Fields of the request to set, by the name in lower case; an empty value drops one.
        hidden: Fields of the response to drop.
        added: Fields of the response to set.
        over_tls: Those to set for clients that use TLS only, with their values.
        prefix: What takes the place of the matched path, without a slash at its end; ``None``: nothing.
        front: What stands in front of the path, without a slash at its end; ``None``: nothing.
        whole: What takes the place of the whole path, and goes before *prefix*; ``None``: nothing.
        balance: The directives for the choice of an endpoint.
        shares_counts: Whether that choice needs what all workers know.
        kept: Directives for connections that are used again, by name.
    """

    guards: list[StaticGuard] = field(default_factory=list[StaticGuard])
    max_body: Directive | None = None
    settings: list[Directive] = field(default_factory=list[Directive])
    request: dict[str, tuple[str, Argument]] = field(default_factory=dict[str, "tuple[str, Argument]"])
    hidden: list[str] = field(default_factory=list[str])
    added: list[Directive] = field(default_factory=list[Directive])
    over_tls: list[HeaderField] = field(default_factory=list[HeaderField])
    prefix: str | None = None
    front: str | None = None
    whole: str | None = None
    balance: tuple[Directive, ...] = ()
    shares_counts: bool = False
    kept: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class HeaderChange:
    """Header fields that are set and taken out, as ``lua/ingresskit/policies/headers.lua`` reads them."""

    fields: list[HeaderField] = field(default_factory=list[HeaderField])
    names: set[str] = field(default_factory=set[str])

    def add(self, fields: tuple[HeaderField, ...], removed: tuple[str, ...]) -> None:
        """Set *fields*, whatever was there, and take *removed* out."""
        self.fields += ((name, value or EMPTY_VALUE) for name, value in fields)
        for name in (*(name for name, _ in fields), *removed):
            self.names |= {name.lower(), plain_header_name(name)}

    def members(self) -> dict[str, object]:
        """The argument of the function ``headers``; empty when nothing changes."""
        members: dict[str, object] = {}
        if self.fields:
            members["set"] = [list(item) for item in self.fields]
        if self.names:
            members["drop"] = sorted(self.names)
        return members


class _Step(NamedTuple):
    stage: Stage
    name: str
    argument: object


@dataclass(slots=True)
class DynamicDraft:
    """A target of the dynamic mode, or a backend, which has *upstream* only.

    Names of functions are those of ``lua/ingresskit/policies/``; their arguments are values of JSON.

    Attributes:
        pattern: What the rule matches, where that is a regular expression; for PCRE.
        matched: The length of the path that the rule matches, without a slash at its end.
        upstream: How the request is sent to an endpoint; members that say the default are left out.
        request: Header fields of the request.
        response: Header fields of the response.
    """

    matched: int = 0
    pattern: str | None = None
    upstream: dict[str, object] = field(default_factory=dict[str, object])
    request: HeaderChange = field(default_factory=HeaderChange)
    response: HeaderChange = field(default_factory=HeaderChange)
    _guards: list[_Step] = field(default_factory=list[_Step])
    _edits: list[_Step] = field(default_factory=list[_Step])
    _responses: list[_Step] = field(default_factory=list[_Step])
    _last_responses: list[_Step] = field(default_factory=list[_Step])
    _local: list[_Step] = field(default_factory=list[_Step])

    def guard(self, stage: Stage, name: str, argument: object) -> None:
        """Have a function judge requests, which may respond to them."""
        self._guards.append(_Step(stage, name, argument))

    def edit(self, stage: Stage, name: str, argument: object) -> None:
        """Have a function change the request that an endpoint gets."""
        self._edits.append(_Step(stage, name, argument))

    def respond(self, stage: Stage, name: str, argument: object, *, last: bool = False) -> None:
        """Have a function change the response that a client gets, before `response` or after it."""
        (self._last_responses if last else self._responses).append(_Step(stage, name, argument))

    def respond_locally(self, stage: Stage, name: str, argument: object) -> None:
        """Have a function for responses change those of nginx itself."""
        self._local.append(_Step(stage, name, argument))

    def members(self, order: Order) -> dict[str, object]:
        """The members of the target, with guards and edits in *order*."""
        edits = list(self._edits)
        if change := self.request.members():
            edits.append(_Step(Stage.HEADERS, "headers", change))
        responses = _sorted(self._responses, order)
        if change := self.response.members():
            responses.append(["headers", change])
        responses += _sorted(self._last_responses, order)
        lists = {
            "guards": _sorted(self._guards, order),
            "request": _sorted(edits, order),
            "response": responses,
            "local_reply": _sorted(self._local, order),
        }
        members: dict[str, object] = {name: steps for name, steps in lists.items() if steps}
        if self.upstream:
            members["upstream"] = self.upstream
        return members


def _sorted(steps: list[_Step], order: Order) -> list[list[object]]:
    return [[step.name, step.argument] for step in sorted(steps, key=lambda step: order.place(step.stage))]
