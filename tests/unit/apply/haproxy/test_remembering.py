"""Which names of header fields a program keeps."""

from __future__ import annotations

from ingresskit.apply.haproxy.remembering import remembering
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import Origin
from ingresskit.render.haproxy import Needs

_ORIGIN = Origin(ObjectRef("Ingress", ObjectKey("default", "a")), "spec")


def needs(*names: str) -> Needs:
    return Needs(request_headers=dict.fromkeys(names, _ORIGIN))


def test_a_name_that_was_dropped_stays_known() -> None:
    first = needs("x-a")
    second = remembering(needs("x-b"), first)
    third = remembering(needs("x-a"), second)

    assert second.request_headers.keys() == {"x-a", "x-b"}
    assert third.request_headers.keys() == {"x-a", "x-b"}


def test_a_bounded_number_of_names_stays_those_used_last() -> None:
    known = needs("x-0")
    for number in range(1, 300):
        known = remembering(needs(f"x-{number}"), known)

    assert list(known.request_headers) == [f"x-{number}" for number in range(299, 198, -1)]


def test_the_first_program_has_what_it_needs() -> None:
    wanted = needs("x-a")

    assert remembering(wanted, None) is wanted
