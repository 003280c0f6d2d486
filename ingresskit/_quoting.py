"""Texts that users wrote, as parts of messages."""

from __future__ import annotations

__all__ = ["quoted"]


def quoted(text: str, most: int = 80) -> str:
    """*text* quoted, escaped, and at most *most* characters of it: one line, whatever it holds."""
    return ascii(text if len(text) <= most else text[: most - 3] + "...")
