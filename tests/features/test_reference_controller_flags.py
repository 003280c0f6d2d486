"""The flags of the reference controller: each mistake is one clear line, each value reaches its place."""

from __future__ import annotations

import ipaddress
from datetime import timedelta

import pytest

from ingresskit import HostOwnership, ObjectKey, TranslateOptions
from ingresskit.app.dialects import with_dialects
from ingresskit.app.flags import Address, parse_flags
from ingresskit.arguments import translate_options
from ingresskit.graph import PathOptions
from ingresskit.models import ObjectRef
from ingresskit.policies import Shadow, Shadowed
from ingresskit.translate import DefaultBackend

FOLDER = ["--manifests", "somewhere"]

MISTAKES: dict[str, tuple[list[str], str]] = {
    "status address": ([*FOLDER, "--publish-address=192.0.2.1"], "--publish-address is for a cluster"),
    "status Service": ([*FOLDER, "--publish-service=a/b"], "--publish-service is for a cluster"),
    "status of nodes": (["--demo", "--publish-node-addresses"], "--publish-node-addresses is for a cluster"),
    "lease": ([*FOLDER, "--leader-election-lease=a/b"], "--leader-election-lease is for a cluster"),
    "no address": (["--publish-address=a b"], "--publish-address: 'a b' is neither an IP address"),
    "addresses twice": (
        ["--publish-address=192.0.2.1", "--publish-service=a/b"],
        "--publish-address names every address",
    ),
    "another edge": ([*FOLDER, "--handover-address=192.0.2.1"], "--handover-address is for a cluster"),
    "another edge and no status": (
        ["--handover-address=192.0.2.1"],
        "--handover-address is for a status that is written: add --publish-service or --publish-address",
    ),
    "a manager and no status": (["--take-status-from=x"], "--take-status-from is for a status that is written"),
    "labels of no handover": (
        ["--publish-address=192.0.2.1", "--handed-over=a=b"],
        "--handed-over is for --handover-address, which is missing",
    ),
    "labels that are none": (
        ["--publish-address=192.0.2.1", "--handover-address=192.0.2.2", "--handed-over=a=b=c"],
        "--handed-over:",
    ),
    "a lease for nothing": (
        ["--leader-election-lease=a/b", "--no-leader-election"],
        "--no-leader-election needs no lease",
    ),
    "kubeconfig and folder": (
        [*FOLDER, "--kubeconfig=somewhere"],
        "--manifests and --kubeconfig are two sources; give one of them",
    ),
    "context and demo": (["--demo", "--context=prod"], "--demo and --context are two sources"),
    "two sources": (["--demo", *FOLDER], "--demo and --manifests are two sources"),
    "nothing to listen on": (
        [*FOLDER, "--http=off", "--https=off"],
        "--http off and --https off leave nothing",
    ),
    "nothing to print": (["--demo", "--print-config"], "--print-config needs the objects to render"),
    "misspelt flag": ([*FOLDER, "--htpp=off"], "unknown flag --htpp=off; did you mean --http?"),
    "unknown flag": ([*FOLDER, "--xyzzy"], "unknown flag --xyzzy; see --help"),
    "a word too many": ([*FOLDER, "other"], "unknown flag other; see --help"),
    "abbreviated flag": ([*FOLDER, "--controller=a/b"], "unknown flag --controller=a/b"),
    "admin credentials of an unknown kind": (
        [*FOLDER, "--admin-auth=ldap:x"],
        "--admin-auth: 'ldap:x' is not none, token:FILE or basic:FILE",
    ),
    "admin credentials without a file": (
        [*FOLDER, "--admin-auth=token:"],
        "--admin-auth: 'token:' is not none, token:FILE or basic:FILE",
    ),
    "a name with a port": (
        [*FOLDER, "--admin-host=ops.test:80"],
        "--admin-host: 'ops.test:80' is not a host name; a port is not part of it",
    ),
    "admin credentials without an admin server": (
        [*FOLDER, "--admin=off", "--admin-auth=token:x"],
        "--admin-auth and --admin-host are for the admin server",
    ),
    "port without address": ([*FOLDER, "--http=8080"], "--http: '8080' is not ADDR:PORT such as 0.0.0.0:8080"),
    "name instead of address": ([*FOLDER, "--http=localhost:80"], "--http: 'localhost:80' is not ADDR:PORT"),
    "port too large": (
        [*FOLDER, "--https=0.0.0.0:70000"],
        "--https: the port in '0.0.0.0:70000' is not a number",
    ),
    "no port": ([*FOLDER, "--admin=127.0.0.1:"], "--admin: the port in '127.0.0.1:' is not a number"),
    "bare IPv6": ([*FOLDER, "--http=[::1:80"], "--http: '[::1:80' is not ADDR:PORT"),
    "missing value": ([*FOLDER, "--http"], "--http: expected one argument"),
    "range with host bits": (
        [*FOLDER, "--allow-endpoint=10.0.0.1/8"],
        "--allow-endpoint: '10.0.0.1/8' is not an",
    ),
    "range that is none": (
        [*FOLDER, "--trusted-proxy=proxy"],
        "--trusted-proxy: 'proxy' is not an address range",
    ),
    "nobody to read it from": (
        [*FOLDER, "--proxy-protocol"],
        "--proxy-protocol is read from trusted proxies only",
    ),
    "controller name": (
        [*FOLDER, "--controller-name=me"],
        "--controller-name: the controller name 'me' is not",
    ),
    "empty class": ([*FOLDER, "--ingress-class="], "--ingress-class: the ingress class has no name"),
    "namespace": ([*FOLDER, "--watch-namespace=Shop"], "--watch-namespace: 'Shop' is not a name in Kubernetes"),
    "selector": ([*FOLDER, "--ingress-selector=a b"], "--ingress-selector: 'a b' in the label selector"),
    "namespace selector": ([*FOLDER, "--watch-namespace-selector="], "--watch-namespace-selector: ''"),
    "record": (["--host-claims=a/B"], "--host-claims: 'a/B' is not NAMESPACE/NAME"),
    "record name": (
        ["--host-claims=a/b.c"],
        "--host-claims: 'b.c' cannot be the name of a record of hosts: at most 57",
    ),
    "record of a folder": ([*FOLDER, "--host-claims=a/b"], "--host-claims is for a cluster"),
    "grace": ([*FOLDER, "--host-claim-grace=5"], "--host-claim-grace: '5' is not a duration"),
    "ownership": (
        [*FOLDER, "--host-ownership=mine"],
        "--host-ownership: 'mine' is not strict, exact or shared",
    ),
    "default backend": ([*FOLDER, "--default-backend-service=web"], "--default-backend-service: 'web' is not"),
    "its port": (
        [*FOLDER, "--default-backend-service=a/b:0"],
        "--default-backend-service: the port in 'a/b:0'",
    ),
    "certificate": (
        [*FOLDER, "--default-ssl-certificate=tls"],
        "--default-ssl-certificate: 'tls' is not NAMESPACE",
    ),
    "duration": ([*FOLDER, "--shutdown-grace=30"], "--shutdown-grace: '30' is not a duration"),
    "renderer": (
        [*FOLDER, "--renderer=apache"],
        "--renderer: 'apache' is not one of inprocess, haproxy and nginx",
    ),
    "program of no renderer": (
        [*FOLDER, "--proxy-binary=/usr/sbin/haproxy"],
        "--proxy-binary names the program of another renderer; add --renderer",
    ),
    "dialect": (
        [*FOLDER, "--dialect=traefik"],
        "--dialect: 'traefik' is not one of native and ingress-nginx",
    ),
    "prefix of no dialect": (
        [*FOLDER, "--annotations-prefix=example.com"],
        "--annotations-prefix is for the annotations of ingress-nginx; add --dialect ingress-nginx",
    ),
    "settings of no dialect": (
        [*FOLDER, "--dialect=native", "--configmap=a/b"],
        "--configmap is for the annotations of ingress-nginx; add --dialect ingress-nginx",
    ),
    "trial of no dialect": (
        [*FOLDER, "--shadow=limits"],
        "--shadow is for the annotations of ingress-nginx; add --dialect ingress-nginx",
    ),
    "trial": (
        [*FOLDER, "--dialect=ingress-nginx", "--shadow=everything"],
        "--shadow: must be some of limits, access, authentication, all, separated by commas",
    ),
    "prefix": (
        [*FOLDER, "--dialect=ingress-nginx", "--annotations-prefix=a/b"],
        "--annotations-prefix: 'a/b' is not a prefix of annotations",
    ),
    "log format": ([*FOLDER, "--log-format=xml"], "--log-format: invalid choice: 'xml'"),
    "log level": ([*FOLDER, "--log-level=loud"], "--log-level: invalid choice: 'loud'"),
    "control characters": ([*FOLDER, "--http=\x1b[2J\n"], r"--http: '\x1b[2J\n' is not ADDR:PORT"),
    "control characters in a flag": ([*FOLDER, "--\x1b\n"], r"unknown flag --\x1b\n"),
}


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that *argv* is answered with."""
    with pytest.raises(SystemExit) as ended:
        parse_flags(argv)
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    (line,) = said.err.splitlines()
    return line


@pytest.mark.parametrize(("argv", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(argv, capsys).startswith(f"ingresskit run: {message}")


def test_help_names_every_flag_of_the_promise(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_flags(["--help"])

    text = capsys.readouterr().out
    assert ended.value.code == 0
    for flag in ("--dialect", "--annotations-prefix", "--configmap"):
        assert f"{flag} " in text or f"{flag}\n" in text


def test_the_defaults_are_those_of_the_library() -> None:
    flags = parse_flags(FOLDER)

    options, default = translate_options(flags), TranslateOptions()

    assert (options.controller_name, options.ingress_class) == (default.controller_name, default.ingress_class)
    assert (options.destinations, options.scope) == (default.destinations, default.scope)
    assert options.host_ownership is default.host_ownership
    assert (flags.http, flags.https) == (Address("0.0.0.0", 8080), Address("0.0.0.0", 8443))  # noqa: S104
    assert flags.admin == Address("127.0.0.1", 8580)
    assert flags.shutdown_grace == 30


def test_values_reach_the_options() -> None:
    flags = parse_flags(
        [
            *FOLDER,
            "--controller-name=example.com/mine",
            "--ingress-class=mine",
            "--watch-ingress-without-class",
            "--default-backend-service=web/lost:8080",
            "--default-ssl-certificate=web/tls",
            "--watch-namespace=a",
            "--watch-namespace=b",
            "--watch-namespace-selector=team in (x, y)",
            "--ingress-selector=public=yes",
            "--host-ownership=shared",
            "--host-claim-grace=5m",
            "--require-namespace-hosts",
            "--guard-wide-hosts",
            "--keep-slashes",
            "--strict-paths",
            "--allow-endpoint=127.0.0.0/8",
            "--allow-endpoint=::1/128",
        ]
    )

    options = translate_options(flags)

    assert options.controller_name == "example.com/mine"
    assert options.ingress_class == "mine"
    assert options.watch_ingress_without_class
    assert options.default_backend == DefaultBackend(ObjectKey("web", "lost"), 8080)
    assert options.default_certificate == ObjectKey("web", "tls")
    assert options.scope.namespaces == {"a", "b"}
    assert str(options.scope.namespace_selector) == "team in (x, y)"
    assert str(options.scope.ingress_selector) == "public=yes"
    assert options.host_ownership is HostOwnership.SHARED
    assert options.host_claim_grace == timedelta(minutes=5)
    assert (options.require_namespace_hosts, options.guard_wide_hosts) == (True, True)
    assert options.paths == PathOptions(merge_slashes=False, strict=True)
    assert options.destinations.allow == (
        ipaddress.ip_network("127.0.0.0/8"),
        ipaddress.ip_network("::1/128"),
    )


def test_the_demo_may_use_loopback() -> None:
    options = translate_options(parse_flags(["--demo"]))

    assert options.destinations.fault("127.0.0.11") is None
    assert options.destinations.fault("169.254.169.254") is not None


def test_listeners_can_be_off_and_have_ipv6_addresses() -> None:
    flags = parse_flags([*FOLDER, "--http=[::]:80", "--https=off", "--admin=off"])

    assert flags.http == Address("::", 80)
    assert str(flags.http) == "[::]:80"
    assert (flags.https, flags.admin) == (None, None)


@pytest.mark.parametrize(("text", "seconds"), [("0s", 0), ("250ms", 0.25), ("2m", 120), ("1h", 3600)])
def test_a_duration_has_a_unit(text: str, seconds: float) -> None:
    assert parse_flags([*FOLDER, "--shutdown-grace", text]).shutdown_grace == seconds


def test_without_a_source_it_is_the_cluster() -> None:
    flags = parse_flags(["--context=prod"])

    assert (flags.cluster, flags.kubeconfig, flags.context) == (True, None, "prod")
    assert not parse_flags(FOLDER).cluster
    assert not parse_flags(["--demo"]).cluster
    assert (flags.watch_list, parse_flags(["--watch-list=never"]).watch_list) == ("auto", "never")


@pytest.mark.parametrize(
    ("argv", "prefixes"),
    [
        ([], ["ingresskit.dev"]),
        (["--dialect=native"], ["ingresskit.dev"]),
        (["--dialect=ingress-nginx"], ["nginx.ingress.kubernetes.io"]),
        (
            ["--dialect=native", "--dialect=ingress-nginx", "--annotations-prefix=own.test"],
            ["own.test", "ingresskit.dev"],
        ),
    ],
)
def test_the_dialects_that_are_named_are_read_and_the_native_one_wins(
    argv: list[str], prefixes: list[str]
) -> None:
    flags = parse_flags([*FOLDER, *argv])

    registry = with_dialects(translate_options(flags), flags).policies
    assert [dialect.prefix for dialect in registry.dialects] == [*prefixes, "kubernetes.io"]


def test_the_settings_and_the_open_protections_reach_the_dialect_of_ingress_nginx() -> None:
    flags = parse_flags(
        [
            *FOLDER,
            "--dialect=ingress-nginx",
            "--configmap=ops/settings",
            "--foreign-protections=warn",
            "--shadow=limits",
        ]
    )

    registry = with_dialects(translate_options(flags), flags).policies
    annotations = {"nginx.ingress.kubernetes.io/enable-modsecurity": "true"}
    reading = registry.read(annotations, ObjectRef("Ingress", ObjectKey("a", "b")))
    assert registry.settings == {ObjectKey("ops", "settings")}
    assert reading.protection_fault is None
    assert reading.policies.get(Shadow) == Shadow(on_trial=(Shadowed.LIMITS,))


def test_what_needs_no_cluster_is_taken() -> None:
    flags = parse_flags([*FOLDER, "--no-leader-election", "--renderer=inprocess", "--dialect=native"])

    assert str(flags.manifests) == "somewhere"
