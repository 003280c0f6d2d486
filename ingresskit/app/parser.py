"""A parser for one command that suggests the nearest flag for one that does not exist."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from typing import NoReturn, TypeVar, cast

from typing_extensions import override

from ingresskit.arguments import OneLineParser
from ingresskit.errors import ConfigurationError

__all__ = ["CommandParser", "RaisingParser"]

NamespaceT = TypeVar("NamespaceT", bound=argparse.Namespace)


class CommandParser(OneLineParser):
    """Reports each mistake in one line, and suggests the nearest flag."""

    def read(self, argv: Sequence[str] | None, flags: NamespaceT) -> NamespaceT:
        """Fill *flags* from *argv*; ``None``: the words of this process.

        An argument called ``words`` gets every word that is no flag, also those between and behind flags.

        Raises:
            SystemExit: With 2 for a mistake, with 0 after ``--help``.
        """
        flags, unknown = self.parse_known_args(argv, namespace=flags)
        words: object = getattr(flags, "words", None)
        if isinstance(words, list):
            # argparse fills a list of arguments once, and leaves what stands behind the next flag.
            cast("list[str]", words).extend(word for word in unknown if _is_word(word))
            unknown = [word for word in unknown if not _is_word(word)]
        for word in unknown:
            near = difflib.get_close_matches(word.partition("=")[0], self._known(), n=1)
            self.error(f"unknown flag {word}" + (f"; did you mean {near[0]}?" if near else "; see --help"))
        return flags

    def _known(self) -> list[str]:
        # argparse lists its flags nowhere else.
        return [option for action in self._actions for option in action.option_strings]


def _is_word(word: str) -> bool:
    return word == "-" or not word.startswith("-")


class RaisingParser(CommandParser):
    """For values that a program gives: a mistake is a `ConfigurationError` that begins with the name."""

    @override
    def error(self, message: str) -> NoReturn:
        """Raise a `ConfigurationError`."""
        raise ConfigurationError(message.removeprefix("argument ").removeprefix("--"))
