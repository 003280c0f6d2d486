"""Tables of Markdown out of texts that others wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

__all__ = ["one_line", "table"]


def table(title: str, names: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a table, under *title* where there is one."""
    if title:
        yield ""
        yield f"## {title}"
    yield ""
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(_cell(str(cell)) for cell in row)} |"


def one_line(text: str) -> str:
    """*text* without line ends and control characters."""
    shown = " ".join(text.split())
    return shown if shown.isprintable() else shown.encode("unicode_escape").decode("ascii")


def _cell(text: str) -> str:
    return one_line(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")
