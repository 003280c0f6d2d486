"""Which endpoint takes a request: algorithms, hashes, and affinity by a cookie."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from ingresskit._quoting import quoted
from ingresskit.diagnostics import Reason
from ingresskit.policies.dialects.ingress_nginx.reader import Annotations
from ingresskit.policies.dialects.ingress_nginx.values import parse_go_boolean, parse_go_integer
from ingresskit.policies.kinds.balancing import (
    Affinity,
    AffinityCanary,
    AffinityMode,
    HashBy,
    HashPart,
    HashSource,
    SameSite,
    SecureCookie,
    parse_cookie_domain,
    parse_cookie_name,
    parse_cookie_path,
)
from ingresskit.policies.kinds.upstream import Algorithm, LoadBalancing
from ingresskit.policies.values import parse_choice

__all__ = ["parse_hash_variables", "read_balancing"]

_HASH: Final = "upstream-hash-by"
_SUBSET: Final = 3
_MOST_OF_SUBSET: Final = 100
_MOST_PARTS: Final = 16
_LONGEST_AGE: Final = 10 * 365 * 86_400
_PIECES: Final = re.compile(
    r"\$(?P<bare>[a-z0-9_]{1,128})|\$\{(?P<braced>[a-z0-9_]{1,128})\}|(?P<text>[^$\x00-\x1f\x7f]{1,256})",
    re.IGNORECASE,
)
_VARIABLES: Final = {
    "request_uri": HashSource.URI,
    "uri": HashSource.PATH,
    "document_uri": HashSource.PATH,
    "host": HashSource.HOST,
    "http_host": HashSource.HOST,
    "best_http_host": HashSource.HOST,
    "remote_addr": HashSource.CLIENT,
    "binary_remote_addr": HashSource.CLIENT,
    "the_real_ip": HashSource.CLIENT,
    "args": HashSource.QUERY,
    "query_string": HashSource.QUERY,
    "request_method": HashSource.METHOD,
    "scheme": HashSource.SCHEME,
    "pass_access_scheme": HashSource.SCHEME,
}
_NO_CONSTANTS: Final[Mapping[str, str]] = {}
_FAMILIES: Final = {"http_": HashSource.HEADER, "cookie_": HashSource.COOKIE, "arg_": HashSource.QUERY}

_ORIGINS: Final = (
    ("mode", "affinity-mode"),
    ("canary", "affinity-canary-behavior"),
    ("path", "session-cookie-path"),
    ("domain", "session-cookie-domain"),
    ("max_age", "session-cookie-max-age"),
    ("expires", "session-cookie-expires"),
    ("secure", "session-cookie-secure"),
    ("samesite", "session-cookie-samesite"),
    ("conditional_samesite_none", "session-cookie-conditional-samesite-none"),
    ("change_on_failure", "session-cookie-change-on-failure"),
)


def parse_hash_variables(text: str, constants: Mapping[str, str] = _NO_CONSTANTS) -> tuple[HashPart, ...]:
    """What nginx would hash: texts and variables of a closed set.

    Args:
        text: As an annotation has it.
        constants: Variables whose values are those of the Ingress.

    Raises:
        ValueError: Another variable, or no such value.
    """
    parts: list[HashPart] = []
    at = 0
    while at < len(text):
        piece = _PIECES.match(text, at)
        if piece is None or len(parts) == _MOST_PARTS:
            raise ValueError("must be texts and variables such as $request_uri, 16 at most")
        at = piece.end()
        variable = piece["bare"] or piece["braced"]
        if variable in constants:
            parts.append(HashPart(HashSource.TEXT, constants[variable]))
        else:
            parts.append(_variable(variable) if variable else HashPart(HashSource.TEXT, piece["text"]))
    return tuple(parts)


def _variable(name: str) -> HashPart:
    if (source := _VARIABLES.get(name)) is not None:
        return HashPart(source)
    for start, family in _FAMILIES.items():
        if (rest := name.removeprefix(start)) and rest != name:
            return HashPart(family, rest.lower().replace("_", "-") if family is HashSource.HEADER else rest)
    known = ", ".join(f"${item}" for item in (*_VARIABLES, *(f"{start}NAME" for start in _FAMILIES)))
    raise ValueError(f"has the variable ${name}; it must be one of {known}")


def read_balancing(annotations: Annotations) -> None:
    """Ask for `Affinity`, `HashBy` and `LoadBalancing`, which count in this order."""
    _affinity(annotations)
    _hash(annotations)
    _algorithm(annotations)


def _algorithm(annotations: Annotations) -> None:
    name = "load-balance"
    asked = annotations.text(name)
    match asked or annotations.settings.load_balance:
        case "ewma":
            algorithm = Algorithm.EWMA
        case "round_robin":
            algorithm = Algorithm.ROUND_ROBIN
        case _:
            if asked:
                annotations.warn(name, Reason.ANNOTATION_INVALID, "must be round_robin or ewma; it is ignored")
                asked = ""
            algorithm = Algorithm.ROUND_ROBIN
    if _by_client(annotations):
        annotations.add(LoadBalancing(algorithm=Algorithm.CLIENT_HASH), algorithm=_HASH)
    elif algorithm is not Algorithm.ROUND_ROBIN or asked:
        annotations.add(LoadBalancing(algorithm=algorithm), **({"algorithm": name} if asked else {}))


def _by_client(annotations: Annotations) -> bool:
    """Whether the address alone is hashed: every program can do that by itself."""
    return annotations.text(_HASH).replace("{", "").replace("}", "") in (
        "$remote_addr",
        "$binary_remote_addr",
    ) and not _subset(annotations)


def _subset(annotations: Annotations) -> bool:
    try:
        return parse_go_boolean(annotations.text(f"{_HASH}-subset") or "false")
    except ValueError:
        return False


def _hash(annotations: Annotations) -> None:
    grouped = annotations.value(f"{_HASH}-subset", parse_go_boolean) or False
    size = annotations.value(f"{_HASH}-subset-size", parse_go_integer)
    if _by_client(annotations) or not (text := annotations.text(_HASH)):
        return
    try:
        key = annotations.context.subject.key
        parts = parse_hash_variables(text, {"namespace": key.namespace, "ingress_name": key.name})
    except ValueError as exc:
        message = f"{quoted(text)} {exc}; endpoints are chosen without a hash"
        annotations.warn(_HASH, Reason.ANNOTATION_UNSUPPORTED, message)
        return
    subset = 1
    if grouped:
        subset = min(size, _MOST_OF_SUBSET) if size is not None and size > 0 else _SUBSET
    asked = {"parts": _HASH}
    if grouped:
        asked["subset"] = f"{_HASH}-subset"
    annotations.add(HashBy(parts=parts, subset=subset), **asked)


def _age(text: str) -> timedelta:
    seconds = parse_go_integer(text)
    if not 0 <= seconds <= _LONGEST_AGE:
        raise ValueError("must be a number of seconds without unit, ten years at most")
    return timedelta(seconds=seconds)


def _samesite(text: str) -> SameSite:
    return parse_choice(SameSite)(text.capitalize())


def _affinity(annotations: Annotations) -> None:
    asked = annotations.text("affinity")
    if not asked:
        return
    if asked != "cookie":
        annotations.warn(
            "affinity", Reason.ANNOTATION_INVALID, f"{quoted(asked)} must be cookie; it is ignored"
        )
        return
    mode = annotations.value("affinity-mode", parse_choice(AffinityMode))
    canary = annotations.value("affinity-canary-behavior", parse_choice(AffinityCanary))
    cookie = annotations.value("session-cookie-name", parse_cookie_name)
    path = annotations.value("session-cookie-path", parse_cookie_path)
    domain = annotations.value("session-cookie-domain", parse_cookie_domain)
    max_age = annotations.value("session-cookie-max-age", _age)
    expires = annotations.value("session-cookie-expires", _age)
    secure = annotations.value("session-cookie-secure", parse_go_boolean)
    samesite = annotations.value("session-cookie-samesite", _samesite)
    spared = annotations.value("session-cookie-conditional-samesite-none", parse_go_boolean)
    change = annotations.value("session-cookie-change-on-failure", parse_go_boolean)
    origins = {"cookie": "affinity", **{field: name for field, name in _ORIGINS if annotations.text(name)}}
    annotations.add(
        Affinity(
            cookie=cookie or "INGRESSCOOKIE",
            mode=mode or AffinityMode.BALANCED,
            canary=canary or AffinityCanary.STICKY,
            path=path,
            domain=domain,
            max_age=max_age,
            expires=expires,
            secure=SecureCookie.AUTO if secure is None else SecureCookie(str(secure).lower()),
            samesite=samesite,
            conditional_samesite_none=bool(spared),
            change_on_failure=bool(change),
        ),
        **origins,
    )
