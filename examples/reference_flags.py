"""The command line of the reference controller: its flags, their values, and one line for each mistake."""

from __future__ import annotations

import argparse
import difflib
import ipaddress
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

from typing_extensions import override

from ingresskit.models import ObjectKey
from ingresskit.translate import (
    DefaultBackend,
    DestinationPolicy,
    HostOwnership,
    LabelSelector,
    Scope,
    TranslateOptions,
)

__all__ = ["Address", "Flags", "parse_flags", "translate_options"]

T = TypeVar("T")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
_NAME = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

# Known flags that need a part which does not exist yet. They are refused, not ignored: somebody who gives
# one counts on what it does.
_LATER = {
    "proxy_binary": "the in-process renderer needs no program",
    "annotations_prefix": "it belongs to the ingress-nginx dialect",
    "configmap": "it belongs to the ingress-nginx dialect",
}

# What can be done in a cluster only.
_IN_A_CLUSTER = ("publish_address", "publish_service", "publish_node_addresses", "leader_election_lease")


class Address(NamedTuple):
    """Where to listen; ``str()`` gives it as it is written on the command line."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Flags(argparse.Namespace):
    """What was said on the command line, checked."""

    demo: bool
    manifests: Path | None
    kubeconfig: Path | None
    context: str
    http: Address | None
    https: Address | None
    admin: Address | None
    state_dir: Path | None
    controller_name: str
    ingress_class: str
    watch_ingress_without_class: bool
    default_backend_service: DefaultBackend | None
    default_ssl_certificate: ObjectKey | None
    watch_namespace: list[str]
    watch_namespace_selector: LabelSelector | None
    ingress_selector: LabelSelector | None
    host_ownership: HostOwnership
    allow_endpoint: list[Network]
    trusted_proxy: list[Network]
    proxy_protocol: bool
    log_format: str
    log_level: str
    access_log: str
    print_config: bool
    shutdown_grace: float
    publish_address: list[str]
    publish_service: ObjectKey | None
    publish_node_addresses: bool
    leader_election_lease: ObjectKey | None
    no_leader_election: bool

    @property
    def cluster(self) -> bool:
        """Whether the objects come from a cluster."""
        return not self.demo and not self.manifests


def parse_flags(argv: Sequence[str] | None = None) -> Flags:
    """Read the command line. A mistake ends the program with status 2 and one line that names it."""
    parser = _parser()
    flags, unknown = parser.parse_known_args(argv, namespace=Flags())
    for word in unknown:
        near = difflib.get_close_matches(word.partition("=")[0], parser.known, n=1)
        parser.error(f"there is no flag {word}" + (f"; is {near[0]} meant?" if near else "; see --help"))
    for name, instead in _LATER.items():
        if getattr(flags, name):
            parser.error(f"--{name.replace('_', '-')} is not there yet; {instead}")
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
    if flags.leader_election_lease and flags.no_leader_election:
        parser.error("--no-leader-election needs no lease; leave out --leader-election-lease")
    if flags.proxy_protocol and not flags.trusted_proxy:
        parser.error("--proxy-protocol is read from trusted proxies only; add --trusted-proxy CIDR")
    if not flags.http and not flags.https and not flags.print_config:
        parser.error("--http off and --https off leave nothing to listen on; give one of them an ADDR:PORT")
    if flags.demo:
        flags.allow_endpoint.append(LOOPBACK)
    return flags


def translate_options(flags: Flags) -> TranslateOptions:
    """What the flags say about translation."""
    return TranslateOptions(
        controller_name=flags.controller_name,
        ingress_class=flags.ingress_class,
        watch_ingress_without_class=flags.watch_ingress_without_class,
        default_backend=flags.default_backend_service,
        default_certificate=flags.default_ssl_certificate,
        host_ownership=flags.host_ownership,
        destinations=DestinationPolicy(allow=tuple(flags.allow_endpoint)),
        scope=Scope(
            namespaces=frozenset(flags.watch_namespace),
            namespace_selector=flags.watch_namespace_selector,
            ingress_selector=flags.ingress_selector,
        ),
    )


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, where argparse prints every flag there is."""

    known: Sequence[str] = ()

    @override
    def error(self, message: str) -> NoReturn:
        line = message.removeprefix("argument ")
        if not line.isprintable():  # what was typed may steer a terminal
            line = line.encode("unicode_escape").decode("ascii")
        self.exit(2, f"{self.prog}: {line}\n")


def _parser() -> _Parser:
    parser = _Parser(
        prog="reference_controller.py",
        description="An ingress controller: serves the Ingresses of a cluster, or of a folder of manifests.",
        allow_abbrev=False,
    )
    _add_sources(parser.add_argument_group("where the objects come from").add_argument)
    _add_proxy(parser.add_argument_group("the proxy").add_argument)
    _add_translation(parser.add_argument_group("which Ingresses are served, and how").add_argument)
    _add_reports(parser.add_argument_group("what is reported").add_argument)
    _add_writing(parser.add_argument_group("what is written into the cluster").add_argument)
    parser.known = [option for action in parser._actions for option in action.option_strings]  # noqa: SLF001
    return parser


def _add_sources(add: Callable[..., object]) -> None:
    add("--demo", action="store_true", help="serve examples/manifests/demo, with pods; print what to try")
    add("--manifests", metavar="DIR", type=Path, help="serve the YAML and JSON files under DIR; edits are live")
    text = "of the cluster to serve (the pod's service account, else $KUBECONFIG, else ~/.kube/config)"
    add("--kubeconfig", metavar="PATH", type=Path, help=text)
    add("--context", metavar="NAME", default="", help="the context of the kubeconfig (its current one)")


def _add_proxy(add: Callable[..., object]) -> None:
    text = "inprocess; nginx and haproxy are not there yet"
    add("--renderer", type=_checked(_renderer), default="inprocess", metavar="NAME", help=text)
    add("--proxy-binary", metavar="PATH", help="the nginx or haproxy program (not there yet)")
    listen: dict[str, Any] = {"type": _checked(_address), "metavar": "ADDR:PORT"}
    add("--http", default="0.0.0.0:8080", **listen, help="plain HTTP, or off (%(default)s)")
    add("--https", default="0.0.0.0:8443", **listen, help="TLS, or off (%(default)s)")
    text = "health, metrics, API and dashboard, or off (%(default)s)"
    add("--admin", default="127.0.0.1:8580", **listen, help=text)
    text = "believe X-Forwarded-* of these peers; repeatable"
    add("--trusted-proxy", type=_checked(_network), action="append", default=[], metavar="CIDR", help=text)
    add("--proxy-protocol", action="store_true", help="read the PROXY protocol from trusted proxies")
    add("--state-dir", type=Path, metavar="DIR", help="for files that are made (a private temporary folder)")
    text = "how long requests may finish after SIGTERM or SIGINT (%(default)s)"
    add("--shutdown-grace", type=_checked(_seconds), default="30s", metavar="TIME", help=text)


def _add_translation(add: Callable[..., object]) -> None:
    default = TranslateOptions()
    text = "spec.controller of the IngressClasses that are ours (%(default)s)"
    add(
        "--controller-name",
        type=_checked(_controller_name),
        default=default.controller_name,
        metavar="NAME",
        help=text,
    )
    text = "value of the annotation kubernetes.io/ingress.class that is ours (%(default)s)"
    add(
        "--ingress-class",
        type=_checked(_ingress_class),
        default=default.ingress_class,
        metavar="NAME",
        help=text,
    )
    add("--watch-ingress-without-class", action="store_true", help="also take Ingresses that name no class")
    text = "only this namespace, by rights in it alone; repeatable (all)"
    add("--watch-namespace", type=_checked(_name), action="append", default=[], metavar="NS", help=text)
    selector = _checked(LabelSelector.parse)
    add("--watch-namespace-selector", type=selector, metavar="LABELS", help="only namespaces with these labels")
    add("--ingress-selector", type=selector, metavar="LABELS", help="only Ingresses with these labels")
    text = "strict or shared: whether the first namespace to claim a host keeps it (%(default)s)"
    add("--host-ownership", type=_checked(_ownership), default="strict", metavar="WHO", help=text)
    text = "NS/NAME[:PORT] of the Service for requests that no rule takes"
    add("--default-backend-service", type=_checked(_default_backend), metavar="SERVICE", help=text)
    text = "NS/NAME of the Secret for server names without a certificate"
    add("--default-ssl-certificate", type=_checked(_key), metavar="SECRET", help=text)
    text = "let endpoints have these addresses, though loopback or the like; repeatable"
    add("--allow-endpoint", type=_checked(_network), action="append", default=[], metavar="CIDR", help=text)
    text = "native; ingress-nginx is not there yet"
    add("--dialect", type=_checked(_dialect), action="append", default=[], metavar="NAME", help=text)
    add("--annotations-prefix", metavar="PREFIX", help="of the ingress-nginx dialect (not there yet)")
    add("--configmap", metavar="NS/NAME", help="of the ingress-nginx dialect (not there yet)")


def _add_reports(add: Callable[..., object]) -> None:
    add("--log-format", choices=["text", "json"], default="text", help="(%(default)s)")
    add("--log-level", choices=["debug", "info", "warning", "error"], default="info", help="(%(default)s)")
    add("--access-log", default="off", metavar="PATH|-|off", help="a JSON line for each request (%(default)s)")
    text = "print what --manifests comes to, and exit; with 1 when anything was refused"
    add("--print-config", action="store_true", help=text)


def _add_writing(add: Callable[..., object]) -> None:
    text = "an address for Ingress.status; repeatable (none: the status is left alone)"
    add("--publish-address", type=_checked(_published), action="append", default=[], metavar="ADDR", help=text)
    text = "take the addresses for Ingress.status from this Service"
    add("--publish-service", type=_checked(_key), metavar="NS/NAME", help=text)
    text = "take them from the nodes; with --publish-service, if that is of type NodePort"
    add("--publish-node-addresses", action="store_true", help=text)
    text = "the Lease whose holder writes status and Events (ingresskit in the pod's namespace)"
    add("--leader-election-lease", type=_checked(_key), metavar="NS/NAME", help=text)
    add("--no-leader-election", action="store_true", help="write them without asking: there is one replica")


def _checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Make *parse* an argparse type: the text of its `ValueError` becomes the message."""

    def checked(text: str) -> T:
        try:
            return parse(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from None

    return checked


def _address(text: str) -> Address | None:
    if text == "off":
        return None
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):(.*)", text, re.DOTALL)
    host, port = (found[1] or found[2], found[3]) if found else ("", "")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{text!r} is not ADDR:PORT such as 0.0.0.0:8080, nor off") from None
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f"the port in {text!r} is not a number from 0 (any free one) to 65535")
    return Address(host, int(port))


def _controller_name(text: str) -> str:
    return TranslateOptions(controller_name=text).controller_name


def _ingress_class(text: str) -> str:
    return TranslateOptions(ingress_class=text).ingress_class


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an address range such as 10.0.0.0/8 or 2001:db8::/32") from None


def _name(text: str) -> str:
    if not re.fullmatch(_NAME, text):
        raise ValueError(f"{text!r} is not a name in Kubernetes: lower-case letters, digits, - and .")
    return text


def _published(text: str) -> str:
    from ingresskit.status import fixed_addresses

    fixed_addresses([text])
    return text


def _key(text: str) -> ObjectKey:
    if not (found := re.fullmatch(f"({_NAME})/({_NAME})", text)):
        raise ValueError(f"{text!r} is not NAMESPACE/NAME")
    return ObjectKey(found[1], found[2])


def _default_backend(text: str) -> DefaultBackend:
    service, colon, port = text.partition(":")
    if not colon:
        return DefaultBackend(_key(service))
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) <= 65535:
        raise ValueError(f"the port in {text!r} is not a number from 1 to 65535")
    return DefaultBackend(_key(service), int(port))


def _seconds(text: str) -> float:
    if not (found := re.fullmatch(r"([0-9]{1,9})(ms|s|m|h)", text)):
        raise ValueError(f"{text!r} is not a duration: a whole number and ms, s, m or h, such as 30s")
    return int(found[1]) * _UNITS[found[2]]


def _ownership(text: str) -> HostOwnership:
    if text not in tuple(HostOwnership):
        raise ValueError(f"{text!r} is neither strict nor shared")
    return HostOwnership(text)


def _renderer(text: str) -> str:
    return _one_of(text, "inprocess", later=("nginx", "haproxy"))


def _dialect(text: str) -> str:
    return _one_of(text, "native", later=("ingress-nginx",))


def _one_of(text: str, known: str, *, later: Sequence[str]) -> str:
    if text in later:
        raise ValueError(f"{text} is not there yet; the one that is: {known}")
    if text != known:
        raise ValueError(f"{text!r} is not known; there is {known}")
    return text
