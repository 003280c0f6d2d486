"""Users and the hashes of their passwords, as files of ``htpasswd`` and ``htdigest`` and Secrets hold them.

Only the form of a hash is looked at here: `ingresskit.filters.passwords` computes.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from ingresskit.models import Secret
from ingresskit.policies.crypt_library import has_crypt

__all__ = [
    "DigestAlgorithm",
    "DigestUser",
    "PasswordScheme",
    "PasswordUser",
    "UnsupportedHash",
    "digest_users",
    "load_digest_users",
    "load_password_users",
    "password_users",
]

FILE_KEY: Final = "auth"
"""The key of a Secret whose value is a whole file."""

_MOST_USERS: Final = 10_000
_LONGEST: Final = 255
_ROUNDS: Final = re.compile(r"\$[56]\$rounds=([0-9]{1,9})\$")
_FEWEST_ROUNDS: Final = 1_000
_MOST_ROUNDS: Final = 1_000_000
# Without the C library's crypt, which lets other threads run meanwhile: some 20 ms.
_MOST_ROUNDS_IN_PYTHON: Final = 20_000


class PasswordScheme(StrEnum):
    """How a password is hashed. Values are stable."""

    BCRYPT = "bcrypt"
    APR1 = "apr1"
    MD5_CRYPT = "md5-crypt"
    SHA = "sha"
    SSHA = "ssha"
    SHA256_CRYPT = "sha256-crypt"
    SHA512_CRYPT = "sha512-crypt"


class DigestAlgorithm(StrEnum):
    """The hash of digest authentication (RFC 7616, 3.2)."""

    MD5 = "MD5"
    SHA256 = "SHA-256"


class PasswordUser(NamedTuple):
    """A user of basic authentication. Its ``repr`` shows nothing.

    Attributes:
        name: Without a colon.
        scheme: Of the hash.
        hash: As the file has it.
    """

    name: str
    scheme: PasswordScheme
    hash: str

    def __repr__(self) -> str:
        return "PasswordUser(…)"


class DigestUser(NamedTuple):
    """A user of digest authentication. Its ``repr`` shows nothing.

    Attributes:
        name: Without a colon.
        realm: Without a colon.
        algorithm: Of the hash.
        hash: That of name, realm and password, in lower-case hexadecimal.
    """

    name: str
    realm: str
    algorithm: DigestAlgorithm
    hash: str

    def __repr__(self) -> str:
        return "DigestUser(…)"


class UnsupportedHash(NamedTuple):
    """An entry whose hash cannot be computed, so that its user cannot log in.

    Attributes:
        place: Which one, ``"line 3"``: names of users are secret.
        rule: What a hash must be, ``"must be …"``.
    """

    place: str
    rule: str


_FORMS: Final = {
    # 14 is a second of computing; each step more doubles it.
    PasswordScheme.BCRYPT: re.compile(r"\$2[aby]\$(?:0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}"),
    PasswordScheme.APR1: re.compile(r"\$apr1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}"),
    PasswordScheme.MD5_CRYPT: re.compile(r"\$1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}"),
    PasswordScheme.SHA: re.compile(r"\{SHA\}[+/A-Za-z0-9]{27}="),
    # SHA-1 and a salt of 4 to 16 octets.
    PasswordScheme.SSHA: re.compile(r"\{SSHA\}[+/A-Za-z0-9]{30,48}={0,2}"),
    PasswordScheme.SHA256_CRYPT: re.compile(
        r"\$5\$(?:rounds=[1-9][0-9]{3,6}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{43}"
    ),
    PasswordScheme.SHA512_CRYPT: re.compile(
        r"\$6\$(?:rounds=[1-9][0-9]{3,6}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}"
    ),
}
_RULE: Final = (
    "must be bcrypt with a cost of 4 to 14, apr1, md5-crypt, {SHA}, {SSHA}, or SHA-256 or SHA-512 crypt with"
    " 1,000 to 1,000,000 rounds"
)
# What computes a hash, of the extra ``auth``; the others need nothing.
_LIBRARIES: Final = {
    PasswordScheme.BCRYPT: "bcrypt",
    **dict.fromkeys(
        (
            *(PasswordScheme.APR1, PasswordScheme.MD5_CRYPT),
            *(PasswordScheme.SHA256_CRYPT, PasswordScheme.SHA512_CRYPT),
        ),
        "passlib",
    ),
}
_NOT_INSTALLED: Final = "must be {SHA} or {SSHA}, as the extra auth of this package is not installed"
_TOO_MANY_ROUNDS: Final = (
    f"must have at most {_MOST_ROUNDS_IN_PYTHON:,} rounds where the C library has no crypt_r, as here"
)
_DIGESTS: Final = {32: DigestAlgorithm.MD5, 64: DigestAlgorithm.SHA256}


def load_password_users(secret: Secret) -> tuple[PasswordUser, ...]:
    """The users in *secret*: those of an ``htpasswd`` file under ``auth``, or one key for each with its hash.

    Raises:
        ValueError: There are none, an entry is malformed, or a hash is of another form.
    """
    users, unsupported = password_users(secret.data, whole_file=b":" in secret.data.get(FILE_KEY, b""))
    if unsupported:
        place, rule = unsupported[0]
        raise ValueError(f"must hold hashes that can be verified: that of {place} {rule}")
    return users


def password_users(
    data: Mapping[str, bytes], *, whole_file: bool
) -> tuple[tuple[PasswordUser, ...], tuple[UnsupportedHash, ...]]:
    """The users of a Secret, those first that stand first, each name once; and what cannot be verified.

    Args:
        data: Of the Secret.
        whole_file: Whether the key ``auth`` holds an ``htpasswd`` file; else each key is a user.

    Raises:
        ValueError: There is no user that can be verified, or an entry is malformed.
    """
    users: dict[str, PasswordUser] = {}
    unsupported: list[UnsupportedHash] = []
    for place, name, rest in _entries(data, whole_file=whole_file):
        # What follows a colon is a remark, as nginx and Apache read it.
        text = rest.partition(":")[0]
        scheme = _scheme(text)
        if scheme is None:
            unsupported.append(UnsupportedHash(place, _RULE))
        elif _rounds(text) > _MOST_ROUNDS_IN_PYTHON and not has_crypt():
            unsupported.append(UnsupportedHash(place, _TOO_MANY_ROUNDS))
        elif not _is_installed(scheme):
            unsupported.append(UnsupportedHash(place, _NOT_INSTALLED))
        else:
            users.setdefault(name, PasswordUser(name, scheme, text))
    if not users:
        reason = f": the hash of {unsupported[0].place} {unsupported[0].rule}" if unsupported else ""
        raise ValueError(f"must hold a user{reason}")
    return tuple(users.values()), tuple(unsupported)


def load_digest_users(secret: Secret) -> tuple[DigestUser, ...]:
    """The users in *secret*: those of an ``htdigest`` file under ``auth``, or one key for each.

    The value of a key is ``REALM:HASH``.

    Raises:
        ValueError: There are none, or an entry is malformed.
    """
    return digest_users(secret.data, whole_file=secret.data.get(FILE_KEY, b"").count(b":") > 1)


def digest_users(data: Mapping[str, bytes], *, whole_file: bool) -> tuple[DigestUser, ...]:
    """The users of a Secret, those first that stand first, each once for a realm and algorithm.

    Args:
        data: Of the Secret.
        whole_file: Whether the key ``auth`` holds an ``htdigest`` file; else each key is a user.

    Raises:
        ValueError: There are none, or an entry is malformed.
    """
    users: dict[tuple[str, str, DigestAlgorithm], DigestUser] = {}
    for place, name, rest in _entries(data, whole_file=whole_file):
        realm, colon, text = rest.partition(":")
        algorithm = _DIGESTS.get(len(text))
        if not colon or algorithm is None or re.fullmatch(r"[0-9A-Fa-f]+", text) is None:
            raise ValueError(f"must hold USER:REALM:HASH with an MD5 or SHA-256 hash; {place} does not")
        users.setdefault((name, realm, algorithm), DigestUser(name, realm, algorithm, text.lower()))
    if not users:
        raise ValueError("must hold a user")
    return tuple(users.values())


def _entries(data: Mapping[str, bytes], *, whole_file: bool) -> Iterator[tuple[str, str, str]]:
    """Place, name and the rest of each entry."""
    entries = _lines(data) if whole_file else _keys(data)
    for count, (place, name, rest) in enumerate(entries):
        if count >= _MOST_USERS:
            raise ValueError(f"must hold {_MOST_USERS:,} users at most")
        if not 0 < len(name) <= _LONGEST or len(rest) > 2 * _LONGEST or not (name + rest).isprintable():
            raise ValueError(f"must hold a name and a hash for each user; {place} does not")
        yield place, name, rest


def _lines(data: Mapping[str, bytes]) -> Iterable[tuple[str, str, str]]:
    if FILE_KEY not in data:
        raise ValueError(f"must have the key {FILE_KEY}")
    for number, line in enumerate(_text(data[FILE_KEY], f"the key {FILE_KEY}").split("\n"), 1):
        entry = line.strip()
        if entry and not entry.startswith("#"):
            name, colon, rest = entry.partition(":")
            if not colon:
                raise ValueError(f"must hold USER:HASH in each line; line {number} has no colon")
            yield f"line {number}", name, rest


def _keys(data: Mapping[str, bytes]) -> Iterable[tuple[str, str, str]]:
    for number, name in enumerate(sorted(data), 1):
        place = f"key {number} in alphabetical order"
        yield place, name, _text(data[name], place).strip()


def _text(value: bytes, place: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"must be UTF-8; {place} is not") from None


def _is_installed(scheme: PasswordScheme) -> bool:
    library = _LIBRARIES.get(scheme)
    if library is not None:
        try:
            importlib.import_module(library)
        except ImportError:
            return False
    return True


def _scheme(text: str) -> PasswordScheme | None:
    scheme = next((scheme for scheme, form in _FORMS.items() if form.fullmatch(text)), None)
    rounds = _rounds(text)
    if rounds and not _FEWEST_ROUNDS <= rounds <= _MOST_ROUNDS:
        return None
    return scheme


def _rounds(text: str) -> int:
    """The rounds that a hash names; 0: none."""
    found = _ROUNDS.match(text)
    return int(found[1]) if found else 0
