"""Log messages that stand alone: fixed words, and the facts behind them as ``name=value``.

A program that only calls `logging.basicConfig` reads the whole message; one that logs structured records
finds the words in `FactMessage.words` and the facts as attributes of the record, as ``extra`` puts them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, cast

from typing_extensions import override

__all__ = ["FactLogger", "FactMessage", "fact_logger", "fact_text"]

_LONGEST_REASON: Final = 200


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
    """A logger whose ``extra`` is in the message too.

    A record with a traceback has the exception as the fact ``reason``, unless it has another one: who reads
    one line of a log reads what went wrong.
    """

    @override
    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """The message with its facts, and the arguments as they are."""
        facts = cast("Mapping[str, object] | None", kwargs.get("extra"))
        if kwargs.get("exc_info") and "reason" not in (facts or {}):
            kwargs["extra"] = facts = {**(facts or {}), "reason": _reason(kwargs["exc_info"])}
        return (FactMessage(str(msg), facts) if facts else msg), kwargs


def _reason(exc_info: object) -> str | None:
    """The exception in one line: its type and the beginning of its text."""
    error: object = exc_info
    if isinstance(exc_info, tuple):
        error = cast("tuple[object, ...]", exc_info)[1]
    elif not isinstance(exc_info, BaseException):
        error = sys.exc_info()[1]
    if not isinstance(error, BaseException):
        return None
    text = " ".join(str(error).split())[:_LONGEST_REASON]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def fact_logger(name: str) -> FactLogger:
    """The logger called *name*, with facts in its messages."""
    return FactLogger(logging.getLogger(name))


def _quoted(text: str) -> str:
    if text and text.isprintable() and not set(text) & set(' "='):
        return text
    shown = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
    return '"' + shown.replace('"', "'") + '"'
