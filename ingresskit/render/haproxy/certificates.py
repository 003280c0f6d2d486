"""Which certificate is shown for which server name, as lines of HAProxy's list of certificates."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Final

from ingresskit._sorted_map import SortedMap
from ingresskit.graph import Certificate
from ingresskit.models import ObjectKey
from ingresskit.render.haproxy.artifact import Bundle, ServerNames
from ingresskit.render.haproxy.tables import digest

__all__ = ["ServerNameLines", "bundle_id", "make_bundle"]

# Each line costs HAProxy a TLS context of its own, and a change of one name the lines it moves between.
_NAMES_A_LINE: Final = 32
_PEM: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]+-----\s[^-]*-----END [A-Z0-9 ]+-----")


def bundle_id(secret: ObjectKey) -> str:
    """The id of the bundle of a Secret."""
    return digest("c", *secret)


def make_bundle(certificate: Certificate) -> Bundle:
    """The bundle of a certificate."""
    # The blocks and nothing around them, which may be any text: an empty line ends a payload of the
    # runtime API.
    blocks = _PEM.findall(certificate.private_key) + _PEM.findall(certificate.chain)
    lines = (line.strip() for block in blocks for line in block.splitlines())
    return Bundle(
        id=bundle_id(certificate.secret),
        secret=certificate.secret,
        digest=certificate.digest,
        pem=b"".join(line + b"\n" for line in lines if line),
    )


class ServerNameLines:
    """Lines for the server names of one graph after another; a name that changes costs the lines it is in.

    A name is left out where its wildcard leads to the same certificate: a certificate for ``*.shop.test``
    that thousands of hosts use is one line. Each name is there with a dot at its end too, which some clients
    send (RFC 6066, section 3, forbids it).
    """

    def __init__(self) -> None:
        self._given: Mapping[str, ObjectKey | None] = {}
        # The names below each wildcard, and by name the bundle in whose lines it is.
        self._below: dict[str, set[str]] = {}
        self._placed: dict[str, str] = {}
        self._bundles: dict[str, _Bundle] = {}
        self._lines: SortedMap[ServerNames, ServerNames] = SortedMap(_by_itself)

    def follow(
        self, server_names: Mapping[str, ObjectKey | None], changed: Collection[str] | None = None
    ) -> tuple[ServerNames, ...]:
        """The lines for *server_names*, which are those of `RouteGraph`; sorted.

        Args:
            server_names: The names.
            changed: At least those that are new, gone, or lead elsewhere than in the call before; ``None``:
                all may.

        Returns:
            The same object as before when no line is another.
        """
        before = self._given
        if before is server_names:
            return self._lines.values()
        if changed is None:
            changed = {**before, **server_names}
        self._given = server_names
        stale = set(changed)
        for name in changed:
            _, dot, parent = name.partition(".")
            if not dot:
                continue
            wildcard = f"*.{parent}"
            if name == wildcard:
                stale |= self._below.get(wildcard, set())
                stale.add(f".{parent}")
            elif name in server_names:
                self._below.setdefault(wildcard, set()).add(name)
            else:
                self._forget(wildcard, name)
        touched: set[str] = set()
        for name in stale:
            held, wanted = self._placed.get(name), self._place(name)
            if held == wanted:
                continue
            if held is not None:
                touched.add(held)
                self._bundles[held].drop(name)
                del self._placed[name]
            if wanted is not None:
                touched.add(wanted)
                self._bundles.setdefault(wanted, _Bundle(wanted)).put(name)
                self._placed[name] = wanted
        for key in touched:
            gone, new = self._bundles[key].settle()
            for line in gone:
                self._lines.drop(line)
            for line in new:
                self._lines.put(line, line)
            if not self._bundles[key]:
                del self._bundles[key]
        return self._lines.values()

    def _forget(self, wildcard: str, name: str) -> None:
        below = self._below.get(wildcard, set())
        below.discard(name)
        if not below:
            self._below.pop(wildcard, None)

    def _place(self, name: str) -> str | None:
        """The bundle in whose lines *name* has to be; ``None``: in none."""
        if name.startswith("."):
            # HAProxy looks for what follows the first dot: to it, ".shop.test" is a name below the wildcard.
            return "" if f"*{name}" in self._given else None
        if name not in self._given:
            return None
        secret = self._given[name]
        _, dot, parent = name.partition(".")
        wildcard = f"*.{parent}"
        if dot and name != wildcard and self._given.get(wildcard, _NO_SECRET) == secret:
            return None
        return "" if secret is None else bundle_id(secret)


_NO_SECRET: Final = ObjectKey("", "")


class _Bundle:
    """The names of one bundle, in lines.

    By digest, so that one name more does not push all those behind it into other lines.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._numbers: dict[str, int] = {}
        self._count: int = 1
        self._held: dict[int, set[str]] = {}
        self._lines: dict[int, ServerNames] = {}
        self._stale: set[int] = set()

    def __len__(self) -> int:
        return len(self._numbers)

    def put(self, name: str) -> None:
        number = self._numbers[name] = _bucket(name)
        self._held.setdefault(number % self._count, set()).add(name)
        self._stale.add(number % self._count)

    def drop(self, name: str) -> None:
        number = self._numbers.pop(name)
        self._held[number % self._count].discard(name)
        self._stale.add(number % self._count)

    def settle(self) -> tuple[list[ServerNames], list[ServerNames]]:
        """The lines that are no longer there, and those that are new."""
        count = 1
        while len(self) > count * _NAMES_A_LINE // 2 and len(self) > _NAMES_A_LINE:
            count *= 2
        if count != self._count:
            self._count, self._held = count, {}
            for name, number in self._numbers.items():
                self._held.setdefault(number % count, set()).add(name)
            self._stale = {*self._lines, *self._held}
        gone: list[ServerNames] = []
        new: list[ServerNames] = []
        for place in self._stale:
            before, names = self._lines.pop(place, None), self._held.get(place)
            if before is not None:
                gone.append(before)
            if names:
                line = ServerNames(self._name, tuple(sorted(n for item in names for n in (item, f"{item}."))))
                self._lines[place] = line
                new.append(line)
        self._stale.clear()
        return gone, new


def _by_itself(line: ServerNames) -> ServerNames:
    return line


def _bucket(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
