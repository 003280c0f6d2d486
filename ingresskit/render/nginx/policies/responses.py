"""Responses of nginx itself, in the static mode."""

from __future__ import annotations

from ingresskit.render.error_bodies import sentence
from ingresskit.render.nginx.tree import LINE_END, Directive, Value

__all__ = ["local_response"]


def local_response(status: int) -> Directive:
    """A ``return`` of a status and its sentence."""
    return Directive("return", (str(status), Value(sentence(status), LINE_END)))
