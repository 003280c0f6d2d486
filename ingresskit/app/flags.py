"""The flags of ``ingresskit run``, ``serve`` and ``demo``: their values, and one line for each mistake."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ingresskit.app.dialects import DialectArguments, add_dialect_arguments, check_dialects
from ingresskit.app.parser import CommandParser
from ingresskit.app.renderers import BUILT_IN, installed_renderers
from ingresskit.arguments import (
    add_translation_arguments,
    checked,
    read_key,
    read_network,
)
from ingresskit.models import ObjectKey
from ingresskit.policies.key_urls import parse_key_prefix
from ingresskit.translate import LabelSelector

__all__ = ["Address", "Command", "Flags", "parse_flags", "ports_address", "read_address"]

Command = Literal["run", "serve", "demo"]
"""Which program the flags are for: each has the flags of ``run`` that mean something to it."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK: tuple[Network, Network] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))

# What the flags that a command does not have come to.
_ABSENT: dict[str, object] = {
    "demo": False,
    "manifests": None,
    "kubeconfig": None,
    "context": "",
    "watch_list": "auto",
    "publish_address": [],
    "publish_service": None,
    "publish_node_addresses": False,
    "handover_address": [],
    "handed_over": None,
    "take_status_from": [],
    "leader_election_lease": None,
    "host_claims": None,
    "no_leader_election": False,
}
_MOST_WORKERS = 64
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

# What can be done in a cluster only.
_IN_A_CLUSTER = (
    "publish_address",
    "publish_service",
    "publish_node_addresses",
    "handover_address",
    "handed_over",
    "take_status_from",
    "leader_election_lease",
    "host_claims",
)


class Address(NamedTuple):
    """Where to listen; ``str()`` gives it as it is written on the command line."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Flags(DialectArguments):
    """The checked values of the command line."""

    command: Command
    demo: bool
    manifests: Path | None
    kubeconfig: Path | None
    context: str
    jwt_keys_from: list[str]
    watch_list: Literal["auto", "never"]
    http: Address | None
    https: Address | None
    underscores_in_headers: bool
    public_http_port: int
    public_https_port: int | None
    admin: Address | None
    admin_auth: tuple[str, Path] | None
    admin_host: list[str]
    state_dir: Path | None
    affinity_key: Path | None
    trusted_proxy: list[Network]
    proxy_protocol: bool
    node_name: str | None
    zone: str | None
    http2: bool | None
    log_format: str
    log_level: str
    access_log: str
    access_log_format: str
    print_config: bool
    renderer: str
    proxy_binary: str | None
    delegate: bool
    workers: int | None
    takeover: bool
    shutdown_delay: float
    shutdown_grace: float
    publish_address: list[str]
    publish_service: ObjectKey | None
    publish_node_addresses: bool
    handover_address: list[str]
    handed_over: LabelSelector | None
    take_status_from: list[str]
    leader_election_lease: ObjectKey | None
    host_claims: ObjectKey | None
    no_leader_election: bool

    @property
    def cluster(self) -> bool:
        """Whether the objects come from a cluster."""
        return not self.demo and not self.manifests


def ports_address(flags: Flags) -> str:
    """Where further ports are listened at: the address for plain HTTP, else for TLS; empty: every address."""
    found = flags.http or flags.https
    return "" if found is None or found.host in ("0.0.0.0", "::") else found.host  # noqa: S104 - it is compared


def parse_flags(
    argv: Sequence[str] | None = None,
    *,
    program: str = "ingresskit run",
    command: Command = "run",
    parser_class: type[CommandParser] = CommandParser,
) -> Flags:
    """Read the command line. A mistake ends the program with status 2 and one line that names it.

    Args:
        argv: The flags; ``None``: those of this process.
        program: What the line of a mistake begins with.
        command: Which flags there are. ``serve`` and ``demo`` listen on loopback addresses unless told
            otherwise, and let endpoints have such addresses.
        parser_class: What reports a mistake.
    """
    parser = _parser(program, command, parser_class)
    flags = parser.read(argv, Flags())
    check_dialects(flags, parser)
    if flags.proxy_binary and flags.renderer == "inprocess":
        parser.error("--proxy-binary names the program of another renderer; add --renderer NAME")
    if flags.workers != 1 and flags.renderer != "inprocess":
        parser.error("--workers is for the in-process proxy; haproxy and nginx use every core by themselves")
    if flags.takeover and flags.workers == 1:
        parser.error("--takeover is for worker processes; add --workers N")
    if flags.takeover and flags.state_dir is None:
        parser.error("--takeover finds the controller that runs by its --state-dir; add it")
    if flags.demo and flags.manifests:
        parser.error("--demo and --manifests are two sources; give one of them")
    if flags.print_config and not flags.manifests:
        parser.error("--print-config needs the objects to render; add --manifests DIR")
    if not flags.cluster and (named := "--kubeconfig" if flags.kubeconfig else flags.context and "--context"):
        other = "--demo" if flags.demo else "--manifests"
        parser.error(f"{other} and {named} are two sources; give one of them")
    for name in _IN_A_CLUSTER:
        if getattr(flags, name) and not flags.cluster:
            parser.error(f"--{name.replace('_', '-')} is for a cluster; --manifests and --demo have none")
    if flags.publish_address and (flags.publish_service or flags.publish_node_addresses):
        parser.error("--publish-address names every address; leave out what else would be published")
    if flags.handed_over and not flags.handover_address:
        parser.error("--handed-over is for --handover-address, which is missing")
    publishes = flags.publish_address or flags.publish_service or flags.publish_node_addresses
    if (flags.handover_address or flags.take_status_from) and not publishes:
        word = "--handover-address" if flags.handover_address else "--take-status-from"
        parser.error(f"{word} is for a status that is written: add --publish-service or --publish-address")
    if flags.leader_election_lease and flags.no_leader_election:
        parser.error("--no-leader-election needs no lease; leave out --leader-election-lease")
    if (flags.admin_auth or flags.admin_host) and not flags.admin:
        parser.error("--admin-auth and --admin-host are for the admin server, which --admin off leaves out")
    if flags.proxy_protocol and not flags.trusted_proxy:
        parser.error("--proxy-protocol is read from trusted proxies only; add --trusted-proxy CIDR")
    if not flags.http and not flags.https and not flags.print_config:
        parser.error("--http off and --https off leave nothing to listen on; give one of them an ADDR:PORT")
    if flags.demo:
        flags.allow_endpoint.append(LOOPBACK[0])
    elif command == "serve":
        flags.allow_endpoint.extend(LOOPBACK)
    return flags


_DESCRIPTIONS: dict[Command, str] = {
    "run": "An ingress controller: serves the Ingresses of a cluster, or of a folder of manifests.",
    "serve": "Serve the Ingresses of a folder of manifests on this machine.",
    "demo": "Serve the demonstration's manifests on this machine, with pods that respond; print what to try.",
}


def _parser(program: str, command: Command, parser_class: type[CommandParser]) -> CommandParser:
    parser = parser_class(prog=program, description=_DESCRIPTIONS[command], allow_abbrev=False)
    # Copied: argparse would hand out the very list that flags are appended to.
    absent = {name: list[str]() if value == [] else value for name, value in _ABSENT.items()}
    parser.set_defaults(**absent | {"command": command, "demo": command == "demo"})
    match command:
        case "run":
            _add_sources(parser.add_argument_group("where the objects come from").add_argument)
        case "serve":
            text = "a folder of YAML and JSON manifests; edits are live"
            parser.add_argument("manifests", metavar="DIR", type=Path, help=text)
        case _:
            pass
    _add_proxy(parser.add_argument_group("the proxy").add_argument)
    add_translation_arguments(parser)
    add_dialect_arguments(parser)
    _add_reports(parser.add_argument_group("what is reported").add_argument)
    if command == "run":
        _add_writing(parser.add_argument_group("what is written into the cluster").add_argument)
    else:
        parser.set_defaults(http="127.0.0.1:8080", https="127.0.0.1:8443")
    return parser


def _add_sources(add: Callable[..., object]) -> None:
    add("--demo", action="store_true", help="serve examples/manifests/demo, with pods; print what to try")
    add("--manifests", metavar="DIR", type=Path, help="serve the YAML and JSON files under DIR; edits are live")
    text = "of the cluster to serve ($KUBECONFIG, else the pod's service account, else ~/.kube/config)"
    add("--kubeconfig", metavar="PATH", type=Path, help=text)
    add("--context", metavar="NAME", default="", help="the context of the kubeconfig (its current one)")
    text = "auto: watches stream first states, lists follow errors; never: only lists (%(default)s)"
    add("--watch-list", choices=["auto", "never"], default="auto", help=text)


def _add_proxy(add: Callable[..., object]) -> None:
    text = "inprocess, haproxy or nginx (%(default)s)"
    add("--renderer", type=checked(_renderer), default="inprocess", metavar="NAME", help=text)
    add("--proxy-binary", metavar="PATH", help="the haproxy or nginx program (that on the path)")
    text = "on: a second process does for haproxy and nginx what they cannot do exactly; or off (%(default)s)"
    add("--delegate", type=checked(_switch), default="on", metavar="on|off", help=text)
    text = "worker processes of the in-process proxy; auto: one for each core (%(default)s)"
    add("--workers", type=checked(_workers), default="1", metavar="N|auto", help=text)
    text = "take the ports over from the controller that runs with the same --state-dir, which then drains"
    add("--takeover", action="store_true", help=text)
    listen: dict[str, Any] = {"type": checked(read_address), "metavar": "ADDR:PORT"}
    text = "the beginning of https URLs that keys of tokens may be fetched from; repeatable (none)"
    keys: dict[str, Any] = {"type": checked(parse_key_prefix), "action": "append", "default": []}
    add("--jwt-keys-from", **keys, metavar="URL", help=text)
    add("--http", default="0.0.0.0:8080", **listen, help="plain HTTP, or off (%(default)s)")
    add("--https", default="0.0.0.0:8443", **listen, help="TLS, or off (%(default)s)")
    text = "pass on header fields with _ in their names"
    add("--underscores-in-headers", action="store_true", help=text)
    port: dict[str, Any] = {"type": checked(_port), "metavar": "N"}
    text = "the port that clients reach plain HTTP at (%(default)s)"
    add("--public-http-port", default=80, **port, help=text)
    add("--public-https-port", **port, help="the same of TLS, where plain HTTP is redirected to (443)")
    text = "health, metrics, API and dashboard, or off (%(default)s)"
    add("--admin", default="127.0.0.1:8580", **listen, help=text)
    text = "who may read more than health and metrics: token:FILE, basic:FILE, or none (this machine)"
    add("--admin-auth", type=checked(_admin_auth), default="none", metavar="KIND", help=text)
    text = "a further name that clients may use for the admin API; repeatable"
    add("--admin-host", type=checked(_host_name), action="append", default=[], metavar="NAME", help=text)
    text = "believe X-Forwarded-* of these peers; repeatable"
    add("--trusted-proxy", type=checked(read_network), action="append", default=[], metavar="CIDR", help=text)
    add("--proxy-protocol", action="store_true", help="read the PROXY protocol from trusted proxies")
    text = "the node this runs on, for endpoints that are preferred near by ($NODE_NAME)"
    add("--node-name", type=checked(_label), default=None, metavar="NAME", help=text)
    text = "the zone this runs in ($NODE_ZONE, else the label of the node)"
    add("--zone", type=checked(_label), default=None, metavar="NAME", help=text)
    text = "HTTP/2 to clients, by TLS and with prior knowledge (on, where the extra http2 is installed;"
    text += " off for nginx, whose gRPC to endpoints needs it)"
    add("--http2", type=checked(_switch), metavar="on|off", help=text)
    add("--state-dir", type=Path, metavar="DIR", help="for files that are made (a private temporary folder)")
    text = "the key of affinity cookies, the same file for all replicas (one is made in the state folder)"
    add("--affinity-key", type=Path, metavar="FILE", help=text)
    text = "how long new connections are taken after a signal, while readiness is off (%(default)s)"
    add("--shutdown-delay", type=checked(_seconds), default="0s", metavar="TIME", help=text)
    text = "how long requests may finish after that (%(default)s)"
    add("--shutdown-grace", type=checked(_seconds), default="30s", metavar="TIME", help=text)


def _add_reports(add: Callable[..., object]) -> None:
    add("--log-format", choices=["text", "json"], default="text", help="how log lines look (%(default)s)")
    add(
        "--log-level",
        choices=["debug", "info", "warning", "error"],
        default="info",
        help="the least level that is logged (%(default)s)",
    )
    add("--access-log", default="off", metavar="PATH|-|off", help="a line for each request (%(default)s)")
    text = "how those lines look (%(default)s)"
    add("--access-log-format", choices=["json", "ingress-nginx"], default="json", help=text)
    text = "print what --manifests comes to, and exit; with 1 when anything was refused"
    add("--print-config", action="store_true", help=text)


def _add_writing(add: Callable[..., object]) -> None:
    text = "an address for Ingress.status; repeatable (none: the status is left alone)"
    add("--publish-address", type=checked(_published), action="append", default=[], metavar="ADDR", help=text)
    text = "take the addresses for Ingress.status from this Service"
    add("--publish-service", type=checked(read_key), metavar="NS/NAME", help=text)
    text = "take them from the nodes; with --publish-service, if that is of type NodePort"
    add("--publish-node-addresses", action="store_true", help=text)
    text = "where the edge is reached that Ingresses are handed over from; repeatable"
    add("--handover-address", type=checked(_published), action="append", default=[], metavar="ADDR", help=text)
    text = "the labels of Ingresses that have been handed over (ingresskit.dev/handed-over=true)"
    add("--handed-over", type=checked(LabelSelector.parse), metavar="LABELS", help=text)
    text = "overwrite addresses of this field manager, such as nginx-ingress-controller, which no longer writes"
    add("--take-status-from", action="append", default=[], metavar="NAME", help=text)
    text = "the Lease whose holder writes status and Events (ingresskit in the pod's namespace)"
    add("--leader-election-lease", type=checked(read_key), metavar="NS/NAME", help=text)
    text = "the ConfigMap for the record of who holds which host (ingresskit-hosts in the pod's namespace)"
    add("--host-claims", type=checked(_record), metavar="NS/NAME", help=text)
    add("--no-leader-election", action="store_true", help="write them without asking: there is one replica")


def read_address(text: str) -> Address | None:
    """An address to listen at, ``ADDR:PORT``; ``None`` for ``off``.

    Raises:
        ValueError: *text* is neither.
    """
    if text == "off":
        return None
    if re.fullmatch(r":[0-9]{1,5}", text):
        raise ValueError(
            f"{text!r} has no address: 0.0.0.0{text} is every one, 127.0.0.1{text} this machine only"
        )
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):(.*)", text, re.DOTALL)
    host, port = (found[1] or found[2], found[3]) if found else ("", "")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{text!r} is not ADDR:PORT such as 0.0.0.0:8080, nor off") from None
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f"the port in {text!r} is not a number from 0 (any free one) to 65535")
    return Address(host, int(port))


def _switch(text: str) -> bool:
    return _one_of(text, "on", "off") == "on"


def _admin_auth(text: str) -> tuple[str, Path] | None:
    if text == "none":
        return None
    kind, colon, path = text.partition(":")
    if kind not in ("token", "basic") or not colon or not path:
        raise ValueError(f"{text!r} is not none, token:FILE or basic:FILE")
    return kind, Path(path)


def _host_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", text):
        raise ValueError(f"{text!r} is not a host name; a port is not part of it")
    return text.lower()


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise ValueError(f"{text!r} is not a port, 1 to 65535")
    return int(text)


def _label(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", text):
        raise ValueError(f"{text!r} is not the name of a node or zone")
    return text


def _workers(text: str) -> int | None:
    if text == "auto":
        return None
    if not re.fullmatch(r"[0-9]{1,2}", text) or not 0 < int(text) <= _MOST_WORKERS:
        raise ValueError(f"{text!r} is not a number of processes, 1 to {_MOST_WORKERS}, nor auto")
    return int(text)


def _record(text: str) -> ObjectKey:
    from ingresskit import ConfigurationError
    from ingresskit.controller.claims import ClaimKeeper

    key = read_key(text)
    try:
        ClaimKeeper(key)
    except ConfigurationError as exc:
        raise ValueError(str(exc)) from None
    return key


def _published(text: str) -> str:
    from ingresskit.status import fixed_addresses

    fixed_addresses([text])
    return text


def _seconds(text: str) -> float:
    if not (found := re.fullmatch(r"([0-9]{1,9})(ms|s|m|h)", text)):
        raise ValueError(f"{text!r} is not a duration: a whole number and ms, s, m or h, such as 30s")
    return int(found[1]) * _UNITS[found[2]]


def _renderer(text: str) -> str:
    if text not in BUILT_IN and text in installed_renderers():
        raise ValueError(
            f"{text!r} of another package can be tried with check, explain and render; to run its proxy, give a"
            " Controller with it to ingresskit.run"
        )
    return _one_of(text, *BUILT_IN)


def _one_of(text: str, *known: str) -> str:
    if text not in known:
        raise ValueError(f"{text!r} is not one of {', '.join(known[:-1])} and {known[-1]}")
    return text
