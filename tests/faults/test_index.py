"""The index of faults names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
INDEX = (HERE / "README.md").read_text(encoding="utf-8")
SHOWN = sorted(set(re.findall(r"`(tests/[^`]+)::(\w+)`", INDEX)))
FAULTS = [*range(1, 35), 36, 37, 43, 44, 46, 48, 49, 50, 52, 53]


@pytest.mark.parametrize(("path", "name"), SHOWN)
def test_the_test_that_the_index_names_is_there(path: str, name: str) -> None:
    source = (ROOT / path).read_text(encoding="utf-8")

    assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE)


def test_every_fault_of_a_cluster_and_of_a_proxy_is_in_the_index_and_has_a_test() -> None:
    rows = re.findall(r"^\| F(\d\d) [^|]+\| `tests/", INDEX, re.MULTILINE)

    assert [int(row) for row in rows] == FAULTS
