"""What tests know of a kind of proxy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from ingresskit.apply import find_program
from ingresskit.errors import ApplyError
from ingresskit.testing.planes import Plane, PlaneSettings

OpenPlane = Callable[[PlaneSettings], AbstractAsyncContextManager[Plane]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a proxy promises of ordinary changes, in its documentation.

    Attributes:
        reloads: At most so many in a run of a hundred changes or a thousand; ``None``: each may be one.
        may_fail: Whether requests may fail at a reload.
    """

    reloads: int | None = 0
    may_fail: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of proxy.

    Attributes:
        name: As in the ids of tests, and the name of its planes.
        open: Starts one.
        program: The path of its program, where it is one of its own.
        missing: Why it cannot be started here, as a sentence; empty when it can.
        reloading: Annotations of an Ingress that it reloads for, different for each number; none where
            nothing in the objects of a cluster makes it reload.
        poison: Spoils what an artifact says of a host, so that the program's own checker refuses it: as a
            fault of the renderer would that one object brings out. ``None``: there is nothing that it checks.
        differences: Tests that it cannot pass, by name without the name of the kind, and why. They are
            expected to fail: what is mended has to be taken out of here.
    """

    name: str
    open: OpenPlane
    promise: Promise = Promise()
    program: str = ""
    missing: str = ""
    reloading: Callable[[int], dict[str, str]] = lambda number: {}
    poison: Callable[[Any, str], Any] | None = None
    differences: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def reloads_often(self) -> bool:
        """Whether each change may be a reload, so that a test does better with few of them."""
        return self.promise.reloads is None


def located(program: str) -> tuple[str, str]:
    """The path of a program and nothing, or nothing and why there is none."""
    try:
        return str(find_program(program)), ""
    except ApplyError as exc:
        return "", str(exc)
