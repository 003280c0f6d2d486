"""Who is let in by name and password."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar, Self

from ingresskit.models import Secret
from ingresskit.policies.base import Policy, annotated, annotated_object
from ingresskit.policies.order import Stage
from ingresskit.policies.passwords import (
    DigestUser,
    PasswordUser,
    load_digest_users,
    load_password_users,
)
from ingresskit.policies.values import parse_boolean, parse_choice

__all__ = ["BasicAuth", "DigestAuth", "Satisfaction", "Satisfy", "parse_realm"]


def parse_realm(text: str) -> str:
    """What clients show when they ask for a password: 1 to 128 printable characters of ASCII.

    Raises:
        ValueError: It is anything else.
    """
    if re.fullmatch(r"[\x20-\x7e]{1,128}", text) is None:
        raise ValueError("must be 1 to 128 printable characters of ASCII")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicAuth(Policy):
    """Only users with a password are let in (RFC 7617); others get 401.

    Attributes:
        users: Each name once.
        realm: What clients show when they ask for the password, and keep it under.
        forward: Whether the endpoint gets the ``Authorization`` header field.
    """

    protects: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.AUTHENTICATION

    users: tuple[PasswordUser, ...] = annotated_object(
        "basic-auth-secret",
        Secret,
        load_password_users,
        default=(),
        grammar="a Secret with an `htpasswd` file under `auth`, or a key for each user with its hash",
        summary="Let only users of this Secret in, by basic authentication; others get 401.",
    )
    realm: str = annotated(
        "basic-auth-realm",
        parse_realm,
        default="Restricted",
        grammar="printable characters of ASCII, 128 at most",
        summary="What clients show when they ask for the password.",
    )
    forward: bool = annotated(
        "basic-auth-forward",
        parse_boolean,
        default=False,
        grammar="`true` or `false`",
        summary="Whether the endpoint gets the Authorization header field with the password.",
    )

    @classmethod
    def build(cls, values: Mapping[str, object]) -> Self:
        """The policy with these values.

        Raises:
            ValueError: There are no users.
        """
        if not values.get("users"):
            raise ValueError("needs basic-auth-secret too")
        return super(BasicAuth, cls).build(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestAuth(Policy):
    """Only users are let in who prove that they know a password (RFC 7616); others get 401.

    Attributes:
        users: Each once for a realm and algorithm.
        realm: Which of them are meant; empty: those of the first one's realm.
        forward: Whether the endpoint gets the ``Authorization`` header field.
    """

    protects: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.AUTHENTICATION

    users: tuple[DigestUser, ...] = annotated_object(
        "digest-auth-secret",
        Secret,
        load_digest_users,
        default=(),
        grammar="a Secret with an `htdigest` file under `auth`, or a key for each user with `REALM:HASH`",
        summary="Let only users of this Secret in, by digest authentication; others get 401.",
    )
    realm: str = annotated(
        "digest-auth-realm",
        parse_realm,
        default="",
        grammar="printable characters of ASCII, 128 at most",
        summary="The realm whose users are let in; by default that of the first one.",
    )
    forward: bool = annotated(
        "digest-auth-forward",
        parse_boolean,
        default=False,
        grammar="`true` or `false`",
        summary="Whether the endpoint gets the Authorization header field with the proof.",
    )

    @classmethod
    def build(cls, values: Mapping[str, object]) -> Self:
        """The policy with these values, and of the users those of the realm.

        Raises:
            ValueError: There are no users, or none of the realm.
        """
        if not values.get("users"):
            raise ValueError("needs digest-auth-secret too")
        made = super(DigestAuth, cls).build(values)
        realm = made.realm or made.users[0].realm
        users = tuple(user for user in made.users if user.realm == realm)
        if not users:
            raise ValueError("the Secret must hold a user of the realm")
        return replace(made, users=users, realm=parse_realm(realm))


class Satisfaction(StrEnum):
    """How addresses and credentials go together. Values are stable."""

    ALL = "all"
    """A client needs both."""
    ANY = "any"
    """One of them suffices: an address that is allowed, or credentials of one kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Satisfy(Policy):
    """Whether one of the allowed addresses and the credentials suffices. Denied addresses stay denied.

    Attributes:
        mode: How they go together.
    """

    stage: ClassVar[Stage] = Stage.AUTHENTICATION

    mode: Satisfaction = annotated(
        "satisfy",
        parse_choice(Satisfaction),
        default=Satisfaction.ALL,
        grammar="`all` or `any`",
        summary="Whether clients need an allowed address and credentials, or any of them.",
    )
