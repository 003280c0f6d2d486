"""The program, put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Never

from ingresskit.policies import NATIVE_ORDER, Algorithm, Order, Stage
from ingresskit.render.error_bodies import sentence
from ingresskit.render.haproxy.artifact import Needs, Server, SlotClass
from ingresskit.render.haproxy.capabilities import Capabilities
from ingresskit.render.haproxy.lines import Lines, bind_address, flagged, milliseconds, plain_text
from ingresskit.render.haproxy.policies import DECIDING, REWRITE_BYTES, TABLE, Context, Handler
from ingresskit.render.haproxy.program.forwarding import add_client, add_forwarded, add_hop_by_hop
from ingresskit.render.haproxy.program.grpc import GRPC, add_grpc, add_grpc_replies, add_grpc_timeouts
from ingresskit.render.haproxy.program.handover import add_handover, add_handover_timeouts, add_unsaid
from ingresskit.render.haproxy.program.requests import (
    NUL,
    add_asterisk,
    add_bodied,
    add_host,
    add_names,
    add_path,
    add_request_line,
)
from ingresskit.render.haproxy.program.routing import add_action, add_action_early, add_local_replies, add_route
from ingresskit.render.haproxy.program.streams import (
    add_passed_names,
    inner_binds,
    refuse_passed_hosts,
    stream_class,
    stream_sections,
)
from ingresskit.render.haproxy.quoting import quote
from ingresskit.render.haproxy.route_row import (
    LONG_BODY_FLAG,
    NONE,
    REDIRECT_LOOP,
    UNKNOWN_LENGTH_FLAG,
    order_mark,
)
from ingresskit.render.haproxy.servers import server_words
from ingresskit.render.haproxy.settings import HaproxySettings
from ingresskit.render.haproxy.tables import STREAMS

__all__ = ["program", "slot_name"]

# The statuses whose local responses HAProxy lets a configuration write.
_LOCAL_STATUSES: Final = (400, 403, 404, 405, 408, 413, 500, 502, 503, 504)
_BALANCE: Final = {
    Algorithm.ROUND_ROBIN: ("balance roundrobin",),
    Algorithm.LEAST_CONNECTIONS: ("balance leastconn",),
    Algorithm.RANDOM: ("balance random",),
    Algorithm.CLIENT_HASH: ("balance hash var(txn.client)", "hash-type consistent"),
}
_HOP_BY_HOP: Final = "^(keep-alive|proxy-connection|proxy-authenticate|trailer)$"
_LOG: Final = {
    "client": "%[var(txn.client)]",
    "method": "%[method]",
    "host": "%[var(txn.host)]",
    "path": "%[var(txn.path)]",
    "rule_host": "%[var(txn.rule_host)]",
    "route": "%[var(txn.kind)]",
    "status": "%ST",
    # HAProxy logs the status that it had in mind, not that of the page it sent for it.
    "sent": "%[var(txn.sent)]",
    "upstream": "%[var(txn.upstream)]",
    "sent_bytes": "%B",
    "milliseconds": "%Ta",
    "backend": "%[var(txn.id)]",
    "endpoint": "%si:%sp",
    "retries": "%rc",
    "request_id": "%[var(txn.request_id)]",
    "ended": "%ts",
    "waited": "%Tw",
    "connected": "%Tc",
    "responded": "%Tr",
    "error": "%[bc_err]",
}

# In the order of their stages, those before the action of the route apart from those after it.
_HANDLERS: Final = TABLE.handlers()
_ACTION: Final = NATIVE_ORDER.place(Stage.ACTION)
_EARLY: Final = tuple(item for item in _HANDLERS if NATIVE_ORDER.place(item.stage) <= _ACTION)
_BODY_FLAGS: Final = frozenset(
    {UNKNOWN_LENGTH_FLAG, LONG_BODY_FLAG, *(item.flag for item in _HANDLERS if item.stage is Stage.BODY)}
) - {""}
_LATE: Final = tuple(item for item in _HANDLERS if NATIVE_ORDER.place(item.stage) > _ACTION)


def program(
    settings: HaproxySettings,
    capabilities: Capabilities,
    *,
    needs: Needs,
    pools: Mapping[SlotClass, int],
    slots: Mapping[str, tuple[Server, ...]] | None = None,
    marker: str = "",
) -> str:
    """The text of ``haproxy.cfg``.

    Paths in it are relative to the folder it stands in: ``maps/``, ``certificates/`` and ``errors/``.

    Args:
        settings: Listeners and limits.
        capabilities: What the HAProxy can do that will read it.
        needs: What it must be able to serve; its classes are those of *pools*.
        pools: How many slots each class has.
        slots: By slot name (see `slot_name`), the servers that stand in it from the start.
        marker: Tells this text from others: HAProxy says it as the description in ``show info``.

    Returns:
        The same text for the same arguments, whatever their order.
    """
    context = Context(settings=settings, capabilities=capabilities, needs=needs)
    classes = sorted(pools, key=lambda item: item.id)
    sections = [
        _global(settings, marker, needs),
        _defaults(settings),
        *(stream_sections(settings) if _passes(context) else ()),
        _frontend(context),
        *(_table(item) for item in _HANDLERS if item.table() and item.is_in(context)),
        _local_replies(needs, capabilities),
        *(_class(context, item) for item in classes),
    ]
    held = slots or {}
    backends: list[str] = []
    for item in classes:
        for number in range(1, pools[item] + 1):
            name = slot_name(item, number)
            lines = [f"backend {name} from {item.id}"]
            lines += (f"    server {one.name} {' '.join(server_words(one))}" for one in held.get(name, ()))
            backends.append("\n".join(lines) + "\n")
    return "\n".join((*(section.text() for section in sections), "".join(backends)))


def slot_name(slot_class: SlotClass, number: int) -> str:
    """The name of a slot: of its class and its number, from 1."""
    return f"{slot_class.id}.{number}"


def _global(settings: HaproxySettings, marker: str, needs: Needs) -> Lines:
    section = Lines("global")
    if marker:
        section.add(f"description {quote(marker)}")
    section.add(
        "default-path config",
        f"maxconn {settings.max_connections}",
        f"hard-stop-after {milliseconds(settings.hard_stop_after)}",
        "mworker-max-reloads 3",
        f"tune.bufsize {settings.buffer_bytes}",
        f"tune.maxrewrite {REWRITE_BYTES}",
        f"tune.http.maxhdr {settings.max_headers + 1}",
        "ssl-default-bind-options ssl-min-ver TLSv1.2",
        "tune.ssl.default-dh-param 2048",
        *(("tune.ssl.cachesize 0",) if needs.handshakes.asks else ()),
    )
    if settings.trusted_proxies:
        section.add(f"set-var {REDIRECT_LOOP} bool(false)")
    section.note("For normalize-uri, which brings paths into normal form.")
    section.add("expose-experimental-directives")
    return section


def _defaults(settings: HaproxySettings) -> Lines:
    section = Lines("defaults common")
    section.add(
        "mode http",
        f"timeout connect {milliseconds(settings.connect_timeout)}",
        f"timeout server {milliseconds(settings.read_timeout)}",
        f"timeout tunnel {milliseconds(settings.read_timeout)}",
        f"timeout client {milliseconds(settings.body_timeout)}",
        f"timeout http-request {milliseconds(settings.header_timeout)}",
        f"timeout http-keep-alive {milliseconds(settings.idle_timeout)}",
        "option dontlognull",
    )
    section.note("When a client disconnects, its endpoint learns it at once; small chunks are sent at once.")
    section.add("option abortonclose", "option http-no-delay")
    section.note("After a reload, an idle client connection ends with its next response, and loses no request.")
    section.add("option idle-close-on-response")
    section.note("Responses that HAProxy generates itself.")
    section.add(*(f"http-error status {status} {plain_text(sentence(status))}" for status in _LOCAL_STATUSES))
    return section


def _frontend(context: Context) -> Lines:
    settings = context.settings
    section = Lines("frontend edge from common")
    for bind in settings.http:
        section.add(f"bind {bind_address(bind)}")
    for address, more_words in _tls_binds(context):
        offered = "h2,http/1.1" if settings.http2 else "http/1.1"
        more = ""
        if context.needs.handshakes.asks:
            # Rules judge what came of a handshake. A session would bring the certificate that its client showed
            # to another host: none is resumed.
            more = " ca-ignore-err all crt-ignore-err all no-tls-tickets"
        section.add(f"bind {address}{more_words} ssl crt-list certificates/list.txt alpn {offered}{more}")
    if settings.log_socket is not None:
        section.note("One line for each request. Nothing in it has a character that JSON would escape.")
        fields = ",".join(f'"{name}":"{value}"' for name, value in _LOG.items())
        section.add(
            f"log {quote(settings.log_socket)} len 16384 format raw local0 info",
            f"log-format {quote('{' + fields + '}')}",
        )
    if settings.proxy_protocol:
        section.note("Trusted proxies open with a PROXY protocol header.")
        section.networks("proxy-before-us src", settings.trusted_proxies)
        section.add(
            "tcp-request connection set-var-fmt(sess.before) %[src]:%[src_port] if proxy-before-us",
            "tcp-request connection expect-proxy layer4 if proxy-before-us",
        )
    add_grpc(section, context.capabilities)
    if _passes(context):
        add_passed_names(section)
    add_request_line(section, settings, context.capabilities)
    add_names(section, settings)
    add_unsaid(section, settings)
    add_host(section)
    add_client(section, settings, passes=_passes(context))
    add_asterisk(section, context.capabilities)
    add_path(section, context.needs.paths)
    add_route(section, context.capabilities, host_fallthrough=context.needs.host_fallthrough)
    if _passes(context):
        refuse_passed_hosts(section, context.capabilities)
    for order in sorted(context.needs.orders, key=order_mark):
        _add_ordered(section, context, order)
    for handler in _EARLY:
        if handler.is_in(context) and (rules := tuple(handler.request(context))):
            section.note(handler.words)
            section.request(*rules)
    add_action(section)
    add_hop_by_hop(section)
    add_forwarded(section, settings)
    section.note("Another try is safe for what may be repeated; for the rest, only while nothing was sent.")
    section.add("acl repeatable method GET HEAD OPTIONS PUT DELETE")
    section.request("disable-l7-retry unless repeatable")
    section.note("Most routes have no policies, and are done here.")
    section.request(f"allow if {{ var(txn.flags) -m str {NONE} }}")
    add_bodied(section, _BODY_FLAGS)
    add_handover(section, settings)
    with_rules = [(handler, rules) for handler in _LATE if (rules := tuple(handler.request(context)))]
    for number, (handler, rules) in enumerate(with_rules):
        section.note(handler.words)
        section.request(_done_unless([item for item, _ in with_rules[number:]]), *rules)
    section.note("A connection on which something was not a request ends.")
    section.add("http-after-response set-header connection close unless { var(txn.path) -m found }")
    if settings.log_socket is not None:
        section.note("For the log: what the endpoint responded, and what the client is sent.")
        section.add("http-after-response set-var(txn.sent) status")
        section.response("set-var(txn.upstream) status")
    _add_after(section, context)
    add_grpc_replies(section)
    section.note("Responses must be well-formed, and fit their requests.")
    coded = "{ res.fhdr(transfer-encoding) -m found }"
    section.response(
        "deny deny_status 502 unless { status 100:599 }",
        "deny deny_status 502 if { status 101 } !{ var(txn.upgrade) -m found }",
        f"deny deny_status 502 if {coded} !{{ res.fhdr(transfer-encoding) -m str -i chunked }}",
        f"deny deny_status 502 if {coded} {{ res.fhdr_cnt(transfer-encoding) gt 1 }}",
        *(
            ()
            if context.capabilities.refuses_nul
            else (rf"deny deny_status 502 if {{ res.hdrs -m reg {quote(NUL)} }}",)
        ),
        f"del-header {quote(_HOP_BY_HOP)} -m reg",
        f"set-var(txn.whole) bool(true) if {GRPC}",
    )
    with_rules = [(handler, rules) for handler in _HANDLERS if (rules := tuple(handler.response(context)))]
    for number, (handler, rules) in enumerate(with_rules):
        section.note(handler.words)
        section.response(_done_unless([item for item, _ in with_rules[number:]]), *rules)
    section.note("The name of a slot or of the section below: never text of a client.")
    section.add("use_backend %[var(txn.slot)]")
    return section


def _add_ordered(section: Lines, context: Context, order: Order) -> None:
    """The rules that may refuse a request, for routes whose policies act in *order*."""
    on = flagged(order_mark(order))
    stages = [stage for stage in order.stages if stage in DECIDING]
    if Stage.BODY in stages:
        add_bodied(section, (order_mark(order),))
    section.note(f"For routes with another order: {', '.join(stages)}.")
    for stage in stages:
        if stage is Stage.ACTION:
            add_action_early(section, on)
        else:
            handlers = (item for item in _HANDLERS if item.stage is stage and item.is_in(context))
            section.request(*(f"{rule} {on}" for item in handlers for rule in item.request(context)))


def _add_after(section: Lines, context: Context) -> None:
    """The rules of policies for responses of HAProxy itself too; those for gRPC follow."""
    found = ((handler, tuple(handler.after(context))) for handler in _HANDLERS if handler.is_in(context))
    with_rules = [(handler, rules) for handler, rules in found if rules]
    if len(with_rules) > 1:
        flags = " ".join(handler.flag for handler, _ in with_rules)
        section.note("Most responses are done here.")
        section.add(f"http-after-response allow unless {{ var(txn.flags) -m sub {flags} }} or {GRPC}")
    for handler, rules in with_rules:
        section.note(f"{handler.words} HAProxy's own responses too.")
        section.add(*(f"http-after-response {rule}" for rule in rules))


def _done_unless(handlers: Iterable[Handler[Never]]) -> str:
    """The rule that ends a request or response whose route has none of the policies of *handlers*."""
    return f"allow unless {{ var(txn.flags) -m sub {' '.join(item.flag for item in handlers)} }}"


def _table(handler: Handler[Never]) -> Lines:
    """What a feature counts in."""
    section = Lines(f"backend {handler.feature}")
    section.add(f"stick-table {handler.table()}")
    return section


def _local_replies(needs: Needs, capabilities: Capabilities) -> Lines:
    section = Lines("backend local-replies from common")
    add_local_replies(section, tuple(sorted(needs.statuses)), capabilities)
    return section


def _passes(context: Context) -> bool:
    """Whether connections with TLS are passed on."""
    return STREAMS in context.needs.features and bool(context.settings.https)


def _tls_binds(context: Context) -> Iterator[tuple[str, str]]:
    """Where connections come from whose TLS ends here: the addresses, and further words."""
    if _passes(context):
        yield from inner_binds(context.settings)
    else:
        yield from ((bind_address(bind), "") for bind in context.settings.https)


def _class(context: Context, slot_class: SlotClass) -> Lines:
    settings = context.settings
    if slot_class.passes:
        return stream_class(settings, slot_class)
    connect = settings.connect_timeout if slot_class.connect is None else slot_class.connect
    section = Lines(f"defaults {slot_class.id} from common")
    section.add(
        *_BALANCE[slot_class.algorithm],
        f"timeout connect {milliseconds(connect)}",
        f"retries {slot_class.retries}",
    )
    if slot_class.retries:
        late = " response-timeout" if slot_class.late else ""
        section.add(f"retry-on conn-failure empty-response{late}", "option redispatch 1")
    if context.capabilities.drops_trailers:
        section.note("Names in trailers are not judged.")
        section.add("option http-drop-request-trailers")
    section.note("A slot is chosen only while it has a server: without a response, the server is at fault.")
    section.add(
        f"http-error status 503 {plain_text(sentence(502))}",
        "http-after-response set-status 502 if { status 503 } !{ var(txn.answered) -m found }",
        f"http-response set-var(txn.answered) bool(true) if {{ status 503 }} or {GRPC}",
    )
    add_grpc_timeouts(section)
    add_handover_timeouts(section, settings)
    for handler in _HANDLERS:
        if rules := tuple(handler.backend(context)):
            section.note(handler.words)
            section.request(*rules)
    return section
