from __future__ import annotations

import pytest

from ingresskit.errors import ConfigurationError
from ingresskit.translate import LabelSelector

_LABELS = {"app": "shop", "tier": "web", "example.com/team": "a", "empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("app=shop", True),
        ("app==shop", True),
        ("app = shop", True),
        ("app=blog", False),
        ("app!=blog", True),
        ("app!=shop", False),
        ("gone!=x", True),
        ("tier in (web, api)", True),
        ("tier in (api)", False),
        ("tier notin (api,db)", True),
        ("tier notin (web)", False),
        ("gone notin (web)", True),
        ("gone in (web)", False),
        ("app", True),
        ("gone", False),
        ("!gone", True),
        ("!app", False),
        ("empty=", True),
        ("example.com/team=a", True),
        ("app=shop,tier in (web,api),!gone", True),
        ("app=shop,tier in (api,db),!gone", False),
    ],
)
def test_a_selector_matches_as_kubectl_does(text: str, matches: bool) -> None:
    assert LabelSelector.parse(text).matches(_LABELS) is matches


@pytest.mark.parametrize(
    "text", ["", ",", "app=shop,", "app=a b", "=x", "app in web", "app in (a", "-app=x", "app>1", "app=x\n"]
)
def test_what_is_no_selector_is_refused(text: str) -> None:
    if text.strip() != text:  # surrounding white space is the shell's business
        assert LabelSelector.parse(text).matches({"app": "x"})
        return
    with pytest.raises(ConfigurationError, match="is not a condition"):
        LabelSelector.parse(text)


def test_a_selector_shows_its_text() -> None:
    assert str(LabelSelector.parse(" app=shop ")) == "app=shop"
