"""Who is let in by a signed token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Self

from ingresskit.models import ConfigMap, Secret
from ingresskit.policies.base import Policy, annotated, annotated_object
from ingresskit.policies.jwks import (
    JwtAlgorithm,
    JwtKey,
    load_public_keys,
    load_secret_keys,
    parse_algorithms,
)
from ingresskit.policies.key_urls import fetched_name, parse_key_url
from ingresskit.policies.order import Stage
from ingresskit.policies.values import HeaderField, parse_boolean, parse_duration, parse_headers

__all__ = ["JwtAuth"]

_MOST_SKEW = timedelta(minutes=5)


def _parse_url(text: str) -> str:
    return fetched_name(parse_key_url(text))


def _parse_issuer(text: str) -> str:
    if re.fullmatch(r"[\x21-\x7e]{1,500}", text) is None:
        raise ValueError("must be 1 to 500 printable characters of ASCII without spaces")
    return text


def _parse_audiences(text: str) -> tuple[str, ...]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 20 or not all(re.fullmatch(r"[\x21-\x7e]{1,200}", part) for part in parts):
        raise ValueError("must be 1 to 20 words separated by commas")
    return tuple(dict.fromkeys(parts))


def _parse_skew(text: str) -> timedelta:
    skew = timedelta(0) if text.strip() == "0s" else parse_duration(text)
    if skew > _MOST_SKEW:
        raise ValueError("must be at most 5m")
    return skew


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtAuth(Policy):
    """Only requests with a valid token in ``Authorization: Bearer`` are let in (RFC 7519); others get 401.

    A token must have an expiry. Each key verifies algorithms of its own type only.

    Attributes:
        public_keys: Keys that are no secret.
        secret_keys: Keys from a Secret; shared ones may be among them.
        url_keys: Keys that the controller fetched.
        issuer: What ``iss`` must be; empty: anything.
        audiences: One of which ``aud`` must name; empty: anything.
        algorithms: What of the keys is used; empty: of a key that names none, the usual one of its type.
        headers: Request header fields, each with the claim that it gets; where a token lacks the claim, the
            field goes. What clients send under these names never reaches the endpoint.
        skew: By how much clocks may differ, 5 minutes at most.
        forward: Whether the endpoint gets the token.
    """

    protects: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.AUTHENTICATION

    public_keys: tuple[JwtKey, ...] = annotated_object(
        "jwt-keys",
        ConfigMap,
        load_public_keys,
        default=(),
        grammar="a ConfigMap with a set of JSON web keys under `jwks.json`, all of them public",
        summary="Let only requests with a bearer token of these keys in; others get 401.",
    )
    secret_keys: tuple[JwtKey, ...] = annotated_object(
        "jwt-keys-secret",
        Secret,
        load_secret_keys,
        default=(),
        grammar="a Secret with a set of JSON web keys under `jwks.json`, shared ones too",
        summary="As jwt-keys, from a Secret; with both, a token of any of the keys is valid.",
    )
    url_keys: tuple[JwtKey, ...] = annotated_object(
        "jwt-keys-url",
        ConfigMap,
        load_public_keys,
        default=(),
        grammar="an https URL that the operator allows with `--jwt-keys-from`",
        summary="As jwt-keys, fetched by the controller, and again every five minutes.",
        parse=_parse_url,
        missing="must be a URL whose keys were fetched: one that --jwt-keys-from allows, and that responds",
    )
    issuer: str = annotated(
        "jwt-issuer",
        _parse_issuer,
        default="",
        grammar="500 printable characters of ASCII at most",
        summary="The issuer that a token must name.",
    )
    audiences: tuple[str, ...] = annotated(
        "jwt-audiences",
        _parse_audiences,
        default=(),
        grammar="words separated by commas",
        summary="The audiences one of which a token must name.",
    )
    algorithms: tuple[JwtAlgorithm, ...] = annotated(
        "jwt-algorithms",
        parse_algorithms,
        default=(),
        grammar=f"some of {', '.join(f'`{name}`' for name in JwtAlgorithm)}, separated by commas",
        summary="The signatures that are taken; by default what each key names, or the usual one of its type.",
    )
    headers: tuple[HeaderField, ...] = annotated(
        "jwt-headers",
        parse_headers,
        default=(),
        grammar="lines of the form `X-User: sub`: a header field and a claim",
        summary="Request header fields for the endpoint, each with the value of a claim.",
    )
    skew: timedelta = annotated(
        "jwt-clock-skew",
        _parse_skew,
        default=timedelta(seconds=30),
        grammar="a duration up to `5m`",
        summary="By how much the clock of the issuer may differ.",
    )
    forward: bool = annotated(
        "jwt-forward",
        parse_boolean,
        default=True,
        grammar="`true` or `false`",
        summary="Whether the endpoint gets the token.",
    )

    @property
    def keys(self) -> tuple[JwtKey, ...]:
        """All keys."""
        return (*self.public_keys, *self.secret_keys, *self.url_keys)

    @classmethod
    def build(cls, values: Mapping[str, object]) -> Self:
        """The policy with these values.

        Raises:
            ValueError: There are no keys, or none for the algorithms.
        """
        made = super(JwtAuth, cls).build(values)
        if not made.keys:
            raise ValueError("needs jwt-keys, jwt-keys-secret or jwt-keys-url too")
        if made.algorithms and not any(set(key.algorithms) & set(made.algorithms) for key in made.keys):
            raise ValueError("must have a key for one of its algorithms")
        return made
