"""Which annotations a command understands: the package's own dialects, and those that other packages register.

A package registers a dialect in its metadata, in the group ``ingresskit.dialects``: under a name, what to call
without arguments for a `Dialect`, which its class may be.

    [project.entry-points."ingresskit.dialects"]
    acme = "acme_ingress:AcmeDialect"
"""

from __future__ import annotations

import argparse
import difflib
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from ingresskit.app.extensions import installed_policies, refused
from ingresskit.arguments import TranslationArguments, checked, read_key, read_prefix
from ingresskit.models import ObjectKey
from ingresskit.policies import (
    BUILTIN_POLICIES,
    INGRESS_NGINX_PREFIX,
    Dialect,
    ForeignProtections,
    IngressNginxDialect,
    KubernetesDialect,
    NativeDialect,
    PolicyRegistry,
    Shadowed,
    parse_shadowed,
)
from ingresskit.translate import TranslateOptions

__all__ = [
    "BUILT_IN",
    "DIALECTS",
    "DialectArguments",
    "add_dialect_arguments",
    "check_dialects",
    "with_dialects",
]

DIALECTS = "ingresskit.dialects"
_NATIVE, _INGRESS_NGINX = "native", "ingress-nginx"
BUILT_IN = (_NATIVE, _INGRESS_NGINX)
"""The package's own; no other package can take their names."""


class DialectArguments(TranslationArguments):
    """What `add_dialect_arguments` gives, beside the other options of translation."""

    dialect: list[str]
    annotations_prefix: str | None
    configmap: ObjectKey | None
    shadow: tuple[Shadowed, ...]
    enable_ssl_passthrough: bool


def add_dialect_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose dialects, as a group of their own."""
    add = parser.add_argument_group("which annotations are understood").add_argument
    text = "native, ingress-nginx or one that is installed; repeatable, the native one wins (native)"
    add("--dialect", type=checked(_dialect), action="append", default=[], metavar="NAME", help=text)
    text = f"another prefix for the dialect of ingress-nginx ({INGRESS_NGINX_PREFIX})"
    add("--annotations-prefix", type=checked(read_prefix), metavar="PREFIX", help=text)
    text = "the ConfigMap with the settings of ingress-nginx"
    add("--configmap", type=checked(read_key), metavar="NS/NAME", help=text)
    text = "policies of ingress-nginx that only count and log what they would refuse: limits, access, all"
    add("--shadow", type=checked(parse_shadowed), default=(), metavar="POLICIES", help=text)
    text = "let Ingresses of ingress-nginx have TLS connections passed on as they are"
    add("--enable-ssl-passthrough", action="store_true", help=text)


def check_dialects(flags: DialectArguments, parser: argparse.ArgumentParser) -> None:
    """Refuse flags of a dialect that is not chosen, as a mistake on the command line."""
    given = {
        "--annotations-prefix": flags.annotations_prefix,
        "--configmap": flags.configmap,
        "--shadow": flags.shadow,
        "--enable-ssl-passthrough": flags.enable_ssl_passthrough,
    }
    named = next((name for name, value in given.items() if value), "")
    if named and _INGRESS_NGINX not in flags.dialect:
        parser.error(f"{named} is for the annotations of ingress-nginx; add --dialect {_INGRESS_NGINX}")


def with_dialects(options: TranslateOptions, flags: DialectArguments) -> TranslateOptions:
    """*options* with the dialects that *flags* name.

    Raises:
        ConfigurationError: A dialect or policy of another package cannot be loaded, or two read the same.
    """
    names = list(dict.fromkeys(flags.dialect)) or [_NATIVE]
    # Of two that set the same the later wins: the native one, then those of other packages as they are named.
    others = [name for name in reversed(names) if name not in BUILT_IN]
    order = [name for name in (_INGRESS_NGINX, *others, _NATIVE) if name in names]
    dialects = [_made(name, options, flags) for name in order]
    return replace(options, policies=PolicyRegistry([*dialects, KubernetesDialect()]))


def _made(name: str, options: TranslateOptions, flags: DialectArguments) -> Dialect:
    match name:
        case "native":
            return NativeDialect((*BUILTIN_POLICIES, *installed_policies().values()))
        case "ingress-nginx":
            return IngressNginxDialect(
                prefix=flags.annotations_prefix or INGRESS_NGINX_PREFIX,
                settings=flags.configmap,
                shadow=flags.shadow,
                passthrough=flags.enable_ssl_passthrough,
                close_protections=options.foreign_protections is ForeignProtections.CLOSE,
            )
        case _:
            return _loaded(_installed()[name])


def _installed() -> dict[str, EntryPoint]:
    """The dialects of other packages, by name."""
    return {entry.name: entry for entry in entry_points(group=DIALECTS) if entry.name not in BUILT_IN}


def _loaded(entry: EntryPoint) -> Dialect:
    try:
        dialect: object = entry.load()()
    except Exception as exc:
        raise refused("dialect", entry, f"cannot be loaded: {exc!r}") from exc
    missing = [name for name in ("prefix", "read", "table", "kinds") if not hasattr(dialect, name)]
    if missing:
        raise refused("dialect", entry, f"is a {type(dialect).__name__} without {', '.join(missing)}")
    return cast("Dialect", dialect)


def _dialect(text: str) -> str:
    names = [*BUILT_IN, *sorted(_installed())]
    if text not in names:
        near = difflib.get_close_matches(text, names, n=1)
        known = f"{', '.join(names[:-1])} and {names[-1]}"
        what = f"known; did you mean {near[0]}?" if near else f"one of {known}"
        raise ValueError(f"{text!r} is not {what}")
    return text
