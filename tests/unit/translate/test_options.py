from __future__ import annotations

import pytest

from ingresskit.errors import ConfigurationError
from ingresskit.translate import HostOwnership, TranslateOptions


@pytest.mark.parametrize(
    "name", ["", "ingress", "/x", "Example.com/x", "example.com/", "example.com/a b", "a.b/c\n"]
)
def test_a_controller_name_without_a_domain_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="controller name"):
        TranslateOptions(controller_name=name)


def test_an_empty_class_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ingress class"):
        TranslateOptions(ingress_class="")


def test_hosts_have_owners_unless_shared_is_asked_for() -> None:
    assert TranslateOptions().host_ownership is HostOwnership.STRICT
