"""Failures that end a program with one line, where trying again would not help."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ingresskit.errors import IngressKitError

__all__ = ["CannotListen", "Failure", "exit_status"]


class Failure(Exception):
    """Ends the program with status 1. Its text is one line with what to mend."""


class CannotListen(Failure):
    """An address cannot be bound; the text names it."""


def exit_status(work: Callable[[], int], *, program: str) -> int:
    """What *work* returns; 1, after one line on the error output, when it fails as programs may."""
    try:
        return work()
    except (Failure, IngressKitError) as exc:
        return _complain(exc, program)
    except BaseExceptionGroup as group:
        failures, faults = group.split((Failure, IngressKitError))
        if failures is None or faults is not None:
            raise
        return _complain(_first_of(failures), program)


def _first_of(group: BaseExceptionGroup[Exception]) -> Exception:
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first


def _complain(exc: Exception, program: str) -> int:
    print(f"{program}: {exc}", file=sys.stderr)
    return 1
