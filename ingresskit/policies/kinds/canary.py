"""A part of another Ingress's requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from typing_extensions import override

from ingresskit.policies.base import Policy, Risk, annotated
from ingresskit.policies.conditions import ExactValue, PatternValue, ValueMatch, Variant
from ingresskit.policies.patterns import Pattern
from ingresskit.policies.values import parse_header_names

__all__ = ["Canary", "parse_share"]

_SHARE: Final = re.compile(r"([0-9]{1,7})(?:/([0-9]{1,7}))?")
_MOST: Final = 1_000_000
_COOKIE: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,254}[\x21-\x7e])?")


def parse_share(text: str) -> tuple[int, int]:
    """A share of all requests: ``10`` of 100, or ``1/1000``."""
    found = _SHARE.fullmatch(text.strip())
    weight, total = (int(found[1]), int(found[2] or 100)) if found else (1, 0)
    if not 0 <= weight <= total <= _MOST or not total:
        raise ValueError("must be a number of 100 or a fraction such as 1/1000, at most the whole")
    return weight, total


def _header(text: str) -> str:
    if "," in text:
        raise ValueError("must be the name of one header")
    return next(iter(parse_header_names(text)))


def _cookie(text: str) -> str:
    if not _COOKIE.fullmatch(text.strip()):
        raise ValueError("must be the name of a cookie")
    return text.strip()


def _value(text: str) -> str:
    if not _VALUE.fullmatch(text.strip()):
        raise ValueError("must be 1 to 256 printable characters of ASCII")
    return text.strip()


def _pattern(text: str) -> str:
    return Pattern(text.strip()).text


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary(Policy):
    """This Ingress takes a part of the requests for paths that another Ingress of its namespace has.

    The paths must be the same, of the same type. The requests keep the policies of that Ingress; those of this
    one are reported and do nothing. A header field decides first, then a cookie, then the share: each request
    that none of them takes stays with that Ingress. Several canaries of a path stand side by side.

    Attributes:
        header: Requests in which this field is ``always`` are taken, those in which it is ``never`` are not.
        header_value: Instead of both: the value with which they are taken.
        header_pattern: The same as a regular expression for the beginning of the value; ``$`` is its end.
        cookie: As *header*, a cookie that is ``always`` or ``never``.
        share: How many requests of how many are taken of those that neither decides.
    """

    header: str = annotated(
        "canary-header",
        _header,
        default="",
        grammar="the name of a header",
        summary="Take requests in which this header is `always`, and none in which it is `never`.",
        risk=Risk.MEDIUM,
    )
    header_value: str = annotated(
        "canary-header-value",
        _value,
        default="",
        grammar="printable ASCII",
        summary="Take requests in which that header has this value, instead.",
        risk=Risk.MEDIUM,
    )
    header_pattern: str = annotated(
        "canary-header-pattern",
        _pattern,
        default="",
        grammar="a regular expression that takes linear time; `$` stands for the end",
        summary="Take requests in which the value of that header begins with a match, instead.",
        risk=Risk.MEDIUM,
    )
    cookie: str = annotated(
        "canary-cookie",
        _cookie,
        default="",
        grammar="the name of a cookie",
        summary="Take requests in which this cookie is `always`, and none in which it is `never`.",
        risk=Risk.MEDIUM,
    )
    share: tuple[int, int] = annotated(
        "canary-weight",
        parse_share,
        default=(0, 100),
        grammar="a number of 100, or a fraction such as `1/1000`",
        summary="Take this share of the requests that neither header nor cookie decides.",
    )

    @classmethod
    @override
    def build(cls, values: Mapping[str, object]) -> Self:
        if values.get("header_value") and values.get("header_pattern"):
            raise ValueError("canary-header-value and canary-header-pattern exclude each other")
        if not values.get("header") and (values.get("header_value") or values.get("header_pattern")):
            raise ValueError("canary-header-value and canary-header-pattern need canary-header too")
        # `slots=True` makes the class anew, so that `super()` alone would speak of the one before.
        return super(Canary, cls).build(values)

    @property
    def variant(self) -> Variant:
        """Which requests are taken."""
        value: ValueMatch | None = None
        if self.header_value:
            value = ExactValue(self.header_value)
        elif self.header_pattern:
            value = PatternValue(Pattern(self.header_pattern))
        weight, total = self.share
        return Variant.canary(
            header=self.header, header_value=value, cookie=self.cookie, weight=weight, total=total
        )
