"""Log messages that stand alone: fixed words, and the facts behind them as ``name=value``.

A program that only calls `logging.basicConfig` reads the whole message; one that logs structured records
finds the words in `FactMessage.words` and the facts as attributes of the record, as ``extra`` puts them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any, cast

from typing_extensions import override

__all__ = ["FactLogger", "FactMessage", "fact_logger", "fact_text"]


class FactMessage:
    """The message of a record: ``endpoint takes no connections endpoint=10.0.0.1:80``.

    Attributes:
        words: The fixed words, lower case; what to search for.
        facts: What they are about, by name, in order.
    """

    __slots__ = ("facts", "words")

    def __init__(self, words: str, facts: Mapping[str, object]) -> None:
        self.words: str = words
        self.facts: Mapping[str, object] = facts

    @override
    def __str__(self) -> str:
        return self.words + fact_text(self.facts)


def fact_text(facts: Mapping[str, object]) -> str:
    """Facts as text, each with a blank before it; one line, whatever the values hold."""
    return "".join(f" {name}={_quoted(str(value))}" for name, value in facts.items() if value is not None)


class FactLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose ``extra`` is in the message too."""

    @override
    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """The message with its facts, and the arguments as they are."""
        facts = cast("Mapping[str, object] | None", kwargs.get("extra"))
        return (FactMessage(str(msg), facts) if facts else msg), kwargs


def fact_logger(name: str) -> FactLogger:
    """The logger called *name*, with facts in its messages."""
    return FactLogger(logging.getLogger(name))


def _quoted(text: str) -> str:
    if text and text.isprintable() and not set(text) & set(' "='):
        return text
    shown = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
    return '"' + shown.replace('"', "'") + '"'
