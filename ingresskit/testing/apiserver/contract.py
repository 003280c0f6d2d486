"""What the embedded and the real API server have in common: all that a test may rely on to run against both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ingresskit.testing.apiserver.auth import Rule

__all__ = ["AnyApiServer"]


class AnyApiServer(Protocol):
    """A running API server, embedded or real."""

    @property
    def url(self) -> str:
        """Where it listens, ``"http://127.0.0.1:40123"``, without a slash at the end."""
        ...

    @property
    def ca(self) -> bytes:
        """The PEM of the authority that signed its certificate; empty when it speaks plain HTTP."""
        ...

    @property
    def token(self) -> str:
        """A token with which everything is allowed."""
        ...

    def token_for(self, user: str, rules: Sequence[Rule]) -> str:
        """A token of a user who may do exactly what *rules* say.

        The real server may call the user something longer.
        """
        ...

    def kubeconfig(self, path: Path, *, token: str | None = None) -> Path:
        """Write a kubeconfig to *path*, for *token* or the administrator, and return its path."""
        ...
