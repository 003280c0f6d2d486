"""Null where Kubernetes writes a text: the API server reads it as empty."""

from __future__ import annotations

import pytest

from ingresskit.models import Service, decode


@pytest.mark.parametrize("field", ["annotations", "labels"])
def test_a_value_that_is_null_is_an_empty_text(field: str) -> None:
    found = decode(
        Service,
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", field: {"a": None, "b": "c"}}},
    )

    assert dict(getattr(found.metadata, field)) == {"a": "", "b": "c"}
