"""Templates as ``lua/ingresskit/templates.lua`` reads them."""

from __future__ import annotations

from ingresskit.policies import Name, template_pieces

__all__ = ["written_template"]


def written_template(text: str) -> list[object]:
    """A template as a list of texts, numbers of groups, and names, each in a list of its own."""
    return [[piece.name] if isinstance(piece, Name) else piece for piece in template_pieces(text)]
