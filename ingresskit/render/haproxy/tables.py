"""From a virtual host to the blocks of rows that serve it, and the backends they lead to.

Ids are digests of what they stand for, so that equal things are one thing and a changed one is another.
96 bits: long enough to make collisions infeasible.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, assert_never

from ingresskit.graph import (
    BackendKey,
    Close,
    Forward,
    PathKind,
    Redirect,
    Respond,
    Route,
    StreamRoute,
    VirtualHost,
    WeightedBackend,
    redirects_to_tls,
    refuses_plain_http,
    solves_http01,
)
from ingresskit.policies import NATIVE_ORDER, KeptTarget, Order, Origin, PolicySet, Stage, Timeouts
from ingresskit.render.delegate import DELEGATE, HandedOver, Handover
from ingresskit.render.haproxy.artifact import Block, MapName, MapRow, Pointer, SlotClass
from ingresskit.render.haproxy.policies import DECIDING, TABLE, Draft, SettingRow
from ingresskit.render.haproxy.policies.upstream import step
from ingresskit.render.haproxy.route_row import (
    CERTIFICATE_FLAG,
    HANDOVER_FLAG,
    LONG_BODY_FLAG,
    NONE,
    PLAIN_HTTP_FLAG,
    TLS_FLAG,
    UNKNOWN_LENGTH_FLAG,
    Kind,
    order_mark,
    route_value,
)

__all__ = ["STREAMS", "HostPart", "Split", "digest", "host_part", "make_block"]

STREAMS: Final = "streams"
"""The feature of a program that passes connections on, see `Needs.features`."""

# Before a connection is made; each try goes to another server.
_STREAM_RETRIES: Final = 3

_HANDOVER_FLAGS: Final = {
    HandedOver.ALL: HANDOVER_FLAG,
    HandedOver.UNKNOWN_LENGTH: UNKNOWN_LENGTH_FLAG,
    HandedOver.LONG_BODY: LONG_BODY_FLAG,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Requests shared among backends by weight.

    Attributes:
        id: ``s`` and a digest of the rest.
        shares: As `Forward.backends`.
        backends: The ids of the backends of *shares*, in their order.
    """

    id: str
    shares: tuple[WeightedBackend, ...]
    backends: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPart:
    """All that one virtual host contributes to an artifact; it depends on nothing else.

    Attributes:
        pointer: The row that makes *table* the one of the host.
        table: The id of the block of its paths.
        stream: The id of the block of its connections; empty: TLS ends here.
        blocks: All blocks, *table* and *stream* among them.
        backends: What its routes forward to: the key and the class, by id.
        splits: By id.
        classes: By id; else as in `Needs`, like those below.
    """

    pointer: Pointer
    table: str
    stream: str = ""
    blocks: Mapping[str, Block] = field(default_factory=dict[str, Block])
    backends: Mapping[str, tuple[BackendKey, SlotClass]] = field(
        default_factory=dict[str, tuple[BackendKey, SlotClass]]
    )
    splits: Mapping[str, Split] = field(default_factory=dict[str, Split])
    classes: Mapping[str, tuple[SlotClass, Origin]] = field(default_factory=dict[str, tuple[SlotClass, Origin]])
    statuses: Mapping[int, Origin] = field(default_factory=dict[int, Origin])
    request_headers: Mapping[str, Origin] = field(default_factory=dict[str, Origin])
    response_headers: Mapping[str, Origin] = field(default_factory=dict[str, Origin])
    features: Mapping[str, Origin] = field(default_factory=dict[str, Origin])
    orders: Mapping[Order, Origin] = field(default_factory=dict[Order, Origin])


def _no_policies(key: BackendKey) -> PolicySet:
    del key
    return PolicySet()


def digest(letter: str, *parts: object) -> str:
    """An id: *letter*, and a digest of *parts*, each apart from the next."""
    total = hashlib.sha256()
    for part in parts:
        text = str(part).encode()
        total.update(b"%d:" % len(text))
        total.update(text)
    return letter + total.hexdigest()[:24]


def _backend_id(key: BackendKey, slot_class: SlotClass) -> str:
    return digest("b", *key.parts, slot_class.id)


def make_block(letter: str, rows: Iterable[SettingRow], join: str = "/") -> Block:
    """The block of rows whose keys are its id, *join* and what *rows* say."""
    ordered = sorted(rows)
    name = digest(letter, *(part for row in ordered for part in row))
    return Block(
        id=name, rows=tuple(MapRow(where, f"{name}{join}{end}", value) for where, end, value in ordered)
    )


def host_part(host: VirtualHost, policies_of: Callable[[BackendKey], PolicySet] = _no_policies) -> HostPart:
    """What *host* contributes.

    Args:
        host: The virtual host.
        policies_of: The policies of a backend, which its key determines.
    """
    maker = _Maker(policies_of)
    rows = [row for route in host.routes for row in maker.route_rows(host, route)]
    table = make_block("t", rows, join="")
    maker.blocks[table.id] = table
    stream = ""
    if host.stream is not None:
        made = make_block("t", maker.stream_rows(host.stream), join="")
        maker.blocks[made.id] = made
        stream = made.id
    return HostPart(
        pointer=Pointer(MapName.HOSTS, host.host),
        table=table.id,
        stream=stream,
        blocks=maker.blocks,
        backends=maker.backends,
        splits=maker.splits,
        classes=maker.classes,
        statuses=maker.statuses,
        request_headers=maker.request_headers,
        response_headers=maker.response_headers,
        features=maker.features,
        orders=maker.orders,
    )


@dataclass(frozen=True, slots=True)
class _Settings:
    """What a policy set amounts to."""

    block: str
    flags: str
    slot_class: SlotClass
    stages: frozenset[Stage]


class _Maker:
    """Collects what the routes of one host amount to."""

    def __init__(self, policies_of: Callable[[BackendKey], PolicySet]) -> None:
        self._policies_of = policies_of
        self.blocks: dict[str, Block] = {}
        self.backends: dict[str, tuple[BackendKey, SlotClass]] = {}
        self.splits: dict[str, Split] = {}
        self.classes: dict[str, tuple[SlotClass, Origin]] = {}
        self.statuses: dict[int, Origin] = {}
        self.request_headers: dict[str, Origin] = {}
        self.response_headers: dict[str, Origin] = {}
        self.features: dict[str, Origin] = {}
        self.orders: dict[Order, Origin] = {}
        # The paths of an Ingress share their policies, and may be ten thousand.
        self._worked_out: dict[PolicySet, _Settings] = {}

    def route_rows(self, host: VirtualHost, route: Route) -> Iterator[SettingRow]:
        """The rows of a route, less what all keys of the table begin with."""
        matched = route.match.value.rstrip("/")
        policies = host.policies_of(route)
        known = self._worked_out.get(policies)
        if known is None:
            known = self._worked_out[policies] = self._settings(route, policies)
        kind, name = self._action(route, known.slot_class)
        plain = known.flags if refuses_plain_http(route) else known.flags.replace(PLAIN_HTTP_FLAG, "")
        if solves_http01(route):
            plain = plain.replace(CERTIFICATE_FLAG, "")
        flags = plain + (TLS_FLAG if redirects_to_tls(host, route) else "")
        if route.order is not NATIVE_ORDER:
            flags += self._order(route, known, flags)
        value = route_value(kind, name, policy=known.block, flags=flags, cut=len(matched))
        if route.match.kind is PathKind.EXACT:
            yield MapName.EXACT, route.match.value, value
        else:
            yield MapName.PREFIXES, matched + "/", value

    def stream_rows(self, stream: StreamRoute) -> Iterator[SettingRow]:
        """The row of a stream, as that of a route for all paths, less what its key begins with."""
        self.features.setdefault(STREAMS, stream.origin)
        timeouts = stream.policies.get(Timeouts) or Timeouts()
        slot_class = SlotClass(
            retries=_STREAM_RETRIES, connect=step(timeouts.connect), passes=True, idle=step(timeouts.read)
        )
        draft = Draft()
        TABLE.contribute(stream.policies.without(Timeouts), draft)
        policy = NONE
        if draft.rows:
            block = make_block("p", draft.rows)
            self.blocks[block.id] = block
            policy = block.id
        action = stream.action
        match action:
            case Forward():
                kind, name = self._forward(action, slot_class, stream.origin)
            case Close():
                kind, name = Kind.CLOSE, NONE
            case _:
                assert_never(action)
        value = route_value(kind, name, policy=policy, flags="".join(draft.flags), cut=0)
        yield MapName.PREFIXES, "/", value

    def _settings(self, route: Route, policies: PolicySet) -> _Settings:
        draft = Draft()
        TABLE.contribute(policies, draft)
        for needed, names in (
            (self.request_headers, draft.request_names),
            (self.response_headers, draft.response_names),
        ):
            for name, (kind, field_name) in names.items():
                needed.setdefault(name, policies.origin(kind, field_name) or route.origin)
        for feature in draft.features:
            self.features.setdefault(feature, route.origin)
        if (handover := policies.get(Handover)) is not None:
            draft.flags.append(_HANDOVER_FLAGS[handover.requests])
            draft.rows += self._handover_rows(route, handover)
        if not draft.rows:
            return _Settings(NONE, "", draft.slot_class, frozenset())
        block = make_block("p", draft.rows)
        self.blocks[block.id] = block
        return _Settings(block.id, "".join(draft.flags), draft.slot_class, frozenset(draft.stages))

    def _backend(self, key: BackendKey, slot_class: SlotClass, origin: Origin) -> str:
        """The id of a backend in slots of the class that what *origin* asked for, and its policies, ask for."""
        if key.policies:
            draft = Draft(slot_class=slot_class)
            # Nothing but the class: HAProxy has rows of settings for routes only.
            TABLE.contribute(self._policies_of(key), draft)
            slot_class = draft.slot_class
        self.classes.setdefault(slot_class.id, (slot_class, origin))
        name = _backend_id(key, slot_class)
        self.backends[name] = (key, slot_class)
        return name

    def _forward(self, action: Forward, slot_class: SlotClass, origin: Origin) -> tuple[str, str]:
        names = tuple(self._backend(share.key, slot_class, origin) for share in action.backends)
        if len(names) == 1:
            return Kind.FORWARD, names[0]
        name = digest("s", *names, *(share.weight for share in action.backends))
        self.splits[name] = Split(id=name, shares=action.backends, backends=names)
        return Kind.SPLIT, name

    def _order(self, route: Route, settings: _Settings, flags: str) -> str:
        """The mark of the order in which the policies of *route* act; empty where it makes no difference."""
        stages = settings.stages & DECIDING
        if PLAIN_HTTP_FLAG not in flags:
            stages -= {Stage.PLAIN_HTTP}
        if TLS_FLAG in flags:
            stages |= {Stage.TLS_REDIRECT}
        else:
            stages -= {Stage.TLS_REDIRECT}
        if not isinstance(route.action, Forward):
            stages |= {Stage.ACTION}
        if sorted(stages, key=route.order.place) == sorted(stages, key=NATIVE_ORDER.place):
            return ""
        self.orders.setdefault(route.order, route.origin)
        return order_mark(route.order)

    def _handover_rows(self, route: Route, handover: Handover) -> Iterator[SettingRow]:
        slot_class = SlotClass()
        name = _backend_id(DELEGATE, slot_class)
        self.backends[name] = (DELEGATE, slot_class)
        self.classes.setdefault(slot_class.id, (slot_class, route.origin))
        yield MapName.SETTINGS, "chosen", handover.words
        yield MapName.SETTINGS, "delegate", name

    def _action(self, route: Route, slot_class: SlotClass) -> tuple[str, str]:
        match route.action:
            case Forward():
                return self._forward(route.action, slot_class, route.origin)
            case Redirect(location=location, status=status, keeps=keeps):
                rows: list[SettingRow] = [(MapName.SETTINGS, "location", location)]
                if keeps is not KeptTarget.NOTHING:
                    rows.append((MapName.SETTINGS, "keeps", str(keeps)))
                block = make_block("r", rows)
                self.blocks[block.id] = block
                return Kind.redirect(status), block.id
            case Respond(status=status):
                self.statuses.setdefault(status, route.origin)
                return Kind.respond(status), NONE
            case _:
                assert_never(route.action)
