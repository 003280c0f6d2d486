"""The part of the program that reads server names, and passes connections on.

It is there only while a host is passed on: all others take their connections with TLS at once. With it, the
addresses for TLS belong to a frontend that looks at the first message of a handshake. A connection whose name
is passed on goes to a slot; any other one goes to the frontend for requests, over a Unix socket and with a
PROXY header, so that the client's address stays.

HAProxy finds no name in a message that is spread over several TLS records, which no known client does (2.6 to
3.2). Such a connection is not passed on: its TLS ends here, and requests on it for a name that is passed on are
refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from ingresskit.policies import Algorithm
from ingresskit.render.error_bodies import sentence
from ingresskit.render.haproxy.artifact import MapName, SlotClass
from ingresskit.render.haproxy.capabilities import Capabilities
from ingresskit.render.haproxy.lines import (
    Lines,
    bind_address,
    flagged,
    lookup,
    milliseconds,
    plain_text,
    refused,
    substituted,
)
from ingresskit.render.haproxy.quoting import quote
from ingresskit.render.haproxy.route_row import SHARE_DIGITS, Kind, Speaks
from ingresskit.render.haproxy.settings import HaproxySettings

__all__ = [
    "INNER",
    "add_passed_names",
    "inner_binds",
    "refuse_passed_hosts",
    "stream_class",
    "stream_sections",
]

INNER: Final = 1001
"""The id of the socket for connections of which no PROXY header of a trusted proxy said the client."""

_INNER_SAID: Final = 1002
_PATIENCE: Final = timedelta(days=1)  # the frontend for requests has time-outs of its own
_BALANCE: Final = {
    Algorithm.ROUND_ROBIN: ("balance roundrobin",),
    Algorithm.LEAST_CONNECTIONS: ("balance leastconn",),
    Algorithm.RANDOM: ("balance random",),
    Algorithm.CLIENT_HASH: ("balance hash var(txn.client)", "hash-type consistent"),
}
_WILDCARD: Final = substituted(r"^[^.]+\.", "*.")


def inner_binds(settings: HaproxySettings) -> Iterator[tuple[str, str]]:
    """Where the frontend for requests takes connections whose TLS ends here: addresses, and further words."""
    for path, number in _inner(settings):
        yield f"unix@{path}", f" mode 600 accept-proxy id {number}"


def _inner(settings: HaproxySettings) -> Iterator[tuple[str, int]]:
    yield f"{settings.tls_socket}.sock", INNER
    if settings.proxy_protocol:
        yield f"{settings.tls_socket}-said.sock", _INNER_SAID


def stream_sections(settings: HaproxySettings) -> Iterator[Lines]:
    """The frontend that reads server names, and what stands behind it."""
    yield _defaults(settings)
    yield _frontend(settings)
    for path, number in _inner(settings):
        section = Lines(f"backend {_ended(number)} from connections")
        section.add(f"timeout tunnel {milliseconds(_PATIENCE)}", f"server here unix@{path} send-proxy-v2")
        yield section


def stream_class(settings: HaproxySettings, slot_class: SlotClass) -> Lines:
    """The defaults of the slots of a class for connections that are passed on."""
    connect = settings.connect_timeout if slot_class.connect is None else slot_class.connect
    idle = settings.stream_idle_timeout if slot_class.idle is None else slot_class.idle
    section = Lines(f"defaults {slot_class.id} from connections")
    section.add(
        *_BALANCE[slot_class.algorithm],
        f"timeout connect {milliseconds(connect)}",
        f"timeout server {milliseconds(idle)}",
        f"timeout tunnel {milliseconds(idle)}",
        f"retries {slot_class.retries}",
        "option redispatch 1",
    )
    return section


def add_passed_names(section: Lines) -> None:
    """Refuse requests on connections that should have been passed on: their name was not found in time."""
    section.note("TLS for names that are passed on does not end here.")
    section.request(
        f"set-var(txn.passed) {_name('ssl_fc_sni')} if {{ ssl_fc }}",
        *(f"{rule} if {{ ssl_fc }} {condition}".rstrip() for rule, condition in _rule_host("txn.passed")),
        f"reject if {{ ssl_fc }} {{ {lookup('var(txn.passed)', MapName.STREAMS)} -m found }}",
    )


def refuse_passed_hosts(section: Lines, capabilities: Capabilities) -> None:
    """Send a client to a connection of its own that asks for a host over the TLS of another one: 421."""
    section.note("A client of HTTP/2 may take the connection for one host for all that its certificate names.")
    passed = f"{{ ssl_fc }} {{ {lookup('var(txn.rule_host)', MapName.STREAMS)} -m found }}"
    reply = f"return status 421 {plain_text(sentence(421))}"
    section.request(*refused(reply, passed, capabilities))


def _name(expression: str) -> str:
    return quote(f"{expression},lower," + substituted(r"\.$", ""))


def _rule_host(name: str) -> Iterator[tuple[str, str]]:
    """Rules that put the rule host in the place of a server name, each with the end of its condition."""
    known = lookup(f"var({name})", MapName.HOSTS)
    yield f"set-var({name}) {quote(f'var({name}),{_WILDCARD}')}", f"!{{ {known} -m found }}"


def _ended(number: int) -> str:
    return f"ended-here-{number}"


def _defaults(settings: HaproxySettings) -> Lines:
    section = Lines("defaults connections")
    idle = milliseconds(settings.stream_idle_timeout)
    section.add(
        "mode tcp",
        f"timeout connect {milliseconds(settings.connect_timeout)}",
        f"timeout client {idle}",
        f"timeout server {idle}",
        f"timeout tunnel {idle}",
        "option dontlognull",
    )
    return section


def _frontend(settings: HaproxySettings) -> Lines:
    section = Lines("frontend names from connections")
    for bind in settings.https:
        section.add(f"bind {bind_address(bind)}")
    if settings.proxy_protocol:
        section.note("Trusted proxies open with a PROXY protocol header.")
        section.networks("proxy-before-us src", settings.trusted_proxies)
        section.add(
            "tcp-request connection set-var-fmt(sess.before) %[src]:%[src_port] if proxy-before-us",
            "tcp-request connection expect-proxy layer4 if proxy-before-us",
        )
    content = _Content(section)
    section.note("The first message of a handshake, as much of it as tells whether it is in one record.")
    section.add(f"tcp-request inspect-delay {milliseconds(settings.handshake_timeout)}")
    content(
        "set-var(txn.begun) bool(true) if { req.payload(0,9) -m found }",
        "reject unless { var(txn.begun) -m found } { req.payload(0,2) -m bin 1603 }",
        "set-var(txn.record) req.payload(3,2),hex,hex2i",
        "set-var(txn.message) req.payload(6,3),hex,hex2i,add(4)",
        "set-var(txn.split) bool(true) if { var(txn.record) -m int lt 4 }",
        "set-var(txn.split) bool(true) if { var(txn.message),sub(txn.record) -m int gt 0 }",
    )
    section.note("All of it, and the server name.")
    whole = "!{ var(txn.split) -m found }"
    content(
        f"set-var(txn.hello) bool(true) if {whole} {{ req.ssl_hello_type 1 }}",
        f"reject if {whole} !{{ var(txn.hello) -m found }}",
        f"set-var(txn.name) {_name('req.ssl_sni')} if {{ var(txn.hello) -m found }}",
    )
    section.note("The rule host that it belongs to, and what is done with its connections: nothing for most.")
    found = "{ var(txn.table) -m found }"
    content(
        *(f"{rule} if {{ var(txn.name) -m found }} {condition}" for rule, condition in _rule_host("txn.name")),
        f"set-var(txn.table) {lookup('var(txn.name)', MapName.STREAMS)} if {{ var(txn.name) -m found }}",
        f"set-var-fmt(txn.key) %[var(txn.table)]/ if {found}",
        f"set-var(txn.route) {lookup('var(txn.key)', MapName.PREFIXES)} if {found}",
        *(
            f"set-var(txn.{name}) var(txn.route),field({index},|) if {found}"
            for index, name in enumerate(("kind", "id", "policy", "flags"), 1)
        ),
    )
    section.note("Which clients are let in.")
    mapped = quote("src," + substituted("^::ffff:([0-9.]+)$", r"\1", "i") + ",ipmask(32,128)")
    content(f"set-var(txn.client) {mapped}")
    for flag, letter, sign in (("a", "v", "!"), ("d", "d", "")):
        on = f"{found} {flagged(flag)}"
        six = "{ var(txn.client) -m sub : }"
        for version, family in ((4, f"!{six}"), (6, six)):
            key = f"%[var(txn.policy)]/{letter}{version}/%[var(txn.client),hex]"
            content(f"set-var-fmt(txn.key) {key} if {on} {family}")
        content(f"reject if {on} {sign}{{ {lookup('var(txn.key)', MapName.SOURCES)} -m found }}")
    section.note(
        "The slot that the backend stands in. Without a server, and where it is closed, nothing is sent."
    )
    split = f"{{ var(txn.kind) -m str {Kind.SPLIT} }}"
    content(
        f"set-var(txn.layout) {lookup('var(txn.id)', MapName.SPLITS)} if {split}",
        f"set-var-fmt(txn.key) %[var(txn.layout)]/%[rand({16**SHARE_DIGITS}),hex] if {split}",
        f"set-var(txn.id) {lookup('var(txn.key)', MapName.SHARES)} if {split}",
        f"set-var(txn.row) {lookup('var(txn.id)', MapName.SLOTS)} if {found}",
        f"set-var(txn.slot) var(txn.row),field(1,/) if {found}",
        f"reject if {found} !{{ var(txn.row),field(2,/) -m str {Speaks.TCP} }}",
    )
    section.add("use_backend %[var(txn.slot)] if { var(txn.slot) -m found }")
    if settings.proxy_protocol:
        section.note("A PROXY header of the kind LOCAL or UNKNOWN names no addresses: they stay as they were.")
        content("set-var-fmt(txn.after) %[src]:%[src_port]")
        said = "{ fc_rcvd_proxy } !{ var(txn.after),strcmp(sess.before) eq 0 }"
        section.add(f"use_backend {_ended(_INNER_SAID)} if {said}")
    section.add(f"default_backend {_ended(INNER)}")
    return section


class _Content:
    """Adds ``tcp-request content`` rules."""

    def __init__(self, section: Lines) -> None:
        self._section = section

    def __call__(self, *rules: str) -> None:
        self._section.add(*(f"tcp-request content {rule}" for rule in rules))
