"""Hosts that a regular expression names: nginx matches them one by one, and a route graph has names.

So only an expression that stands for a few names can be read, or for every first label, which a wildcard is.
"""

from __future__ import annotations

from typing import Final

from ingresskit.policies.pattern_syntax import Alternatives, Atom, End, PatternRefused, Sequence, read_pattern

__all__ = ["hosts_of"]

_MOST: Final = 32
_RULE: Final = f"must stand for at most {_MOST} hosts, from ^ to $, or for every first label such as [^.]+"
_LABEL: Final = sum(1 << ord(character) for character in "abcdefghijklmnopqrstuvwxyz0123456789-")
_DOT: Final = 1 << ord(".")


def hosts_of(pattern: str) -> tuple[str, ...]:
    """The hosts that match *pattern*, which is written without the ``~`` before it; sorted, each once.

    Raises:
        ValueError: They are too many, or it is not in the grammar of `ingresskit.policies.Pattern`.
    """
    if not pattern.startswith("^"):
        raise ValueError(_RULE)
    try:
        tree, _ = read_pattern(pattern)
    except PatternRefused as exc:
        raise ValueError(str(exc)) from None
    # Of alternatives, ^ would stand before the first one only.
    found = _expanded(tree.branches) if len(tree.branches) == 1 else ()
    if not found or not all(host.endswith("$") for host in found):
        raise ValueError(_RULE)
    return tuple(sorted({host.removesuffix("$").lower() for host in found}))


def _expanded(branches: tuple[Sequence, ...]) -> tuple[str, ...]:
    """Every text of the branches; ``$`` stands where one must end, and ``*`` for a first label."""
    return tuple(text for branch in branches for text in _sequence(branch))


def _sequence(items: Sequence) -> tuple[str, ...]:
    texts: tuple[str, ...] = ("",)
    for item in items:
        match item:
            case End():
                parts: tuple[str, ...] = ("$",)
            case Alternatives():
                parts = (*_expanded(item.branches), *([""] if item.optional else []))
            case Atom():
                parts = _atom(item, first=texts == ("",))
        if len(texts) * len(parts) > _MOST or any("$" in text for text in texts):
            raise ValueError(_RULE)
        texts = tuple(text + part for text in texts for part in parts)
    return texts


def _atom(item: Atom, *, first: bool) -> tuple[str, ...]:
    if first and item.most is None and item.least == 1 and not item.octets & _DOT:
        if item.octets & _LABEL == _LABEL:
            return ("*",)
        raise ValueError(_RULE)
    if item.octets.bit_count() > _MOST or (item.least, item.most) not in ((1, 1), (0, 1)):
        raise ValueError(_RULE)
    characters = tuple(
        chr(octet) for octet in range(128) if item.octets >> octet & 1 and chr(octet) not in "$*"
    )
    return (*characters, *([""] if not item.least else []))
