"""What a host may promise to browsers, and what is refused before anybody relies on it."""

from __future__ import annotations

import pytest

from ingresskit.policies import Hsts


@pytest.mark.parametrize(
    ("policy", "value"),
    [
        (Hsts(), ""),
        (Hsts(max_age=0), "max-age=0"),
        (Hsts(max_age=60), "max-age=60"),
        (Hsts(max_age=60, include_subdomains=True), "max-age=60; includeSubDomains"),
        (
            Hsts(max_age=31536000, include_subdomains=True, preload=True),
            "max-age=31536000; includeSubDomains; preload",
        ),
    ],
)
def test_the_value_is_that_of_the_header_field(policy: Hsts, value: str) -> None:
    assert policy.value == value


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"include_subdomains": True}, "needs hsts too"),
        ({"preload": True}, "needs hsts too"),
        (
            {"max_age": 31536000, "preload": True},
            "needs hsts of 31536000 or more and hsts-include-subdomains",
        ),
        ({"max_age": 60, "include_subdomains": True, "preload": True}, "needs hsts of 31536000 or more"),
    ],
    ids=str,
)
def test_a_promise_that_browsers_would_not_take_is_refused(values: dict[str, object], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Hsts.build(values)
