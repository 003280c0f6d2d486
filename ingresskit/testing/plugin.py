"""A pytest plugin for goldens: ``pytest_plugins = ["ingresskit.testing.plugin"]`` in your ``conftest.py``.

A golden is a file that says what a program gave when somebody last read it. ``pytest --update-golden``
writes the files anew; what it wrote is then read, as any other change.
"""

from __future__ import annotations

from pathlib import Path

import pytest

__all__ = ["Golden", "golden", "pytest_addoption"]


class Golden:
    """Compares what a program gives with what a file says.

    Args:
        update: Write the file instead.
    """

    def __init__(self, *, update: bool) -> None:
        self._update = update

    def check(self, path: Path, content: str | bytes) -> None:
        """Fail the test unless the file at *path* says *content*; with ``--update-golden`` write it.

        Args:
            path: The file; its folder must be there.
            content: What the program gave; text is UTF-8.
        """
        found = content.encode() if isinstance(content, str) else content
        if self._update:
            if not path.exists() or path.read_bytes() != found:
                path.write_bytes(found)
            return
        assert path.exists(), f"there is no {path}; write it with --update-golden and read it"
        # As lines, so that pytest shows a readable difference.
        assert found.decode().splitlines() == path.read_text("utf-8").splitlines(), f"{path} says otherwise"
        assert found == path.read_bytes(), f"{path} differs in its line ends"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--update-golden``."""
    parser.addoption(
        "--update-golden", action="store_true", help="write golden files anew instead of comparing them"
    )


@pytest.fixture(scope="session")
def golden(pytestconfig: pytest.Config) -> Golden:
    """Compares with golden files, or writes them with ``--update-golden``."""
    return Golden(update=bool(pytestconfig.getoption("--update-golden")))
