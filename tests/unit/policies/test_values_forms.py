"""Forms of annotation values: spaces, the shortest path, and bounds on names."""

from __future__ import annotations

import pytest

from ingresskit.policies.values import (
    parse_header_names,
    parse_headers,
    parse_integer,
    parse_path_prefix,
)


def test_spaces_around_a_number_mean_nothing() -> None:
    assert parse_integer(0, 20)(" 10 ") == 10


def test_the_prefix_that_strips_is_one_slash() -> None:
    assert parse_path_prefix("/") == "/"


@pytest.mark.parametrize("text", ["/v2/", "/v2//"[:-1], " /v2 "])
def test_a_slash_at_the_end_of_a_prefix_means_nothing(text: str) -> None:
    assert parse_path_prefix(text) == "/v2"


def test_spaces_before_the_colon_of_a_header_mean_nothing() -> None:
    assert parse_headers("X-A : b") == (("X-A", "b"),)


def test_header_names_are_as_few_as_header_fields_may_be() -> None:
    most = next(count for count in range(1, 1000) if not _accepts_fields(count + 1))

    parse_header_names(",".join(f"X-{number}" for number in range(most)))
    with pytest.raises(ValueError, match=f"at most {most} headers"):
        parse_header_names(",".join(f"X-{number}" for number in range(most + 1)))


def _accepts_fields(count: int) -> bool:
    try:
        parse_headers("\n".join(f"X-{number}: a" for number in range(count)))
    except ValueError:
        return False
    return True
