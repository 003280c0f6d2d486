"""The pipeline over a folder of manifests, without a cluster or a proxy: render, check, explain.

``python -m ingresskit check DIR`` ends with 0 when nothing is refused, with 1 when something is, and
with 2 (and one line on the error output) when it cannot tell: a flag is wrong, or the folder is not there.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from typing_extensions import override

from ingresskit._offline import Offline, diagnostic_lines, explanation_lines, graph_lines
from ingresskit.controller.admin.answers import dump_explanation
from ingresskit.diagnostics import Severity
from ingresskit.errors import ConfigurationError, SourceError
from ingresskit.graph import Request, explain
from ingresskit.models import ObjectKey
from ingresskit.policies.values import Network
from ingresskit.translate import (
    DefaultBackend,
    DestinationPolicy,
    HostOwnership,
    LabelSelector,
    Scope,
    TranslateOptions,
)

__all__ = ["main"]

T = TypeVar("T")

_DESCRIPTION = "Carry a folder of manifests through the pipeline, without a cluster or a proxy."
_NAME = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"


class _Flags(argparse.Namespace):
    command: str
    folder: Path
    output: str
    strict: bool
    url: str
    method: str
    header: list[tuple[str, str]]
    client: str | None
    json: bool
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after the program's name; ``None``: those of this process.

    Returns:
        The exit status: 0; 1 when an object was refused a part of what it asks for (``render`` and
        ``check``); 2 for a folder that is not there or a value that cannot be.

    Raises:
        SystemExit: With 2 for a flag that is wrong, with 0 after ``--help``.
    """
    parser = _parser()
    flags = parser.parse_args(argv, namespace=_Flags())
    try:
        offline = Offline.load(flags.folder, _options(flags))
        match flags.command:
            case "render":
                return _render(offline, flags)
            case "check":
                return _check(offline, flags)
            case _:
                return _explain(offline, flags)
    except (ConfigurationError, SourceError) as exc:
        print(f"{parser.prog}: {exc}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # `… | head` has read enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _render(offline: Offline, flags: _Flags) -> int:
    if flags.output == "json":
        sys.stdout.write(offline.graph.to_json().decode())
    else:
        print(*graph_lines(offline.graph), sep="\n")
    print(*diagnostic_lines(offline), sep="\n", end="\n" if offline.diagnostics else "", file=sys.stderr)
    return int(offline.count(Severity.ERROR) > 0)


def _check(offline: Offline, flags: _Flags) -> int:
    for line in diagnostic_lines(offline):
        print(line)
    sys.stdout.flush()
    errors, warnings = offline.count(Severity.ERROR), offline.count(Severity.WARNING)
    print(f"ingresses: {offline.ingresses}, errors: {errors}, warnings: {warnings}", file=sys.stderr)
    return int(errors > 0 or (flags.strict and warnings > 0))


def _explain(offline: Offline, flags: _Flags) -> int:
    request = Request.of(flags.url, method=flags.method, headers=dict(flags.header), client=flags.client)
    explanation = explain(offline.graph, request)
    if flags.json:
        print(json.dumps(dump_explanation(explanation), indent=2))
    else:
        print(*explanation_lines(offline.graph, explanation), sep="\n")
    return 0


def _options(flags: _Flags) -> TranslateOptions:
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

    @override
    def error(self, message: str) -> NoReturn:
        line = message.removeprefix("argument ")
        if not line.isprintable():  # what was typed may steer a terminal
            line = line.encode("unicode_escape").decode("ascii")
        self.exit(2, f"{self.prog}: {line}\n")


def _parser() -> _Parser:
    parser = _Parser(prog="python -m ingresskit", description=_DESCRIPTION, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="render|check|explain")

    render = commands.add_parser("render", help="print what would be served", allow_abbrev=False)
    _add_shared(render)
    add = render.add_argument
    add("--renderer", type=_checked(_renderer), default="inprocess", metavar="NAME", help="(%(default)s)")
    add("--output", choices=["text", "json"], default="text", help="(%(default)s)")

    check = commands.add_parser("check", help="print what is wrong with the objects", allow_abbrev=False)
    _add_shared(check)
    check.add_argument("--strict", action="store_true", help="end with 1 for warnings too")

    explained = commands.add_parser(
        "explain", help="say which rule takes a request, and why", allow_abbrev=False
    )
    _add_shared(explained)
    add = explained.add_argument
    add("url", metavar="URL", help="as a client would ask for it: http://shop.example/cart")
    add("--method", default="GET", metavar="METHOD", help="(%(default)s)")
    add("--header", type=_checked(_header), action="append", default=[], metavar="NAME:VALUE")
    add("--client", type=_checked(_client), metavar="ADDR", help="the client's address")
    add("--json", action="store_true", help="print JSON")
    return parser


def _add_shared(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes: the folder, and what decides how it is translated."""
    add, default = parser.add_argument, TranslateOptions()
    add("folder", metavar="DIR", type=Path, help="a folder of YAML and JSON manifests")
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
    text = "only this namespace; repeatable (all)"
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


def _checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Make *parse* an argparse type: the text of its `ValueError` becomes the message."""

    def checked(text: str) -> T:
        try:
            return parse(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from None

    return checked


def _renderer(text: str) -> str:
    if text in ("nginx", "haproxy"):
        raise ValueError(f"{text} is not there yet; the one that is: inprocess")
    if text != "inprocess":
        raise ValueError(f"{text!r} is not known; there is inprocess")
    return text


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise ValueError(f"{text!r} is not a header field such as 'X-Tenant: blue'")
    return name, value.strip()


def _client(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None


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


def _ownership(text: str) -> HostOwnership:
    if text not in tuple(HostOwnership):
        raise ValueError(f"{text!r} is neither strict nor shared")
    return HostOwnership(text)


if __name__ == "__main__":
    sys.exit(main())
