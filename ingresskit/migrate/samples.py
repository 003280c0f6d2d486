"""Texts that a pattern matches, and some that it nearly does."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from ingresskit.policies import Pattern
from ingresskit.policies.pattern_syntax import Alternatives, Atom, End, PatternRefused, Sequence, read_pattern

__all__ = ["matching_texts"]

_MOST: int = 12
# What a class most likely stands for, in this order.
_LIKELY = b"a1/-_.A"


def matching_texts(pattern: str) -> tuple[str, ...]:
    """Some texts that *pattern* matches whole: short ones, and one for each of its alternatives.

    Returns:
        At most 12, each once, without any that holds a control character; none where *pattern* is not in
        the grammar of `ingresskit.policies.Pattern`.
    """
    try:
        tree, _ = read_pattern(pattern)
        expression = Pattern(pattern)
    except PatternRefused:
        return ()
    # Not every combination is one: nothing may follow what an alternative ends with ``$``.
    found = (text for text in _of_group(tree) if text.isprintable() and expression.matches(text))
    return tuple(dict.fromkeys(islice(found, _MOST)))


def _of_group(group: Alternatives) -> Iterator[str]:
    for branch in group.branches:
        yield from _of_sequence(branch)
    if group.optional:
        yield ""


def _of_sequence(items: Sequence) -> Iterator[str]:
    """With the first text of every item; then for each item with each other text of it in turn."""
    texts = [list(islice(_of_item(item), _MOST)) for item in items]
    if not all(texts):
        return
    first = [options[0] for options in texts]
    yield "".join(first)
    for place, options in enumerate(texts):
        for other in options[1:]:
            yield "".join((*first[:place], other, *first[place + 1 :]))


def _of_item(item: Atom | End | Alternatives) -> Iterator[str]:
    match item:
        case End():
            yield ""
        case Alternatives():
            yield from _of_group(item)
        case Atom():
            character = item.literal or _character(item.octets)
            if not character:
                return
            least = item.least
            yield character * max(least, 1 if item.most is None or item.most > 0 else 0)
            if least == 0:
                yield ""
            if item.most is None or item.most > least + 1:
                yield character * (least + 2)


def _character(octets: int) -> str:
    """A character of the set: a likely one, else the lowest that is printable; empty without one."""
    for octet in (*_LIKELY, *range(0x21, 0x7F)):
        if octets >> octet & 1:
            return chr(octet)
    return ""
