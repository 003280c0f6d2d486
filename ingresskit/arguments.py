"""Command-line arguments for a controller's translation options, for programs that want them.

Nothing in the library reads a command line. A program of its own that is configured by flags adds
these to its own parser, so that its users meet the names they know from the reference controller:

    parser = OneLineParser(prog="my-controller")
    add_translation_arguments(parser)
    options = translate_options(parser.parse_args(namespace=TranslationArguments()))
"""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Callable
from datetime import timedelta
from typing import NoReturn, TypeVar

from typing_extensions import override

from ingresskit.graph import PathOptions
from ingresskit.models import ObjectKey
from ingresskit.policies import ForeignProtections
from ingresskit.policies.values import Network
from ingresskit.translate import (
    Budgets,
    DefaultBackend,
    DestinationPolicy,
    HostOwnership,
    LabelSelector,
    Scope,
    TranslateOptions,
)

__all__ = [
    "OneLineParser",
    "TranslationArguments",
    "add_translation_arguments",
    "checked",
    "read_duration",
    "read_key",
    "read_name",
    "read_network",
    "read_prefix",
    "translate_options",
]

T = TypeVar("T")

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
}

_NAME = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"


class TranslationArguments(argparse.Namespace):
    """What `add_translation_arguments` gives, with types."""

    controller_name: str
    ingress_class: str
    watch_ingress_without_class: bool
    default_backend_service: DefaultBackend | None
    default_ssl_certificate: ObjectKey | None
    tcp_services_configmap: ObjectKey | None
    udp_services_configmap: ObjectKey | None
    watch_namespace: list[str]
    watch_namespace_selector: LabelSelector | None
    ingress_selector: LabelSelector | None
    host_ownership: HostOwnership
    host_claim_grace: timedelta
    require_namespace_hosts: bool
    guard_wide_hosts: bool
    keep_slashes: bool
    strict_paths: bool
    allow_endpoint: list[Network]
    foreign_protections: ForeignProtections
    max_ingress_hosts: int | None
    max_ingress_paths: int | None
    max_namespace_ingresses: int | None
    max_namespace_hosts: int | None


class OneLineParser(argparse.ArgumentParser):
    """Reports a mistake in one line, where argparse prints every flag there is. Exits with 2."""

    @override
    def error(self, message: str) -> NoReturn:
        """End the program with *message*, made harmless to a terminal."""
        line = message.removeprefix("argument ")
        if not line.isprintable():  # what was typed may steer a terminal
            line = line.encode("unicode_escape").decode("ascii")
        self.exit(2, f"{self.prog}: {line}\n")


def add_translation_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that decide how objects are translated, as a group of their own."""
    add = parser.add_argument_group("which Ingresses are served, and how").add_argument
    default = TranslateOptions()
    text = "spec.controller of the IngressClasses that are ours (%(default)s)"
    add(
        "--controller-name",
        type=checked(_controller_name),
        default=default.controller_name,
        metavar="NAME",
        help=text,
    )
    text = "value of the annotation kubernetes.io/ingress.class that is ours (%(default)s)"
    add(
        "--ingress-class",
        type=checked(_ingress_class),
        default=default.ingress_class,
        metavar="NAME",
        help=text,
    )
    add("--watch-ingress-without-class", action="store_true", help="also take Ingresses that name no class")
    text = "only this namespace; repeatable (all)"
    add("--watch-namespace", type=checked(read_name), action="append", default=[], metavar="NS", help=text)
    selector = checked(LabelSelector.parse)
    add("--watch-namespace-selector", type=selector, metavar="LABELS", help="only namespaces with these labels")
    add("--ingress-selector", type=selector, metavar="LABELS", help="only Ingresses with these labels")
    text = "strict, exact or shared: whether the first namespace to claim a host keeps it (%(default)s)"
    add("--host-ownership", type=checked(_ownership), default="strict", metavar="WHO", help=text)
    text = "how long a host stays held after its last claim went (%(default)s)"
    add("--host-claim-grace", type=checked(read_duration), default="0s", metavar="TIME", help=text)
    text = "a namespace may claim only the hosts in its annotation ingresskit.dev/hosts"
    add("--require-namespace-hosts", action="store_true", help=text)
    text = "the catch-all and wildcards like *.test need that annotation"
    add("--guard-wide-hosts", action="store_true", help=text)
    text = "keep empty elements of paths (//) for matching and endpoints, instead of merging slashes"
    add("--keep-slashes", action="store_true", help=text)
    add("--strict-paths", action="store_true", help="refuse paths with ;, %%2F or %%5C (400)")
    text = "NS/NAME[:PORT] of the Service for requests that no rule takes"
    add("--default-backend-service", type=checked(_default_backend), metavar="SERVICE", help=text)
    text = "NS/NAME of the Secret for server names without a certificate"
    add("--default-ssl-certificate", type=checked(read_key), metavar="SECRET", help=text)
    text = "NS/NAME of the ConfigMap with further ports and their Services"
    add("--tcp-services-configmap", type=checked(read_key), metavar="NS/NAME", help=text)
    text = "the same for UDP, of which every entry is reported: none is served"
    add("--udp-services-configmap", type=checked(read_key), metavar="NS/NAME", help=text)
    text = "close or warn: what becomes of routes that another controller's annotation protects (%(default)s)"
    add("--foreign-protections", type=checked(_protections), default="close", metavar="HOW", help=text)
    text = "let endpoints have these addresses, though loopback or the like; repeatable"
    add("--allow-endpoint", type=checked(read_network), action="append", default=[], metavar="CIDR", help=text)
    budgets: tuple[tuple[str, str, int | None], ...] = (
        ("--max-ingress-hosts", "hosts of one Ingress", default.budgets.hosts_per_ingress),
        ("--max-ingress-paths", "paths of one Ingress", default.budgets.paths_per_ingress),
        ("--max-namespace-ingresses", "Ingresses of one namespace", default.budgets.ingresses_per_namespace),
        ("--max-namespace-hosts", "hosts of one namespace", default.budgets.hosts_per_namespace),
    )
    for flag, what, most in budgets:
        shown = "none" if most is None else most
        text = f"the most {what} that are served, or none for no limit ({shown})"
        add(flag, type=checked(_budget), default=most, metavar="N", help=text)


def translate_options(arguments: TranslationArguments) -> TranslateOptions:
    """The values of the arguments."""
    return TranslateOptions(
        controller_name=arguments.controller_name,
        ingress_class=arguments.ingress_class,
        watch_ingress_without_class=arguments.watch_ingress_without_class,
        default_backend=arguments.default_backend_service,
        default_certificate=arguments.default_ssl_certificate,
        tcp_services=arguments.tcp_services_configmap,
        udp_services=arguments.udp_services_configmap,
        host_ownership=arguments.host_ownership,
        foreign_protections=arguments.foreign_protections,
        host_claim_grace=arguments.host_claim_grace,
        require_namespace_hosts=arguments.require_namespace_hosts,
        guard_wide_hosts=arguments.guard_wide_hosts,
        paths=PathOptions(merge_slashes=not arguments.keep_slashes, strict=arguments.strict_paths),
        destinations=DestinationPolicy(allow=tuple(arguments.allow_endpoint)),
        budgets=Budgets(
            hosts_per_ingress=arguments.max_ingress_hosts,
            paths_per_ingress=arguments.max_ingress_paths,
            ingresses_per_namespace=arguments.max_namespace_ingresses,
            hosts_per_namespace=arguments.max_namespace_hosts,
        ),
        scope=Scope(
            namespaces=frozenset(arguments.watch_namespace),
            namespace_selector=arguments.watch_namespace_selector,
            ingress_selector=arguments.ingress_selector,
        ),
    )


def checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Make *parse* an argparse type: the text of its `ValueError` becomes the message."""

    def checked(text: str) -> T:
        try:
            return parse(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from None

    return checked


def _controller_name(text: str) -> str:
    return TranslateOptions(controller_name=text).controller_name


def _ingress_class(text: str) -> str:
    return TranslateOptions(ingress_class=text).ingress_class


def read_network(text: str) -> Network:
    """An address range.

    Raises:
        ValueError: *text* is none, or has host bits set.
    """
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an address range such as 10.0.0.0/8 or 2001:db8::/32") from None


def read_name(text: str) -> str:
    """The name of an object or namespace.

    Raises:
        ValueError: *text* cannot be one.
    """
    if not re.fullmatch(_NAME, text):
        raise ValueError(f"{text!r} is not a name in Kubernetes: lower-case letters, digits, - and .")
    return text


def read_key(text: str) -> ObjectKey:
    """An object of a namespace, written ``NAMESPACE/NAME``.

    Raises:
        ValueError: *text* is not of that form.
    """
    if not (found := re.fullmatch(f"({_NAME})/({_NAME})", text)):
        raise ValueError(f"{text!r} is not NAMESPACE/NAME")
    return ObjectKey(found[1], found[2])


def read_prefix(text: str) -> str:
    """What stands before the slash of annotations: a DNS name.

    Raises:
        ValueError: *text* is not one.
    """
    if not re.fullmatch(_NAME, text):
        raise ValueError(f"{text!r} is not a prefix of annotations such as nginx.ingress.kubernetes.io")
    return text


def read_duration(text: str) -> timedelta:
    """A duration, written as a whole number and ``ms``, ``s``, ``m`` or ``h``: ``"30s"``.

    Raises:
        ValueError: *text* is not of that form.
    """
    if not (found := re.fullmatch(r"([0-9]{1,9})(ms|s|m|h)", text)):
        raise ValueError(f"{text!r} is not a duration: a whole number and ms, s, m or h, such as 30s")
    return int(found[1]) * _UNITS[found[2]]


def _default_backend(text: str) -> DefaultBackend:
    service, colon, port = text.partition(":")
    if not colon:
        return DefaultBackend(read_key(service))
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) <= 65535:
        raise ValueError(f"the port in {text!r} is not a number from 1 to 65535")
    return DefaultBackend(read_key(service), int(port))


def _protections(text: str) -> ForeignProtections:
    if text not in tuple(ForeignProtections):
        raise ValueError(f"{text!r} is neither close nor warn")
    return ForeignProtections(text)


def _budget(text: str) -> int | None:
    if text == "none":
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise ValueError(f"{text!r} is neither a number from 1 on nor none")
    return int(text)


def _ownership(text: str) -> HostOwnership:
    if text not in tuple(HostOwnership):
        raise ValueError(f"{text!r} is not strict, exact or shared")
    return HostOwnership(text)
