"""Which pages of other sites may read responses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from typing_extensions import override

from ingresskit.policies.base import Policy, Risk, annotated
from ingresskit.policies.order import Stage
from ingresskit.policies.values import HeaderField, parse_boolean, parse_integer

__all__ = [
    "Cors",
    "parse_cors_headers",
    "parse_cors_methods",
    "parse_cors_origin",
    "parse_cors_origins",
]

_MOST: Final = 64
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ORIGIN: Final = re.compile(
    rf"null|\*|[a-z][a-z0-9+-]{{0,31}}://(?:\*\.)?{_LABEL}(?:\.{_LABEL}){{0,20}}(?::[0-9]{{1,5}})?"
)
_METHODS: Final = ("GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS")
_HEADERS: Final = (
    *("DNT", "Keep-Alive", "User-Agent", "X-Requested-With", "If-Modified-Since", "Cache-Control"),
    *("Content-Type", "Range", "Authorization"),
)
_NAMES: Final = "names of header fields separated by commas, 64 at most, or `*`"


def parse_cors_origin(text: str) -> str:
    """An origin in lower case: ``https://a.test``, ``https://*.a.test:8443``, ``null`` or ``*`` for all."""
    origin = text.strip().lower()
    if not _ORIGIN.fullmatch(origin):
        raise ValueError("must be origins such as https://a.test or https://*.a.test:8443, without a path")
    return origin


def parse_cors_origins(text: str) -> tuple[str, ...]:
    """Origins separated by commas, each once; `*` is all of them."""
    origins = _listed(text, parse_cors_origin)
    return ("*",) if "*" in origins else origins


def parse_cors_methods(text: str) -> tuple[str, ...]:
    """Methods separated by commas, as written, each once."""
    return _listed(text, _token(r"[A-Za-z]{1,20}|\*", "must be methods separated by commas"))


def parse_cors_headers(text: str) -> tuple[str, ...]:
    """Names of header fields separated by commas, as written, each once; or ``*``."""
    return _listed(
        text, _token(r"[A-Za-z0-9_-]{1,128}|\*", "must be names of header fields separated by commas")
    )


def _listed(text: str, parse: Callable[[str], str]) -> tuple[str, ...]:
    parts = text.split(",")
    if len(parts) > _MOST:
        raise ValueError(f"must be {_MOST} at most")
    return tuple(dict.fromkeys(parse(part) for part in parts))


def _token(pattern: str, rule: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        stripped = text.strip()
        if not re.fullmatch(pattern, stripped):
            raise ValueError(rule)
        return stripped

    return parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors(Policy):
    """Which pages of other sites may read responses (Cross-Origin Resource Sharing, Fetch standard).

    A preflight of an allowed origin gets 204 and is not forwarded. Responses of endpoints to requests of an
    allowed origin carry the header fields of the policy, in place of the endpoint's fields of the same names.
    Other origins get what the endpoint says.

    Attributes:
        origins: As `parse_cors_origins` gives them. A ``*`` in a name stands for one label. Empty: nobody.
        methods: For ``Access-Control-Allow-Methods``.
        headers: For ``Access-Control-Allow-Headers``.
        credentials: Whether requests may carry cookies and the like.
        max_age: For how many seconds browsers keep a preflight.
        expose_headers: For ``Access-Control-Expose-Headers``; empty: the endpoint decides.
        every_options: Whether each OPTIONS request counts as a preflight, as in ingress-nginx.
    """

    stage: ClassVar[Stage] = Stage.PREFLIGHT

    origins: tuple[str, ...] = annotated(
        "cors-origins",
        parse_cors_origins,
        default=(),
        grammar="64 origins at most, separated by commas: `https://a.test, https://*.b.test`; or `*` for all",
        summary="Pages of these origins may read responses.",
        risk=Risk.MEDIUM,
    )
    methods: tuple[str, ...] = annotated(
        "cors-methods",
        parse_cors_methods,
        default=_METHODS,
        grammar="methods separated by commas",
        summary="With which methods pages of other origins may ask.",
        risk=Risk.MEDIUM,
    )
    headers: tuple[str, ...] = annotated(
        "cors-headers",
        parse_cors_headers,
        default=_HEADERS,
        grammar=_NAMES,
        summary="With which header fields pages of other origins may ask.",
        risk=Risk.MEDIUM,
    )
    credentials: bool = annotated(
        "cors-credentials",
        parse_boolean,
        default=False,
        grammar="`true` or `false`",
        summary="Whether they may ask with cookies and other credentials.",
        risk=Risk.MEDIUM,
    )
    max_age: int = annotated(
        "cors-max-age",
        parse_integer(0, 31_536_000),
        default=86_400,
        grammar="a number of seconds, 31536000 at most",
        summary="How long browsers may keep the permission.",
    )
    expose_headers: tuple[str, ...] = annotated(
        "cors-expose-headers",
        parse_cors_headers,
        default=(),
        grammar=_NAMES,
        summary="Which header fields of responses pages of other origins may read.",
        risk=Risk.MEDIUM,
    )
    every_options: bool = False

    @override
    @classmethod
    def build(cls, values: Mapping[str, object]) -> Self:
        """As `Policy.build`.

        Raises:
            ValueError: There is no origin, or anybody might ask with the credentials of a user.
        """
        made = super(Cors, cls).build(values)
        if not made.origins:
            raise ValueError("needs cors-origins too")
        if made.credentials and not {"*", "null"}.isdisjoint(made.origins):
            raise ValueError("needs cors-origins of named sites with cors-credentials")
        return made

    @property
    def everybody(self) -> bool:
        """Whether all origins are allowed: then the fields do not depend on the request."""
        return self.origins == ("*",)

    @property
    def pattern(self) -> str:
        """A regular expression for the whole of an allowed origin in lower case; not for `everybody`."""
        parts = (origin.replace(".", r"\.").replace("+", r"\+") for origin in self.origins)
        return "|".join(part.replace("*", "[a-z0-9-]+") for part in parts)

    @property
    def fields(self) -> tuple[HeaderField, ...]:
        """The header fields for an allowed origin, but for ``Access-Control-Allow-Origin`` and ``Vary``."""
        fields = [
            ("Access-Control-Allow-Methods", ", ".join(self.methods)),
            ("Access-Control-Allow-Headers", ", ".join(self.headers)),
            ("Access-Control-Max-Age", str(self.max_age)),
        ]
        if self.credentials:
            fields.append(("Access-Control-Allow-Credentials", "true"))
        if self.expose_headers:
            fields.append(("Access-Control-Expose-Headers", ", ".join(self.expose_headers)))
        return tuple(fields)
