from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import pytest

from ingresskit.diagnostics import Reason, Severity
from ingresskit.errors import ConfigurationError
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import (
    BUILTIN_POLICIES,
    AllowedSources,
    NativeDialect,
    PermanentRedirect,
    Policy,
    PolicyRegistry,
    PolicySet,
    Reading,
    Retries,
    Timeouts,
    annotated,
    default_policies,
)

SUBJECT = ObjectRef("Ingress", ObjectKey("shop", "web"))


def parse(annotations: Mapping[str, str], registry: PolicyRegistry | None = None) -> Reading:
    named = {f"ingresskit.dev/{name}" if "/" not in name else name: text for name, text in annotations.items()}
    return (registry or default_policies()).read(named, SUBJECT)


def parse_level(text: str) -> int:
    if text not in ("1", "2"):
        raise ValueError("must be 1 or 2")
    return int(text)


def parse_anything(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressing(Policy):
    """A policy as a user of the library writes one."""

    level: int = annotated(
        "pressing-level", parse_level, default=1, grammar="`1` or `2`", summary="How hard to press."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard(Policy):
    """A policy that protects, with a field that no annotation may leave out."""

    protects: ClassVar[bool] = True

    realm: str
    secret: str = annotated("guard-secret", parse_anything, default="", grammar="text", summary="Guards.")


def test_annotations_become_policies_that_know_where_they_were_asked_for() -> None:
    parsed = parse({"connect-timeout": "5s", "read-timeout": "1m", "retries": "0"})

    assert parsed.policies.get(Timeouts) == Timeouts(connect=timedelta(seconds=5), read=timedelta(minutes=1))
    assert parsed.policies.get(Retries) == Retries(attempts=0)
    assert str(parsed.policies.origin(Timeouts, "read")) == (
        "Ingress shop/web, metadata.annotations[ingresskit.dev/read-timeout]"
    )
    assert parsed.policies.origin(Timeouts, "send") is None
    assert (parsed.diagnostics, parsed.protection_fault) == ((), None)


@pytest.mark.parametrize(
    "annotations",
    [
        {},
        {"kubernetes.io/ingress.class": "x"},
        {"ingresskit.dev.evil/retries": "1"},
        {"xingresskit.dev/retries": "1"},
    ],
    ids=["none", "another prefix", "a longer prefix", "a prefix inside"],
)
def test_annotations_of_others_are_none_of_ours(annotations: Mapping[str, str]) -> None:
    assert parse(annotations) == Reading()


def test_an_unknown_annotation_is_a_warning_that_suggests_the_nearest() -> None:
    parsed = parse({"conect-timeout": "5s", "retries": "1"})

    (warning,) = parsed.diagnostics
    assert parsed.policies.get(Retries) is not None
    assert (warning.reason, warning.severity) == (Reason.ANNOTATION_UNKNOWN, Severity.WARNING)
    assert warning.field == "metadata.annotations[ingresskit.dev/conect-timeout]"
    assert warning.message == (
        "unknown annotation 'ingresskit.dev/conect-timeout'; did you mean ingresskit.dev/connect-timeout?"
    )
    assert parsed.protection_fault is None


def test_an_annotation_like_none_gets_no_suggestion() -> None:
    (warning,) = parse({"zzz": "1"}).diagnostics

    assert warning.message == "unknown annotation 'ingresskit.dev/zzz'"


def test_an_endless_unknown_annotation_is_cut() -> None:
    (warning,) = parse({"ingresskit.dev/" + "x" * 200_000: "1"}).diagnostics

    assert len(warning.message) < 200


def test_an_invalid_value_costs_only_its_annotation() -> None:
    parsed = parse({"connect-timeout": "soon\n", "read-timeout": "5s"})

    (warning,) = parsed.diagnostics
    assert parsed.policies.get(Timeouts) == Timeouts(read=timedelta(seconds=5))
    assert (warning.reason, warning.severity) == (Reason.ANNOTATION_INVALID, Severity.WARNING)
    assert warning.message.startswith("'soon\\n' must be a duration from 1ms to 24h")
    assert warning.message.endswith("; it is ignored")


@pytest.mark.parametrize(
    "annotations",
    [
        pytest.param({"allow-sources": "10.0.0.0/40"}, id="a wrong value"),
        pytest.param({"allow-sources": ""}, id="an empty value"),
        pytest.param({"alow-sources": "10.0.0.0/8"}, id="a slip in the name"),
    ],
)
def test_a_protection_that_cannot_be_read_leaves_the_object_unprotected_and_says_so(
    annotations: Mapping[str, str],
) -> None:
    parsed = parse({**annotations, "retries": "1"})

    assert parsed.protection_fault is not None
    assert parsed.protection_fault.severity is Severity.ERROR
    assert "503" in parsed.protection_fault.message
    assert parsed.protection_fault in parsed.diagnostics
    assert AllowedSources not in parsed.policies


def test_a_protecting_policy_that_cannot_be_built_leaves_the_object_unprotected() -> None:
    parsed = parse({"guard-secret": "x"}, default_policies(Guard))

    assert parsed.protection_fault is not None
    assert parsed.protection_fault.message == "needs 'realm' too; the routes of this object respond 503"


def test_fields_that_make_no_sense_together_cost_their_policy_only() -> None:
    parsed = parse({"redirect-status": "301", "retries": "2"})

    (warning,) = parsed.diagnostics
    assert PermanentRedirect not in parsed.policies
    assert Retries in parsed.policies
    assert warning.message == "has no effect without the annotation redirect; it is ignored"


def test_diagnostics_come_in_the_order_of_the_annotations() -> None:
    fields = [item.field for item in parse({"retries": "x", "body-limit": "x", "aaa": "x"}).diagnostics]

    assert fields == sorted(fields)


# Registries


def test_a_policy_of_your_own_is_read_beside_the_built_in_ones() -> None:
    registry = default_policies(Pressing)

    parsed = parse({"pressing-level": "2", "retries": "1"}, registry)
    wrong = parse({"pressing-level": "3"}, registry)

    assert parsed.policies.get(Pressing) == Pressing(level=2)
    assert Retries in parsed.policies
    assert wrong.diagnostics[0].message == "'3' must be 1 or 2; it is ignored"


def test_another_prefix_replaces_the_native_one() -> None:
    registry = default_policies(prefix="proxy.example.com")

    parsed = parse({"proxy.example.com/retries": "3", "ingresskit.dev/retries": "5"}, registry)

    assert parsed.policies.get(Retries) == Retries(attempts=3)


def test_two_policies_cannot_read_one_annotation() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Again(Policy):
        attempts: int = annotated("retries", parse_level, default=1, grammar="", summary="")

    with pytest.raises(ConfigurationError, match="Retries and Again both read the annotation 'retries'"):
        default_policies(Again)


def test_two_policies_cannot_have_one_name() -> None:
    def another(name: str) -> type[Policy]:
        @dataclass(frozen=True, slots=True, kw_only=True)
        class Twin(Policy):
            value: int = annotated(name, parse_level, default=1, grammar="", summary="")

        return Twin

    with pytest.raises(ConfigurationError, match="two policies are called Twin"):
        default_policies(another("a"), another("b"))


def test_two_dialects_cannot_have_one_prefix() -> None:
    with pytest.raises(ConfigurationError, match=r"two dialects have the prefix 'ingresskit\.dev'"):
        default_policies().with_dialect(NativeDialect())


def test_where_two_dialects_set_one_policy_the_later_wins_and_the_earlier_is_told() -> None:
    registry = default_policies().with_dialect(NativeDialect(prefix="old.example.com"))

    parsed = parse(
        {"ingresskit.dev/retries": "1", "old.example.com/retries": "2", "old.example.com/x": ""}, registry
    )

    assert parsed.policies.get(Retries) == Retries(attempts=2)
    assert [(item.reason, item.field) for item in parsed.diagnostics] == [
        (Reason.ANNOTATION_IGNORED, "metadata.annotations[ingresskit.dev/retries]"),
        (Reason.ANNOTATION_UNKNOWN, "metadata.annotations[old.example.com/x]"),
    ]
    assert "old.example.com/retries" in parsed.diagnostics[0].message


def test_two_dialects_that_agree_are_no_conflict() -> None:
    registry = default_policies().with_dialect(NativeDialect(prefix="old.example.com"))

    assert parse({"ingresskit.dev/retries": "1", "old.example.com/retries": "1"}, registry).diagnostics == ()


def test_one_dialect_that_cannot_protect_is_enough() -> None:
    registry = default_policies().with_dialect(NativeDialect(prefix="old.example.com"))

    parsed = parse(
        {"ingresskit.dev/allow-sources": "x", "old.example.com/allow-sources": "10.0.0.0/8"}, registry
    )

    assert parsed.protection_fault is not None


@pytest.mark.parametrize(
    ("name", "meant"), [("proxy-body-size", "body-limit"), ("whitelist-source-range", "allow-sources")]
)
def test_the_name_that_another_controller_has_for_it_is_understood(name: str, meant: str) -> None:
    (told,) = parse({name: "10.0.0.0/8"}).diagnostics

    assert f"did you mean ingresskit.dev/{meant}?" in told.message


def test_a_registry_is_a_value() -> None:
    registry = default_policies()
    registry.with_dialect(NativeDialect(prefix="old.example.com"))

    assert [dialect.prefix for dialect in registry.dialects] == ["ingresskit.dev", "kubernetes.io"]


def test_every_built_in_annotation_is_in_the_table_once_with_its_words() -> None:
    table = NativeDialect().table()
    names = [row.name for row in table]

    assert names == sorted(set(names))
    assert {policy for row in table for policy in row.policies} == set(BUILTIN_POLICIES)
    assert all(row.value and row.summary.endswith(".") for row in table)


def test_the_built_in_policies_are_listed_by_name() -> None:
    assert [policy.__name__ for policy in BUILTIN_POLICIES] == sorted(
        policy.__name__ for policy in BUILTIN_POLICIES
    )


# Sets of policies


def test_a_set_holds_one_policy_of_a_type() -> None:
    with pytest.raises(ConfigurationError, match="two policies of type Retries"):
        PolicySet([Retries(attempts=1), Retries(attempts=2)])


def test_sets_with_the_same_policies_are_equal_whatever_the_order() -> None:
    one, two = PolicySet([Retries(), Timeouts()]), PolicySet([Timeouts(), Retries()])

    assert one == two
    assert hash(one) == hash(two)
    assert list(one) == [Retries(), Timeouts()]
    assert one != PolicySet([Retries()])


def test_merging_replaces_a_policy_whole() -> None:
    base = PolicySet([Timeouts(connect=timedelta(seconds=1), read=timedelta(seconds=2)), Retries()])
    over = PolicySet([Timeouts(read=timedelta(seconds=9))])

    assert base.merged(over).get(Timeouts) == Timeouts(read=timedelta(seconds=9))
    assert Retries in base.merged(over)
    assert base.merged(PolicySet()) is base
    assert PolicySet().merged(base) is base


def test_a_set_can_be_had_without_some_types() -> None:
    policies = parse({"retries": "1", "connect-timeout": "1s"}).policies

    assert list(policies.without(Retries)) == [Timeouts(connect=timedelta(seconds=1))]
    assert policies.without(Retries).origins(Retries) == {}
    assert policies.without(Retries).origins(Timeouts) == policies.origins(Timeouts)
    assert policies.without(AllowedSources) is policies
