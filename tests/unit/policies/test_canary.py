"""Canaries by native annotations: what is read, and which requests an Ingress takes."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.graph import Forward, Request
from ingresskit.models import Ingress, ObjectKey, ObjectRef, Snapshot
from ingresskit.policies import Canary, NativeDialect, PolicyRegistry, Reading, Variant
from ingresskit.policies.kinds.canary import parse_share
from ingresskit.testing import endpoint_slice, ingress, ingress_class, service
from ingresskit.translate import translate

PREFIX = "ingresskit.dev/canary-"


def read(**annotations: str) -> Reading:
    named = {PREFIX + name.replace("_", "-"): text for name, text in annotations.items()}
    return PolicyRegistry([NativeDialect()]).read(named, ObjectRef("Ingress", ObjectKey("shop", "web")))


def canary(name: str, **annotations: str) -> Ingress:
    named = {PREFIX + key.replace("_", "-"): text for key, text in annotations.items()}
    return ingress(name, {"a.test": {"/": name}}, annotations=named, created=1)


def shares(*canaries: Ingress, **headers: str) -> dict[str, Fraction]:
    """How many of such requests each Service gets."""
    names = ["main", *(item.metadata.name for item in canaries)]
    objects = [ingress_class(), ingress("main", {"a.test": {"/": "main"}}), *canaries]
    objects += [item for name in names for item in (service(name), endpoint_slice(name, f"10.0.0.{len(name)}"))]
    graph = translate(Snapshot.of(objects)).graph
    sent = {name.replace("_", "-").lower(): text for name, text in headers.items()}
    request = Request(host="a.test", path="/", headers=sent)
    found: dict[str, Fraction] = {}
    for outcome in graph.outcomes(request):
        assert outcome.route is not None
        action = outcome.route.action
        assert isinstance(action, Forward)
        name = action.backends[0].key.service
        found[name] = found.get(name, Fraction(0)) + outcome.probability
    return found


def test_a_canary_is_no_policy_of_its_requests() -> None:
    reading = read(header="X-Beta", cookie="beta", weight="1/1000")

    assert reading.variant == Variant.canary(header="X-Beta", cookie="beta", weight=1, total=1000)
    assert (len(reading.policies), reading.diagnostics) == (0, ())


@pytest.mark.parametrize(
    ("text", "share"), [("0", (0, 100)), ("100", (100, 100)), ("1/1000", (1, 1000)), (" 7 ", (7, 100))]
)
def test_a_share_is_a_part_of_the_whole(text: str, share: tuple[int, int]) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["", "101", "-1", "1.5", "2/1", "0/0", "1/2000000", "10%"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a number of 100"):
        parse_share(text)


@pytest.mark.parametrize(
    "annotations",
    [
        {"header_value": "yes"},
        {"header": "X-A", "header_value": "yes", "header_pattern": "y"},
        {"header": "X A"},
        {"cookie": "a;b"},
        {"header": "X-A", "header_pattern": "(a*)*"},
    ],
)
def test_a_fault_is_reported(annotations: dict[str, str]) -> None:
    assert [item.reason for item in read(**annotations).diagnostics] == [Reason.ANNOTATION_INVALID]


def test_requests_are_taken_by_header_then_cookie_then_share() -> None:
    one = canary("beta", header="X-Beta", cookie="beta", weight="25")

    assert shares(one) == {"beta": Fraction(1, 4), "main": Fraction(3, 4)}
    assert shares(one, X_Beta="always") == {"beta": Fraction(1)}
    assert shares(one, X_Beta="never", Cookie="beta=always") == {"main": Fraction(1)}
    assert shares(one, Cookie="beta=always") == {"beta": Fraction(1)}


def test_requests_are_taken_by_value_and_by_pattern() -> None:
    by_value = canary("gold", header="X-Plan", header_value="gold")
    by_pattern = canary("paying", header="X-Plan", header_pattern="(gold|silver)$")

    assert shares(by_value, X_Plan="gold") == {"gold": Fraction(1)}
    assert shares(by_value, X_Plan="always") == {"main": Fraction(1)}
    assert shares(by_pattern, X_Plan="silver") == {"paying": Fraction(1)}
    assert shares(by_pattern, X_Plan="golden") == {"main": Fraction(1)}


def test_any_number_of_canaries_stand_side_by_side() -> None:
    several = [canary(f"part{'x' * number}", weight="20") for number in range(4)]

    assert shares(*several) == {item.metadata.name: Fraction(1, 5) for item in (*several, ingress("main", {}))}


def test_a_canary_has_a_default_of_nothing() -> None:
    assert Canary().variant == Variant()
